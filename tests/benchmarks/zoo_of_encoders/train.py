"""One run of the zoo, under watch in a plain loop, and all that is kept of it."""

from __future__ import annotations

import math
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rankwatch import AudioFolder, RowSampling, Watch
from rankwatch.reporting.jsonl_records import read_jsonl
from zoo_of_encoders.breaks import UNCHECKED, Break
from zoo_of_encoders.catalogue import Run
from zoo_of_encoders.chosen_methods import BestRQ, Byol, Data2Vec, Hubert, VICReg, Wav2Vec2
from zoo_of_encoders.held_out_methods import BarlowTwins, Cpc, Jepa, MaskedAutoencoder
from zoo_of_encoders.method import Method
from zoo_of_encoders.probes import Drift, in_train_mode, layer_names, objective, probe
from zoo_of_encoders.record import INPUT, write
from zoo_of_encoders.speech import AudioBatch, crops, labelled, sounds, waveforms

UTTERANCES = 64
PROBES = 12
CLIP = 5.0
METHODS: dict[str, type[Method]] = {
    "hubert": Hubert,
    "data2vec": Data2Vec,
    "wav2vec2": Wav2Vec2,
    "bestrq": BestRQ,
    "vicreg": VICReg,
    "byol": Byol,
    "jepa": Jepa,
    "cpc": Cpc,
    "mae": MaskedAutoencoder,
    "barlow": BarlowTwins,
}


