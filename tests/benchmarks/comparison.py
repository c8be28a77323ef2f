"""Cost and error of a reading beside what people use today, on the same model and the same real speech.

    python tests/benchmarks/comparison.py --folder DIRECTORY_OF_AUDIO

A HuBERT-base (Hugging Face's class, 12 layers and the front end, random weights) is run over all recordings of a folder
once; the rank of everything that it gave is what each method ought to find:

- rankwatch, through its own engine: 512 utterances, all layers, frame and utterance level;
- the `RankMe` callback of the package stable-pretraining (its class where it is installed, else its three lines): a
  queue of 2,048 vectors of one layer, float32, uncentred, 1e-5 added to each p;
- a float64 SVD of 5,000 pooled vectors of one layer, as layer monitors do it;
- plain RankMe of 25,600 frames of one layer (the paper's number).

Errors are relative to the same quantity of the whole (centred for us, uncentred for the others; at frame level for us
each utterance counts the same, for the others each frame). Seconds are of one reading and one layer, and one level for
the others; the forward passes that bring the rows stand apart, since a queue is fed by training itself.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import HubertConfig, HubertModel

from rankwatch.arguments.settings import Settings
from rankwatch.corpora import read_corpus
from rankwatch.extraction.eval_sets.files_of_audio import read_chosen
from rankwatch.extraction.inputs.audio_files import padded_batches
from rankwatch.monitor.monitor import Monitor
from rankwatch.numerics import effective_rank

BATCH = 16
WATCHED = (0, 4, 8, 11)  # blocks of which everything is kept


def rank_of(gram: Tensor) -> float:
    """Effective rank of rows from their (d, d) Gram matrix, in float64."""
    return effective_rank(torch.linalg.eigvalsh(gram).clamp(min=0.0).sqrt().numpy())


class Whole:
    """Everything that one layer gave: frames by utterance."""

    def __init__(self) -> None:
        self.utterances: list[Tensor] = []

    def frames(self) -> Tensor:
        """(frames, d) float32."""
        return torch.cat(self.utterances)

    def means(self) -> Tensor:
        """(utterances, d) float64."""
        return torch.stack([one.double().mean(0) for one in self.utterances])

    def truth(self, level: str, *, centred: bool) -> float:
        """Effective rank of all: each utterance counts the same where centred (ours), else each frame (RankMe)."""
        parts = [one.double() for one in self.utterances]
        if level == "utterance":
            parts = [self.means()[:, None].transpose(0, 1)[0]]
        weights = [1.0 / len(one) if centred and level == "frame" else 1.0 for one in parts]
        total = sum(w * len(one) for w, one in zip(weights, parts, strict=True))
        gram = sum((w * one.T @ one for w, one in zip(weights, parts, strict=True)), torch.zeros(()))
        if centred:
            mean = sum((w * one.sum(0) for w, one in zip(weights, parts, strict=True)), torch.zeros(())) / total
            gram = gram - total * torch.outer(mean, mean)
        return rank_of(gram)


def run_all(model: HubertModel, batches: list[tuple[Tensor, Tensor]]) -> tuple[list[Whole], float]:
    """What the watched blocks give for all batches, and seconds of forward passes per utterance."""
    wholes, seconds, count = [Whole() for _ in WATCHED], 0.0, 0
    for waves, lengths in batches:
        mask = (torch.arange(waves.shape[1]) < lengths[:, None]).long()
        start = time.perf_counter()
        with torch.no_grad():
            states = model(waves, attention_mask=mask, output_hidden_states=True).hidden_states
        seconds, count = seconds + time.perf_counter() - start, count + len(waves)
        frames = model._get_feat_extract_output_lengths(lengths)
        for whole, index in zip(wholes, WATCHED, strict=True):
            hidden = states[index + 1]
            whole.utterances += [hidden[i, :n].clone() for i, n in enumerate(frames.tolist()) if n > 0]
    return wholes, seconds / count


def svd_rank(rows: Tensor) -> float:
    """Plain RankMe."""
    return effective_rank(torch.linalg.svdvals(rows).double().numpy())


def timed(function: Callable[[], float], rounds: int = 3) -> tuple[float, float]:
    """Its value, and the median of its seconds."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        value = function()
        seconds.append(time.perf_counter() - start)
    return value, statistics.median(seconds)


def theirs() -> Callable[[Tensor], float]:
    """The callback of stable-pretraining on a full queue."""
    try:
        from stable_pretraining.callbacks.rankme import RankMe
    except ImportError:
        print("stable-pretraining is not installed: the three lines of its callback are timed instead\n")

        def plain(queue: Tensor) -> float:
            s = torch.linalg.svdvals(queue)
            p = s / s.sum() + 1e-5
            return float(torch.exp(-(p * p.log()).sum()))

        return plain
    logged: dict[str, float] = {}
    module = SimpleNamespace(log=lambda name, value: logged.update({name: value}))
    trainer = SimpleNamespace(global_rank=0)

    def callback(queue: Tensor) -> float:
        watch = RankMe("rank", "x", len(queue), queue.shape[1], verbose=False)
        watch._target_queue = SimpleNamespace(data=queue)
        watch.on_validation_batch_end(trainer, module, {}, {}, 0)
        return logged["rank"]

    return callback


