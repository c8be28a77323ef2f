"""Shared by all tests: helpers beside the tests can be imported by name; loggers and threads stay calm."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "helpers"))  # imported by name


@pytest.fixture(autouse=True)
def _keep_random_state():
    """Tests may seed the global generators; no test inherits another's seed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        yield


@pytest.fixture(autouse=True)
def _beside_the_training(monkeypatch):
    """Tests train on the CPU, where the callback waits for the work; here it goes on beside, as with a GPU.

    Those in processes of their own and the fixtures of whole modules see it wait.
    """
    monkeypatch.setattr("rankwatch.monitor.monitor.WAITS_ON_CPU", False)
