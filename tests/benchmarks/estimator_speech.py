"""The estimator on real speech: log-mel stacks and a random GELU layer on them, frames and utterance means.

    python tests/benchmarks/estimator_speech.py ../shared/data [--draws 10] [--utterance-draws 200]

Each subfolder of recordings is a set; the last table mixes all. Each utterance counts the same. Truth at frame
level: the plain value of all frames at 10 ms, weighted by 1 / length, which is off by less than 1 % where there are
more than 50 d of them; and beside it the estimate from 16 frames of every utterance. At utterance level: the
estimate from all utterances (it shares their rows). Errors in percent of the truth: median of the plain value; median,
median of the absolute and worst of the estimate; how many 90 % intervals hold the truth, and their median width.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio

from rankwatch.numerics import RankEstimate, estimate_rank
from rankwatch.numerics.rank.spectrum import eigenvalues_of, plain_rank

MELS, STACK, D = 64, 12, 768


def log_mel_stacks(path: Path) -> torch.Tensor | None:
    """(t, 768) stacks of 12 log-mel frames at 10 ms; None for recordings of less than 0.15 s."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if samples.shape[0] < 0.15 * rate:
        return None
    mel = torchaudio.transforms.MelSpectrogram(
        rate, n_fft=256 if rate < 16_000 else 400, hop_length=rate // 100, n_mels=MELS
    )
    frames = torch.log(mel(torch.from_numpy(samples.mean(axis=1))) + 1e-5).T
    return frames.unfold(0, STACK, 1).reshape(-1, D) if frames.shape[0] > STACK else None


def load(root: Path) -> dict[str, list[torch.Tensor]]:
    """Stacks of every recording, by set, and all of them as ``"mixed"``."""
    sets: dict[str, list[torch.Tensor]] = {}
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        files = sorted(p for p in folder.rglob("*") if p.suffix in (".wav", ".flac"))
        sets[folder.name] = [x for x in map(log_mel_stacks, files) if x is not None]
    sets = {name: stacks for name, stacks in sets.items() if stacks}
    return {**sets, "mixed": [x for stacks in sets.values() for x in stacks]}


def gelu_layer(sets: dict[str, list[torch.Tensor]]) -> dict[str, list[torch.Tensor]]:
    """A random layer on standardised stacks."""
    frames = torch.cat(sets["mixed"])
    mean, std = frames.mean(dim=0), frames.std(dim=0)
    weight = 1.5 * torch.randn(D, D, generator=torch.Generator().manual_seed(5)) / D**0.5
    return {
        name: [torch.nn.functional.gelu((x - mean) / std @ weight) for x in stacks] for name, stacks in sets.items()
    }


def all_frames(stacks: list[torch.Tensor]) -> float:
    """Plain centred value of all frames, each utterance with the same weight."""
    weights = [1.0 / (len(stacks) * x.shape[0]) for x in stacks]
    mean = sum(w * x.double().sum(dim=0) for w, x in zip(weights, stacks, strict=True))
    gram = torch.zeros(D, D, dtype=torch.float64)
    for weight, x in zip(weights, stacks, strict=True):
        centred = x.double() - mean
        gram += weight * (centred.T @ centred)
    return plain_rank(eigenvalues_of(gram))


