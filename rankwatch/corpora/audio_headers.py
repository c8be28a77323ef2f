"""The length of each utterance, from its file's header: what is broken or too short is named before anything runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rankwatch.corpora.alignments.attach import cut_at_end
from rankwatch.corpora.corpus import Utterance
from rankwatch.corpora.draft import Draft

BEHIND_END = "the segment begins behind the end of its audio"
CUT = "the segment ends after its audio, and was cut"
EMPTY = "a file without samples"
BROKEN = "a file that is no audio, or broken"
_ROUNDING = 0.01
"""Seconds by which a segment may end after its file without being named."""


def check_audio(draft: Draft) -> None:
    """Open each file once; utterances without audio are left out, segments and spans are cut at its end.

    Args:
        draft: Its utterances get their lengths.
    """
    lengths: dict[Path, float | str] = {}
    kept = []
    for utterance in draft.utterances:
        audio = utterance.audio
        if audio not in lengths:
            lengths[audio] = _seconds(audio)
        length = lengths[audio]
        if isinstance(length, str):
            draft.leave_out(f"{utterance.id}: {audio}", length)
        elif (utterance.start or 0.0) >= length:
            draft.leave_out(f"{utterance.id}: {audio}", BEHIND_END if length else EMPTY)
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


def _seconds(audio: Path) -> float | str:
    """The file's length, or what is wrong with it."""
    try:
        import soundfile  # an extra, needed by files of audio alone
    except ImportError as error:
        raise ImportError("files of audio need soundfile: pip install 'rankwatch[audio]'") from error
    try:
        info = soundfile.info(audio)
    except Exception:  # soundfile's own errors are of several classes
        return BROKEN
    return float(info.frames / info.samplerate)
