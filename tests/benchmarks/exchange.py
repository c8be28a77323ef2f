"""What processes send each other for one reading, and what it takes: an estimate, a simulation, a real check.

    python tests/benchmarks/exchange.py [--quick] [--tables estimate simulation real merge]

``estimate``: bytes and seconds by a closed form (`gloo_model`) for 512 utterances with four frames and one mean each.
One process alone has nobody to send to; of more than 512 processes some have no utterance.
``simulation``: the same from the messages of all processes, event by event, where shares are those that `pack_share`
makes and the answer is that of a real reading; beside it simulation / estimate.
``real``: processes forked from this one send such shares over loopback with `ProcessGroup`. Bytes are what TCP counted
on the sockets of process 0, the few hundred of a barrier among them. Loopback's latency and bandwidth are fitted on two
processes with shares of four sizes; how well, is printed. More processes show what the model leaves out, above all that
they share this machine's few cores.
``merge``: what process 0 does with what it got, before the first decomposition.

Run it with OMP_NUM_THREADS=1: that is what the thread that does all this in a run has.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from gloo_model import (
    Cost,
    Network,
    Program,
    Simulation,
    all_gather,
    broadcast_answer,
    from_first_cost,
    gather,
    received_by_first,
    sent_by_others,
    shares_bytes,
    to_first_cost,
)
from loopback import exchanges

from rankwatch import RowSampling
from rankwatch.alarms.mute_switch import MuteFile
from rankwatch.arguments.settings import Settings
from rankwatch.extraction.rows.row_buffer import Key, RowBuffer, Rows
from rankwatch.extraction.rows.row_labels import unlabelled
from rankwatch.extraction.rows.row_sampling import SampledRows, whole_sample
from rankwatch.monitor.collected_rows import CollectedRows
from rankwatch.monitor.evaluator import Evaluator
from rankwatch.monitor.reading_exchange import merge, pack_share
from rankwatch.readings.protocol import Protocol
from rankwatch.runtime.byte_payload import pack
from rankwatch.runtime.distributed import quota
from rankwatch.runtime.plain_data import to_plain

MODELS = ((768, 13), (1024, 25), (1280, 49), (1920, 49))
"""Widths and watched layers: base, large, extra large, and an encoder of two billion parameters."""

NETWORKS = {"1 Gbit/s": Network(50e-6, 1e9 / 8), "25 Gbit/s": Network(50e-6, 25e9 / 8)}
ITEMSIZES = {"float32": 4, "bfloat16": 2}
ANSWER_PER_READING = 1800
"""Bytes of one layer's and level's part of the answer: mostly its spectrum as decimal numbers."""

LEVELS = {"frame": 4, "utterance": 1}
UTTERANCES = 512
"""Utterances of a reading, over all processes."""


def share(width: int, layers: int, utterances: int, kind: str = "float32", seed: int = 0) -> dict[Key, Rows]:
    """One process's rows, as they come from a window."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(4 * utterances, width, generator=generator).to(getattr(torch, kind)).float()
    found = {}
    for layer in range(layers):
        keys = torch.randint(2**62, (utterances,), generator=generator)
        for level, count in LEVELS.items():
            n = count * utterances
            rounding = torch.zeros(n, dtype=torch.float64)
            found["first_batches", level, f"encoder.layers.{layer}"] = Rows(
                rows[:n], keys.repeat_interleave(count), rounding, whole_sample(rounding), unlabelled(n)
            )
    return found


def packed(width: int, layers: int, utterances: int, kind: str, seed: int = 0) -> torch.Tensor:
    """The same as it is sent."""
    return pack_share(share(width, layers, utterances, kind, seed), {}, "")


@functools.cache
def packed_size(width: int, layers: int, utterances: int, kind: str) -> int:
    """Bytes of it."""
    return packed(width, layers, utterances, kind).numel()


