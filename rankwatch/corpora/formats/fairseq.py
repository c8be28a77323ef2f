"""Fairseq's manifests: a folder, then a path and a number of samples a line; labels stand in files of the same stem."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from rankwatch.corpora.audio_headers import sample_rate
from rankwatch.corpora.corpus import Span, Utterance
from rankwatch.corpora.draft import Draft, as_path
from rankwatch.extraction.inputs.text_files import read_lines

_RATES = (12.5, 25.0, 50.0, 100.0)
"""Frames per second of units: those of codecs and slower encoders, HuBERT's, and those of MFCCs."""


def is_fairseq(file: Path, encoding: str = "utf-8") -> bool:
    """Whether a file has the form of such a manifest.

    Args:
        file: A file that ends in ``.tsv``.
        encoding: Its encoding.

    Returns:
        Whether its first line is no row and its second is a path, a tab and a whole number.
    """
    head = read_lines(file, encoding)[:2]
    if len(head) < 2 or "\t" in head[0].strip():
        return False
    path, _, samples = head[1].rpartition("\t")
    return bool(path) and samples.strip().isdigit()


def read_fairseq(draft: Draft, file: Path, root: Path | None = None) -> None:
    """Read a manifest and the label files beside it; one with another number of lines raises ValueError.

    ``.wrd`` or ``.ltr`` are the texts, ``.phn`` and ``.sent`` are labels, ``.da`` has several labels at once, and
    ``.km`` a unit for each frame, which become spans of the tier "km".

    Args:
        draft: What is filled.
        file: The manifest.
        root: The folder at which its paths begin, instead of that in its first line.

    Raises:
        FileNotFoundError: If there is no such folder as its first line names.
    """
    first, *lines = read_lines(file, draft.encoding) or [""]
    lines = [line for line in lines if line.strip()]
    base = root or file.parent / as_path(first.strip())
    if root is None and not base.is_dir() and not (lines and Path(lines[0]).is_absolute()):
        raise FileNotFoundError(
            f"{file}: its paths begin at the folder {first.strip()!r}, as its first line says, and there is none such "
            "here; root= says another"
        )
    labels = _label_files(file, len(lines), draft.encoding)
    letters = [line.replace(" ", "").replace("|", " ").strip() for line in labels.pop("ltr", [])]
    texts = labels.pop("wrd", letters)
    units = labels.pop("km", [])
    rate = 0
    for i, line in enumerate(lines):
        name, _, samples = line.rpartition("\t") if "\t" in line else (line, "", "")
        name = as_path(name).as_posix() if "\\" in name else name
        audio = base / name
        known = {ending: _label(ending, found[i]) for ending, found in labels.items() if found[i].strip()}
        utterance = Utterance(name, audio, text=texts[i].strip() or None if texts else None, labels=known)
        if draft.add(f"{file.name}, line {i + 2}", utterance) and units:
            try:
                rate = rate or sample_rate(audio)
                spans = {"km": _spans(units[i].split(), int(samples) / rate)}
            except ValueError as error:
                draft.leave_out(f"{file.stem}.km, line {i + 1}", str(error))
                continue
            draft.utterances[-1] = Utterance(name, audio, text=utterance.text, labels=known, spans=spans)


def _label_files(file: Path, count: int, encoding: str) -> dict[str, list[str]]:
    found = {}
    for ending in ("wrd", "ltr", "phn", "km", "sent", "da"):
        labels = file.with_suffix(f".{ending}")
        if labels.is_file():
            found[ending] = read_lines(labels, encoding)
            if len(found[ending]) != count:
                raise ValueError(f"{labels} has {len(found[ending])} lines and {file} {count} utterances")
    return found


def _label(ending: str, line: str) -> str | frozenset[str]:
    return frozenset(one.strip() for one in line.split(",")) if ending == "da" else line.strip()


def _spans(units: list[str], seconds: float) -> tuple[Span, ...]:
    """Runs of one unit; how many there are in a second follows from how many there are."""
    if not units or seconds <= 0.0:
        return ()
    rate = min(_RATES, key=lambda one: abs(one - len(units) / seconds))
    if abs(len(units) / seconds - rate) > 0.1 * rate + 3 / seconds:
        raise ValueError(f"{len(units) / seconds:.1f} units a second is no usual rate")
    spans, place = [], 0
    for unit, run in groupby(units):
        end = place + len(list(run))
        spans.append(Span(place / rate, end / rate, unit))
        place = end
    return tuple(spans)
