"""What goes into the evaluation of a reading, and what comes out of it, on one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rankwatch.extraction.rows.row_buffer import Window
from rankwatch.monitor.outcome import Outcome
from rankwatch.readings.codebook_usage import Usage
from rankwatch.readings.protocol import Protocol


@dataclass(frozen=True)
class Gathered:
    """What one process has for a reading.

    Attributes:
        step: Optimiser steps taken.
        windows: Rows, by source; given up as they are worked on.
        protocols: The conditions, by source and level.
        refused: Sources that can't be read at all, with the reason.
        error: What went wrong with others this time, or empty.
        elapsed: Seconds that the run has lasted.
        spent: Of these, what the callback has taken.
        beside: Whether decompositions take time from the training: the model is on the CPU too.
        rate: Learning rate, where it is known.
        usages: Codes used in the training pass, by quantizer.
    """

    step: int
    windows: Sequence[Window] = ()
    protocols: Mapping[tuple[str, str], Protocol] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    elapsed: float = 0.0
    spent: float = 0.0
    beside: bool = False
    rate: float | None = None
    usages: Mapping[str, Usage] = field(default_factory=dict)


@dataclass(frozen=True)
class Trouble:
    """Something of this process's own that failed, to be told by the thread in which the user's code runs."""

    subject: str
    message: str
    error: Exception


@dataclass(frozen=True)
class Evaluated:
    """What came of it.

    Attributes:
        outcome: The same on all processes.
        troubles: This process's own.
        seconds: What it took here, by part.
    """

    outcome: Outcome
    troubles: Sequence[Trouble] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
