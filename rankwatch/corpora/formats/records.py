"""Utterances from records: rows of a table, or objects of a JSON file, whose fields are known by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath

from rankwatch.corpora.audio_headers import sample_rate
from rankwatch.corpora.columns import Columns, as_label, as_seconds, find_roles, is_missing
from rankwatch.corpora.corpus import Utterance
from rankwatch.corpora.draft import NO_PATH, Draft, as_path, base_folder

_PLACEHOLDER = re.compile(r"^(\$\w+|\{\w+\})/*")
"""SpeechBrain's ``$data_root`` and ``{data_root}``, which stand for a folder that only the recipe knows."""

Record = Mapping[str, object]


def add_records(
    draft: Draft,
    file: Path,
    records: Sequence[tuple[str, Record]],
    columns: Columns | None = None,
    root: Path | None = None,
) -> None:
    """Make an utterance of each record; fields whose names aren't known are labels.

    Args:
        draft: What is filled.
        file: Where the records were read from.
        records: Each with the words that say where it is, such as ``"row 7"``.
        columns: Which field holds what, where that isn't plain from the names.
        root: Where relative paths begin, and what stands for SpeechBrain's ``$data_root``; by default the file's folder
            or the working directory, in whichever the first files are.

    Raises:
        ValueError: If no field holds the audio's path.
    """
    names = {name: None for _, record in records for name in record}
    try:
        roles = find_roles(names, columns)
    except ValueError as error:
        raise ValueError(f"{file} has {error}") from None
    if "audio" not in roles:
        raise ValueError(
            f"{file} has no column of audio files (such as 'path'); there are {', '.join(names) or 'none'}"
        )
    others = [name for name in names if name.strip() and name not in roles.values() and not _is_option(name, names)]
    _check_samples(file, records, roles)
    paths = [_path(record.get(roles["audio"])) for _, record in records]
    base = root or base_folder(paths, [file.parent, Path.cwd()])
    for (where, record), path in zip(records, paths, strict=True):
        row = {role: record.get(name) for role, name in roles.items()}
        where = f"{file.name}, {where}"
        if not path:
            draft.leave_out(where, NO_PATH)
            continue
        try:
            start, end = _times(row, base / path)
            seconds = as_seconds(row.get("seconds")) if start is None and end is None else None
        except ValueError as error:
            draft.leave_out(where, str(error))
            continue
        labels = {name: label for name in others if (label := as_label(record.get(name))) is not None}
        utterance = Utterance(
            _text(row.get("id")) or segment_id(path, start, end),
            base / path,
            start,
            end,
            _text(row.get("speaker")),
            _text(row.get("text")),
            labels,
            seconds=seconds,
        )
        alignment = _text(row.get("alignment"))
        if draft.add(where, utterance) and alignment:
            draft.alignments[utterance.id] = base / as_path(alignment)


def _text(value: object) -> str | None:
    return None if is_missing(value) else str(value).strip()


def _path(value: object) -> str:
    """A path as it was written, without a placeholder; SpeechBrain may have it in an object with its times."""
    if isinstance(value, Mapping):
        value = value.get("file")
    path = _PLACEHOLDER.sub("", _text(value) or "")
    of_windows = "/" not in path or PureWindowsPath(path).drive
    return path.replace("\\", "/") if of_windows else path


def _is_option(name: str, names: Mapping[str, None]) -> bool:
    """Whether it is how a column of an old SpeechBrain CSV is to be read."""
    return any(name.endswith(end) and name.removesuffix(end) in names for end in ("_format", "_opts"))


def _check_samples(file: Path, records: Sequence[tuple[str, Record]], roles: Mapping[str, str]) -> None:
    """Where a table has a column "stop", it and the start are counted in samples; seconds may be called so as well."""
    if "stop" not in roles:
        return
    for where, record in records:
        for column in (roles.get("start"), roles["stop"]):
            number = record.get(column) if column is not None else None
            if not is_missing(number) and "." in str(number) and not str(number).strip().endswith(".0"):
                raise ValueError(
                    f"{file}, {where}: start and stop are counted in samples, and {column} = {number} is no whole "
                    f"number; where they are seconds, rename the column {roles['stop']!r} to 'end'"
                )


def _times(row: Record, audio: Path) -> tuple[float | None, float | None]:
    """Start and end in seconds; SpeechBrain's start and stop are samples, of which a stop at the start is none."""
    inner = row.get("audio")
    samples = inner if isinstance(inner, Mapping) else row
    if samples is row and row.get("stop") is None:
        return times(row.get("start"), row.get("end"), row.get("seconds"))
    start, stop = as_seconds(samples.get("start")) or 0.0, as_seconds(samples.get("stop")) or 0.0
    if not start and not stop:
        return None, None
    rate = sample_rate(audio)
    return times(start / rate, stop / rate if stop != start else None, None)


def times(start: object, end: object, seconds: object) -> tuple[float | None, float | None]:
    """Where a segment begins and ends in its file.

    Args:
        start: Its start, or empty.
        end: Its end, or empty.
        seconds: Its length, which counts where there is a start and no end.

    Returns:
        Start and end in seconds; None where it begins or ends with its file.

    Raises:
        ValueError: If one isn't a number, or the end isn't behind the start.
    """
    first, last, length = as_seconds(start), as_seconds(end), as_seconds(seconds)
    if first is not None and last is None and length is not None:
        last = first + length
    if (first or 0.0) < 0.0 or (last is not None and last <= (first or 0.0)):
        raise ValueError(f"a segment from {first or 0.0:g} to {last} s is none")
    return first, last


def segment_id(name: str, start: float | None, end: float | None) -> str:
    """An id for a segment that has none of its own.

    Args:
        name: The audio's path as it was written.
        start: Its start, or None.
        end: Its end, or None.

    Returns:
        The path, and where it isn't the whole file, its times.

    Example:
        >>> segment_id("a.wav", None, None), segment_id("a.wav", 1.0, 2.5)
        ('a.wav', 'a.wav:1-2.5')
    """
    if start is None and end is None:
        return name
    return f"{name}:{start or 0.0:g}-{'' if end is None else f'{end:g}'}"
