"""Pretrain for some steps with `RankWatch()`, once with and once without it, and keep what it found."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from toys import pl, trainer

import rankwatch.extraction.rows.row_extraction
import rankwatch.run.run_reporters
from rankwatch import RankWatch
from rankwatch.extraction.valid_frames.valid_lengths import Valid


@dataclass
class Run:
    """What a watched run left behind."""

    module: pl.LightningModule
    watch: RankWatch
    table: str = ""
    valid: list[dict[str, Valid]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def layers(self) -> list[str]:
        """Layers that were read, in model order; quantizers apart."""
        return list(dict.fromkeys(r.layer for r in self.watch.readings))

    def frames(self, layer: str) -> list[int]:
        """Valid frames of every utterance of the evaluation set, in the order in which they were held back."""
        calls = [one[layer].frames.tolist() for one in self.valid if layer in one]
        return [n for call in calls[: len(calls) // self.times] for n in call]

    @property
    def times(self) -> int:
        """Readings that were made."""
        return len({r.step for r in self.watch.readings})

    def source(self, layer: str) -> str:
        """Where the lengths of a layer come from."""
        return self.valid[-1][layer].source

    def rows(self, level: str) -> dict[str, set[int]]:
        """Rows of each layer at one level."""
        found: dict[str, set[int]] = {}
        for reading in self.watch.readings:
            if reading.level == level:
                found.setdefault(reading.layer, set()).add(reading.n)
        return found


def drawn(frames: Sequence[int], count: int = 4) -> int:
    """Rows at frame level: `count` of each utterance, all where there are fewer."""
    return sum(min(n, count) for n in frames)


def pretrain(
    make: Callable[[], pl.LightningModule],
    batches: Sequence[Any],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    watch: RankWatch | None = None,
    **arguments: Any,
) -> Run:
    """Train with and without us, from the same seed: weights and losses are bit for bit the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = _fit(make, batches, folder / "plain", [], arguments)
    run = Run(plain, watch or RankWatch())
    resolve = rankwatch.extraction.rows.row_extraction.resolve_lengths

    def spy(*args: Any, **kwargs: Any) -> dict[str, Valid]:
        valid = resolve(*args, **kwargs)
        run.valid.append(valid)
        return valid

    with monkeypatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patch.setattr(rankwatch.extraction.rows.row_extraction, "resolve_lengths", spy)
        patch.setattr(rankwatch.run.run_reporters, "log_info", lambda text: setattr(run, "table", run.table or text))
        run.module = _fit(make, batches, folder / "watched", [run.watch], arguments)
    run.said = [str(w.message) for w in caught if str(w.message).startswith("RankWatch")]
    for (name, ours), theirs in zip(run.module.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in run.module.modules())
    return run


def _fit(make: Any, batches: Sequence[Any], folder: Path, callbacks: list[Any], arguments: Any) -> pl.LightningModule:
    pl.seed_everything(0)
    module: pl.LightningModule = make()
    # Copies: models write into their batches (NeMo dithers in place).
    loader: DataLoader[Any] = DataLoader(copy.deepcopy(list(batches)), batch_size=None, collate_fn=_as_it_is)
    settings = {"max_epochs": 2, "max_steps": -1, "logger": False, "enable_checkpointing": False, **arguments}
    trainer(folder, *callbacks, **settings).fit(module, loader)
    return module


def _as_it_is(batch: Any) -> Any:
    return batch


def padded(lengths: Sequence[int], seed: int = 0, to: int = 0) -> tuple[Tensor, Tensor]:
    """(B, T) noise, zero-padded to the longest or to `to`, and its (B,) lengths."""
    generator = torch.Generator().manual_seed(seed)
    waveforms = torch.zeros(len(lengths), max(*lengths, to))
    for row, length in zip(waveforms, lengths, strict=True):
        row[:length] = torch.randn(length, generator=generator)
    return waveforms, torch.tensor(lengths)