@functools.cache
def answer(layers: int) -> torch.Tensor:
    """What process 0 tells after a reading of so many layers; made from few and narrow rows, which it doesn't hold."""
    names = [f"encoder.layers.{layer}" for layer in range(layers)]
    window = RowBuffer("first_batches", tuple(LEVELS))
    keys, zeros = torch.arange(64), torch.zeros(128, dtype=torch.float64)
    for name in names:
        rows = torch.randn(128, 24)
        drawn = SampledRows(
            rows, keys.repeat_interleave(2), rows[::2], keys, zeros, zeros[::2], zeros, 0, whole_sample(rows)
        )
        window.add({name: drawn}, 64)
    settings = Settings(rows=RowSampling(n_utterances=64), max_overhead=None)
    protocols = {("first_batches", level): Protocol("first_batches", level, 64, 4, 0, None) for level in LEVELS}
    evaluator = Evaluator(settings, names, None, first=True, mute=MuteFile(None))
    return pack(to_plain(evaluator.evaluate(CollectedRows(500, [window], protocols)).outcome))


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print one in markdown."""
    print(f"\n{title}\n\n| {' | '.join(header)} |\n|{'---:|' * len(header)}")
    for row in rows:
        print("| " + " | ".join(f"{x:.4g}" if isinstance(x, float) else str(x) for x in row) + " |", flush=True)


def table_estimate(worlds: Sequence[int]) -> None:
    """Bytes and seconds by the closed form."""
    rows = []
    for width, layers in MODELS:
        for kind, itemsize in ITEMSIZES.items():
            for world in worlds:
                size, told = shares_bytes(world, width, layers, itemsize), 2 * layers * ANSWER_PER_READING
                cost = to_first_cost(world, size) + from_first_cost(world, told)
                received, sent = received_by_first(world, size) / 1e6, sent_by_others(world, size, told) / 1e6
                seconds = [network.seconds(cost) for network in NETWORKS.values()]
                rows.append((width, layers, kind, world, received, sent, *seconds))
    wanted = ["d", "layers", "rows", "W", "MB to process 0", "MB from each other", *(f"s, {name}" for name in NETWORKS)]
    table("Estimate, one reading (latency 50 us)", wanted, rows)


def ring(task: tuple[int, str]) -> tuple[list[float], list[int], list[int]]:
    """The ring of sizes: when each process is done, and the bytes that it got and sent. It is the same for all rows."""
    world, name = task
    simulation = Simulation([all_gather(rank, world) for rank in range(world)], NETWORKS[name])
    done = simulation.run()
    return done, [p.bytes_received for p in simulation.processes], [p.bytes_sent for p in simulation.processes]


def table_simulation(worlds: Sequence[int]) -> None:
    """Bytes and seconds from simulated messages."""
    tasks = [(world, name) for world in sorted(worlds, reverse=True) for name in NETWORKS if world > 1]
    with multiprocessing.get_context("fork").Pool(min(len(tasks), os.cpu_count() or 1)) as pool:
        rings = dict(zip(tasks, pool.map(ring, tasks, chunksize=1), strict=True))
    rows = []
    for width, layers in MODELS:
        told = answer(layers).numel()
        for kind, itemsize in ITEMSIZES.items():
            for world in (world for world in worlds if world > 1):
                sizes = [packed_size(width, layers, quota(UTTERANCES, rank, world), kind) for rank in range(world)]
                cells: list[float] = []
                guess = shares_bytes(world, width, layers, itemsize), 2 * layers * ANSWER_PER_READING
                for name, network in NETWORKS.items():
                    starts, got, sent = rings[world, name]
                    programs = [_after_ring(rank, sizes, told) for rank in range(world)]
                    simulation = Simulation(programs, network, starts)
                    seconds = max(simulation.run())
                    estimate = network.seconds(to_first_cost(world, guess[0]) + from_first_cost(world, guess[1]))
                    cells += [seconds, seconds / estimate]
                everyone = simulation.processes
                received = (everyone[0].bytes_received + got[0]) / 1e6
                others = (sum(p.bytes_sent for p in everyone[1:]) + sum(sent[1:])) / (world - 1) / 1e6
                ratios = (
                    received * 1e6 / received_by_first(world, guess[0]),
                    others * 1e6 / sent_by_others(world, *guess),
                )
                rows.append((width, layers, kind, world, received, ratios[0], others, ratios[1], *cells))
    wanted = ["d", "layers", "rows", "W", "MB to process 0", "/ estimate", "MB from each other", "/ estimate"]
    wanted += [cell for name in NETWORKS for cell in (f"s, {name}", "/ estimate")]
    table("Simulation with really packed shares and a real answer", wanted, rows)


def _after_ring(rank: int, sizes: Sequence[int], told: int) -> Program:
    """What one process does once it knows all sizes."""
    yield from gather(rank, len(sizes), sizes)
    yield from broadcast_answer(rank, len(sizes), told)


def fit(costs: Sequence[Cost], seconds: Sequence[float]) -> Network:
    """Latency and bandwidth that these took, by least squares of relative errors."""
    weights = 1.0 / np.array(seconds)
    counts = np.array([(cost.latencies, cost.link_bytes) for cost in costs]) * weights[:, None]
    latency, per_byte = np.linalg.lstsq(counts, np.ones(len(seconds)), rcond=None)[0]
    return Network(float(latency), float(1.0 / per_byte))


def table_real(worlds: Sequence[int], repeats: int) -> None:
    """Measured seconds and bytes beside those of the estimate and of the simulation."""
    width, layers = MODELS[0]
    told = answer(layers)
    sizes = [1, 8, 64, UTTERANCES // 2]
    payloads = [packed(width, layers, utterances, "float32") for utterances in sizes]
    measured = exchanges(2, payloads, told, repeats)
    costs = [to_first_cost(2, p.numel()) + from_first_cost(2, told.numel()) for p in payloads]
    network = fit(costs, [there + back for there, back, _ in measured])
    print(
        f"\nLoopback, fitted on W = 2: latency {1e6 * network.latency:.0f} us, bandwidth "
        f"{8e-9 * network.bandwidth:.1f} Gbit/s; {os.cpu_count()} cores"
    )
    for payload, cost, (there, back, _) in zip(payloads, costs, measured, strict=True):
        ratio = (there + back) / network.seconds(cost)
        print(f"- a share of {payload.numel() / 1e6:.3g} MB: measured / fitted {ratio:.2f}")
    rows = []
    for world in worlds:
        size = packed_size(width, layers, UTTERANCES // world, "float32")
        shares = (world - 1) * size
        if world == 2:
            there, back, received = measured[-1]
        else:
            payload = packed(width, layers, UTTERANCES // world, "float32")
            there, back, received = exchanges(world, [payload], told, repeats)[0]
        first = Simulation([all_gather(rank, world) for rank in range(world)], network)
        programs = [_after_ring(rank, [size] * world, told.numel()) for rank in range(world)]
        second = Simulation(programs, network, first.run())
        simulated = max(second.run())
        estimates = [
            network.seconds(to_first_cost(world, shares)),
            network.seconds(from_first_cost(world, told.numel())),
        ]
        expected = sum(p.processes[0].bytes_received for p in (first, second))
        both = there + back
        counted = (size / 1e6, received / 1e6, received / received_by_first(world, shares), received / expected)
        milliseconds = [1e3 * x for x in (there, back, *estimates, simulated)]
        rows.append((world, *counted, *milliseconds, both / sum(estimates), both / simulated))
    wanted = ["W", "MB share", "MB to process 0 by TCP's count", "/ estimate", "/ simulation", "ms there", "ms back"]
    wanted += ["estimated there", "estimated back", "simulated, both", "both / estimate", "both / simulation"]
    title = f"Forked processes on 127.0.0.1, d = {width}, {layers} layers, float32; medians of {repeats}"
    table(title, wanted, rows)


def best(call: Callable[[], Any], times: int) -> tuple[float, Any]:
    """Seconds, best of some, and what came of it."""
    found = []
    for _ in range(times):
        result = None  # the one before is given up first
        start = time.perf_counter()
        result = call()
        found.append(time.perf_counter() - start)
    return min(found), result


def process_0(world: int, width: int, layers: int, kind: str, times: int) -> tuple[float, float, float]:
    """Megabytes of all payloads, and seconds of `merge` and of putting each layer's rows together."""
    payloads = [packed(width, layers, quota(UTTERANCES, rank, world), kind, rank) for rank in range(world)]
    megabytes = sum(payload.numel() for payload in payloads) / 1e6
    merging, exchanged = best(lambda: merge(payloads), times)
    joining, _ = best(lambda: [Rows.joined(parts) for parts in exchanged.shares.values()], times)
    return megabytes, merging, joining


