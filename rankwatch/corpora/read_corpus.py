"""A corpus from whatever lies at a path: which form it has is told by what is there."""

from __future__ import annotations

from pathlib import Path

from rankwatch.corpora.alignments.attach import attach_alignments
from rankwatch.corpora.alignments.named_entities import time_entities
from rankwatch.corpora.audio_check import check_audio
from rankwatch.corpora.columns import Columns
from rankwatch.corpora.corpus import Corpus
from rankwatch.corpora.draft import NO_FILE, OF_WINDOWS, Draft
from rankwatch.corpora.formats.audio_folders import read_audio_file, read_audio_folder
from rankwatch.corpora.formats.fairseq import read_fairseq
from rankwatch.corpora.formats.found_format import found_format, own_table
from rankwatch.corpora.formats.huggingface_datasets import read_datasets
from rankwatch.corpora.formats.json_files import read_json
from rankwatch.corpora.formats.kaldi import read_kaldi
from rankwatch.corpora.formats.lhotse_manifests import read_lhotse
from rankwatch.corpora.formats.slue import read_slue
from rankwatch.corpora.formats.tables import read_audio_table
from rankwatch.corpora.label_tables import attach_labels
from rankwatch.runtime.argument_kinds import refusal

FORMATS = ("folder", "audio", "table", "json", "fairseq", "kaldi", "lhotse", "datasets", "slue")
"""Forms of a corpus; "table" is ours and SpeechBrain's CSV, "json" NeMo's lines and SpeechBrain's objects."""


def read_corpus(
    path: str | Path,
    *,
    labels: str | Path | None = None,
    alignments: str | Path | None = None,
    encoding: str = "utf-8",
    name: str | None = None,
    format: str | None = None,
    root: str | Path | None = None,
    columns: Columns | None = None,
    open_audio: bool = True,
) -> Corpus:
    """Read a corpus: a folder of audio, or a manifest, with labels and alignments where there are some.

    Args:
        path: A folder of audio, one file of audio, a table (``path, speaker, label, transcript, alignment_path, ...``,
            or SpeechBrain's), a folder with such a table named ``manifest.csv`` or ``metadata.csv``, a NeMo manifest,
            SpeechBrain's JSON, a fairseq ``.tsv`` with its label files, a Kaldi data directory, lhotse's recordings,
            supervisions or cuts, a data set of Hugging Face's on disk, or the folder of a SLUE task.
        labels: A table of labels for what is at `path`, with a column of ids or files.
        alignments: A file of alignments, or a folder of such: TextGrid, CTM, or tables with the columns ``tier``,
            ``start``, ``end`` and ``label``. They are matched by id, by relative path and by the audio's name.
        encoding: Of all text files, unless a byte-order mark says another.
        name: What the corpus is called; by default as the path.
        format: Which form it has, one of `FORMATS`, instead of what is found.
        root: Where relative paths of a manifest begin; by default in the manifest's folder.
        columns: Which column of a table, or field of a JSON manifest, holds what ("id", "audio", "start", "end",
            "seconds", "speaker", "text", "alignment"), where that isn't plain from its name; None where none does.
        open_audio: Whether each file's header is read, so that lengths are known and broken files left out.

    Returns:
        The corpus. What couldn't be used is named in its `left_out`.

    Raises:
        FileNotFoundError: If `path`, `labels` or `alignments` isn't there, or none of the files that a manifest names.
        ValueError: If there is no utterance in it, or a text file has another encoding or lacks a column.

    Example:
        >>> from rankwatch.corpora import read_corpus
        >>> corpus = read_corpus("/data/clips", labels="/data/clips.csv")  # doctest: +SKIP
    """
    path, base = Path(path), None if root is None else Path(root)
    draft = Draft(name or (path.name if path.is_dir() else path.stem) or str(path), encoding)
    _read_format(draft, path, format or found_format(path, encoding, labelled=labels is not None), columns, base)
    if labels is not None:
        attach_labels(draft, Path(labels), columns)
    attach_alignments(draft, Path(alignments) if alignments is not None else None)
    time_entities(draft)
    if open_audio:
        check_audio(draft)
    corpus = Corpus(draft.name, tuple(draft.utterances), dict(draft.left_out), draft.passed_over)
    if not corpus.utterances:
        reasons = f"{path}: not one utterance can be used. {'; '.join(corpus.left_out_in_words()) or 'It is empty'}"
        if corpus.left_out and set(corpus.left_out.values()) <= {NO_FILE, OF_WINDOWS}:
            raise FileNotFoundError(reasons)
        raise ValueError(reasons)
    return corpus


def _read_format(draft: Draft, path: Path, form: str, columns: Columns | None, root: Path | None) -> None:
    if form == "folder":
        read_audio_folder(draft, path)
    elif form == "audio":
        read_audio_file(draft, path)
    elif form == "table":
        read_audio_table(draft, (own_table(path) if path.is_dir() else None) or path, columns, root)
    elif form == "json":
        read_json(draft, path, columns, root)
    elif form == "fairseq":
        read_fairseq(draft, path, root)
    elif form == "kaldi":
        read_kaldi(draft, path if path.is_dir() else path.parent, root)
    elif form == "lhotse":
        read_lhotse(draft, path, root)
    elif form == "slue":
        read_slue(draft, path)
    elif form == "datasets":
        read_datasets(draft, path, columns)
    else:
        raise ValueError(refusal("read_corpus", "format", form, f"one of {', '.join(map(repr, FORMATS))}"))
