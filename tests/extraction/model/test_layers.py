"""Which layers are found in real models, and what is said where none is."""

from __future__ import annotations

import copy

import pytest
import torch
from speech_models import (
    HUGGING_FACE,
    WIDTH,
    FairseqLike,
    Fires,
    audio,
    hugging_face,
    torchaudio_hubert,
    torchaudio_wav2vec2,
    torchaudio_wavlm,
)
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from rankwatch.extraction.hooks.replayable_calls import backbone_candidates
from rankwatch.extraction.model.layers import WatchedLayer, find_layers
from rankwatch.extraction.model.module_paths import clean_name


def names(layers: list[WatchedLayer]) -> list[str]:
    return [layer.name for layer in layers]


def summary(layers: list[WatchedLayer]) -> list[tuple[str, str]]:
    return [(layer.label, layer.kind) for layer in layers]


FOUR = [("L00", "frontend"), ("L01", "block"), ("L02", "block"), ("L03", "block")]


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("", ""),
        ("module.encoder.layers.0", "encoder.layers.0"),
        ("_forward_module.module._orig_mod.encoder", "encoder"),
        ("encoder.layers.3._fsdp_wrapped_module._checkpoint_wrapped_module.fc1", "encoder.layers.3.fc1"),
        ("modules.CNN", "modules.CNN"),
        ("my_module.encoder", "my_module.encoder"),
    ],
)
def test_clean_name_drops_only_wrappers_parts(path: str, clean: str) -> None:
    assert clean_name(path) == clean


@pytest.mark.parametrize("build", [torchaudio_wav2vec2, torchaudio_wavlm])
def test_torchaudio_models(build: object) -> None:
    layers = find_layers(build())  # type: ignore[operator]
    assert summary(layers) == FOUR
    assert names(layers) == ["feature_extractor", *(f"encoder.transformer.layers.{i}" for i in range(3))]


def test_torchaudio_hubert_layers_fire_though_their_parents_are_bypassed() -> None:
    model = torchaudio_hubert()
    layers = find_layers(model)
    waveforms, lengths = audio((1600, 900))
    with Fires(layers) as fires, torch.no_grad():
        frames = model.wav2vec2.feature_extractor(waveforms, lengths)[0].shape[1]
        fires.outputs.clear()
        model(waveforms, torch.zeros(2, frames, dtype=torch.int64), lengths)
    assert list(fires.outputs) == names(layers)
    assert [path for path, _ in backbone_candidates(model, layers)] == ["wav2vec2", ""]


@pytest.mark.parametrize(("config", "name"), HUGGING_FACE)
def test_hugging_face_models(config: str, name: str) -> None:
    model = hugging_face(config, name)
    layers = find_layers(model)
    assert summary(layers) == FOUR
    assert layers[0].module is model.base_model.feature_extractor
    assert [layer.module for layer in layers[1:]] == list(model.base_model.encoder.layers)
    waveforms, _ = audio((1600, 900))
    with Fires(layers) as fires, torch.no_grad():
        model.base_model(waveforms)
    assert list(fires.outputs) == names(layers)


def test_a_positional_convolution_with_norms_is_no_stack() -> None:
    """data2vec's five positional convolutions repeat and have norms."""
    model = hugging_face("Data2VecAudioConfig", "Data2VecAudioModel", num_hidden_layers=1)
    assert names(find_layers(model)) == ["feature_extractor", "encoder.layers.0"]


def test_torchaudio_conformer() -> None:
    models = pytest.importorskip("torchaudio.models")
    layers = find_layers(models.Conformer(WIDTH, 2, 32, 2, 5))
    assert names(layers) == ["conformer_layers.0", "conformer_layers.1"]
    assert [layer.label for layer in layers] == ["L01", "L02"]


def test_plain_encoder_beside_a_projector_and_a_quantiser() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv1d(1, 8, 10, 5), nn.Conv1d(8, WIDTH, 4, 2)
            self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, 2, 32), 12)
            self.projector = nn.ModuleList(
                [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.ReLU()) for _ in range(20)]
            )
            self.quantizer = nn.ModuleList([nn.Linear(WIDTH, 4) for _ in range(30)])

    layers = find_layers(Model())
    assert names(layers) == ["conv2", *(f"encoder.layers.{i}" for i in range(12))]
    assert [layer.label for layer in layers] == [f"L{i:02d}" for i in range(13)]


def test_own_blocks_without_a_module_called_attention() -> None:
    layers = find_layers(FairseqLike())
    assert names(layers) == ["feature_extractor", "blocks.0", "blocks.1"]


def test_a_front_end_in_a_list_is_watched_where_it_fires() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.ModuleList([nn.Sequential(nn.Conv1d(1, 8, 4, 2), nn.GELU()) for _ in range(3)])
            self.layers = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 16) for _ in range(2)])

    assert names(find_layers(Model()))[0] == "convs.2"