def table_merge(worlds: Sequence[int], models: Sequence[tuple[int, int]], times: int) -> None:
    """Seconds of `merge`, and of putting each layer's rows together."""
    rows = []
    for width, layers in models:
        for kind in ITEMSIZES:
            for world in worlds:
                megabytes, merging, joining = process_0(world, width, layers, kind, times)
                rows.append((width, layers, kind, world, megabytes, 1e3 * merging, 1e3 * joining))
    table(
        f"Process 0, before the first decomposition; best of {times}",
        ["d", "layers", "rows", "W", "MB of payloads", "ms merge", "ms joining"],
        rows,
    )


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer processes and repeats")
    names = ("estimate", "simulation", "real", "merge")
    parser.add_argument("--tables", nargs="+", choices=names, default=list(names))
    arguments = parser.parse_args()
    quick = arguments.quick
    torch.set_num_threads(1)
    calls: dict[str, Callable[[], None]] = {
        "estimate": lambda: table_estimate((1, 8, 64, 1024)),
        "simulation": lambda: table_simulation((8, 64) if quick else (8, 64, 1024)),
        "real": lambda: table_real((2, 4, 8) if quick else (2, 4, 8, 16, 32), 3 if quick else 7),
        "merge": lambda: table_merge((8, 64) if quick else (8, 64, 1024), MODELS[:1], 2 if quick else 5),
    }
    for name in arguments.tables:
        start = time.perf_counter()
        calls[name]()
        print(f"\n({name}: {time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
