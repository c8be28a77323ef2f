"""What the headers of files of audio say: length and sample rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rankwatch.corpora.corpus import Utterance

NO_CONTENT = "a row without audio, or whose file isn't there"
BROKEN = "a file that is no audio, or broken"


def sample_rate(audio: Path) -> int:
    """Samples per second of a file, for manifests that count in samples; ValueError is raised where it is broken.

    Args:
        audio: The file.

    Returns:
        Its sample rate.
    """
    return int(_header(audio).samplerate)


def file_seconds(utterance: Utterance) -> float:
    """The length of the whole file that an utterance is in.

    Args:
        utterance: The utterance.

    Returns:
        Seconds.

    Raises:
        ValueError: If the file is broken, or isn't there though its data set says so.
    """
    source: Any = utterance.audio
    if utterance.content is not None:
        try:
            source = utterance.content.open()
        except (OSError, TypeError) as error:  # it names a file that isn't there, or nothing at all
            raise ValueError(NO_CONTENT) from error
    header = _header(source)
    return float(header.frames / header.samplerate)


def _header(audio: Any) -> Any:
    try:
        import soundfile  # an extra, needed by files of audio alone
    except ImportError as error:
        raise ImportError("files of audio need soundfile: pip install 'rankwatch[audio]'") from error
    try:
        return soundfile.info(audio)
    except Exception:  # soundfile's own errors are of several classes
        raise ValueError(BROKEN) from None
