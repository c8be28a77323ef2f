"""SLUE's folders as its toolkit leaves them: sentiment (VoxCeleb), named entities (VoxPopuli) and dialog acts (HVB).

Names of files and columns are those of https://github.com/asappresearch/slue-toolkit
(``slue_toolkit/prepare/prepare_voxceleb.py``, ``prepare_voxpopuli.py``, ``prepare_hvb.py``).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from rankwatch.corpora.alignments.named_entities import TIER
from rankwatch.corpora.columns import as_label
from rankwatch.corpora.corpus import Span, Utterance
from rankwatch.corpora.draft import Draft
from rankwatch.corpora.formats.records import times
from rankwatch.corpora.formats.tables import read_table

SENTIMENTS = ("Negative", "Neutral", "Positive")
NO_SENTIMENT = "its annotators didn't agree on one of SLUE's three sentiments"
COMBINED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("DATE", "TIME"), "WHEN"),
        **dict.fromkeys(("CARDINAL", "ORDINAL", "QUANTITY", "MONEY", "PERCENT"), "QUANT"),
        **dict.fromkeys(("GPE", "LOC"), "PLACE"),
        **{tag: tag for tag in ("NORP", "ORG", "LAW", "PERSON")},
    }
)
"""SLUE's combined tags, by the raw ones; the others are not scored."""

_TABLES = ("slue-voxceleb_*.tsv", "slue-voxpopuli_*.tsv", "slue-hvb_*.tsv", "*dialog_acts*.csv")

Row = dict[str, str]


def slue_tables(path: Path) -> list[Path]:
    """The tables of a SLUE task.

    Args:
        path: The folder of a task, or one of its tables.

    Returns:
        Its tables, in the order of their names; none where it is something else.
    """
    if path.is_dir():
        return sorted(file for pattern in _TABLES for file in path.glob(pattern))
    return [path] if any(path.match(pattern) for pattern in _TABLES) else []


def read_slue(draft: Draft, path: Path) -> None:
    """Read all splits of a task, or one; the split is a label.

    Args:
        draft: What is filled; named entities stand in its `entities` until there are times for them.
        path: The folder of a task, or one of its tables.
    """
    for file in slue_tables(path):
        table = read_table(file, draft.encoding)
        for where, why in table.left_out.items():
            draft.leave_out(f"{file.name}, {where}", why)
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
        split = file.stem.partition("_")[2].removesuffix("_blind")
        for i, row in zip(table.numbers, rows, strict=True):
            read = _dialog_act if "issue_id" in row else _sentiment if "start_second" in row else _entities
            try:
                read(draft, f"{file.name}, row {i}", file.parent, row.get("split") or split, row)
            except (KeyError, ValueError, SyntaxError) as error:
                draft.leave_out(f"{file.name}, row {i}", f"it isn't as SLUE's rows are: {error!r}")
        _timed_entities(draft, file.parent, split)


def _timed_entities(draft: Draft, folder: Path, split: str) -> None:
    """Times of named entities as SLUE phase 2 has them: ``prepare_voxpopuli_nel.py`` writes them for dev and test."""
    name = f"{split}_entity_alignments.csv"
    file = next((one for one in (folder / "nel" / name, folder / name) if one.is_file()), None)
    if file is None:
        return
    table = read_table(file, draft.encoding, may_be_empty=True)
    spans: dict[str, list[Span]] = {}
    for where, why in table.left_out.items():
        draft.leave_out(f"{name}, {where}", why)
    for i, cells in zip(table.numbers, table.rows, strict=True):
        row = dict(zip(table.columns, cells, strict=True))
        try:
            tag = COMBINED.get(row["entity_label"], row["entity_label"])
            if tag in COMBINED.values():
                spans.setdefault(row["id"], []).append(Span(float(row["start"]), float(row["end"]), tag))
        except (KeyError, ValueError) as error:
            draft.leave_out(f"{name}, row {i}", f"it isn't as SLUE's rows are: {error!r}")
    for i, one in enumerate(draft.utterances):
        if one.labels.get("split") == split:
            own = tuple(sorted(spans.get(one.id, []), key=lambda span: span.start))
            draft.utterances[i] = replace(one, spans={**one.spans, TIER: own})


def _sentiment(draft: Draft, where: str, folder: Path, split: str, row: Row) -> None:
    """``<split>/<id>.flac`` is the segment, ``<split>_raw/<id>.flac`` what it was cut from."""
    cut = folder / split / f"{row['id']}.flac"
    start, end = (None, None) if cut.is_file() else times(row["start_second"], row["end_second"], None)
    audio = cut if cut.is_file() else folder / f"{split}_raw" / cut.name
    labels = {"split": split}
    if row.get("sentiment"):
        if row["sentiment"] not in SENTIMENTS:
            draft.leave_out(f"{where}: {row['id']}", NO_SENTIMENT)
            return
        labels["sentiment"] = row["sentiment"]
    text = row.get("normalized_text") or None
    draft.add(where, Utterance(row["id"], audio, start, end, row.get("speaker_id") or None, text, labels))


def _entities(draft: Draft, where: str, folder: Path, split: str, row: Row) -> None:
    """``normalized_ner`` has ``[tag, first character, number of characters]`` for each entity in the text."""
    text = row.get("normalized_text", "")
    labels: dict[str, str | frozenset[str]] = {"split": split}
    found = []
    if "normalized_ner" in row:
        raw = [] if row["normalized_ner"] in ("", "None") else ast.literal_eval(row["normalized_ner"])
        found = [(COMBINED[tag], int(first), int(count)) for tag, first, count in raw if tag in COMBINED]
        labels["named_entities"] = frozenset(tag for tag, _, _ in found)
    speaker = row.get("speaker_id") or None
    audio = folder / split / f"{row['id']}.ogg"
    known = draft.add(where, Utterance(row["id"], audio, None, None, speaker, text or None, labels))
    if known and "normalized_ner" in row:
        draft.entities[row["id"]] = found


def _dialog_act(draft: Draft, where: str, folder: Path, split: str, row: Row) -> None:
    """``<split>/<issue>_<start>_<end>.wav`` is the turn; ``agent/`` and ``caller/`` have the whole conversations."""
    first = int(row["start_ms"])
    last = first + int(row["duration_ms"])
    name = f"{row['issue_id']}_{first}_{last}"
    who = "caller" if row.get("channel") == "1" else "agent"
    whole = f"audio/{who}/{row['issue_id']}.wav"
    places = [folder / split / f"{name}.wav", folder / "slue-hvb" / split / f"{name}.wav"]
    long = [folder / base / whole for base in (".", "data", "hvb/data", "../hvb/data")]
    audio = next((one for one in [*places, *long] if one.is_file()), places[0])
    start, end = (first / 1000, last / 1000) if audio in long else (None, None)
    acts = as_label(row.get("asapp_dialog_acts") or row.get("dialog_acts") or "")
    labels: dict[str, str | frozenset[str]] = {"split": split, "role": who}
    labels |= {"dialog_acts": acts if isinstance(acts, frozenset) else frozenset({acts})} if acts is not None else {}
    labels |= {"intent": row["intent"]} if row.get("intent") else {}
    identity = f"{name}_{who}" if audio in long else name
    speaker = row.get("speaker_id") or None
    draft.add(where, Utterance(identity, audio, start, end, speaker, row.get("text") or None, labels))
