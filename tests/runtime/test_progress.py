"""A bar where somebody looks, with whatever package is there; nothing anywhere else."""

import io
import sys

import pytest

from rankwatch.runtime.terminal.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("gone", [(), ("rich",), ("rich", "tqdm")])
def test_items_pass_through_whatever_draws_the_bar(gone, monkeypatch):
    for name in list(sys.modules):
        if name.partition(".")[0] in gone:
            monkeypatch.setitem(sys.modules, name, None)
    for name in gone:
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, f"{name}.console", None)
    stream = Terminal()
    assert list(progress([1, 2, 3], "reading", stream)) == [1, 2, 3]
    assert ("reading" in stream.getvalue()) == (len(gone) < 2)


def test_without_a_terminal_nothing_is_imported_or_drawn(monkeypatch):
    for name in ("rich.console", "rich.progress", "tqdm"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    stream = io.StringIO()
    assert list(progress(["a", "b"], "reading", stream)) == ["a", "b"]
    assert stream.getvalue() == ""
    assert not {"rich.console", "rich.progress", "tqdm"} & sys.modules.keys()


def test_one_item_needs_no_bar():
    stream = Terminal()
    assert list(progress(["a"], "reading", stream)) == ["a"]
    assert stream.getvalue() == ""
