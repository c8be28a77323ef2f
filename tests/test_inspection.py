"""What would be watched, without training; from Python and from the command line."""

import sys
import textwrap
from pathlib import Path

import pytest
import torch
from speech_models import FairseqLike, SpeechBrainLike, hugging_face, torchaudio_hubert
from toys import Module, Noise, collate

from rankwatch import RowSampling, inspect
from rankwatch.cli import main

HF = ("Wav2Vec2Config", "Wav2Vec2ForPreTraining")


def row(found, label):
    return next(line for line in found.table.splitlines() if line.split()[:1] == [label])


@pytest.mark.parametrize(
    ("make", "layers", "way"),
    [
        (torchaudio_hubert, 4, "torchaudio's Wav2Vec2Model (unmasked, eval mode)"),
        (lambda: hugging_face(*HF), 4, "Hugging Face's Wav2Vec2Model (unmasked, eval mode)"),
        (Module, 4, "replay of the call of encoder (eval mode)"),
        (FairseqLike, 3, "replay of the call of the module itself (eval mode)"),
    ],
)
def test_models_are_found_out_on_noise_and_left_as_they_were(make, layers, way):
    model = make().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    found = inspect(model)
    assert found.problems == ()
    assert f"{layers} layers at frame and utterance level" in found.table
    assert f"evaluation sets are run by {way}" in found.table
    assert "did not fire" not in found.table
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_table_says_where_layers_are_tapped():
    found = inspect(hugging_face(*HF, do_stable_layer_norm=True), layers=["auto", "*.feed_forward"])
    assert found.table.splitlines()[1].split()[:4] == ["layer", "width", "layout", "tap"]
    assert [row(found, f"L{i:02d}").split()[6] for i in range(3)] == ["activation", "residual_sum", "before_sum"]


def test_half_precision_and_no_memory_at_all():
    assert inspect(Module().to(torch.bfloat16)).problems == ()
    (problem,) = inspect(Module().to("meta")).problems
    assert "on the meta device" in problem


def test_a_batch_and_a_function_of_ones_own():
    batch = collate(Noise(4).items)
    found = inspect(Module(), batch, lambda module, batch: module.encoder(*batch))
    assert found.problems == ()
    assert "(a)" in row(found, "L03")
    assert "(a) argument 'lengths' (samples, through" in found.table


def test_arguments_are_those_of_the_callback():
    found = inspect(Module(), layers=["encoder.layers.1"], watch=["frame"], rows=RowSampling(projection=4))
    assert "1 layer at frame level" in found.table
    assert "to 4" in row(found, "L01")
    with pytest.raises(TypeError, match=r"inspect\(\) has no argument 'layer'"):
        inspect(Module(), layer="x")


def test_what_stands_against_it_is_told():
    (problem,) = inspect(SpeechBrainLike()).problems
    assert "could not be run on two seconds of noise" in problem
    assert "pass a batch and forward=f" in problem
    waveforms, lengths = collate(Noise(4).items)
    found = inspect(Module(), (waveforms, lengths + 5000), lambda module, batch: module.encoder(*batch))
    (problem,) = found.problems
    assert "looks like lengths but doesn't fit: argument 'lengths'" in problem
    assert "[1] not read" in found.table


SCRIPT = """
import torch
from torch import nn

class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.front = nn.Sequential(nn.Conv1d(1, 16, 10, 5), nn.GELU(), nn.Conv1d(16, 16, 8, 4))
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.blocks = nn.ModuleList([layer for _ in range(1)])
    def forward(self, audio, *, scale):
        x = self.front(scale * audio[:, None]).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return x

def batch():
    return torch.randn(3, 4000)

def forward(model, batch):
    return model(batch, scale=2.0)

number = 3
def wrong():
    return 3
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(textwrap.dedent(SCRIPT))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_models", raising=False)
    return tmp_path


def test_the_command(script, capsys):
    assert main(["inspect", "my_models:Encoder"]) == 1
    assert "problem: the model could not be run" in capsys.readouterr().out
    words = ["inspect", "my_models:Encoder", "--batch", "my_models:batch", "--forward", "my_models:forward"]
    assert main(words) == 0
    assert "blocks.0" in capsys.readouterr().out
    assert main([*words, "--layers", "front"]) == 0
    assert "blocks.0" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["my_models:Nothing"], "'my_models:Nothing' names no function that can be imported"),
        (["my_models:wrong"], "'my_models:wrong' gave a int, not a torch.nn.Module"),
        (["my_models:number"], "'my_models:number' is not a function"),
        (["my_models:Encoder", "--layers", "nix.*"], "the pattern 'nix.*' matches no module"),
    ],
)
def test_what_is_wrong_in_a_command_is_named(script, capsys, words, said):
    assert main(["inspect", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_command_is_installed(script, run_script):
    command = Path(sys.executable).with_name("rankwatch")
    done = run_script([command, "inspect", "my_models:Encoder"], cwd=script)
    assert done.returncode == 1
    assert "blocks.0" in done.stdout