def draw(
    stacks: list[torch.Tensor], utterances: int, frames: int, rng: np.random.Generator, consecutive: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames of random utterances, and which utterance each belongs to."""
    rows, groups = [], []
    for u in rng.permutation(len(stacks))[:utterances]:
        x = stacks[u]
        count = min(frames, x.shape[0])
        start = int(rng.integers(0, x.shape[0] - count + 1))
        index = np.arange(start, start + count) if consecutive else rng.permutation(x.shape[0])[:count]
        rows.append(x[torch.from_numpy(index)])
        groups += [int(u)] * count
    return torch.cat(rows), torch.tensor(groups)


HEAD = f"  {'':34}{'plain':>8}{'median':>8}{'|median|':>9}{'worst':>8}{'cover':>7}{'width':>7}{'n_eff':>7}  status"


def line(title: str, found: list[RankEstimate], truth: float) -> str:
    """One row of the table."""
    plain = np.median([100.0 * (e.plain / truth - 1.0) for e in found])
    errors = np.array([100.0 * (e.value / truth - 1.0) for e in found])
    held = np.mean([(e.low or 0.0) <= truth <= (e.high or np.inf) for e in found])
    width = np.median([100.0 * np.log(e.high / e.low) for e in found if e.low and e.high])
    worst = errors[np.argmax(np.abs(errors))]
    worth, status = (
        np.median([e.n_eff for e in found]),
        ", ".join(sorted({flag for e in found for flag in e.status})) or "ok",
    )
    return (
        f"  {title:34}{plain:8.1f}{np.median(errors):+8.2f}{np.median(np.abs(errors)):9.2f}{worst:+8.1f}"
        f"{100 * held:7.0f}{width:7.1f}{worth:7.0f}  {status}"
    )


def frame_level(stacks: list[torch.Tensor], draws: int) -> Iterator[str]:
    """Rows of the table at frame level."""
    truth = all_frames(stacks)
    x, groups = draw(stacks, 1250, 16, np.random.default_rng(99))
    wide = estimate_rank(x, groups=groups)
    yield f"  all frames {truth:.1f}; estimate from {wide.n} of them {wide.value:.1f} [{wide.low:.1f}, {wide.high:.1f}]"
    frames = max(4, -(-2048 // len(stacks)))
    for title, k, utterances, count, consecutive in (
        (f"n = 2048, {frames} frames each", None, 2048 // frames, frames, False),
        (f"n = 2048, {frames} frames each, k = 256", 256, 2048 // frames, frames, False),
        ("40 consecutive frames of 50", None, 50, 40, True),
    ):
        found = []
        for seed in range(draws):
            x, groups = draw(stacks, utterances, count, np.random.default_rng(seed), consecutive)
            found.append(estimate_rank(x, groups=groups, projection=k, seed=seed))
        yield line(title, found, truth)


def few_for_many(stacks: list[torch.Tensor], draws: int) -> Iterator[str]:
    """Frames of some utterances for the frames of all, beside all frames of those some, for sets of 1000 and more."""
    if len(stacks) < 1000:
        return
    truth = all_frames(stacks)
    for utterances in (64, 128, 256):
        own, found = [], []
        for seed in range(draws):
            chosen = np.random.default_rng(seed).permutation(len(stacks))[:utterances]
            some = [stacks[i] for i in chosen]
            own.append(100.0 * (all_frames(some) / truth - 1.0))
            x, groups = draw(some, utterances, 2048 // utterances, np.random.default_rng(seed))
            found.append(estimate_rank(x, groups=groups))
        yield line(f"{utterances} for all (their frames {np.median(own):+.1f})", found, truth)


def utterance_level(stacks: list[torch.Tensor], draws: int) -> Iterator[str]:
    """Rows of the table at utterance level, for sets of 1000 utterances and more."""
    if len(stacks) < 1000:
        return
    means = torch.stack([x.mean(dim=0) for x in stacks])
    truth = estimate_rank(means)
    yield f"  utterances: {truth.value:.1f} [{truth.low:.1f}, {truth.high:.1f}] from {truth.n}"
    for n in (1024, 512, 256):
        chosen = [torch.from_numpy(np.random.default_rng(s).permutation(len(means))[:n]) for s in range(draws)]
        yield line(f"{n} utterances", [estimate_rank(means[index]) for index in chosen], truth.value)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--utterance-draws", type=int, default=200)
    arguments = parser.parse_args()
    mel = load(arguments.data)
    for kind, sets in (("log-mel stacks", mel), ("GELU layer", gelu_layer(mel))):
        for name, stacks in sets.items():
            print(f"\n{name}, {kind}, {len(stacks)} utterances\n{HEAD}", flush=True)
            for level in (frame_level, few_for_many, utterance_level):
                draws = arguments.utterance_draws if level is utterance_level else arguments.draws
                for text in level(stacks, draws):
                    print(text, flush=True)


if __name__ == "__main__":
    main()
