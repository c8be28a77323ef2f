"""Shared by all tests: helpers beside the tests can be imported by name; loggers and threads stay calm."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


@pytest.fixture(autouse=True)
def _keep_random_state():
    """Tests may seed the global generators; no test inherits another's seed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        yield
