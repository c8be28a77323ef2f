"""One run of the zoo, under watch in a plain loop, and all that is kept of it."""

from __future__ import annotations

import math
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import breaks
import numpy as np
import torch
from catalogue import Run
from corpus import AudioBatch, Labelled, batches, digits, phones, waveforms
from methods import METHODS, Method
from record import Readings, write
from torch import Tensor

from rankwatch import AudioFolder, RowSampling, Watch
from rankwatch.numerics import linear_probe
from rankwatch.reporting.jsonl_records import read_jsonl

EVERY = 10
PROBE_EVERY = 25
UTTERANCES = 64


def train(run: Run, data: Path, out: Path) -> None:
    """Train it and write its history; what a training without watch would do besides is timed by nobody here."""
    warnings.filterwarnings("ignore")
    torch.manual_seed(1000 + run.seed)
    method = METHODS[run.method](run.width, 0.1)
    draws = torch.Generator().manual_seed(2000 + run.seed)
    speech = waveforms(data, run.corpus)
    method.prepare(list(speech[:: max(1, len(speech) // 150)]))
    optimizer = torch.optim.AdamW(_groups(method, run), run.rate, (0.9, 0.98), weight_decay=0.01)
    half = run.precision == "bf16-mixed"
    facts: list[dict[str, Any]] = []
    probes: list[dict[str, Any]] = []
    losses: list[float] = []
    folder = Path(tempfile.mkdtemp())
    watch = Watch(
        method,
        folder,
        precision=run.precision,
        autocast=lambda: torch.autocast("cpu", torch.bfloat16, enabled=half),
        watch=("frame", "utterance", "codebook", "training_pass"),
        eval_sets={
            "first_batches": "first_batches",
            "music": AudioFolder(data / "ood_music_cc0", max_seconds=0.8),
        },
        rows=RowSampling(n_utterances=UTTERANCES),
        every_n_steps=EVERY,
        max_overhead=None,
    )
    with watch:
        for step in range(run.steps):
            rate = _rate(run, step) * breaks.rate_factor(run, step)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["share"]
            if step == run.switch:
                breaks.break_it(run, method, optimizer)
            corpus = run.then if run.then and step >= run.steps // 2 else run.corpus
            batch = batches(data, corpus, run.batch, draws)
            if step >= run.switch:
                batch = breaks.spoil(run, batch)
            loss = _step(run, method, batch, watch, optimizer, step)
            losses.append(loss)
            watch.step()
            if (step + 1) % EVERY == 0:
                facts.append({"step": step + 1, "rate": rate, "loss": _mean(losses), **method.facts})
                facts[-1].update(_in_train_mode(method, batch))
                losses = []
            if (step + 1) % PROBE_EVERY == 0:
                layers = sorted({reading.layer for reading in watch.readings})
                probes.append({"step": step + 1, "probes": _probes(method, data, layers)})
    write(out, run, Readings.of(read_jsonl(folder / "RankWatch.jsonl")), facts, probes)
    shutil.rmtree(folder)


def _groups(method: Method, run: Run) -> list[dict[str, Any]]:
    """The front end learns slower, as in many recipes; a teacher not at all."""
    front, rest = [], []
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            (front if "feature_extractor" in name else rest).append(parameter)
    return [{"params": rest, "share": 1.0}, {"params": front, "share": 0.3}]


def _rate(run: Run, step: int) -> float:
    warm_up = run.warm_up * run.steps
    if step < warm_up:
        return run.rate * (step + 1) / warm_up
    return run.rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (run.steps - warm_up))))


def _step(
    run: Run, method: Method, batch: AudioBatch, watch: Watch, optimizer: torch.optim.Optimizer, step: int
) -> float:
    method.train()
    progress = step / run.steps
    broken = step >= run.switch
    with watch.batch(batch), torch.autocast("cpu", torch.bfloat16, enabled=run.precision == "bf16-mixed"):
        if run.variant == "fp16_overflow" and broken:
            loss = _in_half(method, batch, progress)
        else:
            loss = method.loss(batch, progress)
            loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(method.parameters(), 5.0, error_if_nonfinite=False)
    # A step with NaN or Inf is left out, as recipes with a scaler do (Gumbel noise is infinite now and then). In two
    # ways of breaking this check is what is missing.
    unchecked = broken and run.variant in ("nan", "fp16_overflow")
    if unchecked or bool(torch.isfinite(norm)):
        optimizer.step()
    optimizer.zero_grad()
    method.moved(progress)
    if broken:
        breaks.after_step(run, method, step - run.switch)
    return float(loss.detach())


def _in_half(method: Method, batch: AudioBatch, progress: float) -> Tensor:
    """Half precision with a loss scale that is too high, and nobody who looks for Inf before the step."""
    with torch.autocast("cpu", torch.float16):
        loss = method.loss(batch, progress)
    (loss * 2.0**24).backward()
    for parameter in method.parameters():
        if parameter.grad is not None:
            parameter.grad = (parameter.grad.half() / 2.0**24).float()
    return loss


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _layers(method: Method) -> list[str]:
    return [name for name, module in method.named_modules() if any(module is block for block in method.blocks())]


@torch.no_grad()
def _in_train_mode(method: Method, batch: AudioBatch) -> dict[str, float]:
    """What others look at: the last layer's frames in train mode, dropout and all."""
    with torch.random.fork_rng():
        method.train()
        rows = _hidden(method, batch, [_layers(method)[-1]])[0].double()
    if not bool(torch.isfinite(rows).all()):
        return {"rankme": math.nan, "std_normalised": math.nan}
    singular = torch.linalg.svdvals(rows)
    shares = singular / singular.sum() + 1e-7
    unit = torch.nn.functional.normalize(rows, dim=1)
    return {
        "rankme": float(torch.exp(-(shares * shares.log()).sum())),  # Garrido et al. 2023, equation 1
        "std_normalised": float(unit.std(0).mean()) * math.sqrt(rows.shape[1]),
    }


def _hidden(method: Method, batch: AudioBatch, layers: list[str], utterances: bool = False) -> list[Tensor]:
    """Valid frames (n, d) of some layers, or each utterance's mean of them."""
    found: dict[str, Tensor] = {}
    hooks: list[Any] = []
    for layer in layers:
        module = method.get_submodule(layer)
        hooks.append(module.register_forward_hook(lambda m, a, o, layer=layer: found.__setitem__(layer, _first(o))))
    while len(found) < len(layers):  # a layer may be dropped in train mode
        method.embed(batch)
    for hook in hooks:
        hook.remove()
    frames = [max(1, int(n)) for n in batch.lengths // 320]
    rows = []
    for layer in layers:
        x = found[layer]
        if abs(x.shape[1] - max(frames)) > 2:  # (B, C, T)
            x = x.transpose(1, 2)
        parts = [x[i, :n] for i, n in enumerate(frames)]
        rows.append(torch.stack([p.mean(0) for p in parts]) if utterances else torch.cat(parts))
    return rows


def _first(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


@torch.no_grad()
def _probes(method: Method, data: Path, layers: list[str]) -> dict[str, dict[str, list[float]]]:
    """Accuracy and majority of both probes at each layer, in eval mode."""
    training = method.training
    method.eval()
    found: dict[str, dict[str, list[float]]] = {layer: {} for layer in layers}
    with torch.random.fork_rng():
        for name, labelled in (("phones", phones(data)), ("digits", digits(data))):
            for layer, (rows, labels, fold) in zip(layers, _embedded(method, labelled, layers), strict=True):
                found[layer][name] = _accuracy(rows, labels, fold)
    method.train(training)
    return found


def _embedded(method: Method, labelled: Labelled, layers: list[str]) -> list[tuple[Tensor, np.ndarray, np.ndarray]]:
    from corpus import collate

    columns: list[list[Tensor]] = [[] for _ in layers]
    labels, folds = [], []
    order = sorted(range(len(labelled.waveforms)), key=lambda i: len(labelled.waveforms[i]))
    for start in range(0, len(order), 28):
        chosen = order[start : start + 28]
        batch = collate([labelled.waveforms[i] for i in chosen])
        rows = _hidden(method, batch, layers, utterances=not labelled.frames)
        if labelled.frames:
            # Every third frame: neighbours say the same.
            which = torch.arange(len(rows[0]))[::3]
            rows = [r[which] for r in rows]
            here = np.concatenate([labelled.labels[i][: max(1, len(labelled.waveforms[i]) // 320)] for i in chosen])
            fold = np.concatenate([np.full(len(labelled.labels[i]), labelled.fold[i]) for i in chosen])
            labels.append(here[which.numpy()])
            folds.append(fold[which.numpy()])
        else:
            labels.append(np.concatenate([labelled.labels[i] for i in chosen]))
            folds.append(labelled.fold[chosen])
        for column, r in zip(columns, rows, strict=True):
            column.append(r)
    y, f = np.concatenate(labels), np.concatenate(folds)
    known = y >= 0
    return [(torch.cat(column)[torch.from_numpy(known)], y[known], f[known]) for column in columns]


def _accuracy(rows: Tensor, labels: np.ndarray, fold: np.ndarray) -> list[float]:
    """Both ways between two halves of the speakers: accuracy and majority, pooled."""
    rows = torch.nan_to_num(rows.double(), 0.0, 0.0, 0.0)
    right = common = 0.0
    for test in (0, 1):
        there, here = torch.from_numpy(fold != test), torch.from_numpy(fold == test)
        result = linear_probe(rows[there], labels[there.numpy()], rows[here], labels[here.numpy()])
        right += result.accuracy * int(here.sum())
        common += result.majority * int(here.sum())
    return [right / len(labels), common / len(labels)]
