"""A scheduler's SIGTERM ends the command as Ctrl-C does: rows are kept, and no temporary files are left.

Nor does too little memory end it with a traceback.
"""

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


@pytest.fixture
def command(tmp_path, monkeypatch):
    """An analysis of a small model of 24 utterances; 16 of them fill the first file of rows."""
    pytest.importorskip("soundfile")
    manifest = clips.corpus(tmp_path / "clips", speakers=2, each=12)
    (tmp_path / "stopped_model.py").write_text(MODEL)
    monkeypatch.syspath_prepend(str(tmp_path))
    options = ["--audio", str(manifest), "--layers", "blocks.*", "--rows", "48", "-o", str(tmp_path / "out")]
    return ["analyze", "stopped_model:Model", *options]


def test_sigterm_keeps_what_is_done_and_leaves_no_temporary_files(command, tmp_path, monkeypatch, capsys):
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
    assert main(command) == 130
    assert "what is done is kept in" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before
    assert len(list((tmp_path / "out" / "rows").glob("*/rows-*.pt"))) == 2  # sixteen, and the three behind them
    assert not list((tmp_path / "temporary").glob("rankwatch-*"))


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (MemoryError("rows-00000.pt can't be read into memory"), "rows-00000.pt can't be read into memory. What is"),
        (MemoryError(), "there is not enough memory. Make some free, or allow the job more, and start it again"),
    ],
)
def test_too_little_memory_is_a_sentence_that_says_what_to_do(raised, said, command, tmp_path, monkeypatch, capsys):
    def full(*arguments):
        raise raised

    monkeypatch.setattr(collect_rows.RowFiles, "get", full)
    assert main(command) == 1
    answer = capsys.readouterr().err.splitlines()[-1]
    assert answer.startswith("rankwatch analyze: ")
    assert said in answer
    assert answer.endswith(f"What is done is kept in {tmp_path / 'out'}")
