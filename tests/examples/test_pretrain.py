"""The command: completed arguments, real configs on a few files, clear errors."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from pretrain import DEFAULT, main, with_defaults

from rankwatch import CollapseError, RankWatch

CONFIGS = DEFAULT.parent


@pytest.mark.parametrize(
    ("given", "completed"),
    [
        ([], ["fit", "--config", str(DEFAULT)]),
        (["--data.folder", "x"], ["fit", "--config", str(DEFAULT), "--data.folder", "x"]),
        (["fit", "--trainer.max_steps=3"], ["fit", "--config", str(DEFAULT), "--trainer.max_steps=3"]),
        (["fit", "--config", "c.yaml"], ["fit", "--config", "c.yaml"]),
        (["--config=c.yaml"], ["fit", "--config=c.yaml"]),
        (["--help"], ["--help"]),
    ],
)
def test_what_is_missing_on_the_command_line_is_filled_in(given, completed):
    assert with_defaults(given) == completed


@pytest.fixture
def audio(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(6):
        soundfile.write(tmp_path / f"{i}.wav", rng.normal(0, 0.1, 4000 + 1500 * i), 8000)
    return tmp_path


def run(monkeypatch, tmp_path, *arguments):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pretrain.py", *arguments])
    return main()


@pytest.mark.parametrize("name", ["data2vec", "data2vec_broken", "hubert"])
def test_each_config_trains_on_a_folder_and_leaves_curves_and_a_checkpoint(name, audio, monkeypatch):
    cli = run(
        monkeypatch, audio, "fit", "--config", str(CONFIGS / f"{name}.yaml"), "--data.folder", str(audio),
        "--data.batch_size=3", "--trainer.max_steps=4", "--trainer.log_every_n_steps=1", "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false", "--model.init_args.width=32",
    )  # fmt: skip
    assert cli.trainer.global_step == 4
    assert np.isfinite(float(cli.trainer.callback_metrics["train/loss"]))
    runs = Path("runs") / name / "version_0"
    assert list(runs.glob("events.out.tfevents.*"))
    assert (runs / "config.yaml").exists()


def test_a_collapse_has_an_exit_status_of_its_own(audio, monkeypatch):
    def collapse(*_):
        raise CollapseError("CRITICAL at step 2", 2)

    monkeypatch.setattr(RankWatch, "on_train_batch_end", collapse)
    with pytest.raises(SystemExit) as left:
        run(monkeypatch, audio, "--data.folder", str(audio), "--data.batch_size=3", "--trainer.accelerator=cpu")
    assert left.value.code == CollapseError.exit_status == 65


def test_a_typo_in_a_config_is_named(audio, monkeypatch, capsys):
    config = yaml.safe_load(DEFAULT.read_text())
    config["model"]["init_args"] = {"averge_top_k": 2}
    (audio / "typo.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(SystemExit):
        run(monkeypatch, audio, "fit", "--config", "typo.yaml")
    assert "averge_top_k" in capsys.readouterr().err


def test_an_empty_folder_is_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no usable audio"):
        run(monkeypatch, tmp_path, "--data.folder", str(tmp_path), "--trainer.accelerator=cpu")


def test_the_broken_config_differs_in_its_teacher_and_its_name_only():
    healthy, broken = (
        yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()) for name in ("data2vec", "data2vec_broken")
    )
    assert broken["model"].pop("init_args") == {"teacher": "student"}
    text = yaml.safe_dump(broken).replace("data2vec_broken", "data2vec")
    assert yaml.safe_load(text) == healthy
