"""LightningCLI builds the callback from YAML, in both Lightnings, each of which insists on its own base class."""

import dataclasses
import importlib.util
import inspect
import shutil
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest
import yaml

from rankwatch import RankWatch, RowSampling
from rankwatch.alarms.detectors import RankDecline, default_detectors
from rankwatch.arguments.settings import Settings

SCRIPT = """
import torch
from {package}.cli import LightningCLI
from {package} import LightningModule

class Tiny(LightningModule):
    def __init__(self, width: int = 8):
        super().__init__()
        layers = [torch.nn.TransformerEncoderLayer(width, 2, 16, batch_first=True) for _ in range(2)]
        self.layers = torch.nn.ModuleList(layers)
    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x
    def training_step(self, batch, index):
        return self(batch).square().mean()
    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.randn(12, 9, 8), batch_size=4)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

if __name__ == "__main__":
    cli = LightningCLI(Tiny, seed_everything_default=0)
    watch = next(cb for cb in cli.trainer.callbacks if type(cb).__name__ == "RankWatch")
    print("READINGS", len(watch.readings), watch.settings.name, watch.settings.every_n_steps, watch.settings.levels)
"""

CONFIG = """
trainer:
  max_steps: 6
  logger: false
  accelerator: cpu
  enable_checkpointing: false
  enable_progress_bar: false
  callbacks:
    - class_path: rankwatch.RankWatch
      init_args:
        {name}: 3
        rows: {{n_utterances: 8, projection: null}}
        watch: [frame]
        on_collapse: stop
        eval_sets: {{mine: first_batches}}
"""


def _needs(package):
    pytest.importorskip("jsonargparse")
    pytest.importorskip(package)


def _run(folder, package, name="every_n_steps"):
    _needs(package)
    (folder / "script.py").write_text(SCRIPT.format(package=package))
    (folder / "settings.yaml").write_text(textwrap.dedent(CONFIG.format(name=name)))
    command = [sys.executable, "script.py", "fit", "--config", "settings.yaml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


# Where there are both, they differ in a name only.
PACKAGES = [
    "lightning.pytorch",
    pytest.param("pytorch_lightning", marks=[pytest.mark.slow] if importlib.util.find_spec("lightning") else []),
]
ANNOTATED = Path(__file__).parents[1] / "configs" / "rankwatch.yaml"


def test_the_annotated_config_holds_every_argument_at_its_default():
    (callback,) = yaml.safe_load(ANNOTATED.read_text())["trainer"]["callbacks"]
    defaults = {name: getattr(Settings, name) for name in inspect.signature(RankWatch).parameters}
    defaults |= {"watch": list(Settings.watch), "rows": dataclasses.asdict(Settings.rows)}
    assert callback["init_args"] == defaults
    assert list(callback["init_args"]) == list(defaults)  # in the order of the signature, too


@pytest.mark.slow
@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_the_annotated_config_goes_round(tmp_path, package):
    """What the command line prints of it builds the same callback again."""
    _needs(package)
    shutil.copy(ANNOTATED, tmp_path / "annotated.yaml")
    short = ["--trainer.max_steps=3", "--trainer.logger=false", "--trainer.accelerator=cpu"]
    (tmp_path / "script.py").write_text(SCRIPT.format(package=package))

    def script(*words):
        command = [sys.executable, "script.py", "fit", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    printed = script("--config", "annotated.yaml", *short, "--print_config")
    assert printed.returncode == 0, printed.stderr[-3000:]
    (again,) = yaml.safe_load(printed.stdout)["trainer"]["callbacks"]
    (callback,) = yaml.safe_load(ANNOTATED.read_text())["trainer"]["callbacks"]
    assert again == callback
    (tmp_path / "settings.yaml").write_text(printed.stdout)
    done = script("--config", "settings.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "READINGS 4 RankWatch 500 " in done.stdout  # two layers at two levels, at the end


@pytest.mark.parametrize("package", PACKAGES)
def test_yaml_builds_the_callback(tmp_path, package):
    done = _run(tmp_path, package)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "READINGS 6 RankWatch 3 " in done.stdout  # two layers at steps 2, 3 and 6


@pytest.mark.slow
def test_a_typo_in_the_yaml_is_named(tmp_path):
    done = _run(tmp_path, "lightning.pytorch", name="every_n_stepps")
    assert done.returncode != 0
    assert "every_n_stepps" in done.stderr


def _built(**arguments):
    """The callback that LightningCLI's parser makes of `init_args`, and the warnings on the way."""
    jsonargparse = pytest.importorskip("jsonargparse")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(RankWatch, "callback")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = parser.parse_object({"callback": {"class_path": "rankwatch.RankWatch", "init_args": arguments}})
        instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes
        return instantiate(config).callback.settings, [str(one.message) for one in caught]


SETS = {
    "'first_batches'": "first_batches",
    "a folder": "clips",
    "by name": {"inside": "first_batches", "outside": "clips"},
    "AudioFolder": {"class_path": "rankwatch.AudioFolder", "init_args": {"path": "clips", "sample_rate": 8000}},
    "FirstBatches": {"mine": {"class_path": "rankwatch.FirstBatches", "init_args": {"forward": "shutil.move"}}},
    "Loader": {
        "dev": {"class_path": "rankwatch.Loader", "init_args": {"loader": "os.getcwd", "forward": "shutil.move"}}
    },
}


@pytest.mark.parametrize("how", SETS)
def test_yaml_builds_every_kind_of_evaluation_set(how):
    settings, warned = _built(eval_sets=SETS[how])
    assert warned == []
    (name, *more), (one, *_) = settings.sets, settings.sets.values()
    if how == "by name":
        assert [name, *more] == ["inside", "outside"]
        assert settings.sets["outside"].path == Path("clips")
    elif how == "AudioFolder":
        assert (name, one.path, one.sample_rate) == ("audio_folder", Path("clips"), 8000)
    elif how in ("FirstBatches", "Loader"):
        assert (type(one).__name__, one.forward) == (how, shutil.move)
    else:
        assert type(one).__name__ == ("AudioFolder" if how == "a folder" else "FirstBatches")


def test_yaml_builds_rows_and_detectors():
    rows = {"n_utterances": 32, "projection": None, "lengths": "net_input.lengths"}
    detector = {"class_path": "rankwatch.alarms.detectors.RankDecline", "init_args": {"below": 0.4}}
    settings, warned = _built(rows=rows, sensitivity=[detector], watch=["frame", "training_pass"])
    assert warned == []
    assert settings.rows == RowSampling(n_utterances=32, projection=None, lengths="net_input.lengths")
    assert list(settings.detectors) == [RankDecline(below=0.4)]
    assert settings.sources == ("first_batches", "train")
    assert _built(sensitivity="low")[0].detectors == default_detectors("low")


def test_yaml_with_an_argument_of_before_is_refused_by_its_name():
    with pytest.raises(Exception, match="n_utterances"):
        _built(n_utterances=32)
