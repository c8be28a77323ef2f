"""Which form a corpus has, told by what lies at its path."""

from __future__ import annotations

from pathlib import Path

from rankwatch.corpora.formats.fairseq import is_fairseq
from rankwatch.corpora.formats.huggingface_datasets import is_saved
from rankwatch.corpora.formats.json_files import first_record
from rankwatch.corpora.formats.lhotse_manifests import has_lhotse, is_lhotse
from rankwatch.corpora.formats.slue import slue_tables
from rankwatch.extraction.inputs.audio_files import SUFFIXES

_MANIFESTS = ("manifest.csv", "metadata.csv", "manifest.tsv", "metadata.tsv")
"""Tables that a folder may have of itself; metadata.csv is what Hugging Face's audio folders have."""


def found_format(path: Path, encoding: str, *, labelled: bool) -> str:
    """Tell the form.

    Args:
        path: A folder or a file.
        encoding: Of text files.
        labelled: Whether labels are named besides, so that a folder's own table doesn't count.

    Returns:
        One of the names of `read_corpus`' formats.

    Raises:
        FileNotFoundError: If there is nothing at the path.
        ValueError: If no form is known that ends like it.
    """
    if path.is_dir():
        return _of_folder(path, labelled)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    if slue_tables(path):
        return "slue"
    if path.name == "wav.scp":
        return "kaldi"
    ending = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if ending.lower() in SUFFIXES:
        return "audio"
    if ending == ".tsv" and is_fairseq(path, encoding):
        return "fairseq"
    if ending in (".json", ".jsonl") and is_lhotse(first_record(path, encoding)):
        return "lhotse"
    if ending == ".parquet":
        return "datasets"
    known = {".csv": "table", ".tsv": "table", ".txt": "table", ".json": "json", ".jsonl": "json"}
    if ending.lower() not in known:
        raise ValueError(f"{path}: no form of a corpus is known that ends in {ending!r}; say format=")
    return known[ending.lower()]


def _of_folder(folder: Path, labelled: bool) -> str:
    if (folder / "wav.scp").is_file():
        return "kaldi"
    if slue_tables(folder):
        return "slue"
    if is_saved(folder):
        return "datasets"
    if has_lhotse(folder):
        return "lhotse"
    return "table" if own_table(folder) is not None and not labelled else "folder"


def own_table(folder: Path) -> Path | None:
    """The table that a folder has of itself.

    Args:
        folder: The folder.

    Returns:
        The table, or None where it has none.
    """
    return next((folder / name for name in _MANIFESTS if (folder / name).is_file()), None)
