"""Exchanges as they are in a run, among processes that are forked from this one and meet over 127.0.0.1."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import statistics
import struct
import time
from collections.abc import Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from rankwatch.runtime.distributed import ProcessGroup

BYTES_RECEIVED = 128
"""Where Linux has ``tcpi_bytes_received`` in ``struct tcp_info``."""

PATIENCE = 120.0
"""Seconds until a process that says nothing is given up."""


def received_over_tcp() -> int:
    """Bytes that all sockets of this process have received so far."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        if not entry.is_socket():
            continue
        with socket.socket(fileno=os.dup(int(entry.name))) as one, contextlib.suppress(OSError):  # not of TCP
            facts = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            found += struct.unpack_from("Q", facts, BYTES_RECEIVED)[0]
    return found


def member(
    rank: int, world: int, port: int, payloads: Sequence[torch.Tensor], told: torch.Tensor, repeats: int, pipe: Any
) -> None:
    """One process: every payload `repeats` times there and the answer back; tells when, and the bytes that came."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    group = ProcessGroup()
    found = []
    for payload in payloads:
        for repeat in range(repeats + 1):  # the first one warms up
            dist.barrier()
            before = received_over_tcp() if rank == 0 else 0
            times = [time.perf_counter()]
            parts = group.gather_to_rank0(payload, "shares")
            times.append(time.perf_counter())
            heard = group.broadcast_from_rank0(told if rank == 0 else told[:0])
            times.append(time.perf_counter())
            dist.barrier()  # nothing is under way any more
            if repeat:
                found.append((times, received_over_tcp() - before if rank == 0 else 0))
            else:
                assert len(parts) == (world if rank == 0 else 0)
                assert torch.equal(heard, told)
                assert all(torch.equal(part, payload) for part in parts)
    pipe.send(found)
    dist.barrier()
    group.close()
    dist.destroy_process_group()


def exchanges(
    world: int, payloads: Sequence[torch.Tensor], told: torch.Tensor, repeats: int
) -> list[tuple[float, ...]]:
    """Median seconds of the two ways, and bytes that process 0 received, for each payload.

    The way there lasts from the first process's call to process 0's having all; the way back until all have it.
    """
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(world)]
    processes = [
        context.Process(target=member, args=(rank, world, port, payloads, told, repeats, pipes[rank][1]))
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    told_by = []
    try:
        for (pipe, _), process in zip(pipes, processes, strict=True):
            connection.wait([pipe, process.sentinel], PATIENCE)
            if not pipe.poll():
                raise RuntimeError("a process is gone or stuck")
            told_by.append(pipe.recv())
    finally:
        for process in processes:
            process.join(0.0 if len(told_by) < world else 30.0)
            process.kill()
    found = []
    for index in range(0, len(payloads) * repeats, repeats):
        there, back, received = [], [], []
        for one in range(index, index + repeats):
            times = [by[one][0] for by in told_by]
            there.append(times[0][1] - min(t[0] for t in times))
            back.append(max(t[2] for t in times) - times[0][1])
            received.append(told_by[0][one][1])
        found.append((statistics.median(there), statistics.median(back), statistics.median(received)))
    return found
