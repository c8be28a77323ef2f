"""A corpus from whatever lies at a path: which form it has is told by what is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rankwatch.corpora.alignments.attach import attach_alignments
from rankwatch.corpora.audio_headers import check_audio
from rankwatch.corpora.corpus import Corpus
from rankwatch.corpora.draft import Draft
from rankwatch.corpora.formats.audio_folders import read_audio_file, read_audio_folder
from rankwatch.corpora.formats.tables import read_audio_table
from rankwatch.corpora.label_tables import attach_labels
from rankwatch.extraction.inputs.audio_files import SUFFIXES

FORMATS = ("folder", "file", "table")


def read_corpus(
    path: str | Path,
    *,
    labels: str | Path | None = None,
    alignments: str | Path | None = None,
    encoding: str = "utf-8",
    name: str | None = None,
    format: str | None = None,
    root: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    open_audio: bool = True,
) -> Corpus:
    """Read a corpus: a folder of audio, or a manifest, with labels and alignments where there are some.

    Args:
        path: A folder of audio, a table (``path, speaker, label, transcript, alignment_path, ...``), a folder with such
            a table named ``manifest.csv``, or one file of audio.
        labels: A table of labels for what is at `path`, with a column of ids or files.
        alignments: A file of alignments, or a folder of such: TextGrid, CTM, or tables with the columns ``tier``,
            ``start``, ``end`` and ``label``. They are matched by id, by relative path and by the audio's name.
        encoding: Of all text files, unless a byte-order mark says another.
        name: What the corpus is called; by default as the path.
        format: Which form it has, one of `FORMATS`, instead of what is found.
        root: Where relative paths of a manifest begin; by default in the manifest's folder.
        columns: Which column of a table holds what ("id", "audio", "speaker", "text", "alignment", ...), where that
            isn't plain from the columns' names.
        open_audio: Whether each file's header is read, so that lengths are known and broken files left out.

    Returns:
        The corpus. What couldn't be used is named in its `left_out`.

    Raises:
        ValueError: If there is no utterance in it, or a text file has another encoding or lacks a column. A path that
            isn't there raises FileNotFoundError.

    Example:
        >>> from rankwatch.corpora import read_corpus
        >>> corpus = read_corpus("/data/clips", labels="/data/clips.csv")  # doctest: +SKIP
    """
    path = Path(path)
    draft = Draft(name or path.stem or str(path), encoding)
    form = format or _found_format(path, labels is not None)
    if form == "folder":
        read_audio_folder(draft, path)
    elif form == "file":
        read_audio_file(draft, path)
    elif form == "table":
        file = path / "manifest.csv" if path.is_dir() else path
        read_audio_table(draft, file, columns, Path(root) if root is not None else None)
    else:
        raise ValueError(f"format={form!r}: format must be one of {', '.join(FORMATS)}")
    if labels is not None:
        attach_labels(draft, Path(labels), columns)
    attach_alignments(draft, Path(alignments) if alignments is not None else None)
    if open_audio:
        check_audio(draft)
    corpus = Corpus(draft.name, tuple(draft.utterances), dict(draft.left_out))
    if not corpus.utterances:
        reasons = "; ".join(corpus.left_out_in_words()) or "it is empty"
        raise ValueError(f"{path}: not one utterance can be used. {reasons}")
    return corpus


def _found_format(path: Path, with_labels: bool) -> str:
    """What is there; a folder's own manifest doesn't count where labels are named beside it."""
    if path.is_dir():
        return "table" if (path / "manifest.csv").is_file() and not with_labels else "folder"
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    return "file" if path.suffix.lower() in SUFFIXES else "table"
