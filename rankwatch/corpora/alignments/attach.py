"""Spans of utterances from files of alignments: matched by name, shifted to the utterance's start, cut at its end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rankwatch.corpora.alignments.span_files import ENDINGS, Owner, Tiers, read_span_file
from rankwatch.corpora.corpus import Span, Utterance
from rankwatch.corpora.draft import Draft
from rankwatch.corpora.name_matching import NameMatcher
from rankwatch.extraction.inputs.folder_search import find_files
from rankwatch.extraction.inputs.text_files import WrongEncodingError

NO_AUDIO = "alignment without audio"
NO_FILE = "there is no such file of alignments"
TWICE = "a tier that another file of alignments has as well"
NO_ALIGNMENT = "no alignment: its audio and labels count, its spans are none"
IMPOSSIBLE = "spans that end before they begin, or whose times are no times, left out"
CHANNELS = (
    "its lines are of several channels, which may be several speakers, and audio is read as the mean of its channels: "
    "put each channel into a file of its own that is called as the recording and the channel (rec_A.wav, rec_B.wav), "
    "or keep the lines of one channel"
)
BEHIND_END = "spans behind the end of the audio, cut or left out"
_ROUNDING = 0.01
"""Seconds by which an alignment may end after its audio without being named: times are often rounded to hundredths."""


def attach_alignments(draft: Draft, alignments: Path | None) -> None:
    """Give the utterances of a draft their spans.

    Times in a file that is named like the utterance's id, or that a single row of the manifest names, count from the
    utterance's start; in one that is named like a recording, or that several rows name, from the recording's start.

    Args:
        draft: Its utterances and the files that their rows name.
        alignments: A file of alignments, or a folder of such at any depth, instead of those that rows name; or None.

    Raises:
        FileNotFoundError: If `alignments` isn't there.
    """
    spans: dict[int, Tiers] = {}
    if alignments is None:
        _from_rows(draft, NameMatcher(draft.utterances), spans)
    else:
        if not alignments.exists():
            raise FileNotFoundError(f"alignments: there is no file or folder {alignments}")
        files = find_files(alignments, ENDINGS).files if alignments.is_dir() else [alignments]
        names = [file.relative_to(alignments).as_posix() if alignments.is_dir() else file.name for file in files]
        matcher = NameMatcher(draft.utterances, names)
        for file, name in zip(files, names, strict=True):
            _from_file(draft, matcher, file, name, spans)
    if alignments is None and not draft.alignments:
        return
    for i, utterance in enumerate(draft.utterances):
        if i in spans:
            own = {tier: tuple(sorted(found, key=lambda span: span.start)) for tier, found in spans[i].items()}
            draft.utterances[i] = replace(utterance, spans={**utterance.spans, **own})
        elif not utterance.spans:
            draft.leave_out(f"spans of {utterance.id}", NO_ALIGNMENT)


def _from_rows(draft: Draft, matcher: NameMatcher, spans: dict[int, Tiers]) -> None:
    """What the manifest itself names."""
    rows = Counter(draft.alignments.values())
    known: dict[Path, dict[Owner, Tiers]] = {}
    for name, file in draft.alignments.items():
        place = matcher.by_id(name)
        if file not in known:
            known[file] = _read(draft, file)
        for owner, tiers in known[file].items():
            if place is not None and (owner.name is None or name in owner.names):
                _add(draft, place, tiers, spans, of_recording=rows[file] > 1 and owner.name is None)
            elif owner.channel and owner.name == name:
                draft.leave_out(f"alignment {name}", CHANNELS)


def _from_file(draft: Draft, matcher: NameMatcher, file: Path, name: str, spans: dict[int, Tiers]) -> None:
    """What one file holds, by its own name or by those in it."""
    for owner, tiers in _read(draft, file).items():
        wanted = owner.names or (name.rpartition(".")[0],)
        try:
            places, of_recording = _places(matcher, wanted, alone=owner.name is None)
            if owner.channel and not places and _places(matcher, (owner.name or "",), alone=False)[0]:
                draft.leave_out(f"alignment {owner.name}", CHANNELS)
                continue
        except ValueError as error:
            draft.leave_out(f"alignment {wanted[0]}", str(error))
            continue
        if not places:
            draft.leave_out(f"alignment {wanted[0]}", NO_AUDIO)
        for one in places:
            _add(draft, one, tiers, spans, of_recording=of_recording)


def _places(matcher: NameMatcher, wanted: Sequence[str], *, alone: bool) -> tuple[list[int], bool]:
    """Utterances of the first of these names that there is.

    Args:
        matcher: Knows the utterances.
        wanted: What their id, or the name of their audio, may be.
        alone: Whether a file's own name is looked for, which is an utterance's without its folders, too.

    Returns:
        Their places, and whether the name is a recording's rather than an utterance's.
    """
    for name in wanted:
        place = matcher.by_id(name)
        if place is None and alone:
            place = matcher.by_id(name.rpartition("/")[2])
        if place is not None:
            return [place], False
    return next((found for name in wanted if (found := matcher.by_audio(name))), []), True


def _read(draft: Draft, file: Path) -> dict[Owner, Tiers]:
    """One file; what is broken is left out, but for a wrong encoding, which all of them will have."""
    if not file.is_file():
        draft.leave_out(f"alignment {file}", NO_FILE)
        return {}
    try:
        return read_span_file(file, draft.encoding)
    except (ValueError, OSError) as error:
        if isinstance(error, WrongEncodingError):
            raise
        draft.leave_out(f"alignment {file}", f"it could not be read: {error}")
        return {}


def _add(draft: Draft, place: int, tiers: Tiers, spans: dict[int, Tiers], *, of_recording: bool) -> None:
    utterance = draft.utterances[place]
    own = spans.setdefault(place, {})
    start = utterance.start or 0.0 if of_recording else 0.0
    for tier, found in tiers.items():
        if tier in own:
            draft.leave_out(f"tier {tier!r} of {utterance.id}", TWICE)
            continue
        if not all(0.0 <= span.start <= span.end < math.inf for span in found):  # nor is NaN
            draft.leave_out(f"spans of {utterance.id}", IMPOSSIBLE)
        found = [span for span in found if 0.0 <= span.start < span.end < math.inf]
        if start or (of_recording and utterance.end is not None):
            found = spans_within(found, start, utterance.end)
        own[tier] = found


def spans_within(spans: list[Span], start: float, end: float | None) -> list[Span]:
    """The part of a recording's spans that lies in a segment of it.

    Args:
        spans: In times of the recording.
        start: Where the segment begins in it.
        end: Where it ends, or None for the recording's end.

    Returns:
        Spans in times of the segment, cut at its ends; those whose middle lies outside are none of it.
    """
    end = float("inf") if end is None else end
    inside = [span for span in spans if start <= (span.start + span.end) / 2 < end]
    return [Span(max(0.0, span.start - start), min(span.end, end) - start, span.label) for span in inside]


def cut_at_end(draft: Draft, utterance: Utterance, seconds: float) -> Utterance:
    """Cut spans that end after the audio, and leave out those that begin after it.

    Args:
        draft: Where it is named, if it is by more than rounding.
        utterance: The utterance.
        seconds: Its length.

    Returns:
        The utterance with spans that end with the audio at the latest.
    """
    if all(not spans or max(span.end for span in spans) <= seconds for spans in utterance.spans.values()):
        return utterance
    if any(span.end > seconds + _ROUNDING for spans in utterance.spans.values() for span in spans):
        draft.leave_out(f"spans of {utterance.id}", BEHIND_END)
    cut = {
        tier: tuple(Span(span.start, min(span.end, seconds), span.label) for span in spans if span.start < seconds)
        for tier, spans in utterance.spans.items()
    }
    return replace(utterance, spans=cut)
