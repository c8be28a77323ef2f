"""Data sets of Hugging Face's `datasets` on disk: saved by ``save_to_disk``, or Parquet files."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from rankwatch.corpora.columns import ANY, Columns, as_label, find_roles
from rankwatch.corpora.corpus import AudioContent, Utterance
from rankwatch.corpora.draft import Draft


@dataclass(frozen=True, eq=False)
class _SavedAudio:
    """One row of a saved data set, whose bytes are read from disk when they are wanted."""

    data: Any
    row: int
    column: str

    def open(self) -> BinaryIO:
        return _opened(self.data[self.row][self.column])


@dataclass(frozen=True, eq=False)
class _ParquetAudio:
    """One row of a Parquet file; the rows that are stored with it are read together, and kept for the next."""

    file: Path
    group: int
    row: int
    column: str

    def open(self) -> BinaryIO:
        return _opened(_row_group(self.file, self.group, self.column)[self.row].as_py())


@lru_cache(maxsize=1)
def _row_group(file: Path, group: int, column: str) -> Any:
    from pyarrow.parquet import ParquetFile  # datasets brings it

    return ParquetFile(file).read_row_group(group, columns=[column]).column(0)


def _opened(value: Any) -> BinaryIO:
    return io.BytesIO(value["bytes"]) if value["bytes"] else Path(value["path"]).open("rb")


def is_saved(folder: Path) -> bool:
    """Whether a folder was written by ``save_to_disk``, or holds Parquet files."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")) or bool(_parquet(folder))


def read_datasets(draft: Draft, path: Path, columns: Columns | None = None) -> None:
    """Read a saved data set, with all its splits, or Parquet files.

    Args:
        draft: What is filled.
        path: The folder, or a Parquet file.
        columns: Which column holds what, where that isn't plain from the names.

    Raises:
        ImportError: If datasets isn't installed. A data set without a column of audio raises ValueError.
    """
    try:
        import datasets  # an extra, needed by its data sets alone
    except ImportError as error:
        raise ImportError("data sets of Hugging Face's need datasets: pip install 'rankwatch[corpora]'") from error
    columns = columns or {}
    said = columns.get("audio")
    read = _parquet_parts if path.is_file() or _parquet(path) else _saved_parts
    parts = read(datasets, path, None if said == ANY else said)
    for split, features, rows, contents in parts:
        roles = find_roles(rows, {key: name for key, name in columns.items() if key != "audio"})
        others = [name for name in rows if name not in roles.values()]
        for i, content in enumerate(contents):
            row = {role: _text(features[name], rows[name][i]) for role, name in roles.items()}
            labels = {name: _label(features[name], rows[name][i]) for name in others}
            known = {name: label for name, label in labels.items() if label is not None}
            name = row.get("id") or (f"{split}/{i}" if split else str(i))
            if split:
                known.setdefault("split", split)
            audio = path / split / str(i)
            utterance = Utterance(name, audio, None, None, row.get("speaker"), row.get("text"), known, content=content)
            draft.add(f"row {i}" + (f" of {split}" if split else ""), utterance, found=True)


Part = tuple[str, Any, dict[str, list[Any]], list[AudioContent]]


def _saved_parts(datasets: ModuleType, folder: Path, said: str | None) -> Iterator[Part]:
    loaded = datasets.load_from_disk(str(folder))
    for split, data in loaded.items() if isinstance(loaded, dict) else [("", loaded)]:
        column = _audio_column(datasets, data.features, folder, said)
        others = _others(datasets, data.features)
        raw = data.select_columns([column]).cast_column(column, datasets.Audio(decode=False))
        contents: list[AudioContent] = [_SavedAudio(raw, i, column) for i in range(len(data))]
        yield split, data.features, data.select_columns(others)[:] if others else {}, contents


def _parquet_parts(datasets: ModuleType, path: Path, said: str | None) -> Iterator[Part]:
    from pyarrow.parquet import ParquetFile  # datasets brings it

    for file in [path] if path.is_file() else _parquet(path):
        stored = ParquetFile(file)
        features = datasets.Features.from_arrow_schema(stored.schema_arrow)
        column = _audio_column(datasets, features, file, said)
        sizes = [stored.metadata.row_group(group).num_rows for group in range(stored.metadata.num_row_groups)]
        places = [(group, row) for group, size in enumerate(sizes) for row in range(size)]
        others = _others(datasets, features)
        contents: list[AudioContent] = [_ParquetAudio(file, group, row, column) for group, row in places]
        split = "" if path.is_file() else file.stem
        yield split, features, stored.read(columns=others).to_pydict() if others else {}, contents


def _parquet(folder: Path) -> list[Path]:
    """Parquet files of a folder, or of the folder "data" in it, where the hub keeps them."""
    return sorted(folder.glob("*.parquet")) or sorted((folder / "data").glob("*.parquet"))


def _audio_column(datasets: ModuleType, features: Any, where: Path, said: str | None) -> str:
    """The first column of audio, or that which the user has named."""
    for name, feature in features.items():
        if isinstance(feature, datasets.Audio) and said in (None, name):
            return str(name)
    wanted = "column of audio" if said is None else f"column {said!r} of audio"
    raise ValueError(f"{where} has no {wanted}; there are {', '.join(features)}")


def _others(datasets: ModuleType, features: Any) -> list[str]:
    """Columns that hold no audio, which nobody wants decoded here."""
    return [name for name, feature in features.items() if not isinstance(feature, datasets.Audio)]


def _text(feature: Any, value: Any) -> str | None:
    """A speaker, an id or a text; by its name where the data set has numbers for names."""
    label = value if isinstance(value, str) else _label(feature, value)
    return label or None if isinstance(label, str) else None


def _label(feature: Any, value: Any) -> str | frozenset[str] | None:
    """A label by its name where the data set has numbers for names."""
    names = getattr(feature, "names", None)
    if names is not None and isinstance(value, int):
        return str(names[value]) if value >= 0 else None
    inner = getattr(getattr(feature, "feature", None), "names", None)
    if inner is not None and isinstance(value, list):
        return frozenset(str(inner[one]) for one in value)
    return as_label(value) if not isinstance(value, dict) else json.dumps(value, sort_keys=True)
