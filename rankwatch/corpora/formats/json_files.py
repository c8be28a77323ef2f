"""JSON: NeMo's manifests with an object a line, and SpeechBrain's with one object for all utterances."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from rankwatch.corpora.columns import Columns
from rankwatch.corpora.draft import Draft
from rankwatch.corpora.formats.records import Record, add_records
from rankwatch.extraction.inputs.text_files import read_text

NO_JSON = "a line that is no JSON object"


def read_json(draft: Draft, file: Path, columns: Columns | None = None, root: Path | None = None) -> None:
    """Read a manifest of records.

    Args:
        draft: What is filled.
        file: Lines of objects (``{"audio_filepath": ..., "offset": ..., "duration": ..., "text": ...}``), a list of
            objects, or one object that has an object for each id (``{"id": {"wav": ..., "spk_id": ...}}``).
        columns: Which field holds what, where that isn't plain from the names.
        root: Where relative paths begin; the manifest's folder by default.

    Raises:
        ValueError: If there is no record in it, or none has a path.
    """
    records = list(_records(draft, file))
    if not records:
        raise ValueError(
            f"{file} holds no utterance: lines of JSON objects were expected, or one object with an id each"
        )
    add_records(draft, file, records, columns, root)


def first_record(file: Path, encoding: str = "utf-8") -> Record:
    """The first line of a file with an object a line, by which its form is told.

    Args:
        file: The file, perhaps compressed with gzip.
        encoding: Its encoding.

    Returns:
        The object; empty where the first line is none.
    """
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
        try:
            found = json.loads(lines.readline().decode(encoding))
        except ValueError:
            return {}
    return found if isinstance(found, dict) else {}


def _records(draft: Draft, file: Path) -> Iterator[tuple[str, Record]]:
    text = _text(file, draft.encoding)
    try:
        whole = json.loads(text)
    except ValueError:  # several objects
        whole = None
    if isinstance(whole, list):
        yield from ((f"object {i}", one) for i, one in enumerate(whole, 1) if isinstance(one, dict))
    elif isinstance(whole, dict) and whole and all(isinstance(one, dict) for one in whole.values()):
        yield from ((key, {"id": key, **one}) for key, one in whole.items())
    else:
        for i, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except ValueError:
                found = None
            if isinstance(found, dict):
                yield f"line {i}", found
            else:
                draft.leave_out(f"{file.name}, line {i}", NO_JSON)


def _text(file: Path, encoding: str) -> str:
    if file.suffix != ".gz":
        return read_text(file, encoding)
    with gzip.open(file, "rt", encoding=encoding) as opened:
        return opened.read()
