"""Fixtures of the tests of replays."""

import socket

import pytest


@pytest.fixture(scope="module")
def free_port():
    """A port on which nobody listens, in words."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])