def ours(model: HubertModel, batches: list[tuple[Tensor, Tensor]]) -> Iterator[tuple[Any, float]]:
    """Outcomes of three readings, and seconds of each, everything included."""
    monitor = Monitor(Settings(every_n_steps=500, max_overhead=None))
    monitor.attach(model)
    model.train()
    for step, (waves, lengths) in enumerate(batches):
        batch = {"input_values": waves, "attention_mask": (torch.arange(waves.shape[1]) < lengths[:, None]).long()}
        monitor.batch_starts(batch, step)
        with torch.no_grad():
            model(**batch)
        monitor.batch_ends(batch)
        if monitor.agree_whether_due(step + 1):
            break
    for step in range(3):
        start = time.perf_counter()
        yield monitor.read(1000 + step), time.perf_counter() - start
    monitor.close()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--most", type=int, default=100_000, help="utterances at most")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    model = HubertModel(HubertConfig(apply_spec_augment=False)).eval()
    corpus = read_corpus(arguments.folder, format="folder", open_audio=False)
    audio = read_chosen(corpus, count=arguments.most, sample_rate=16_000, max_seconds=15.0, seed=0)
    batches = list(padded_batches(list(audio.values()), BATCH))
    wholes, per_utterance = run_all(model, batches)
    d = model.config.hidden_size
    generator = torch.Generator().manual_seed(1)
    print(f"{len(wholes[0].utterances)} recordings, {len(wholes[0].frames())} frames, d = {d}; a forward pass takes ")
    print(f"{1000 * per_utterance:.0f} ms an utterance\n")

    methods: dict[str, list[tuple[float, float]]] = {}

    def note(name: str, truth: float, value: float, seconds: float) -> None:
        methods.setdefault(name, []).append((value / truth - 1.0, seconds))

    rankme_of = theirs()
    for whole in wholes:
        frames, means = whole.frames(), whole.means()
        queue = frames[torch.randint(len(frames), (2048,), generator=generator)]
        value, seconds = timed(partial(rankme_of, queue))
        note("stable-pretraining's RankMe, queue of 2,048 frames", whole.truth("frame", centred=False), value, seconds)
        pooled = means[torch.randint(len(means), (5000,), generator=generator)]  # as many, to time it
        _, seconds = timed(partial(svd_rank, pooled))
        value = svd_rank(means[:5000])
        note("float64 SVD of 5,000 pooled vectors", whole.truth("utterance", centred=False), value, seconds)
        some = frames[torch.randperm(len(frames), generator=generator)[:25_600]]
        value, seconds = timed(partial(svd_rank, some), 1)
        note("plain RankMe of 25,600 frames", whole.truth("frame", centred=False), value, seconds)

    names = [f"encoder.layers.{index}" for index in WATCHED]
    last, parts = None, []
    for outcome, seconds in ours(model, batches):
        last, parts = outcome, [*parts, {**outcome.report.cost.seconds, "all": seconds}]
    assert last is not None
    layers = len({reading.layer for reading in last.report.readings})
    decomposition = statistics.median(part["decomposition"] for part in parts) / layers
    drawing = statistics.median(part["drawing"] for part in parts) / layers
    for level in ("frame", "utterance"):
        for name, whole in zip(names, wholes, strict=True):
            reading = next(r for r in last.report.readings if (r.layer, r.level) == (name, level))
            note(f"rankwatch, {level} level", whole.truth(level, centred=True), reading.effective_rank, decomposition)

    needed = {"float64": 5000, "rankwatch": 512, "plain RankMe": round(25_600 / len(wholes[0].frames()) * len(audio))}
    print("| method | error, median | error, worst | calculation per layer, s | utterances run for it | seconds |")
    print("|---|---|---|---|---|---|")
    for name, found in methods.items():
        errors = np.array([error for error, _ in found])
        run = next((count for start, count in needed.items() if name.startswith(start)), 0)
        worst = errors[np.abs(errors).argmax()]
        took = statistics.median(seconds for _, seconds in found)
        cells = [
            f"{100 * np.median(errors):+.1f} %",
            f"{100 * worst:+.1f} %",
            f"{took:.3f}",
            str(run or "none, a queue"),
        ]
        print(f"| {name} | {' | '.join(cells)} | {run * per_utterance:.1f} |")
    print(f"\nrankwatch's seconds per layer are for both levels; drawing takes {drawing:.3f} s more per layer, in the")
    print("training thread; the calculation runs beside it, on one core. The others use all cores.")
    print("parts of our readings, s:", {k: round(statistics.median(p.get(k, 0.0) for p in parts), 2) for k in parts[0]})


if __name__ == "__main__":
    main()
