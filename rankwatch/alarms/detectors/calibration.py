"""Thresholds from a team's own healthy runs: what they are, which conditions they hold for, what they imply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from scipy.stats import beta

from rankwatch.alarms.detectors import Detector, RankDecline, StepContext, SuddenRankDrop, default_detectors
from rankwatch.alarms.detectors.base import upper
from rankwatch.alarms.history import History
from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading import Key, Reading

_FORM = 1
_CONDITIONS = (
    "utterances",
    "frames_per_utterance",
    "centred",
    "power",
    "pooling",
    "input",
    "frames",
    "mode",
    "precision",
    "version",
)
"""Of a protocol; width, projection, seed and the evaluation set's own content may differ between comparable runs."""

_ARGUMENTS: dict[str, tuple[type[Any], str]] = {
    "frame": (RankDecline, "below"),
    "utterance": (RankDecline, "utterance_below"),
    "sudden": (SuddenRankDrop, "below"),
}
_LEVELS = {"frame": "frame", "utterance": "utterance", "sudden": "frame"}
_FEWEST = 5
"""Comparisons that a curve needs to say anything."""

Worst = dict[str, float]
"""Per threshold, the value below which a run's readings would just have raised an alarm."""


@dataclass(frozen=True)
class Calibration:
    """What `rankwatch calibrate` writes and ``sensitivity="....yaml"`` reads.

    Attributes:
        thresholds: ``"frame"``, ``"utterance"``: shares of a layer's reference (`RankDecline`); ``"sudden"``: of what
            was read just before (`SuddenRankDrop`).
        conditions: Per level, the part of the protocol that they hold for.
        every_n_steps: Optimiser steps between readings in these runs.
        runs: Names of the runs.
        allowed: How many of these runs each threshold was allowed to raise an alarm in.
        false_alarms: How many of these runs would raise an alarm with these thresholds.
    """

    thresholds: Mapping[str, float]
    conditions: Mapping[str, Mapping[str, Any]]
    every_n_steps: int
    runs: Sequence[str] = field(default=())
    allowed: int = 0
    false_alarms: int = 0

    @property
    def rate_at_most(self) -> float:
        r"""With 95 % confidence healthy runs of this recipe raise one of these alarms less often than this.

        :math:`B^{-1}(0.95;\, s,\, n - s + 1)` with n runs and s = thresholds x (1 + allowed alarms): thresholds that
        were chosen on the same runs vouch for less than an independent count (Campi & Garatti 2008, theorem 1).
        """
        n, chosen = len(self.runs), len(self.thresholds) * (1 + self.allowed)
        return float(beta.ppf(0.95, chosen, n - chosen + 1)) if chosen <= n else 1.0

    def detectors(self) -> tuple[Detector, ...]:
        """The defaults with these thresholds."""
        changes: dict[type[Any], dict[str, float]] = {RankDecline: {}, SuddenRankDrop: {}}
        for name, value in self.thresholds.items():
            kind, argument = _ARGUMENTS[name]
            changes[kind][argument] = value
        return tuple(replace(d, **changes.get(type(d), {})) for d in default_detectors())  # type: ignore[type-var]

    def unlike(self, protocol: Protocol, every_n_steps: int) -> str:
        """In what a reading's protocol and interval differ from these runs', in words; empty where they don't."""
        if every_n_steps != self.every_n_steps:
            return f"every_n_steps {self.every_n_steps} there, {every_n_steps} here"
        there, here = self.conditions.get(protocol.level), conditions(protocol)
        if there is None:
            return f"{protocol.level} level: not in these runs"
        return unlike(there, here)

    def save(self, path: Path) -> None:
        """Write it as YAML, with the rate in words on top."""
        n = len(self.runs)
        head = (
            f"# rankwatch calibrate: {self.false_alarms} of {n} healthy runs would raise an alarm with these values;\n"
            f"# with 95 % confidence that happens in fewer than {self.rate_at_most:.0%} of such runs.\n"
            f'# RankWatch(sensitivity="{path.name}") uses them for readings under this protocol and refuses others.\n'
        )
        none = [name for name, level in _LEVELS.items() if level in self.conditions and name not in self.thresholds]
        if none:
            head += f"# For {' and '.join(none)} too little was read after the warm-up: the defaults hold there.\n"
        plain = {"form": _FORM, **asdict(self), "rate_at_most": round(self.rate_at_most, 3)}
        path.write_text(head + yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """What `save` wrote.

        Returns:
            The thresholds.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it holds something else.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"sensitivity={str(path)!r}: there is no such file")
        try:
            plain = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError:
            plain = None
        if not isinstance(plain, dict) or plain.get("form") != _FORM:
            raise ValueError(f"{path} was not written by `rankwatch calibrate` of this version")
        names = ("thresholds", "conditions", "every_n_steps", "runs", "allowed", "false_alarms")
        missing = [name for name in names if name not in plain]
        strange = [] if missing else [name for name in plain["thresholds"] if name not in _ARGUMENTS]
        if missing or strange:
            raise ValueError(f"{path} lacks {missing} or holds {strange}: write it anew with `rankwatch calibrate`")
        return cls(**{name: plain[name] for name in names})


def conditions(protocol: Protocol) -> dict[str, Any]:
    """What has to be equal for thresholds to hold."""
    return {name: getattr(protocol, name) for name in _CONDITIONS}


def unlike(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """In what two sets of conditions differ, in words."""
    return ", ".join(
        f"{name} {there.get(name)!r} there, {here[name]!r} here" for name in here if there.get(name) != here[name]
    )


def worst(steps: Iterable[tuple[Sequence[Reading], bool]], primary: str) -> Worst:
    r"""How near a run came to an alarm.

    For each curve and threshold :math:`\min_t \max(r_t, ..., r_{t+p-1})` with r the reading (its upper end) relative
    to what the detector compares it with, and p its patience: any threshold above that would have raised an alarm. No
    threshold where nothing was compared: a level that isn't there, a run that was over before its warm-up.

    Args:
        steps: All readings of a step, and whether the learning rate was still rising; in order.
        primary: Name of the first evaluation set.

    Returns:
        Thresholds by level; those that nothing was compared with are missing.
    """
    detectors: dict[str, RankDecline | SuddenRankDrop] = {
        "frame": RankDecline(),
        "utterance": RankDecline(),
        "sudden": SuddenRankDrop(),
    }
    history = History()
    ratios: dict[tuple[str, Key], list[float]] = {}
    for readings, lr_warming_up in steps:
        context = StepContext(primary, lr_warming_up=lr_warming_up)
        ours = [reading for reading in readings if reading.source == primary]
        for (key, past), reading in zip(history.open_series(ours).items(), ours, strict=True):
            for name, detector in detectors.items():
                before = detector.before(reading, past, context) if _LEVELS[name] == reading.level else None
                if before is not None and reading.ok:
                    ratios.setdefault((name, key), []).append(upper(reading) / before)
            past.add(reading, clean=True, lr_warming_up=lr_warming_up)
    found: Worst = {}
    for (name, _), values in ratios.items():
        p = detectors[name].patience
        lasting = [max(values[i : i + p]) for i in range(len(values) - p + 1)]
        if len(values) >= _FEWEST:
            found[name] = min(found.get(name, 1.0), *lasting)
    return found
