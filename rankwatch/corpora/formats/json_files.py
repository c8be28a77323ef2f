"""JSON: NeMo's manifests with an object a line, and SpeechBrain's with one object for all utterances."""

from __future__ import annotations

import codecs
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from rankwatch.corpora.columns import Columns
from rankwatch.corpora.draft import SAME_ID, Draft
from rankwatch.corpora.formats.records import Record, add_records
from rankwatch.extraction.inputs.text_files import read_text, split_lines

NO_JSON = "a line that is no JSON object"
NO_OBJECT = "it is no JSON object"


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
            found = json.loads(lines.readline().removeprefix(codecs.BOM_UTF8).decode(encoding))
        except (ValueError, LookupError, OSError, EOFError):  # said when it is read whole
            return {}
    return found if isinstance(found, dict) else {}


def _records(draft: Draft, file: Path) -> Iterator[tuple[str, Record]]:
    text = read_text(file, draft.encoding)
    try:
        whole = json.loads(text, object_pairs_hook=_Object)
    except ValueError:  # several objects
        whole = None
    if isinstance(whole, list):
        for i, one in enumerate(whole, 1):
            if isinstance(one, dict):
                yield f"object {i}", one
            else:
                draft.leave_out(f"{file.name}, object {i}", NO_OBJECT)
    elif isinstance(whole, _Object) and whole and all(isinstance(one, dict) for one in whole.values()):
        for key in whole.repeated:
            draft.leave_out(f"{file.name}: {key}", SAME_ID)
        yield from ((key, {"id": key, **one}) for key, one in whole.items() if isinstance(one, dict))
    else:
        for i, line in enumerate(split_lines(text), 1):
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


class _Object(dict[str, object]):
    """An object of JSON's; of a name that is there twice the first value counts.

    Args:
        pairs: Names and values.
    """

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__()
        self.repeated: list[str] = []
        for name, value in pairs:
            if name in self:
                self.repeated.append(name)
            self.setdefault(name, value)
