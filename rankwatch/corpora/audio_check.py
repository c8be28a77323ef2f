"""Every file is opened once before anything runs: what is broken or too short is named, and what goes on is cut."""

from __future__ import annotations

from dataclasses import replace

from rankwatch.corpora.alignments.attach import cut_at_end
from rankwatch.corpora.audio_headers import file_seconds
from rankwatch.corpora.corpus import Utterance
from rankwatch.corpora.draft import Draft

BEHIND_END = "the segment begins behind the end of its audio"
CUT = "the segment ends after its audio, and was cut"
EMPTY = "a file without samples"
_ROUNDING = 0.01
"""Seconds by which a segment may end after its file without being named."""


def check_audio(draft: Draft) -> None:
    """Read each file's header; utterances without audio are left out, segments and spans are cut at its end.

    Args:
        draft: Its utterances get their lengths.
    """
    lengths: dict[object, float | str] = {}
    kept = []
    for utterance in draft.utterances:
        source = utterance.content or utterance.audio
        if source not in lengths:
            try:
                lengths[source] = file_seconds(utterance)
            except ValueError as error:
                lengths[source] = str(error)
        length = lengths[source]
        if isinstance(length, str):
            draft.leave_out(f"{utterance.id}: {utterance.audio}", length)
        elif (utterance.start or 0.0) >= length:
            draft.leave_out(f"{utterance.id}: {utterance.audio}", BEHIND_END if length else EMPTY)
        else:
            kept.append(_of_length(draft, utterance, length))
    draft.replace(kept)


def _of_length(draft: Draft, utterance: Utterance, length: float) -> Utterance:
    end = utterance.end
    if end is not None and end > length:
        if end > length + _ROUNDING:
            draft.leave_out(f"end of {utterance.id}", CUT)
        end = length
    seconds = (length if end is None else end) - (utterance.start or 0.0)
    return cut_at_end(draft, replace(utterance, end=end, seconds=seconds), seconds)
