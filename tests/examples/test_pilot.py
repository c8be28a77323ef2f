"""`examples/pilot.md` is carried out as it is written: the last command on made-up runs, all of them as a slow test."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from made_up_checks import autoregressive, write_losses, write_run

import rankwatch
from rankwatch.cli import main

ROOT = Path(rankwatch.__file__).parent.parent
TEXT = (ROOT / "examples/pilot.md").read_text(encoding="utf-8")


def commands(name):
    """The shell commands behind a mark."""
    return re.search(rf"<!-- pilot: {name} -->\n```bash\n(.*?)```", TEXT, re.DOTALL)[1]


@pytest.fixture
def beside_the_project(tmp_path, monkeypatch):
    """A folder in which the project's examples and configurations are."""
    for name in ("examples", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_gives_the_sentence(beside_the_project, capsys):
    generator = np.random.default_rng(0)
    rising = 1 - np.exp(-np.arange(1, 21) / 6)
    for seed in range(3):
        x, y = autoregressive(generator, 20, 0.3, 0.8, 2)
        run = beside_the_project / "pilot/runs" / f"seed{seed}"
        write_run(run / "rankwatch/RankWatch.jsonl", 50 * rising + x, 0.2 + 0.3 * rising + 0.01 * y)
        write_losses(run, range(1000, 20_001, 1000), 3.0 - rising)
    program, *arguments = commands("correlate").split()
    assert program == "rankwatch"
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "On these 3 runs, taking the checkpoint of highest effective rank" in said
    assert "taking the last one" in said
    assert (beside_the_project / "pilot/correlation/correlation.html").exists()


def test_the_configuration_reads_what_the_commands_name():
    config = yaml.safe_load((ROOT / "configs/pilot.yaml").read_text())
    callbacks = config["trainer"]["callbacks"]
    watch = next(one["init_args"] for one in callbacks if one["class_path"] == "rankwatch.RankWatch")
    assert config["data"]["folder"] == "pilot/clips"
    assert watch["eval_sets"]["clips"]["init_args"]["manifest"] == "pilot/clips/manifest.csv"
    assert config["trainer"]["max_steps"] // watch["every_n_steps"] == 20
    logger = config["trainer"]["logger"]["init_args"]
    assert f"{logger['save_dir']}/{logger['name']}" in commands("correlate")
    assert "configs/pilot.yaml" in commands("train")


@pytest.mark.slow
def test_the_whole_pilot_from_audio_to_the_sentence(beside_the_project):
    """With a tenth of the steps, and readings as often in proportion."""
    configs = beside_the_project / "configs"
    configs.unlink()
    shutil.copytree(ROOT / "configs", configs)
    text = (configs / "pilot.yaml").read_text()
    for found, smaller in (
        ("max_steps: 400", "max_steps: 40"),
        ("train_steps: 20", "train_steps: 2"),
        ("n_steps: 20", "n_steps: 2"),
    ):
        assert found in text
        text = text.replace(found, smaller)
    (configs / "pilot.yaml").write_text(text)
    read = (commands("correlate") + commands("replay")).replace(" --utterances 256", " --utterances 32 --until-step 6")
    read = re.sub(r"\brankwatch (?=correlate|replay)", f"{sys.executable} -m rankwatch.cli ", read)
    read = read.replace("PYTHONPATH=examples", f"PYTHONPATH={ROOT}:examples")
    script = "set -e\n" + (commands("audio") + commands("train")).replace("python ", f"{sys.executable} ") + read
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "On these 3 runs, taking the checkpoint of highest effective rank" in done.stdout
    assert "beyond the mere passage of training" in done.stdout
    assert (beside_the_project / "pilot/correlation_of_replayed/sentences.txt").exists()
