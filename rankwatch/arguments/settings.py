"""The arguments of every face, with the one set of defaults, checked."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, TypeGuard

from rankwatch.alarms.detectors import SENSITIVITIES, Detector, default_detectors
from rankwatch.alarms.detectors.calibration import Calibration
from rankwatch.arguments.renamed_arguments import refuse_renamed
from rankwatch.extraction.eval_sets.eval_set_sources import AudioFolder, FirstBatches, Loader
from rankwatch.extraction.eval_sets.labelled_set import LabelledSet
from rankwatch.extraction.rows.sampling_options import RowSampling
from rankwatch.runtime.import_path import import_function

LEVELS = ("frame", "utterance")
WATCH = (*LEVELS, "codebook", "training_pass")
FIRST_BATCHES = "first_batches"
TRAINING_PASS = "train"
"""Name of the training forward pass as a source of rows."""

EvalSource = FirstBatches | AudioFolder | LabelledSet | Loader
EvalSets = str | Path | EvalSource | Mapping[str, str | Path | EvalSource]

_DEFAULT_ROWS = RowSampling()


class RankWatchArguments(TypedDict, total=False):
    """The arguments of every face, for editors; see `rankwatch.RankWatch` for the meaning of each."""

    on_collapse: str
    on_alarm: str | Callable[[Any], Any] | None
    sensitivity: str | Path | Sequence[Detector]
    every_n_steps: int
    max_overhead: float | None
    layers: str | Sequence[str]
    watch: Sequence[str]
    eval_sets: EvalSets
    rows: RowSampling
    name: str
    strict: bool


@dataclass(frozen=True)
class Settings:
    """What the user asked for; see `rankwatch.RankWatch` for the meaning of each.

    Raises:
        ValueError: In the constructor, with the argument and what it may be.
    """

    on_collapse: str = "warn"
    on_alarm: str | Callable[[Any], Any] | None = None
    sensitivity: str | Path | Sequence[Detector] = "default"
    every_n_steps: int = 500
    max_overhead: float | None = 0.01
    layers: str | Sequence[str] = "auto"
    watch: Sequence[str] = ("frame", "utterance", "codebook")
    eval_sets: EvalSets = FIRST_BATCHES
    rows: RowSampling = _DEFAULT_ROWS
    name: str = "RankWatch"
    strict: bool = False
    calibration: Calibration | None = field(default=None, init=False)
    sets: Mapping[str, EvalSource] = field(default_factory=dict, init=False)
    """Evaluation sets by name; the first is the primary."""

    def __post_init__(self) -> None:
        self._require(self.on_collapse in ("warn", "stop", "raise"), "on_collapse", "'warn', 'stop' or 'raise'")
        called = self.on_alarm is None or callable(self.alarm_call)
        self._require(called, "on_alarm", "a function of an AlarmEvent, or its import path")
        self._check_sensitivity()
        self._require(self.every_n_steps >= 1, "every_n_steps", "at least 1")
        share = self.max_overhead is None or 0 < self.max_overhead <= 1
        self._require(share, "max_overhead", "a share of the run's time in (0, 1], or None")
        layers = self.layers == "auto" or (not isinstance(self.layers, str) and len(self.layers) > 0)
        self._require(layers, "layers", "'auto' or a list of module paths or globs")
        watched = not isinstance(self.watch, str) and len(self.watch) > 0 and set(self.watch) <= set(WATCH)
        self._require(watched, "watch", f"a list with any of {', '.join(map(repr, WATCH))}")
        self._require(
            isinstance(self.rows, RowSampling), "rows", "a RowSampling, for example RowSampling(n_utterances=256)"
        )
        self._require(bool(self.name) and "/" not in self.name, "name", "a non-empty word without '/'")
        object.__setattr__(self, "sets", _named_sets(self.eval_sets))
        self._check_together()

    def _require(self, condition: bool, name: str, wanted: str) -> None:
        if not condition:
            raise ValueError(f"{name}={getattr(self, name)!r}: {name} must be {wanted}")

    def _check_sensitivity(self) -> None:
        """A preset, a file of thresholds (which is read here), or detectors."""
        if isinstance(self.sensitivity, (str, Path)):
            if self.sensitivity not in SENSITIVITIES:
                file = str(self.sensitivity).endswith((".yaml", ".yml"))
                presets = ", ".join(map(repr, SENSITIVITIES))
                self._require(
                    file,
                    "sensitivity",
                    f"one of {presets}, a file that `rankwatch calibrate` wrote (.yaml), or detectors",
                )
                object.__setattr__(self, "calibration", Calibration.load(self.sensitivity))
            return
        object.__setattr__(self, "sensitivity", tuple(self.sensitivity))  # also of what can be gone through only once
        for detector in self.sensitivity:
            if not _is_detector(detector):
                raise ValueError(
                    f"sensitivity: {detector!r} is no detector, which has kind, patience and "
                    "check(reading, past, context)"
                )

    def _check_together(self) -> None:
        self._require(
            bool(self.levels), "watch", "any of these with at least one of the levels 'frame' and 'utterance'"
        )
        if self.on_collapse != "warn" and not (self.sets and "frame" in self.levels):
            raise ValueError(
                f"on_collapse={self.on_collapse!r} needs an evaluation set, and 'frame' in watch: only the frame "
                "level of evaluation sets can raise a critical alarm"
            )
        if not self.sets and not self.watches_training_pass:
            raise ValueError("eval_sets is empty and 'training_pass' is not in watch: there is nothing to read")

    @classmethod
    def of(cls, owner: str, arguments: Mapping[str, object]) -> Settings:
        """From keyword arguments that a face was called with.

        An argument of before the arguments were renamed raises TypeError with what to write instead.

        Args:
            owner: The face, for messages.
            arguments: Its keyword arguments.

        Returns:
            The settings.

        Raises:
            TypeError: For one that isn't a setting, with those that are.
        """
        refuse_renamed(owner, arguments)
        known = [field.name for field in dataclasses.fields(cls) if field.init]
        for name in arguments:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f" Did you mean {near[0]}?" if near else ""
                raise TypeError(
                    f"{owner}() has no argument {name!r}.{hint} Besides its own it takes {', '.join(known)}"
                )
        checked: Mapping[str, Any] = arguments
        return cls(**checked)

    @property
    def levels(self) -> tuple[str, ...]:
        """Levels at which rows are drawn, of ``"frame"`` and ``"utterance"``."""
        return tuple(one for one in self.watch if one in LEVELS)

    @property
    def watches_codebooks(self) -> bool:
        """Whether the codes that quantizers use are counted."""
        return "codebook" in self.watch

    @property
    def watches_training_pass(self) -> bool:
        """Whether the training forward pass is read as well."""
        return "training_pass" in self.watch

    @property
    def detectors(self) -> Sequence[Detector]:
        """What raises alarms."""
        if not isinstance(self.sensitivity, (str, Path)):
            return tuple(self.sensitivity)
        return default_detectors(str(self.sensitivity)) if self.calibration is None else self.calibration.detectors()

    @property
    def alarm_call(self) -> Callable[[Any], Any] | None:
        """The function that `on_alarm` is or names."""
        return import_function(self.on_alarm) if isinstance(self.on_alarm, str) else self.on_alarm

    @property
    def lag(self) -> int:
        """Optimiser steps from a reading's rows to its outcome: a tenth of the interval, and at least one."""
        return max(1, self.every_n_steps // 10)

    @property
    def first_batches_set(self) -> str | None:
        """Name of the set that is copied from the first training batches, or None."""
        return next((name for name, one in self.sets.items() if isinstance(one, FirstBatches)), None)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the evaluation sets, then ``"train"`` if the training pass is watched."""
        return (*self.sets, TRAINING_PASS) if self.watches_training_pass else tuple(self.sets)


def _is_detector(thing: object) -> TypeGuard[Detector]:
    named = isinstance(getattr(thing, "kind", None), str) and isinstance(getattr(thing, "patience", None), int)
    return named and callable(getattr(thing, "check", None)) and not isinstance(thing, type)


def _named_sets(eval_sets: EvalSets) -> dict[str, EvalSource]:
    """Shorthand resolved: one object for each set, by name."""
    if not isinstance(eval_sets, Mapping):
        one = _eval_source("eval_sets", eval_sets)
        return {one.default_name: one}
    sets: dict[str, EvalSource] = {}
    for name, value in eval_sets.items():
        if not name or "/" in name or "@" in name or name == TRAINING_PASS:
            raise ValueError(
                f"eval_sets: {name!r} can't be a set's name; names have no '/' or '@', and 'train' stands for the "
                "training pass"
            )
        sets[name] = _eval_source(f"eval_sets[{name!r}]", value)
    if sum(isinstance(one, FirstBatches) for one in sets.values()) > 1:
        raise ValueError("eval_sets: the first batches can be one set only")
    return sets


def _eval_source(where: str, value: object) -> EvalSource:
    if isinstance(value, (FirstBatches, AudioFolder, LabelledSet, Loader)):
        return value
    if value == FIRST_BATCHES:
        return FirstBatches()
    if value == "auto":
        raise ValueError(f"{where}='auto': that is {FIRST_BATCHES!r} now (a folder called auto: './auto')")
    if isinstance(value, (str, Path)):
        return AudioFolder(value)
    advice = "'first_batches', a folder, FirstBatches(...), AudioFolder(...), LabelledSet(...) or Loader(...)"
    if hasattr(value, "__iter__") or hasattr(value, "__getitem__"):
        raise ValueError(
            f"{where} is a {type(value).__name__}: wrap a dataloader as Loader(loader, forward=f), where f(module, "
            f"batch) runs one of its batches through the model. Other sets are {advice}"
        )
    raise ValueError(f"{where}={value!r}: an evaluation set is {advice}")
