"""Matrices in files: what is read is what was written, and nothing is left behind."""

import gc
import tempfile
from pathlib import Path

import pytest
import torch

from rankwatch.numerics.rows.rows_on_disk import RowsOnDisk


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_read_is_what_was_written_bit_by_bit(dtype, temporary):
    rows, x = RowsOnDisk(), torch.randn(7, 4, dtype=dtype)
    rows.append("x", x[:3])
    rows["y"] = torch.zeros(2, 2)
    rows.append("x", x.T.contiguous().T[3:])  # in another order in memory
    assert torch.equal(rows["x"], x)
    assert rows["x"].dtype == dtype
    rows["x"][:] = 0.0  # the caller's own copy
    assert torch.equal(rows["x"], x)
    rows["y"] = torch.ones(1, 5)
    assert rows["y"].shape == (1, 5)
    assert list(rows) == ["x", "y"]
    del rows["x"]
    assert "x" not in rows
    with pytest.raises(KeyError):
        rows["x"]
    assert len(list(temporary.glob("*/*"))) == 1


def test_the_folder_goes_with_the_object(temporary):
    rows = RowsOnDisk()
    rows.append("x", torch.zeros(1, 1))
    assert len(list(temporary.iterdir())) == 1
    del rows
    gc.collect()
    assert not list(temporary.iterdir())


def test_rows_that_do_not_fit_and_a_full_disk_are_errors_that_say_what_to_do(temporary, monkeypatch):
    rows = RowsOnDisk()
    rows.append("x", torch.zeros(1, 2))
    with pytest.raises(ValueError, match="'x' has rows of"):
        rows.append("x", torch.zeros(1, 3))

    def full(self, mode):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match=r"rows could not be written to .*No space left.*TMPDIR=FOLDER names another"):
        rows.append("x", torch.zeros(1, 2))
