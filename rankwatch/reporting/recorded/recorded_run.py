"""A run as arrays over its steps: what figures are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rankwatch.readings.alarm import Alarm
from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading import Key
from rankwatch.readings.report import LayerRow, RunEnd, RunHeader

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DriftCurve:
    """Drift of one layer over the run's steps, shape ``(n_steps,)`` each; NaN where there is none.

    Attributes:
        values: See `rankwatch.readings.drift.layer_drift.LayerDrift`.
        low: Lower ends of their 90 % intervals.
        high: Upper ends.
        trusted: Whether nothing stands against the value but the width of its interval.
    """

    values: Floats
    low: Floats
    high: Floats
    trusted: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Curve:
    """Effective rank of one layer over the run's steps, shape ``(n_steps,)`` each; NaN where there is none.

    Attributes:
        values: Effective ranks.
        low: Lower ends of their 90 % intervals.
        high: Upper ends.
        protocol: Id of the newest reading's protocol.
        since: First step that was read under it; before there was another one.
        accuracy: Accuracy of a linear probe on labelled rows, in [0, 1].
        majority: Accuracy of always naming the most frequent label.
        drift: Since the ``"previous"`` and the ``"first"`` full reading, as far as there is any.
    """

    values: Floats
    low: Floats
    high: Floats
    protocol: str = ""
    since: int = 0
    accuracy: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    majority: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    drift: Mapping[str, DriftCurve] = field(default_factory=dict)


@dataclass(frozen=True)
class Spectra:
    """Singular values of one layer relative to the largest, at positions spaced geometrically from 1 to `width`.

    Attributes:
        steps: Steps of which there is one, ascending, shape ``(m,)``.
        codes: Shape ``(m, positions)``, bytes: `DECADES` / 254 decades below 1 each; 255 where there is no value.
        width: d.
    """

    steps: Integers
    codes: npt.NDArray[np.uint8]
    width: int


@dataclass(frozen=True)
class CodebookCurve:
    """How evenly one quantizer uses its codes, shape ``(n_steps,)`` each; NaN where nothing was measured.

    Attributes:
        perplexity: Of the codes in use.
        normalized: The same as a share of all codes, in [0, 1].
        active: Share of the codes that were used at least once, in [0, 1].
        n_codes: Codes in each group; 0 where that isn't known.
    """

    perplexity: Floats
    normalized: Floats
    active: Floats
    n_codes: int


@dataclass(frozen=True)
class Episode:
    """A message about alarms: their beginning, worsening or end.

    Attributes:
        step: Optimiser step.
        message: As the user was told.
        open_alarms: All that held then.
    """

    step: int
    message: str
    open_alarms: Sequence[Alarm] = ()


@dataclass(frozen=True)
class LossCurve:
    """The training loss as a logger has it.

    Attributes:
        name: Its tag.
        steps: Optimiser steps, ascending, shape ``(m,)``.
        values: Shape ``(m,)``.
    """

    name: str
    steps: Integers
    values: Floats


@dataclass(frozen=True)
class RecordedRun:
    """Everything that is shown of a run.

    Attributes:
        name: What the run is called; anything may stand in it.
        path: Its records, or empty.
        header: Layers, levels and sources.
        steps: Steps of the readings that are kept, ascending, shape ``(n_steps,)``.
        n_readings: Readings there are; more than `steps` where they were thinned out.
        curves: Effective ranks by (source, level, layer).
        spectra: Spectra by (source, level, layer).
        codebooks: Curves by quantizer.
        health: In [0, 1], shape ``(n_steps,)``; NaN where it isn't known, as for all below.
        alarm_level: 0, 1 or 2.
        learning_rate: At each step.
        muted: 1 where alarms were muted.
        cost_share: The callback's part of the run's time so far, in [0, 1].
        cost_seconds: What each reading took, by part.
        alarms: As they were raised, in order.
        episodes: Messages, in order.
        protocols: Conditions by id.
        end: How the run ended, or None: it goes on, or was killed.
        loss: From a logger's files beside the records, or None.
        hyperparameters: From a file beside the records, flat.
        problems: What can't be read or was left out, in sentences.
    """

    name: str
    path: str
    header: RunHeader
    steps: Integers
    n_readings: int
    curves: Mapping[Key, Curve]
    spectra: Mapping[Key, Spectra] = field(default_factory=dict)
    codebooks: Mapping[str, CodebookCurve] = field(default_factory=dict)
    health: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    alarm_level: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    learning_rate: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    muted: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    cost_share: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    cost_seconds: Mapping[str, Floats] = field(default_factory=dict)
    alarms: Sequence[Alarm] = ()
    episodes: Sequence[Episode] = ()
    protocols: Mapping[str, Protocol] = field(default_factory=dict)
    end: RunEnd | None = None
    loss: LossCurve | None = None
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()

    @property
    def layers(self) -> Sequence[LayerRow]:
        """Watched layers, from the front end to the last."""
        return self.header.layers

    @property
    def primary(self) -> str:
        """The source whose numbers come first."""
        return self.header.sources[0] if self.header.sources else ""

    @property
    def levels(self) -> list[str]:
        """Levels of which there is any reading, frame level first."""
        there = {level for _, level, _ in self.curves}
        return [level for level in dict.fromkeys((*self.header.levels, *sorted(there))) if level in there]

    @property
    def sources(self) -> list[str]:
        """Sources of which there is any reading, the primary first."""
        there = {source for source, _, _ in self.curves}
        return [source for source in dict.fromkeys((*self.header.sources, *sorted(there))) if source in there]