def test_blocks_not_their_sublayers_nor_their_groups() -> None:
    class Sublayer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(8)
            self.attention = nn.MultiheadAttention(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return x

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([Sublayer()])
            self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

        def forward(self, x: Tensor) -> Tensor:
            return x

    class Group(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([Block() for _ in range(2)])

        def forward(self, x: Tensor) -> Tensor:
            return x

    model = nn.Sequential(Group(), Group())
    assert names(find_layers(model)) == ["0.layers.0", "0.layers.1", "1.layers.0", "1.layers.1"]


def test_two_encoders_have_labels_of_their_own() -> None:
    model = nn.ModuleDict({"speech": torchaudio_wav2vec2(), "noise": torchaudio_wav2vec2()})
    layers = find_layers(model)
    assert len(layers) == 8
    assert len({layer.label for layer in layers}) == 8
    assert [layer.label for layer in layers if layer.kind == "frontend"] == ["L00", "L04"]
    assert [layer.label for layer in layers] == sorted(layer.label for layer in layers)


def test_labels_are_as_wide_as_needed() -> None:
    blocks = nn.ModuleList([nn.TransformerEncoderLayer(4, 1, 4) for _ in range(101)])
    layers = find_layers(nn.ModuleDict({"layers": blocks}))
    assert (layers[0].label, layers[-1].label) == ("L001", "L101")


@pytest.mark.parametrize("name", ["teacher", "ema_encoder", "momentum", "target_encoder", "twin"])
def test_teacher_branch_is_off_by_default_and_on_request(name: str) -> None:
    """By its name, or as the frozen twin of what trains; a frozen front end alone makes no teacher."""
    student = torchaudio_wav2vec2()
    student.feature_extractor.requires_grad_(False)
    model = nn.ModuleDict({name: copy.deepcopy(student).requires_grad_(False), "student": student})
    layers = find_layers(model)
    assert all(layer.name.startswith("student.") and layer.branch == "student" for layer in layers)
    assert summary(layers) == FOUR
    asked = find_layers(model, [f"{name}*"])
    assert all(layer.name.startswith(f"{name}.") and layer.branch == "teacher" for layer in asked)
    assert summary(asked) == FOUR


def test_averaged_copy_is_a_teacher() -> None:
    student = torchaudio_wav2vec2()
    model = nn.ModuleDict({"model": student, "shadow": AveragedModel(student)})
    assert all(layer.name.startswith("model.") for layer in find_layers(model))


def test_a_lone_trainable_model_called_teacher_is_watched() -> None:
    assert len(find_layers(nn.ModuleDict({"teacher": torchaudio_wav2vec2()}))) == 4


def test_frozen_teacher_alone_is_not_watched_in_silence() -> None:
    model = nn.ModuleDict({"teacher": torchaudio_wav2vec2().requires_grad_(False)})
    with pytest.raises(ValueError, match=r"only a frozen teacher branch"):
        find_layers(model)


def test_predictor_is_left_out_beside_an_encoder_but_not_alone() -> None:
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2)
    both = nn.ModuleDict({"encoder": stack, "predictor": copy.deepcopy(stack)})
    assert names(find_layers(both)) == ["encoder.layers.0", "encoder.layers.1"]
    assert len(find_layers(nn.ModuleDict({"decoder": stack}))) == 2


def test_shared_modules_are_watched_once() -> None:
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2)
    assert names(find_layers(nn.ModuleDict({"a": stack, "b": stack}))) == ["a.layers.0", "a.layers.1"]
    block = nn.TransformerEncoderLayer(8, 2, 16)
    assert names(find_layers(nn.ModuleDict({"layers": nn.ModuleList([block] * 4)}))) == ["layers.0"]


def test_names_outlive_wrappers_and_the_wrapper_is_watched() -> None:
    model = torchaudio_wav2vec2()
    plain = names(find_layers(model))
    for i, block in enumerate(model.encoder.transformer.layers):
        model.encoder.transformer.layers[i] = torch.compile(block)
    layers = find_layers(torch.compile(model))
    assert names(layers) == plain
    assert layers[1].module is model.encoder.transformer.layers[0]


class TestGlobs:
    def test_star_crosses_dots_and_means_blocks(self) -> None:
        assert names(find_layers(torchaudio_wav2vec2(), ["encoder*"])) == [
            f"encoder.transformer.layers.{i}" for i in range(3)
        ]

    def test_exact_path_is_just_this_module(self) -> None:
        layers = find_layers(torchaudio_wav2vec2(), ["encoder.transformer", "feature_extractor"])
        assert [(layer.name, layer.label, layer.kind) for layer in layers] == [
            ("feature_extractor", "L00", "frontend"),
            ("encoder.transformer", "L01", "other"),
        ]

    def test_parts_of_blocks(self) -> None:
        layers = find_layers(torchaudio_wav2vec2(), ["*.layers.[02].attention"])
        assert names(layers) == [f"encoder.transformer.layers.{i}.attention" for i in (0, 2)]
        assert [layer.label for layer in layers] == ["L01", "L02"]

    def test_one_string_and_model_order(self) -> None:
        model = torchaudio_wav2vec2()
        assert names(find_layers(model, "feature_ex*")) == ["feature_extractor"]
        assert names(find_layers(model, ["*.layers.2", "*.layers.0"]))[0].endswith("0")

    def test_case_matters(self) -> None:
        with pytest.raises(ValueError, match="matches no module"):
            find_layers(torchaudio_wav2vec2(), ["Encoder*"])

    def test_a_pattern_without_match_is_named_with_the_closest_paths(self) -> None:
        with pytest.raises(ValueError, match=r"'encoder\.transformer\.layer\.1'.*encoder\.transformer\.layers\.1"):
            find_layers(torchaudio_wav2vec2(), ["feature_extractor", "encoder.transformer.layer.1"])

    def test_a_container_that_never_fires_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"never called.*encoder\.transformer\.layers\.\*"):
            find_layers(torchaudio_wav2vec2(), ["encoder.transformer.layers"])

    def test_no_pattern_at_all(self) -> None:
        with pytest.raises(ValueError, match="watches nothing"):
            find_layers(torchaudio_wav2vec2(), [])


def test_nothing_found_says_what_was_sought_and_what_to_do() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4))
    with pytest.raises(ValueError, match=r"transformer or conformer blocks.*layers=\["):
        find_layers(model)
