"""Lhotse's manifests: recordings, supervisions and cuts, read by lhotse itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rankwatch.corpora.alignments.attach import spans_within
from rankwatch.corpora.alignments.span_files import tier_name
from rankwatch.corpora.columns import as_label
from rankwatch.corpora.corpus import Span, Utterance
from rankwatch.corpora.draft import Draft

NO_RECORDING = "a supervision whose recording isn't in the manifest of recordings"
OTHER_SOURCE = "its audio is no file (a command, an address, or within the manifest)"
CHANGED = "a mixture, or a recording that is changed when it is read: write it to files"
CHANNEL = "one channel of a file with several: write it to a file of its own"


def is_lhotse(record: Mapping[str, object]) -> bool:
    """Whether an object is a recording, a supervision or a cut.

    Args:
        record: The first line of a file.

    Returns:
        Whether it has the fields of one.
    """
    keys = record.keys()
    return str(record.get("type", "")).endswith("Cut") or {"id", "sources"} <= keys or {"id", "recording_id"} <= keys


def has_lhotse(folder: Path) -> bool:
    """Whether a folder has manifests of recordings or cuts by their usual names."""
    return any(_named(folder, kind) for kind in ("cuts", "recordings"))


def read_lhotse(draft: Draft, path: Path, root: Path | None = None) -> None:
    """Read cuts; or supervisions with the recordings beside them; or recordings alone.

    A folder with several manifests of one kind, or none, is refused by a ValueError.

    Args:
        draft: What is filled.
        path: One of the manifests, the other of which has the same name but for this word; or a folder with them.
        root: Where relative paths begin; by default in the manifests' folder.

    Raises:
        ImportError: If lhotse isn't installed.
    """
    try:
        from lhotse import load_manifest  # an extra, needed by its manifests alone
    except ImportError as error:
        raise ImportError("lhotse's manifests need lhotse: pip install 'rankwatch[corpora]'") from error
    files = [path, *_partner(path)] if path.is_file() else _in_folder(path)
    base = root or files[0].parent
    found = {
        type(manifest).__name__: manifest for file in reversed(files) for manifest in [_loaded(load_manifest, file)]
    }
    if "CutSet" in found:
        for cut in found["CutSet"]:
            _add_cut(draft, cut, base)
        return
    recordings = {recording.id: recording for recording in found.get("RecordingSet", ())}
    supervisions = found.get("SupervisionSet")
    if supervisions is None:
        for recording in recordings.values():
            _add(draft, recording.id, recording, None, None, [], base)
        return
    for one in supervisions:
        if one.recording_id in recordings:
            channels = one.channel if isinstance(one.channel, list) else [one.channel]
            _add(draft, one.id, recordings[one.recording_id], one.start, one.end, [one], base, one.start, channels)
        else:
            draft.leave_out(one.id, NO_RECORDING)


def _loaded(load_manifest: Callable[[Path], Any], file: Path) -> Any:
    try:
        return load_manifest(file)
    except (ValueError, KeyError, TypeError, EOFError) as error:
        raise ValueError(f"{file} could not be read by lhotse ({type(error).__name__}: {error})") from error


def _named(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.glob(f"*{kind}*.jsonl*")) if folder.is_dir() else []


def _in_folder(folder: Path) -> list[Path]:
    """The cuts of a folder; without cuts its recordings and supervisions."""
    for kinds in (("cuts",), ("supervisions", "recordings")):
        found = {kind: _named(folder, kind) for kind in kinds}
        for kind, files in found.items():
            if len(files) > 1:
                names = ", ".join(file.name for file in files)
                raise ValueError(f"{folder} has several manifests of {kind} ({names}): name one of them")
        if any(found.values()):
            return [file for files in found.values() for file in files]
    raise ValueError(f"{folder} has no manifest of cuts, recordings or supervisions (such as cuts.jsonl.gz)")


def _partner(file: Path) -> list[Path]:
    """The recordings of supervisions, or the supervisions of recordings."""
    for one, other in (("recordings", "supervisions"), ("supervisions", "recordings")):
        partner = file.with_name(file.name.replace(one, other))
        if one in file.name and partner.is_file():
            return [partner]
    return []


def _add_cut(draft: Draft, cut: Any, base: Path) -> None:
    if type(cut).__name__ not in ("MonoCut", "MultiCut") or not cut.has_recording:
        draft.leave_out(cut.id, CHANGED)
        return
    channels = cut.channel if isinstance(cut.channel, list) else [cut.channel]
    # A cut's supervisions count from its start, but their alignments still from the recording's (lhotse 1.33).
    _add(draft, cut.id, cut.recording, cut.start, cut.end, cut.supervisions, base, cut.start, channels)


def _add(
    draft: Draft,
    name: str,
    recording: Any,
    start: float | None,
    end: float | None,
    supervisions: Iterable[Any],
    base: Path,
    zero: float = 0.0,
    channels: list[int] | None = None,
) -> None:
    """One utterance; `zero` is where it begins in the times of its supervisions' alignments."""
    sources = recording.sources
    if recording.transforms:
        draft.leave_out(name, CHANGED)
    elif len(sources) != 1 or sources[0].type != "file":
        draft.leave_out(name, OTHER_SOURCE)
    elif channels is not None and set(channels) != set(sources[0].channels):
        draft.leave_out(name, CHANNEL)
    else:
        some, spans = list(supervisions), dict[str, list[Span]]()
        for tier, items in ((tier, items) for one in some for tier, items in (one.alignment or {}).items()):
            aligned = [Span(item.start, item.end, str(item.symbol)) for item in items if item.symbol]
            spans.setdefault(tier_name(tier), []).extend(spans_within(aligned, zero, end))
        custom = {key: value for one in some for key, value in (one.custom or {}).items()}
        known = {"language": _common(some, "language"), "gender": _common(some, "gender"), **custom}
        whole = start in (None, 0.0) and (end is None or abs(end - recording.duration) < 1e-3)
        utterance = Utterance(
            name,
            base / sources[0].source,
            None if whole else start,
            None if whole else end,
            _common(some, "speaker"),
            " ".join(one.text for one in some if one.text) or None,
            {key: label for key, value in known.items() if (label := as_label(value)) is not None},
            {tier: tuple(sorted(found, key=lambda span: span.start)) for tier, found in spans.items()},
            (recording.duration if end is None else end) - (start or 0.0),
        )
        draft.add(name, utterance)


def _common(supervisions: list[Any], field: str) -> str | None:
    """What all supervisions of an utterance agree on."""
    values = {getattr(one, field) for one in supervisions}
    return str(values.pop()) if len(values) == 1 and values != {None} else None
