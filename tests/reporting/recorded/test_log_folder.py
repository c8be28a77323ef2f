"""A logger's files beside the records: what is read of them, and that none takes unbounded time or memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recorded_runs import recorded

from rankwatch.reporting.recorded import log_folder
from rankwatch.reporting.recorded.log_folder import LogFolder
from rankwatch.reporting.recorded.recorded_run import RecordedRun


def beside(folder: Path, name: str, text: str) -> RecordedRun:
    run = recorded(folder, layers=1, readings=2)
    (folder / name).write_text(text)
    return LogFolder(folder / "run.jsonl").added_to(run)


def test_hyperparameters_are_flat_and_as_they_were_written(tmp_path: Path) -> None:
    text = """
model: {class_path: encoder.Encoder, init_args: {width: 64, betas: [0.9, 0.98], teacher: null}}
data: [{folder: a}, {folder: b}]
rate: &rate 1e-3
again: *rate
trainer: {callbacks: [{class_path: rankwatch.RankWatch}], max_steps: 9}
"""
    assert beside(tmp_path, "hparams.yaml", text).hyperparameters == {
        "model.class_path": "encoder.Encoder",
        "model.init_args.width": "64",
        "model.init_args.betas": "[0.9, 0.98]",
        "model.init_args.teacher": "null",
        "data.0.folder": "a",
        "data.1.folder": "b",
        "rate": "1e-3",
        "again": "1e-3",
        "trainer.max_steps": "9",
    }


@pytest.mark.parametrize("innermost", ["{}", "[]", "x", "{? [a, b] : c}"])
def test_a_file_that_names_its_own_parts_again_and_again_ends(tmp_path: Path, innermost: str) -> None:
    """Ten to the tenth leaves in a few hundred bytes."""
    lines = [f"l0: &l0 {innermost}"]
    lines += [f"l{i}: &l{i} {{{', '.join(f'k{j}: *l{i - 1}' for j in range(10))}}}" for i in range(1, 11)]
    found = beside(tmp_path, "hparams.yaml", "\n".join(lines)).hyperparameters
    assert len(found) <= log_folder._MOST_NODES


@pytest.mark.parametrize("text", ["", "just words", "a: !!python/object/apply:os.system ['exit 1']", "a: [", "\x00"])
def test_what_holds_no_parameters_gives_none_and_is_no_program(tmp_path: Path, text: str) -> None:
    found = beside(tmp_path, "hparams.yaml", text).hyperparameters
    assert set(found) <= {"a"}


def test_a_long_table_is_thinned_out_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_folder, "_MOST_POINTS", 100)
    rows = "\n".join(f"{step},{1000 - step}" for step in range(1_000))
    loss = beside(tmp_path, "metrics.csv", f"step,train_loss\n{rows}\n").loss
    assert loss is not None
    assert 50 <= len(loss.steps) <= 101
    np.testing.assert_array_equal(loss.values, 1000 - loss.steps)
    assert len(set(np.diff(loss.steps))) == 1
