"""The callback's arguments, checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rankwatch.alarms.calibration import Calibration
from rankwatch.alarms.detectors import SENSITIVITIES, Detector, default_detectors
from rankwatch.numerics import choose_projection
from rankwatch.runtime.import_path import import_function

LEVELS = ("frame", "utterance")


@dataclass(frozen=True)
class Settings:
    """What the user asked for; see `rankwatch.RankWatch` for the meaning of each.

    Raises:
        ValueError: In the constructor, naming the argument and what it may be.
    """

    name: str = "RankWatch"
    layers: str | Sequence[str] = "auto"
    levels: Sequence[str] = LEVELS
    eval_sets: str | Mapping[str, Any] = "auto"
    probe_forward: Any = None
    watch_train: bool = False
    codebooks: bool = True
    every_n_steps: int = 500
    n_utterances: int = 512
    frames_per_utterance: int = 4
    projection: str | int | None = "auto"
    on_collapse: str = "warn"
    sensitivity: str = "default"
    detectors: Sequence[Detector] | None = None
    on_alarm: Any = None
    max_overhead: float | None = 0.01
    lengths: Any = "auto"
    frames: str = "unmasked"
    sample_rate: int = 16_000
    max_seconds: float = 15.0
    seed: int = 0
    strict: bool = False
    calibration: Calibration | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        _require(bool(self.name) and "/" not in self.name, "name", self.name, "a non-empty word without '/'")
        layers_ok = self.layers == "auto" or (not isinstance(self.layers, str) and len(self.layers) > 0)
        _require(layers_ok, "layers", self.layers, "'auto' or a list of module paths or globs")
        levels_ok = not isinstance(self.levels, str) and len(self.levels) > 0 and set(self.levels) <= set(LEVELS)
        _require(levels_ok, "levels", self.levels, f"a list of {' and '.join(LEVELS)}")
        sets_ok = self.eval_sets == "auto" or isinstance(self.eval_sets, Mapping)
        _require(
            sets_ok,
            "eval_sets",
            self.eval_sets,
            "'auto' or a mapping from names to folders, labelled sets or dataloaders",
        )
        _require(self.every_n_steps >= 1, "every_n_steps", self.every_n_steps, "at least 1")
        enough = "at least 2: one utterance spans no space"
        _require(self.n_utterances >= 2, "n_utterances", self.n_utterances, enough)
        _require(self.frames_per_utterance >= 1, "frames_per_utterance", self.frames_per_utterance, "at least 1")
        number = isinstance(self.projection, int) and self.projection >= 2
        _require(
            number or self.projection in ("auto", None), "projection", self.projection, "'auto', None or columns k >= 2"
        )
        _require(self.sample_rate >= 1, "sample_rate", self.sample_rate, "a number of samples per second")
        _require(self.max_seconds > 0, "max_seconds", self.max_seconds, "more than 0")
        if self.sensitivity not in SENSITIVITIES:
            wanted = f"one of {', '.join(SENSITIVITIES)}, or a file that `rankwatch calibrate` wrote (.yaml)"
            _require(str(self.sensitivity).endswith((".yaml", ".yml")), "sensitivity", self.sensitivity, wanted)
            object.__setattr__(self, "calibration", Calibration.load(self.sensitivity))
        if self.detectors is not None:
            object.__setattr__(self, "detectors", tuple(self.detectors))  # also of what can be gone through only once
            _require(
                self.sensitivity == "default", "sensitivity", self.sensitivity, "'default' where detectors are given"
            )
        for detector in self.detectors or ():
            named = isinstance(getattr(detector, "kind", None), str) and isinstance(
                getattr(detector, "patience", None), int
            )
            fits = named and callable(getattr(detector, "check", None))
            _require(fits, "detectors", detector, "objects with kind, patience and check(reading, past, moment)")
        ways = ("warn", "stop", "raise")
        _require(self.on_collapse in ways, "on_collapse", self.on_collapse, "'warn', 'stop' or 'raise'")
        call_ok = self.on_alarm is None or callable(self.alarm_call)
        _require(call_ok, "on_alarm", self.on_alarm, "a function of an AlarmEvent, or its import path")
        share_ok = self.max_overhead is None or 0 < self.max_overhead <= 1
        _require(share_ok, "max_overhead", self.max_overhead, "a share of the run's time in (0, 1], or None")
        known = ("unmasked", "masked", "all")
        _require(self.frames in known, "frames", self.frames, "'unmasked', 'masked' or 'all'")
        for name in self.sets:
            fits = bool(name) and "/" not in name and "@" not in name and name != "train"
            _require(fits, "eval_sets", name, "names without '/' or '@', and 'train' is taken")
        if self.on_collapse != "warn" and not (self.sets and "frame" in self.levels):
            raise ValueError(
                f"RankWatch(on_collapse={self.on_collapse!r}) needs an evaluation set and the frame level: only "
                "they raise "
                "critical alarms"
            )
        if not self.sets and not self.watch_train:
            raise ValueError("eval_sets is empty and watch_train is off: there is nothing to read")

    @classmethod
    def of(cls, owner: str, arguments: Mapping[str, Any]) -> Settings:
        """From keyword arguments that `owner` was given.

        Raises:
            TypeError: For one that isn't a setting, naming those that are.
        """
        known = [field.name for field in dataclasses.fields(cls) if field.init]
        for name in arguments:
            if name not in known:
                raise TypeError(f"{owner}() has no argument {name!r}; besides its own it takes {', '.join(known)}")
        return cls(**arguments)

    @property
    def judged_by(self) -> Sequence[Detector]:
        """The detectors."""
        if self.detectors is not None:
            return tuple(self.detectors)
        return default_detectors(self.sensitivity) if self.calibration is None else self.calibration.detectors()

    @property
    def alarm_call(self) -> Any:
        """The function that `on_alarm` is or names."""
        return import_function(self.on_alarm) if isinstance(self.on_alarm, str) else self.on_alarm

    @property
    def lag(self) -> int:
        """Optimiser steps from a reading's rows to its outcome: a tenth of the interval, and at least one."""
        return max(1, self.every_n_steps // 10)

    def columns(self, width: int) -> int | None:
        """Columns that a layer of this width is projected to, or None."""
        if self.projection == "auto":
            return choose_projection(width, self.n_utterances * self.frames_per_utterance)
        return self.projection if isinstance(self.projection, int) and self.projection < width else None

    @property
    def sets(self) -> dict[str, Any]:
        """Evaluation sets by name; the first is the primary."""
        if isinstance(self.eval_sets, Mapping):
            return dict(self.eval_sets)
        return {"first_batches": "auto"}

    @property
    def first_batches_set(self) -> str | None:
        """Name of the set that is held back from training, or None."""
        return next((name for name, where in self.sets.items() if isinstance(where, str) and where == "auto"), None)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the evaluation sets, then ``"train"`` if it is watched."""
        return (*self.sets, "train") if self.watch_train else tuple(self.sets)


def _require(condition: bool, name: str, value: Any, wanted: str) -> None:
    if not condition:
        raise ValueError(f"RankWatch({name}={value!r}): must be {wanted}")
