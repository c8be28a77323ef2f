"""How a command ends that did not do what it was asked for."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

_REFUSED = 2
"""Exit status for bad arguments, as argparse has it."""

_FAILED = 1
"""Exit status where the arguments were good and the machine too small."""

_INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def refuse(reason: object, command: str) -> int:
    """Print the reason to the standard error stream.

    Args:
        reason: Why, as a sentence or as the error that says it.
        command: Of which command.

    Returns:
        The exit status of bad arguments, 2.
    """
    said = str(reason).removeprefix(f"{command}: ")  # the function of the same name says so itself
    print(f"rankwatch {command}: {said}", file=sys.stderr)
    return _REFUSED


def out_of_memory(error: MemoryError, command: str, folder: object) -> int:
    """Say that memory was too small, and what to do.

    Args:
        error: What was raised; Python's own says nothing.
        command: Of which command.
        folder: Where its results are.

    Returns:
        The exit status of a failure, 1.
    """
    reason = str(error) or (
        "there is not enough memory. Make some free, or allow the job more, and start it again; or ask for fewer "
        "utterances, layers or rows"
    )
    print(f"rankwatch {command}: {reason}. What is done is kept in {folder}", file=sys.stderr)
    return _FAILED


def interrupted(command: str, folder: object) -> int:
    """Say that Ctrl-C has ended the command, and that what is done isn't lost.

    Args:
        command: Which command.
        folder: Where its results are.

    Returns:
        The exit status of a command that was interrupted, 130.
    """
    print(f"rankwatch {command}: interrupted; what is done is kept in {folder}", file=sys.stderr)
    return _INTERRUPTED


@contextlib.contextmanager
def stopped_as_by_ctrl_c() -> Iterator[None]:
    """Take SIGTERM, which schedulers and containers send, for Ctrl-C: what is done is kept, temporary files go."""
    if threading.current_thread() is not threading.main_thread():  # signals belong to that one
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
