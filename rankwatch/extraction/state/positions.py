"""Where random generators and files are, and what a context's variables are: remembered, and put back."""

from __future__ import annotations

import contextvars
import io
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from rankwatch.extraction.state.contents import Restore

GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, np.random.BitGenerator, torch.Generator)


def generator_state(generator: Any) -> Restore | None:
    """Remember where a random generator of Python's, numpy's or torch's is; None for the operating system's."""
    if isinstance(generator, random.SystemRandom):
        return None
    if isinstance(generator, (np.random.Generator, np.random.BitGenerator)):
        bits: Any = getattr(generator, "bit_generator", generator)
        state = bits.state
        return lambda: setattr(bits, "state", state)
    if isinstance(generator, random.Random):
        python_state = generator.getstate()
        return lambda: generator.setstate(python_state)
    other_state = generator.get_state()
    return lambda: generator.set_state(other_state)


def seed_generator(generator: Any, seed: int) -> None:
    """Seed a generator of Python's, numpy's or torch's."""
    if isinstance(generator, (np.random.Generator, np.random.BitGenerator)):
        bits: Any = getattr(generator, "bit_generator", generator)
        kind: Callable[[int], Any] = type(bits)
        bits.state = kind(seed).state
    elif isinstance(generator, torch.Generator):
        generator.manual_seed(seed)
    else:
        generator.seed(seed % (1 << 32))


def context_value(variable: contextvars.ContextVar[Any]) -> Restore | None:
    """Remember what a variable of this context is; None where it is nothing."""
    unset = object()
    before = variable.get(unset)
    return None if before is unset else lambda: variable.set(before) and None


def file_position(file: Any) -> Restore | None:
    """Remember where a file is being read, and what is in one that is in memory; None for what is written to.

    Args:
        file: An open file, or a buffer as `io.BytesIO`.

    Returns:
        What puts it back.
    """
    if file.closed or not file.seekable():
        return None
    position = file.tell()
    if isinstance(file, (io.BytesIO, io.StringIO)):
        content: Any = file.getvalue()

        def rewrite() -> None:
            if file.getvalue() != content:
                file.seek(0)
                file.truncate()
                file.write(content)
            file.seek(position)

        return rewrite
    if not file.readable() or file.writable():
        return None
    return lambda: file.seek(position)
