"""A scheduler's SIGTERM ends the command as Ctrl-C does: rows are kept, and no temporary files are left."""

import os
import signal
import tempfile

import clips
import pytest

from rankwatch.analysis.rows import collect_rows
from rankwatch.cli import main

MODEL = """
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Conv1d(1, 4, 400, stride=320)])

    def forward(self, waveforms):
        return self.blocks[0](waveforms[:, None]).transpose(1, 2)
"""


def test_sigterm_keeps_what_is_done_and_leaves_no_temporary_files(tmp_path, monkeypatch, capsys):
    pytest.importorskip("soundfile")
    manifest = clips.corpus(tmp_path / "clips", speakers=2, each=12)
    (tmp_path / "stopped_model.py").write_text(MODEL)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    run_one, count = collect_rows._run_one, []

    def stopped(*arguments):
        count.append(1)
        if len(count) == 20:
            os.kill(os.getpid(), signal.SIGTERM)
        return run_one(*arguments)

    monkeypatch.setattr(collect_rows, "_run_one", stopped)
    before = signal.getsignal(signal.SIGTERM)
    options = ["--audio", str(manifest), "--layers", "blocks.*", "--rows", "48", "-o", str(tmp_path / "out")]
    assert main(["analyze", "stopped_model:Model", *options]) == 130
    assert "what is done is kept in" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before
    assert len(list((tmp_path / "out" / "rows").glob("*/rows-*.pt"))) == 2  # sixteen, and the three behind them
    assert not list((tmp_path / "temporary").glob("rankwatch-*"))
