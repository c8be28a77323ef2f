"""Praat's TextGrid, in its long and its short form.

Praat reads both by one rule (its manual, "TextGrid file formats"): what counts in the file are numbers that stand by
themselves, texts in double quotes, and flags in angle brackets; all else is commentary, and so is what follows an
exclamation mark. That rule is a few lines, so no package is needed for it, and files of other programs that keep to it
are read as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rankwatch.corpora.corpus import Span

TEXTGRID_BEGINS = ('File type = "ooTextFile', '"ooTextFile')
"""What a TextGrid begins with, in its long and in its short form; Praat writes many of them in UTF-16."""

_TOKEN = re.compile(
    r'"((?:[^"]|"")*)"'  # a text; a quotation mark in it is doubled
    r"|(?<!\S)(<\w+>)"  # a flag
    r"|(?<!\S)([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)[a-z]*(?!\S)"  # a number that stands by itself, perhaps with a unit
    r"|(?<!\S)![^\n]*"  # commentary
)


def read_textgrid(text: str) -> dict[str, list[Span]]:
    """The intervals of each interval tier that have a label; points have no length and are passed over.

    Args:
        text: The file's text.

    Returns:
        Spans by tier, in the file's order.

    Raises:
        ValueError: If it isn't a TextGrid, or ends too early.

    Example:
        >>> short = '"ooTextFile" "TextGrid" 0 1 <exists> 1 "IntervalTier" "phones" 0 1 2 0 0.4 "a" 0.4 1 ""'
        >>> read_textgrid(short)
        {'phones': [Span(start=0.0, end=0.4, label='a')]}
    """
    tokens = _tokens(text)
    found: dict[str, list[Span]] = {}
    try:
        if (next(tokens), next(tokens)) != ("ooTextFile", "TextGrid"):
            raise ValueError("it does not begin as a TextGrid does")
        _number(tokens), _number(tokens)
        tiers = int(_number(tokens)) if next(tokens) == "<exists>" else 0
        for _ in range(tiers):
            kind, name = str(next(tokens)), str(next(tokens))
            _number(tokens), _number(tokens)
            spans = found.setdefault(name, []) if kind == "IntervalTier" else []
            for _ in range(int(_number(tokens))):
                start = _number(tokens)
                end = _number(tokens) if kind == "IntervalTier" else start
                label = str(next(tokens)).strip()
                if label and end > start:
                    spans.append(Span(start, end, label))
    except StopIteration:
        raise ValueError("it ends in the middle of a tier: is the file whole?") from None
    return found


def _tokens(text: str) -> Iterator[str | float]:
    for found in _TOKEN.finditer(text):
        label, flag, number = found.groups()
        if label is not None:
            yield label.replace('""', '"')
        elif flag is not None:
            yield flag
        elif number is not None:
            yield float(number)


def _number(tokens: Iterator[str | float]) -> float:
    token = next(tokens)
    if not isinstance(token, float):
        raise ValueError(f"where a number is due stands {token!r}")
    return token
