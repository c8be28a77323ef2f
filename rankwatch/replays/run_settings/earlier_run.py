"""The run whose settings a replay takes over, as its records tell it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rankwatch.readings.protocol import CODEBOOK, Protocol
from rankwatch.readings.reading import Key, Reading
from rankwatch.reporting.jsonl_records import newest_run
from rankwatch.reporting.search.record_search import find_records
from rankwatch.runtime.files.run_paths import RemotePath, RunPath, run_path
from rankwatch.runtime.plain_data import from_plain


@dataclass(frozen=True)
class EarlierRun:
    """What a run's records say that decides which numbers it read.

    Attributes:
        records: Its JSONL file.
        settings: Its arguments as plain data; see `rankwatch.arguments.plain_settings`.
        precision: The trainer's.
        processes: How many there were, which have shared the evaluation sets.
        brief: Whether the primary set was read briefly, by step.
        rates: Learning rate, by step, where it was known.
        notes: What isn't known, in sentences.
        protocols: Conditions of its newest readings, by curve.
    """

    records: RunPath
    settings: Mapping[str, Any]
    precision: str = "32-true"
    processes: int = 1
    brief: Mapping[int, bool] = field(default_factory=dict)
    rates: Mapping[int, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    protocols: Mapping[Key, Protocol] = field(default_factory=dict)

    def unlike(self, readings: Iterable[Reading]) -> list[str]:
        """Which evaluation sets aren't read as the run has read them, so that their numbers can't be compared.

        Args:
            readings: Of the replay.

        Returns:
            A sentence for each set.
        """
        differing: dict[str, dict[str, str]] = {}
        for one in readings:
            theirs = self.protocols.get(one.key)
            for name in one.protocol.differing_fields(theirs) if theirs is not None else ():
                words = f"{name} {getattr(one.protocol, name)} instead of {getattr(theirs, name)}"
                differing.setdefault(one.source, {}).setdefault(name, _OTHER_AUDIO if name == "eval_set" else words)
        return [
            f"evaluation set {source!r} isn't what the run has read ({', '.join(words.values())}): its numbers and the "
            "run's can't be compared"
            for source, words in differing.items()
        ]

    @property
    def folder(self) -> RunPath:
        """Where its other files are: evaluation sets, for one."""
        return self.records.parent


def read_earlier_run(place: str | Path) -> EarlierRun:
    """Read the settings of a run, and at which steps it has read how much.

    Args:
        place: Its JSONL file, or a folder with just one such file at any depth.

    Returns:
        The newest run in the file. Where there is no such file FileNotFoundError is raised.

    Raises:
        ValueError: If there are several files, or no run is in it.
    """
    path = _records(run_path(place))
    settings: Mapping[str, Any] = {}
    header: Mapping[str, Any] = {}
    protocols: dict[str, Mapping[str, Any]] = {}
    curves: dict[Key, str] = {}
    brief: dict[int, bool] = {}
    rates: dict[int, float] = {}
    for record in newest_run(str(path)):
        kind = record.get("record")
        if kind == "run":
            header, settings = record, record.get("settings") or settings
        elif kind == "protocol":
            protocols[record["id"]] = record
        elif kind == "reading":
            curves[record["source"], record["level"], record["layer"]] = record["protocol"]
            if record["source"] == (header.get("sources") or [""])[0]:
                brief[record["step"]] = bool(record.get("brief", False))
        elif kind == "summary" and record.get("learning_rate") is not None:
            rates[record["step"]] = record["learning_rate"]
    if not header:
        raise ValueError(f"{path} holds no run")
    if header.get("replayed"):
        brief = {}
    if settings:
        about = {"precision": settings.get("precision", "32-true"), "processes": settings.get("processes", 1)}
        known = {key: from_plain(Protocol, protocols[id_]) for key, id_ in curves.items() if id_ in protocols}
        return EarlierRun(path, settings, brief=brief, rates=rates, protocols=known, **about)
    return EarlierRun(path, *_guessed(header, protocols), brief=brief, rates=rates, notes=(_GUESSED.format(path=path),))


_OTHER_AUDIO = "other audio"

_GUESSED = (
    "{path} was written by a version of rankwatch that didn't record its settings: rows, levels, layers and precision "
    "are those of its readings, the rest are the defaults; what was passed to the run besides has to be passed again"
)


def _guessed(header: Mapping[str, Any], protocols: Mapping[str, Mapping[str, Any]]) -> tuple[Mapping[str, Any], str]:
    """Settings and precision, as far as the readings of an earlier version say them."""
    primary = (header.get("sources") or ["first_batches"])[0]
    ours = [one for one in protocols.values() if one.get("source") == primary and one.get("level") != CODEBOOK]
    frames = next((one for one in ours if one.get("level") == "frame"), ours[0] if ours else {})
    rows = {
        "n_utterances": frames.get("utterances", 512),
        "frames_per_utterance": frames.get("frames_per_utterance", 4),
        "seed": frames.get("seed", 0),
    }
    if ours and all(one.get("k") is None for one in ours) and any(one.get("d", 0) > 512 for one in ours):
        rows["projection"] = None
    settings = {
        "name": header.get("name", "RankWatch"),
        "every_n_steps": header.get("every_n_steps", 500),
        "watch": [*header.get("levels", ("frame", "utterance")), "codebook", "drift"],
        "layers": [row["layer"] for row in header.get("layers", ())] or "auto",
        "rows": rows,
        "eval_sets": {primary: {"kind": "FirstBatches"}} if primary == "first_batches" else {},
    }
    return settings, str(frames.get("precision", "32-true"))


def _records(place: RunPath) -> RunPath:
    if isinstance(place, RemotePath) or not place.is_dir():
        if not place.exists():
            raise FileNotFoundError(f"there is no file {place}")
        return place
    found = find_records([place])
    if len(found) > 1:
        named = ", ".join(found[:4])
        raise ValueError(f"{place} holds records of {len(found)} runs ({named}): name the one whose settings count")
    return Path(found[0])
