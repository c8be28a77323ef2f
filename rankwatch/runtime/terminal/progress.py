"""A progress bar for long work, by whatever package is there, and nothing where nobody looks."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO, TypeVar

T = TypeVar("T")


def progress(items: Sequence[T], doing: str, stream: TextIO | None = None) -> Iterator[T]:
    """Go through items and show how far that has come.

    ``rich`` draws the bar, or else ``tqdm``; without a terminal, without either of them, or with a single item there is
    none.

    Args:
        items: What is worked on.
        doing: What is done to them, in a few words.
        stream: Where the bar is drawn; standard error by default.

    Returns:
        The items, one after the other.

    Example:
        >>> list(progress(["a", "b"], "reading"))
        ['a', 'b']
    """
    where = sys.stderr if stream is None else stream
    if len(items) < 2 or not where.isatty():
        return iter(items)
    for draw in (_rich, _tqdm):
        try:
            return iter(draw(items, doing, where))
        except ImportError:
            continue
    return iter(items)


def _rich(items: Sequence[T], doing: str, stream: TextIO) -> Iterable[T]:
    console = importlib.import_module("rich.console").Console(file=stream)
    found: Iterable[T] = importlib.import_module("rich.progress").track(
        items, description=doing, console=console, transient=True
    )
    return found


def _tqdm(items: Sequence[T], doing: str, stream: TextIO) -> Iterable[T]:
    found: Iterable[T] = importlib.import_module("tqdm").tqdm(items, desc=doing, file=stream, leave=False)
    return found
