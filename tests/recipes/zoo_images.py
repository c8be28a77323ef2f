"""The zoo's convolutional networks on spectrograms, hybrids of convolutions and attention, and audio codecs."""

from __future__ import annotations

from typing import Any

from zoo import Entry, Inputs, Layers, image, noise

_STAGES: dict[str, Any] = {"num_channels": 1, "hidden_sizes": [16, 32], "depths": [2, 2]}
_IMAGE = ("(B, C, F, T)", 256)
"""In these configurations channels times bands are 256 at all scales."""


def _network(model: str, arguments: dict[str, Any], layers: Layers, prefix: str = "", **more: Any) -> list[Entry]:
    """A model and, if its prefix is said, also as a classifier."""
    config = more.pop("config", f"{model}Config")
    inputs: Inputs = more.pop("inputs", image())
    entries = []
    if not more.pop("only_classifier", False):
        entries.append(Entry(f"{model}Model", config, arguments, inputs, layers, **more))
    if prefix or not entries:
        named = {prefix + path: what for path, what in layers.items()}
        few = more.pop("few", False) and not entries
        entries.append(Entry(f"{model}ForImageClassification", config, arguments, inputs, named, few=few, **more))
    return entries


_RESNET = {**_STAGES, "embedding_size": 16}
_RESIDUAL: Layers = {"embedder": _IMAGE, "encoder.stages.{2}.layers.{2}": _IMAGE}
_CONVNEXT: Layers = {
    **{"embeddings": _IMAGE, "encoder.stages.0.layers.{2}": _IMAGE},
    **{"encoder.stages.1.downsampling_layer.1": _IMAGE, "encoder.stages.1.layers.{2}": _IMAGE},
}
_WIDTHS_V2 = [128, 128, 128, 128, 128, 96, 96, 96, 96, 128, 128, 128, 112, 112, 112, 224]
_WIDTHS_V1 = [256, 512, 256, 512, 512, 512, 256, 512, 512, 512, 256, *[512] * 11, 256, 512, 512, 512]
_EFFICIENT = {"num_channels": 1, "image_size": 64, "width_coefficient": 0.25, "depth_coefficient": 0.3}
_EFFICIENT_LAYERS: Layers = {
    "embeddings": _IMAGE,
    **{f"encoder.blocks.{i}": ("(B, C, F, T)", width) for i, width in enumerate([256, 128, 128, 96, 128, 96, 96, 160])},
}
_POOLFORMER = {
    **{**_STAGES, "num_encoder_blocks": 2, "patch_sizes": [7, 3], "strides": [4, 2]},
    "padding": [2, 1],
}
_MOBILEVIT = {
    **{"num_channels": 1, "image_size": 128, "hidden_sizes": [16, 24, 32], "num_attention_heads": 2},
    **{"neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 32], "patch_size": 2},
}
_HGNET = {
    **{"num_channels": 1, "embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1]},
    **{"stem_channels": [1, 8, 16], "stage_in_channels": [16, 16], "stage_mid_channels": [8, 8]},
    **{"stage_out_channels": [16, 32], "stage_num_blocks": [1, 2], "stage_downsample": [False, True]},
    **{"stage_light_block": [False, True], "stage_kernel_size": [3, 3], "stage_numb_of_layers": [2, 2]},
}
_CLAP = {
    **{"window_size": 4, "num_mel_bins": 32, "spec_size": 64, "hidden_size": 32, "depths": (2, 2)},
    **{"num_attention_heads": (2, 2), "patch_embeds_hidden_size": 16, "num_hidden_layers": 2},
}
# The model folds time into the bands: all tokens count, but their order isn't that of time.
_CLAP_LAYERS: Layers = {
    **{"audio_encoder.patch_embed": ("(B, TF, C)", 16), "audio_encoder.layers.0.blocks.{2}": ("(B, TF, C)", 16)},
    "audio_encoder.layers.1.blocks.{2}": ("(B, TF, C)", 32),
}
_FRAMES = "(B, C, T)"
_ENCODEC = {"hidden_size": 16, "num_filters": 4, "codebook_size": 16, "codebook_dim": 16}
_DAC = {
    **{"encoder_hidden_size": 8, "downsampling_ratios": (2, 4), "decoder_hidden_size": 32, "n_codebooks": 2},
    "codebook_size": 16,
}
_MIMI = {
    **{"hidden_size": 32, "num_filters": 4, "codebook_size": 16, "codebook_dim": 16, "num_quantizers": 4},
    **{"vector_quantization_hidden_dimension": 16, "upsample_groups": 32, "num_hidden_layers": 2},
    **{"intermediate_size": 48, "num_attention_heads": 2, "num_key_value_heads": 2, "upsampling_ratios": [5, 4]},
}
_WAVTOKENIZER = {
    **{"num_filters": 4, "hidden_size": 32, "codebook_size": 16, "codebook_dim": 32, "decoder_hidden_size": 32},
    **{"decoder_intermediate_size": 48, "decoder_num_layers": 2, "upsampling_ratios": (5, 4)},
}
_VIBE = {"hidden_size": 16, "num_filters": 8, "downsampling_ratios": (2, 4), "depths": (2, 2, 2)}
_AUDIO = {"input_values": noise(4, 1, 800)}  # at full rate each sample of a codec is a row

IMAGES = [
    *_network("ResNet", {**_RESNET, "layer_type": "basic"}, _RESIDUAL, "resnet.", few=True),
    *_network("ResNet", _RESNET, _RESIDUAL, about="bottleneck"),
    *_network(
        *("RegNet", {**_RESNET, "groups_width": 8}, {**_RESIDUAL, "embedder": ("(B, C, F, T)", 512)}, "regnet."),
    ),
    *_network(
        *("RegNet", {**_RESNET, "groups_width": 8, "layer_type": "x"}),
        {**_RESIDUAL, "embedder": ("(B, C, F, T)", 512)},
        about="x",
    ),
    *_network("Bit", {**_RESNET, "num_groups": 8}, _RESIDUAL, "bit."),
    *_network("Bit", {**_RESNET, "num_groups": 8, "layer_type": "bottleneck"}, _RESIDUAL, about="bottleneck"),
    Entry("RTDetrResNetBackbone", "RTDetrResNetConfig", {**_RESNET, "layer_type": "basic"}, image(), _RESIDUAL),
    *_network("ConvNext", {**_STAGES, "num_stages": 2}, _CONVNEXT, "convnext.", few=True),
    *_network("ConvNextV2", {**_STAGES, "num_stages": 2}, _CONVNEXT, "convnextv2."),
    *_network(
        *("DINOv3ConvNext", _STAGES),
        {
            **{"model.stages.0.downsample_layers.0": _IMAGE, "model.stages.0.layers.{2}": _IMAGE},
            **{"model.stages.1.downsample_layers.1": _IMAGE, "model.stages.1.layers.{2}": _IMAGE},
        },
    ),
    *_network(
        *("MobileNetV1", {"num_channels": 1, "depth_multiplier": 0.25, "image_size": 64}),
        {"conv_stem": _IMAGE, **{f"layer.{i}": ("(B, C, F, T)", width) for i, width in enumerate(_WIDTHS_V1)}},
        "mobilenet_v1.",
    ),
    *_network(
        *("MobileNetV2", {"num_channels": 1, "depth_multiplier": 0.35, "image_size": 64}),
        {"conv_stem": _IMAGE, **{f"layer.{i}": ("(B, C, F, T)", width) for i, width in enumerate(_WIDTHS_V2)}},
        "mobilenet_v2.",
    ),
    *_network(
        *("EfficientNet", {**_EFFICIENT, "hidden_dim": 320}, _EFFICIENT_LAYERS, "efficientnet."),
        only_classifier=True,
    ),
    Entry("AlignVisionModel", "AlignVisionConfig", _EFFICIENT, image(), _EFFICIENT_LAYERS),
    *_network(
        *("PoolFormer", _POOLFORMER),
        {"encoder.patch_embeddings.{2}": _IMAGE, "encoder.block.{2}.{2}": _IMAGE},
        "poolformer.",
    ),
    *_network(
        *("SwiftFormer", {"num_channels": 1, "depths": [2, 2], "embed_dims": [16, 32], "downsamples": [True, True]}),
        {"patch_embed": _IMAGE, "encoder.network.0": _IMAGE, "encoder.network.2": _IMAGE},
    ),
    *_network(
        *("TextNet", {"image_size": [64, 128], "stem_num_channels": 1}),
        {
            **{"stem": ("(B, C, F, T)", 2048), "encoder.stages.0.stage.0": ("(B, C, F, T)", 2048)},
            **{f"encoder.stages.0.stage.{i}": ("(B, C, F, T)", 1024) for i in (1, 2)},
            **{f"encoder.stages.{i}.stage.{{4}}": ("(B, C, F, T)", 1024) for i in (1, 2, 3)},
        },
    ),
    *_network(
        *("HGNetV2", _HGNET),
        {
            **{"embedder": _IMAGE, "encoder.stages.0.blocks.{1}": _IMAGE},
            **{"encoder.stages.1.downsample": ("(B, C, F, T)", 128), "encoder.stages.1.blocks.{2}": _IMAGE},
        },
        only_classifier=True,
    ),
    *_network(
        *("PPLCNet", {"num_channels": 3, "scale": 0.25}),
        {
            "encoder.convolution": _IMAGE,
            **{f"encoder.blocks.{i}.layers.{{{n}}}": _IMAGE for i, n in enumerate([1, 2, 2, 6, 2])},
        },
        inputs=image(channels=3),
        only_classifier=True,
    ),
    Entry(
        *("LevitModel", "LevitConfig"),
        {
            **{"num_channels": 1, "image_size": 64, "hidden_sizes": [16, 32, 48], "depths": [1, 2, 1]},
            **{"num_attention_heads": [2, 2, 2], "key_dim": [8, 8, 8]},
        },
        image(64, 64),
        {
            **{"patch_embeddings": ("(B, N, C)", 16), "encoder.stages.0": ("(B, T, C)", 32)},
            **{f"encoder.stages.{i}": ("(B, T, C)", 48) for i in (1, 2)},
        },
    ),
    *_network(
        *("MobileViT", _MOBILEVIT),
        {
            "encoder.layer.2.downsampling_layer": ("(B, C, F, T)", 128),
            "encoder.layer.3.downsampling_layer": ("(B, C, F, T)", 96),
            "encoder.layer.4.downsampling_layer": ("(B, C, F, T)", 48),
        },
        "mobilevit.",
        refused=[
            f"{prefix}encoder.layer.{i}.transformer.layer.{j}"
            for prefix in ("", "mobilevit.")
            for i, n in ((2, 2), (3, 4), (4, 3))
            for j in range(n)
        ],
    ),
    *(
        Entry(
            *(f"ClapAudioModel{head}", "ClapAudioConfig", _CLAP, {"input_features": noise(4, 1, 100, 32)}),
            {prefix + path: what for path, what in _CLAP_LAYERS.items()},
        )
        for head, prefix in (("", ""), ("WithProjection", "audio_model."))
    ),
    Entry(
        *("EncodecModel", "EncodecConfig", _ENCODEC, _AUDIO),
        {"encoder.layers.12": (_FRAMES, 64), "encoder.layers.13.lstm": ("(T, B, C)", 64)},
        few=True,
    ),
    Entry(
        *("DacModel", "DacConfig", _DAC, _AUDIO),
        {"encoder.block.0": (_FRAMES, 16), "encoder.block.1": (_FRAMES, 32)},
        few=True,
    ),
    *(
        Entry(
            *(f"Mimi{part}Model", f"Mimi{part}Config", _MIMI, _AUDIO),
            {
                f"{prefix}encoder_seanet": (_FRAMES, 32),
                f"{prefix}encoder_transformer.layers.{{2}}": ("(B, T, C)", 32),
            },
            few=not part,
        )
        for part, prefix in (("", "encoder."), ("Encoder", ""))
    ),
    Entry(
        *("WavTokenizerEncoderModel", "WavTokenizerEncoderConfig", _WAVTOKENIZER, _AUDIO),
        {"encoder.layers.6": (_FRAMES, 16), "encoder.layers.7.lstm": ("(T, B, C)", 16)},
    ),
    Entry(
        *("WavTokenizerModel", "WavTokenizerConfig", _WAVTOKENIZER, _AUDIO, {"backbone.convnext.{2}": (_FRAMES, 32)}),
        silent=("encoder_model",),
    ),
    Entry(
        *("VibeVoiceAcousticTokenizerModel", "VibeVoiceAcousticTokenizerConfig", _VIBE, _AUDIO),
        {
            "encoder.stem.stage.{2}": (_FRAMES, 8),
            **{"encoder.conv_layers.0.conv": (_FRAMES, 16), "encoder.conv_layers.0.stage.{2}": (_FRAMES, 16)},
            **{"encoder.conv_layers.1.conv": (_FRAMES, 32), "encoder.conv_layers.1.stage.{2}": (_FRAMES, 32)},
        },
    ),
]
