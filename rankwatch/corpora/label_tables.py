"""Labels, speakers and texts from a table of their own, beside the audio."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rankwatch.corpora.columns import Columns, as_label, find_roles
from rankwatch.corpora.draft import Draft, as_path
from rankwatch.corpora.formats.tables import read_table
from rankwatch.corpora.name_matching import NameMatcher

NO_AUDIO = "labels without audio"
NO_LABELS = "audio without labels"
TWICE = "labels that were there before"


def attach_labels(draft: Draft, file: Path, columns: Columns | None = None) -> None:
    """Give the utterances of a draft what a table says about them; those that it doesn't name are left out.

    Args:
        draft: The utterances.
        file: A table with a column of ids or of files of audio; speakers, texts and alignments are known by their
            columns' names, and all other columns are labels.
        columns: Which column holds what, where that isn't plain from the columns' names.

    Raises:
        ValueError: If the table names neither ids nor files.
    """
    table = read_table(file, draft.encoding)
    known_names = {role: name for role, name in (columns or {}).items() if name in (None, *table.columns)}
    roles = find_roles(table.columns, known_names)
    if not {"id", "audio"} & roles.keys():
        there = ", ".join(table.columns)
        raise ValueError(f"{file} has no column of ids or of files (such as 'id' or 'path'); there are {there}")
    cells = {role: table.column(column) for role, column in roles.items()}
    for where, why in table.left_out.items():
        draft.leave_out(f"{file.name}, {where}", why)
    others = [column for column in table.columns if column and column not in roles.values()]
    labels = [[as_label(cell) for cell in table.column(column)] for column in others]
    paths = [cell for role in ("id", "audio") for cell in cells.get(role, ()) if cell]
    matcher, named = NameMatcher(draft.utterances, paths), set[int]()
    for i, number in enumerate(table.numbers):
        row = {role: column[i] for role, column in cells.items()}
        names = [row[role] for role in ("id", "audio") if row.get(role)]
        try:
            places = _places(matcher, names)
        except ValueError as error:
            draft.leave_out(f"{file.name}, row {number}: {names[0]}", str(error))
            continue
        if not places or named & set(places):
            draft.leave_out(f"{file.name}, row {number}: {', '.join(names)}", TWICE if places else NO_AUDIO)
            continue
        named.update(places)
        known = {column: found for column, values in zip(others, labels, strict=True) if (found := values[i])}
        for place in places:
            utterance = draft.utterances[place]
            draft.utterances[place] = replace(
                utterance,
                labels={**utterance.labels, **known},
                speaker=row.get("speaker") or utterance.speaker,
                text=row.get("text") or utterance.text,
            )
            if row.get("alignment"):
                draft.alignments[utterance.id] = file.parent / as_path(row["alignment"])
    for i, utterance in enumerate(draft.utterances):
        if i not in named:
            draft.leave_out(utterance.id, NO_LABELS)
    draft.replace(utterance for i, utterance in enumerate(draft.utterances) if i in named)


def _places(matcher: NameMatcher, names: list[str]) -> list[int]:
    """Utterances with one of these ids, or else those of a file of one of these names."""
    for name in names:
        place = matcher.by_id(name)
        if place is not None:
            return [place]
    return next((found for name in names if (found := matcher.by_audio(name))), [])
