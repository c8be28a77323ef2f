"""What the columns of a table, or the fields of a manifest's lines, are called by those who make them."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

ROLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "id": ("id", "utt_id", "utterance_id", "utterance", "uttid", "segment_id"),
        "audio": (
            "path",
            "audio_filepath",
            "audio_path",
            "audio_file",
            "file_name",
            "filename",
            "file",
            "wav",
            "audio",
        ),
        "start": ("start", "start_time", "offset"),
        "end": ("end", "end_time"),
        "stop": ("stop",),
        "seconds": ("seconds", "duration", "length"),
        "speaker": ("speaker", "speaker_id", "spk_id", "spk", "client_id"),
        "text": ("transcript", "text", "transcription", "wrd", "words", "normalized_text", "sentence"),
        "alignment": ("alignment_path", "alignment"),
        "nothing": ("sample_rate", "sampling_rate", "num_samples"),
    }
)
"""Names of columns, in lower case, by what they hold; of those that are there the first counts, others are labels."""


ANY = "*"
"""Stands for whichever column is known to have a role, and one must."""

Columns = Mapping[str, str | None]
"""Columns that a user has named, by role; None where no column has it. The role "label" is that of a label whatever its
name."""


def find_roles(names: Iterable[str], given: Columns | None = None) -> dict[str, str]:
    """Which column holds what.

    Args:
        names: Names of all columns.
        given: Columns that the user has named.

    Returns:
        The column's name, by role; roles that no column has are missing.

    Raises:
        ValueError: If there is no column that the user has named.

    Example:
        >>> find_roles(["ID", "wav", "spk_id", "emotion"])
        {'id': 'ID', 'audio': 'wav', 'speaker': 'spk_id'}
    """
    given, names = given or {}, list(names)
    there = f"; there are {', '.join(names) or 'none'}"
    for column in given.values():
        if column not in (None, ANY, *names):
            raise ValueError(f"no column {column!r}{there}")
    lower = {name.strip().lower(): name for name in names if name not in given.values()}
    found = {}
    for role, known in ROLES.items():
        column = given.get(role, ANY)
        if column == ANY:
            column = next((lower[name] for name in known if name in lower), None)
            if column is None and role in given:
                raise ValueError(f"no column {known[0]!r}{there}")
        if column is not None:
            found[role] = column
    return found


def as_label(cell: object) -> str | frozenset[str] | None:
    """A cell or a field as a label.

    Args:
        cell: A string, a number, or several of them: a list, also one that is written in a cell as Python or JSON
            write it.

    Returns:
        One label, or several at once as a frozenset, which is empty where an empty list was written: nothing applies.
        None where the cell is empty, which says that nothing is known, or holds something within something else.

    Example:
        >>> as_label("angry"), as_label(3), as_label("['question', 'greeting']") == {"question", "greeting"}
        ('angry', '3', True)
    """
    if is_missing(cell):
        return None
    if isinstance(cell, str):
        cell = cell.strip()
        if cell[:1] + cell[-1:] != "[]":
            return cell or None
        try:
            cell = ast.literal_eval(cell)
        except (ValueError, SyntaxError):
            return str(cell)
    if isinstance(cell, (list, tuple, set, frozenset)):
        plain = all(isinstance(one, (str, int, float)) for one in cell)
        return frozenset(str(one) for one in cell) if plain else None
    return str(cell) if isinstance(cell, (str, int, float)) else None


def as_seconds(cell: object) -> float | None:
    """A cell or a field as a number, of seconds as a rule.

    Args:
        cell: A string or a number.

    Returns:
        The seconds, or None where it is empty.

    Raises:
        ValueError: If it is neither empty nor a number.
    """
    if is_missing(cell):
        return None
    try:
        seconds = float(str(cell))
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ValueError(f"{cell!r} is no number of seconds")
    return seconds


def is_missing(cell: object) -> bool:
    """Whether a cell or a field says nothing: None, an empty string, or the NaN that pandas writes for what is missing.

    Args:
        cell: Anything.

    Returns:
        Whether it is empty.

    Example:
        >>> is_missing(" "), is_missing(float("nan")), is_missing(0)
        (True, True, False)
    """
    return cell is None or cell != cell or (isinstance(cell, str) and not cell.strip())  # NaN alone isn't itself
