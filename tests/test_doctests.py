"""The examples in docstrings run and say the truth."""

import doctest
import importlib
import pkgutil

import pytest

import rankwatch

MODULES = [module.name for module in pkgutil.walk_packages(rankwatch.__path__, "rankwatch.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    if name == "rankwatch.huggingface":
        pytest.importorskip("transformers")
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_there_are_examples() -> None:
    found = [
        doctest.DocTestFinder().find(importlib.import_module(name))
        for name in MODULES
        if not name.endswith(".huggingface")
    ]
    assert sum(bool(test.examples) for tests in found for test in tests) > 25
