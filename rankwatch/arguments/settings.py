"""The arguments of every face, with the one set of defaults, checked."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from rankwatch.alarms.detectors import SENSITIVITIES, Detector, default_detectors
from rankwatch.alarms.detectors.calibration import Calibration
from rankwatch.arguments.checked_detector import check_detector
from rankwatch.arguments.named_sets import FIRST_BATCHES, TRAINING_PASS, EvalSets, EvalSource, named_sets
from rankwatch.arguments.renamed_arguments import refuse_renamed
from rankwatch.extraction.eval_sets.eval_set_sources import FirstBatches
from rankwatch.extraction.rows.sampling_options import RowSampling
from rankwatch.runtime.argument_kinds import function_of, is_flag, is_number, is_text, is_whole, refusal, words
from rankwatch.runtime.distributed import World, quota

LEVELS = ("frame", "utterance")
WATCH = (*LEVELS, "codebook", "drift", "training_pass")

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
    watch: Sequence[str] = ("frame", "utterance", "codebook", "drift")
    eval_sets: EvalSets = FIRST_BATCHES
    rows: RowSampling = _DEFAULT_ROWS
    name: str = "RankWatch"
    strict: bool = False
    calibration: Calibration | None = field(default=None, init=False)
    alarm_call: Callable[[Any], Any] | None = field(default=None, init=False)
    """The function that `on_alarm` is or names."""
    sets: Mapping[str, EvalSource] = field(default_factory=dict, init=False)
    """Evaluation sets by name; the first is the primary."""

    def __post_init__(self) -> None:
        actions = ("warn", "stop", "raise")
        self._require(_one_of(self.on_collapse, actions), "on_collapse", "'warn', 'stop' or 'raise'")
        self._set("alarm_call", self._alarm_call())
        self._check_sensitivity()
        self._require(is_whole(self.every_n_steps, 1), "every_n_steps", "a whole number, at least 1")
        self._set("every_n_steps", int(self.every_n_steps))  # numpy's are written into no checkpoint
        share = self.max_overhead is None or (is_number(self.max_overhead) and 0 < self.max_overhead <= 1)
        self._require(share, "max_overhead", "a share of the run's time in (0, 1], or None")
        self._set("max_overhead", None if self.max_overhead is None else float(self.max_overhead))
        if not _one_of(self.layers, ("auto",)):
            self._set("layers", self._words("layers", "'auto' or a list of module paths or globs"))
        wanted = f"a list with any of {', '.join(map(repr, WATCH))}"
        self._set("watch", self._words("watch", wanted))
        self._require(set(self.watch) <= set(WATCH), "watch", wanted)
        wanted = "a RowSampling, for example RowSampling(n_utterances=256)"
        self._require(isinstance(self.rows, RowSampling), "rows", wanted)
        named = is_text(self.name) and bool(self.name.strip()) and "/" not in self.name
        self._require(named, "name", "a non-empty word without '/'")
        self._require(is_flag(self.strict), "strict", "True or False")
        self._set("strict", bool(self.strict))
        self._set("sets", named_sets(self.eval_sets))
        self._check_together()

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _require(self, condition: bool, name: str, wanted: str) -> None:
        if not condition:
            raise ValueError(refusal("", name, getattr(self, name), wanted))

    def _words(self, name: str, wanted: str) -> tuple[str, ...]:
        found = words(getattr(self, name))
        if found is None:
            raise ValueError(refusal("", name, getattr(self, name), wanted))
        return found

    def _alarm_call(self) -> Callable[[Any], Any] | None:
        if self.on_alarm is None:
            return None
        return function_of(
            "", "on_alarm", self.on_alarm, 1, "a function of an AlarmEvent, f(event), or its import path"
        )

    def _check_sensitivity(self) -> None:
        """A preset, a file of thresholds (which is read here), or detectors."""
        wanted = (
            f"one of {', '.join(map(repr, SENSITIVITIES))}, a file that `rankwatch calibrate` wrote (.yaml), or a list "
            "of detectors"
        )
        if isinstance(self.sensitivity, (str, Path)):
            if self.sensitivity not in SENSITIVITIES:
                self._require(str(self.sensitivity).endswith((".yaml", ".yml")), "sensitivity", wanted)
                self._set("calibration", Calibration.load(self.sensitivity))
            return
        several = isinstance(self.sensitivity, Iterable) and not isinstance(self.sensitivity, (bytes, Mapping, type))
        self._require(several, "sensitivity", wanted)
        self._set("sensitivity", tuple(self.sensitivity))  # also of what can be gone through only once
        for detector in self.sensitivity:
            check_detector(detector)

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
    def watches_drift(self) -> bool:
        """Whether layers are compared with their own earlier readings."""
        return "drift" in self.watch

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
    def lag(self) -> int:
        """Optimiser steps from a reading's rows to its outcome: a tenth of the interval, and at least one."""
        return max(1, self.every_n_steps // 10)

    def brief_share(self, world: World, utterances: int) -> int | None:
        """Utterances of this process in a brief reading of a set.

        Args:
            world: This process among the others.
            utterances: Utterances of the set over all processes.

        Returns:
            Their number; None where the set is always read as a whole, as it is where frames, which are all that a
            brief reading shows, aren't watched.
        """
        wanted = self.rows.brief_of(utterances) if "frame" in self.levels else 0
        return quota(wanted, world.rank, world.size) if wanted else None

    @property
    def first_batches_set(self) -> str | None:
        """Name of the set that is copied from the first training batches, or None."""
        return next((name for name, one in self.sets.items() if isinstance(one, FirstBatches)), None)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the evaluation sets, then ``"train"`` if the training pass is watched."""
        return (*self.sets, TRAINING_PASS) if self.watches_training_pass else tuple(self.sets)


def _one_of(value: object, known: Sequence[str]) -> bool:
    return isinstance(value, str) and value in known