class Training:
    """All that changes while a run goes on."""

    def __init__(self, run: Run, data: Path | None) -> None:
        self.run, self.data = run, data
        torch.manual_seed(1000 + run.seed)
        self.method = self.fresh()
        self.optimizer = self._optimizer()
        self.draws = torch.Generator().manual_seed(2000 + run.seed)
        self.broken: Break | None = None
        self.step = 0
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.skipped = 0
        self._weights: Tensor | None = None

    def fresh(self) -> Method:
        """The method as at random initialisation, looked at its corpus."""
        method = METHODS[self.run.method](self.run.architecture, self.run.width)
        speech = waveforms(self.run.corpus, self.data)
        method.prepare(list(speech[:: max(1, len(speech) // 150)]))
        return method

    def _optimizer(self) -> torch.optim.Optimizer:
        """The front end learns slower, as in many recipes; a teacher not at all."""
        named = [(name, p) for name, p in self.method.named_parameters() if p.requires_grad]
        front = [p for name, p in named if "encoder.feature_extractor" in name]
        rest = [p for name, p in named if "encoder.feature_extractor" not in name]
        groups = [{"params": rest, "share": 1.0}, {"params": front, "share": 0.3}]
        return torch.optim.AdamW(groups, self.run.rate, (0.9, 0.98), weight_decay=0.01)

    def resume(self) -> None:
        """As after an interruption: everything is saved, thrown away and loaded."""
        states = self.method.state_dict(), self.optimizer.state_dict()
        with torch.random.fork_rng():
            torch.manual_seed(99)
            self.method = self.fresh()
        self.method.load_state_dict(states[0])
        self.optimizer = self._optimizer()
        self.optimizer.load_state_dict(states[1])

    def rate(self) -> float:
        """The learning rate of the next step."""
        run, warm_up = self.run, self.run.warm_up * self.run.steps
        if self.step < warm_up:
            return run.rate * (self.step + 1) / warm_up
        progress = (self.step - warm_up) / (run.steps - warm_up)
        if run.schedule == "restarts":
            progress = 3 * progress % 1
        low = {"to_zero": 0.0, "constant": 1.0}.get(run.schedule, 0.1)
        rate = run.rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress)))
        return rate * (self.broken.rate_factor() if self.broken else 1.0)

    def next_batch(self) -> AudioBatch:
        """A batch of the corpus of now, spoilt where the loader is broken."""
        run = self.run
        corpus = run.then if run.then and self.step >= run.steps // 2 else run.corpus
        batch = crops(waveforms(corpus, self.data), run.batch, self.draws)
        return self.broken.spoil(batch) if self.broken else batch

    def take_step(self, around: Callable[[AudioBatch], Any]) -> AudioBatch:
        """One optimiser step; `around` gives the context of its forward and backward pass."""
        run, method = self.run, self.method
        if self.step == run.switch:
            self.broken = Break(run)
            self.broken.begin(method, self.optimizer, self.fresh)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate() * group["share"]
        batch = self.next_batch()
        progress = self.step / run.steps
        method.train()
        overflow = self.broken is not None and self.broken.way == "fp16_overflow"
        with around(batch), torch.autocast("cpu", torch.bfloat16, enabled=run.precision == "bf16-mixed"):
            loss = method.loss(batch, progress)
            (loss * (2.0**24 if overflow else 1.0)).backward()
        if overflow:  # half precision with a loss scale that is too high
            for parameter in method.parameters():
                if parameter.grad is not None:
                    parameter.grad = (parameter.grad.half() / 2.0**24).float()
        clip = self.broken.clip(CLIP) if self.broken else CLIP
        norm = torch.nn.utils.clip_grad_norm_(method.parameters(), clip, error_if_nonfinite=False)
        # A step with NaN or Inf is left out, as recipes with a scaler do.
        unchecked = self.broken is not None and self.broken.way in UNCHECKED
        if unchecked or bool(torch.isfinite(norm)):
            self.optimizer.step()
            method.moved(progress)
        else:
            self.skipped += 1
        self.optimizer.zero_grad()
        if self.broken is not None:
            self.broken.after_step(method)
        self.step += 1
        self.losses.append(float(loss.detach()))
        self.norms.append(float(norm))
        return batch

    def facts(self, batch: AudioBatch) -> dict[str, Any]:
        """What the loop knows at a reading, of the steps since the last one."""
        weights = torch.cat([p.detach().flatten() for p in self.method.encoder.parameters()])
        before = weights if self._weights is None else self._weights
        found = {
            "step": self.step,
            "rate": self.optimizer.param_groups[0]["lr"],
            "loss": float(np.mean(self.losses)),
            "grad_norm": float(np.mean(self.norms)),
            "grad_norm_max": float(np.max(self.norms)),
            "skipped": self.skipped,
            "weight_norm": float(weights.norm()),
            "weights_moved": float((weights - before).norm() / before.norm()),
            **self.method.facts,
            **in_train_mode(self.method, batch),
        }
        self._weights, self.losses, self.norms, self.skipped = weights, [], [], 0
        return found


def train(run: Run, data: Path | None, out: Path) -> None:
    """Train it and write its history."""
    warnings.filterwarnings("ignore")
    training = Training(run, data)
    sets = labelled(run.corpus, data)
    drift = Drift(sets[0])
    folder = Path(tempfile.mkdtemp())
    clean = torch.Generator().manual_seed(3)
    batches = [crops(waveforms(run.corpus, data), 12, clean) for _ in range(4)]
    notes: dict[str, list[dict[str, Any]]] = {"facts": [], "drift": [], "probes": [], "objective": []}
    notes["objective"].append({"step": 0, "loss": objective(training.method, batches)})
    watch = _watch(run, training.method, folder / "0")
    probes_at = {run.steps * (i + 1) // PROBES for i in range(PROBES)}
    try:
        while training.step < run.steps:
            batch = training.take_step(watch.batch)
            watch.step()
            if training.step % run.every == 0:
                notes["facts"].append(training.facts(batch))
                notes["drift"].append({"step": training.step, **drift.read(training.method)})
            if training.step in probes_at:
                notes["probes"].append({"step": training.step, **probe(training.method, sets)})
                notes["objective"].append({"step": training.step, "loss": objective(training.method, batches)})
            if training.step in run.resumed:
                state = watch.state_dict()
                watch.close(InterruptedError("stopped to go on"))
                training.resume()
                watch = _watch(run, training.method, folder / str(training.step))
                watch.load_state_dict(state)
        watch.close()
        files = sorted(folder.glob("*/RankWatch.jsonl"), key=lambda path: int(path.parent.name))
        readings = [reading for file in files for reading in read_jsonl(file)]
        unread = set(layer_names(training.method)) - {r.layer for r in readings if r.source != "train"}
        if unread:
            raise RuntimeError(f"no reading of {sorted(unread)}: such a history would count as a healthy run")
        write(out, run, readings, watch.codebook_readings, notes)
    finally:
        watch.close(InterruptedError("failed"))
        shutil.rmtree(folder)


def _watch(run: Run, method: Method, folder: Path) -> Watch:
    half = run.precision == "bf16-mixed"
    sets: dict[str, Any] = {"first_batches": "first_batches"}
    layouts = {INPUT: "(B, T, C)"}
    if run.architecture == "patches":  # all bands of a time next to each other, which can't be seen from a waveform
        layouts |= dict.fromkeys(layer_names(method), "(B, T, C)")
    if not run.long:
        sets["sounds"] = AudioFolder(sounds(), max_seconds=0.8)
    return Watch(
        method,
        folder,
        precision=run.precision,
        autocast=lambda: torch.autocast("cpu", torch.bfloat16, enabled=half),
        layers=[INPUT, *layer_names(method)],
        watch=("frame", "utterance", "codebook", "training_pass"),
        eval_sets=sets,
        rows=RowSampling(n_utterances=UTTERANCES, brief_utterances=None, layouts=layouts),
        every_n_steps=run.every,
        max_overhead=None,
    )
