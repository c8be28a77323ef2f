"""A folder of audio without any manifest, or a single file."""

from __future__ import annotations

from pathlib import Path

from rankwatch.corpora.corpus import Utterance
from rankwatch.corpora.draft import Draft
from rankwatch.extraction.inputs.audio_files import find_audio


def read_audio_folder(draft: Draft, folder: Path) -> None:
    """Every file of audio at any depth becomes an utterance, whose id is its path in the folder.

    Links are followed, loops aren't; FileNotFoundError and ValueError are raised as by `find_audio`.

    Args:
        draft: What is filled.
        folder: The folder.
    """
    found = find_audio(folder)
    for file in found.files:
        draft.add("folder", Utterance(file.relative_to(folder).as_posix(), file), found=True)
    draft.passed_over = found.passed_over()


def read_audio_file(draft: Draft, file: Path) -> None:
    """One file of audio is a corpus of one utterance.

    Args:
        draft: What is filled.
        file: The file.
    """
    draft.add("file", Utterance(file.name, file))
