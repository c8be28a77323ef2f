"""Audio models of transformers, and its vision models on spectrograms, from tiny configs: read, or refused with advice.

Where something isn't read the test follows the advice of the message, and then all of it has to be read.
"""

import ast
import re
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

import rankwatch
from rankwatch import RowSampling

transformers = pytest.importorskip("transformers")

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
WAVE = {
    **SMALL,
    **{"conv_dim": (16, 16), "conv_kernel": (10, 8), "conv_stride": (5, 4), "num_feat_extract_layers": 2},
    **{"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2},
}
CODEC = {
    **{"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2},
    **{"decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48},
}
COUNTS = torch.tensor([8000, 6000, 7000, 5000])
FRAMES = torch.tensor([80, 60, 70, 50])
IMAGE = {"num_channels": 1}
VIT = {**SMALL, **IMAGE, "image_size": (64, 128), "patch_size": 16}
STAGES = {**IMAGE, "hidden_sizes": [16, 32], "depths": [2, 2]}
SWIN = {
    **IMAGE,
    **{"image_size": (64, 128), "patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2]},
    "window_size": 4,
}


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def wave() -> dict[str, Tensor]:
    mask = torch.arange(8000) < COUNTS[:, None]
    return {"input_values": noise(4, 8000) * mask, "attention_mask": mask.long()}


def mels(bands: int, mask: bool = True, name: str = "input_features") -> dict[str, Tensor]:
    valid = torch.arange(80) < FRAMES[:, None]
    features = noise(4, 80, bands) * (valid[:, :, None] if mask else 1)
    return {name: features, **({"attention_mask": valid.long()} if mask else {})}


def image(height: int = 64, width: int = 128) -> dict[str, Tensor]:
    return {"pixel_values": noise(4, 1, height, width)}


ZOO: dict[str, tuple[dict[str, Any], dict[str, Tensor], dict[str, tuple[str, int]]]] = {
    # model: (config, inputs, expected: layer -> (layout, width))
    **{
        name: (WAVE, wave(), {"encoder.layers.1": ("(B, T, C)", 32), "feature_extractor": ("(B, C, T)", 16)})
        for name in ("Wav2Vec2", "Hubert", "WavLM", "Data2VecAudio", "UniSpeech", "UniSpeechSat", "Wav2Vec2Conformer")
    },
    "SEW": ({**WAVE, "squeeze_factor": 2}, wave(), {"encoder.layers.1": ("(B, T, C)", 32)}),
    "Wav2Vec2Bert": (
        {**SMALL, "feature_projection_input_dim": 20},
        mels(20),
        {"encoder.layers.1": ("(B, T, C)", 32)},
    ),
    "AST": (
        {**SMALL, "max_length": 80, "num_mel_bins": 64},
        mels(64, False, "input_values"),
        {"layers.1": ("(B, 2 + FT, C)", 32)},
    ),
    "Speech2Text.encoder": (
        {**CODEC, "conv_channels": 32, "input_feat_per_channel": 20, "max_source_positions": 300},
        mels(20),
        {"layers.1": ("(B, T, C)", 32)},
    ),
    "Whisper.encoder": (
        {**CODEC, "max_source_positions": 100, "num_mel_bins": 20},
        {"input_features": noise(4, 20, 200)},
        {"layers.1": ("(B, T, C)", 32)},
    ),
    "Moonshine.encoder": (
        {
            **{"hidden_size": 32, "encoder_num_hidden_layers": 2, "decoder_num_hidden_layers": 1},
            **{"encoder_num_attention_heads": 2, "decoder_num_attention_heads": 2, "intermediate_size": 48},
        },
        {"input_values": wave()["input_values"]},
        {"layers.1": ("(B, T, C)", 32)},
    ),
    "Encodec": (
        {"hidden_size": 16, "num_filters": 4, "codebook_size": 16, "codebook_dim": 16},
        {"input_values": wave()["input_values"][:, None]},
        {},
    ),
    **{name: (VIT, image(), {"layers.1": ("(B, 1 + FT, C)", 32)}) for name in ("ViT", "ViTMSN")},
    **{name: (VIT, image(), {"encoder.layer.1": ("(B, 1 + FT, C)", 32)}) for name in ("Data2VecVision",)},
    "IJepa": (VIT, image(), {"layers.1": ("(B, FT, C)", 32)}),
    "ViTMAE": (VIT, image(), {"layers.1": ("(B, T, C)", 32)}),
    **{
        name: (
            SWIN,
            image(),
            {"encoder.layers.0.blocks.1": ("(B, FT, C)", 16), "encoder.layers.1.blocks.1": ("(B, FT, C)", 32)},
        )
        for name in ("Swin", "Swinv2", "DonutSwin")
    },
    "ResNet": (
        {**STAGES, "embedding_size": 16, "layer_type": "basic"},
        image(),
        {"encoder.stages.1.layers.1": ("(B, C, F, T)", 256)},
    ),
    "RegNet": (
        {**STAGES, "embedding_size": 16, "groups_width": 8},
        image(),
        {"encoder.stages.1.layers.1": ("(B, C, F, T)", 256)},
    ),
    **{
        name: ({**STAGES, "num_stages": 2}, image(), {"encoder.stages.1.layers.1": ("(B, C, F, T)", 256)})
        for name in ("ConvNext", "ConvNextV2")
    },
    "FocalNet": (
        {
            **STAGES,
            **{"image_size": (64, 128), "patch_size": 4, "embed_dim": 16, "focal_levels": [2, 2]},
            "focal_windows": [3, 3],
        },
        image(),
        {"encoder.stages.0.layers.1": ("(B, FT, C)", 16), "encoder.stages.1.layers.1": ("(B, FT, C)", 32)},
    ),
    "Segformer": (
        {
            **STAGES,
            **{"num_encoder_blocks": 2, "num_attention_heads": [1, 2], "sr_ratios": [4, 2], "patch_sizes": [7, 3]},
            **{"strides": [4, 2], "mlp_ratios": [2, 2]},
        },
        image(),
        {"stages.0.blocks.1": ("(B, FT, C)", 16), "stages.1.blocks.1": ("(B, FT, C)", 32)},
    ),
    "MobileNetV2": (
        {**IMAGE, "depth_multiplier": 0.35, "image_size": 64},
        image(),
        {"layer.15": ("(B, C, F, T)", 224)},
    ),
    "Bit": (
        {**STAGES, "embedding_size": 16, "num_groups": 8},
        image(),
        {"encoder.stages.1.layers.1": ("(B, C, F, T)", 256)},
    ),
}
FEW = ("Hubert", "AST", "Swin", "ConvNext")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in FEW else pytest.mark.slow) for n in ZOO])
def test_is_read_or_refused_with_advice_that_works(name: str) -> None:
    kind, _, part = name.partition(".")
    arguments, inputs, expected = ZOO[name]
    if not hasattr(transformers, f"{kind}Config"):
        pytest.skip(f"this version of transformers has no {kind}")
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**arguments)).eval()
    model = getattr(model, part) if part else model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = rankwatch.inspect(model, inputs)
        rows: dict[str, Any] = {}
        for _ in range(3):  # one piece of advice may come after the other
            if not found.problems:
                break
            advice = " ".join(found.problems)
            layouts = re.findall(r"layouts=\{('[^']+': '[^']+')\}", advice)
            rows["layouts"] = {**rows.get("layouts", {}), **_mapping(layouts)}
            if 'lengths="none"' in advice:
                rows["lengths"] = "none"
            found = rankwatch.inspect(model, inputs, rows=RowSampling(**rows))
    assert found.problems == ()
    table = found.table.splitlines()
    for layer, (layout, width) in expected.items():
        row = next(line for line in table if line.split()[1:2] == [layer])
        assert row.split()[2] == str(width)
        assert layout in row


def _mapping(pairs: list[str]) -> dict[str, str]:
    mapping: dict[str, str] = ast.literal_eval(f"{{{', '.join(pairs)}}}")
    return mapping
