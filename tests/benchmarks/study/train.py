"""One model: trained without any label, with checkpoints and the loss on the way."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import torch
from scipy.cluster.vq import kmeans2, vq
from torch import Tensor
from zoo_of_encoders.chosen_methods import BestRQ, Data2Vec, Hubert, VICReg, Wav2Vec2
from zoo_of_encoders.encoders import Encoder
from zoo_of_encoders.method import Method
from zoo_of_encoders.probes import objective

from study.catalogue import (
    BATCH,
    CHECKPOINTS,
    RATE,
    STEPS,
    TARGET_BLOCK,
    UNITS_OF_SECOND,
    WARM_UP,
    WIDTH,
    Run,
)
from study.speech import crops, training_files, unseen_files, waveforms

ARCHITECTURE = "deep_raw_waveform"
_CLASSES: dict[str, type[Method]] = {
    "hubert": Hubert,
    "data2vec": Data2Vec,
    "bestrq": BestRQ,
    "wav2vec2": Wav2Vec2,
    "vicreg": VICReg,
}


class LayerUnits(torch.nn.Module):
    """k-means units of a trained encoder's block, in the place of `hubert.Units`.

    Args:
        encoder: The first iteration's encoder.
        speech: Waveforms whose frames are clustered.
        seed: Of the clustering.
    """

    def __init__(self, encoder: Encoder, speech: list[Tensor], seed: int) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        frames = torch.cat([self._features(waveform.unsqueeze(0))[0] for waveform in speech]).numpy()
        self.mean, self.std = frames.mean(0), frames.std(0) + 1e-5
        self.centroids, _ = kmeans2((frames - self.mean) / self.std, UNITS_OF_SECOND, iter=15, minit="++", rng=seed)

    @torch.no_grad()
    def _features(self, waveforms: Tensor) -> Tensor:
        self.encoder.eval()
        lengths = torch.full((len(waveforms),), waveforms.shape[1])
        features: Tensor = self.encoder(waveforms, lengths).hidden[TARGET_BLOCK]
        return features

    def forward(self, waveforms: Tensor, n_frames: int) -> Tensor:
        """Units (B, n_frames) of (B, N) waveforms."""
        frames = self._features(waveforms)
        units, _ = vq(((frames.flatten(0, 1).numpy() - self.mean) / self.std), self.centroids)
        found = torch.from_numpy(units).long().reshape(len(waveforms), -1)
        return found[:, torch.arange(n_frames).clamp(max=found.shape[1] - 1)]


def train(run: Run, data: Path, out: Path) -> None:
    """Train a model and write ``step-N.pt`` for each checkpoint and ``loss.csv``.

    Args:
        run: Which one.
        data: The folder of corpora.
        out: The folder of all runs; its own is made in it.
    """
    torch.manual_seed(1000 + run.seed)
    speech = waveforms(tuple(training_files(data)))
    method = _method(run, speech, out)
    fixed = torch.Generator().manual_seed(3)
    unseen = [crops(waveforms(tuple(unseen_files(data))), 16, fixed) for _ in range(4)]
    optimizer = torch.optim.AdamW(method.parameters(), RATE, (0.9, 0.98), weight_decay=0.01)
    draws = torch.Generator().manual_seed(2000 + run.seed)
    folder = out / run.name
    folder.mkdir(parents=True, exist_ok=True)
    rows, recent = [], []
    for step in range(STEPS + 1):
        if step in CHECKPOINTS:
            torch.save({"state_dict": method.encoder.state_dict(), "step": step}, folder / f"step-{step}.pt")
            training = float(np.mean(recent)) if recent else math.nan
            rows.append({"step": step, "training_loss": training, "loss": objective(method, unseen)})
            recent = []
        if step == STEPS:
            break
        for group in optimizer.param_groups:
            group["lr"] = _rate(step)
        method.train()
        loss = method.loss(crops(speech, BATCH, draws), step / STEPS)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()
        method.moved(step / STEPS)
        recent.append(float(loss.detach()))
    with (folder / "loss.csv").open("w", newline="") as file:  # last: a run with it is complete
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _method(run: Run, speech: tuple[Tensor, ...], out: Path) -> Method:
    if run.method != "hubert2":
        method = _CLASSES[run.method](ARCHITECTURE, WIDTH)
        method.prepare(list(speech[:: max(1, len(speech) // 150)]))
        return method
    first = Encoder(ARCHITECTURE, WIDTH)
    path = out / f"hubert-{run.seed}" / f"step-{STEPS}.pt"
    first.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    second = Hubert(ARCHITECTURE, WIDTH, units=UNITS_OF_SECOND)
    units = LayerUnits(first, list(speech[:: max(1, len(speech) // 150)]), run.seed)
    object.__setattr__(second, "units", units)  # not a child: no optimiser and no `train()` reaches it
    del second._modules["units"]
    return second


def _rate(step: int) -> float:
    warm_up = WARM_UP * STEPS
    if step < warm_up:
        return RATE * (step + 1) / warm_up
    progress = (step - warm_up) / (STEPS - warm_up)
    return RATE * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress)))
