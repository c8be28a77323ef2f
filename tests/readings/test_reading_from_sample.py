"""Readings from samples."""

import numpy as np
import pytest
import torch

from rankwatch.numerics import Sample
from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading_from_sample import measure

PROTOCOL = Protocol("first_batches", "frame", 100, 4, 0, None)


def _read(rows, **sample):
    return measure(Sample.from_rows(rows, **sample), step=7, layer="layers.0", protocol=PROTOCOL)


def _rows(n=400, d=32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=generator, dtype=torch.float32) * torch.arange(1, d + 1).float() ** -0.5


def test_width_and_columns_are_filled_in_and_the_curve_starts_at_one():
    reading = _read(_rows(), projection=16)
    assert (reading.d, reading.k, reading.protocol.d, reading.protocol.k) == (32, 16, 32, 16)
    assert reading.rankme is None
    assert len(reading.spectrum) == 64
    assert reading.spectrum[0] == pytest.approx(1.0)
    assert np.all(np.diff(reading.spectrum) <= 1e-12)


def test_non_finite_rows_are_a_share_and_all_of_them_no_number():
    rows = _rows()
    rows[:100, 3] = float("nan")
    assert _read(rows).metrics["non_finite_fraction"] == 0.25
    assert _read(rows).n == 300
    rows[:] = float("inf")
    reading = _read(rows)
    assert reading.metrics["non_finite_fraction"] == 1.0
    assert not reading.ok


def test_the_users_default_type_is_not_ours():
    """Training in bf16-true sets it for the whole process, whatever thread is calculating."""
    reading = _read(_rows(), projection=16)
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert _read(_rows().float(), projection=16) == reading
    finally:
        torch.set_default_dtype(torch.float32)
