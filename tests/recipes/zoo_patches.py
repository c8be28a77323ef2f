"""The zoo's vision transformers on spectrograms: patches as tokens, all at one scale, or merged as in Swin."""

from __future__ import annotations

from typing import Any

from zoo import SMALL, Entry, Layers, image, noise

VIT: dict[str, Any] = {**SMALL, "num_channels": 1, "image_size": (64, 128), "patch_size": 16}
SQUARE = {**VIT, "image_size": 128}
_SWIN = {
    **{"num_channels": 1, "image_size": (64, 128), "patch_size": 4, "embed_dim": 16, "depths": [2, 2]},
    **{"num_heads": [2, 2], "window_size": 4},
}
_STAGES = {"num_channels": 1, "hidden_sizes": [16, 32], "depths": [2, 2]}
_SEGFORMER = {
    **{**_STAGES, "num_encoder_blocks": 2, "num_attention_heads": [1, 2], "sr_ratios": [4, 2]},
    **{"patch_sizes": [7, 3], "strides": [4, 2], "mlp_ratios": [2, 2]},
}
_PVT = {
    **{"num_channels": 1, "image_size": 64, "num_encoder_blocks": 2, "depths": [2, 2], "strides": [4, 2]},
    **{"sequence_reduction_ratios": [4, 2], "hidden_sizes": [16, 32], "patch_sizes": [4, 2]},
    **{"num_attention_heads": [1, 2], "mlp_ratios": [2, 2]},
}
_PVT2 = {**_SEGFORMER, "image_size": (64, 128)}
_FOCAL = {
    **{**_STAGES, "image_size": (64, 128), "patch_size": 4, "embed_dim": 16, "focal_levels": [2, 2]},
    "focal_windows": [3, 3],
}
_HIERA = {
    **{"num_channels": 1, "image_size": [64, 128], "embed_dim": 16, "depths": [1, 2], "num_heads": [1, 2]},
    **{"num_query_pool": 1, "masked_unit_size": [4, 4]},
}
_CVT = {
    **{"num_channels": 1, "embed_dim": [16, 32], "num_heads": [1, 2], "depth": [1, 2], "patch_sizes": [7, 3]},
    **{"patch_stride": [4, 2], "patch_padding": [2, 1], "mlp_ratio": [2.0, 2.0], "cls_token": [False, True]},
    **{"attention_drop_rate": [0.0, 0.0], "drop_rate": [0.0, 0.0], "drop_path_rate": [0.0, 0.0]},
    **{"qkv_bias": [True, True], "qkv_projection_method": ["dw_bn"] * 2, "kernel_qkv": [3, 3]},
    **{"padding_kv": [1, 1], "stride_kv": [2, 2], "padding_q": [1, 1], "stride_q": [1, 1]},
}


def _of_patches(
    model: str,
    arguments: dict[str, Any],
    extra: int,
    blocks: str = "layers.{2}",
    front: str = "embeddings",
    **more: Any,
) -> Entry:
    """Patches in a grid of 4 bands and 8 times, behind some tokens of the whole clip."""
    what = (f"(B, {f'{extra} + ' if extra else ''}FT, C)", 32, 4)
    prefix = more.pop("prefix", "")
    head = next((name for name in ("ForImage", "ForMasked", "Model") if name in model), "Model")
    config = more.pop(
        "config",
        model[: model.index(head)].removesuffix("Vision") + ("VisionConfig" if "VisionModel" in model else "Config"),
    )
    return Entry(model, config, arguments, image(), {prefix + front: what, prefix + blocks: what}, **more)


def _of_square(
    model: str, blocks: str = "encoder.layers.{2}", extra: int = 1, prefix: str = "", **changes: Any
) -> Entry:
    """As many patches along time as along bands, so that it isn't known which is which; all of them count."""
    what = (f"(B, {f'{extra} + ' if extra else ''}N, C)", 32)
    config = model.replace("WithProjection", "").removesuffix("Model") + "Config"
    layers: Layers = {f"{prefix}embeddings": what, prefix + blocks: what}
    few, channels = changes.pop("few", False), changes.get("num_channels", 1)
    return Entry(model, config, {**SQUARE, **changes}, image(128, 128, channels), layers, few=few)


def _of_stages(model: str, arguments: dict[str, Any], layers: Layers, **more: Any) -> Entry:
    """A hierarchy: 16 bands of patches, then 8 of those that were merged."""
    head = next(name for name in ("ForImage", "ForMasked", "Model") if name in model)
    prefix = more.pop("prefix", "")
    named = {prefix + path: what for path, what in layers.items()}
    return Entry(model, model[: model.index(head)] + "Config", arguments, more.pop("inputs", image()), named, **more)


_FIRST, _SECOND = ("(B, FT, C)", 16, 16), ("(B, FT, C)", 32, 8)
_SWIN_LAYERS: Layers = {
    **{"embeddings": _FIRST, "encoder.layers.0.blocks.{2}": _FIRST},
    "encoder.layers.1.blocks.{2}": _SECOND,
}
_SEG_LAYERS: Layers = {
    **{"stages.0.patch_embeddings": _FIRST, "stages.0.blocks.{2}": _FIRST},
    **{"stages.1.patch_embeddings": _SECOND, "stages.1.blocks.{2}": _SECOND},
}
_PVT2_LAYERS: Layers = {
    **{"encoder.layers.0.patch_embedding": _FIRST, "encoder.layers.0.blocks.{2}": _FIRST},
    **{"encoder.layers.1.patch_embedding": _SECOND, "encoder.layers.1.blocks.{2}": _SECOND},
}
_FOCAL_LAYERS: Layers = {
    **{"embeddings": _FIRST, "encoder.stages.0.layers.{2}": _FIRST},
    "encoder.stages.1.layers.{2}": _SECOND,
}
_HIERA_LAYERS: Layers = {
    **{"embeddings": _FIRST, "encoder.stages.0.layers.{1}": _FIRST},
    "encoder.stages.1.layers.{2}": _SECOND,
}
_CVT_LAYERS: Layers = {
    **{"encoder.stages.0.embedding": ("(B, C, F, T)", 256), "encoder.stages.0.layers.{1}": _FIRST},
    "encoder.stages.1.embedding": ("(B, C, F, T)", 256),
    "encoder.stages.1.layers.{2}": ("(B, 1 + FT, C)", 32, 8),
}
_MAE = ("(B, T, C)", 32)

PATCHES = [
    _of_patches("ViTModel", VIT, 1, few=True),
    _of_patches("ViTForImageClassification", VIT, 1, prefix="vit."),
    _of_patches("ViTMSNModel", VIT, 1),
    _of_patches("ViTMSNForImageClassification", VIT, 1, prefix="vit."),
    _of_patches("IJepaModel", VIT, 0),
    _of_patches("IJepaForImageClassification", VIT, 0, prefix="ijepa."),
    _of_patches("DeiTModel", VIT, 2),
    _of_patches("DeiTForImageClassification", VIT, 2, prefix="deit."),
    _of_patches("DeiTForImageClassificationWithTeacher", VIT, 2, prefix="deit.", config="DeiTConfig"),
    _of_patches("Data2VecVisionModel", VIT, 1, "encoder.layer.{2}", config="Data2VecVisionConfig"),
    _of_patches(
        *("Data2VecVisionForImageClassification", VIT, 1, "encoder.layer.{2}"),
        prefix="data2vec_vision.",
        config="Data2VecVisionConfig",
    ),
    _of_patches("BeitModel", VIT, 1),
    _of_patches("BeitModel", {**VIT, "use_relative_position_bias": True}, 1, about="relative positions"),
    _of_patches("BeitForImageClassification", VIT, 1, prefix="beit."),
    _of_patches("BeitForMaskedImageModeling", {**VIT, "vocab_size": 16}, 1, prefix="beit."),
    _of_patches("Dinov2Model", SQUARE, 1, "encoder.layer.{2}"),
    _of_patches("Dinov2ForImageClassification", SQUARE, 1, "encoder.layer.{2}", prefix="dinov2."),
    _of_patches("Dinov2WithRegistersModel", {**SQUARE, "num_register_tokens": 2}, 3, "encoder.layer.{2}"),
    _of_patches(
        *("Dinov2WithRegistersForImageClassification", {**SQUARE, "num_register_tokens": 2}, 3, "encoder.layer.{2}"),
        prefix="dinov2_with_registers.",
    ),
    _of_patches("DINOv3ViTModel", VIT, 1, "model.layer.{2}"),
    _of_patches("DINOv3ViTModel", {**VIT, "num_register_tokens": 4}, 5, "model.layer.{2}", about="registers", few=True),
    _of_patches("PixioModel", SQUARE, 8),
    Entry(
        *("YolosModel", "YolosConfig", {**VIT, "image_size": [64, 128], "num_detection_tokens": 2}, image()),
        {"embeddings": ("(B, 1 + FT + 2, C)", 32, 4), "encoder.layer.{2}": ("(B, 1 + FT + 2, C)", 32, 4)},
        few=True,
    ),
    Entry(
        *("ViTMAEModel", "ViTMAEConfig", VIT, {**image(), "noise": noise(4, 32)}),
        {"embeddings": _MAE, "layers.{2}": _MAE},
        few=True,
    ),
    *(_of_square(f"{name}VisionModel", few=name == "CLIP") for name in ("CLIP", "ChineseCLIP", "MetaClip2", "AltCLIP")),
    _of_square("CLIPVisionModelWithProjection", prefix="vision_model."),
    *(_of_square(f"{name}VisionModel", extra=0) for name in ("Siglip", "Janus")),
    _of_square("CLIPSegVisionModel"),
    _of_square("OwlViTVisionModel", prefix="vision_model."),
    _of_square("Owlv2VisionModel", prefix="vision_model."),
    _of_square("BlipVisionModel", num_channels=3),
    _of_square("GitVisionModel", prefix="vision_model."),
    _of_square("MLCDVisionModel"),
    _of_square("Aimv2VisionModel", extra=0),
    _of_square("FlavaImageModel", "encoder.layer.{2}"),
    _of_square("DPTModel", "encoder.layer.{2}", is_hybrid=False),
    Entry(
        *("MgpstrModel", "MgpstrConfig"),
        {"num_channels": 1, "image_size": [32, 128], "patch_size": 4, **{k: SMALL[k] for k in list(SMALL)[:3]}},
        image(32),
        {"embeddings": ("(B, 1 + FT, C)", 32, 8), "encoder.blocks.{2}": ("(B, 1 + FT, C)", 32, 8)},
    ),
    Entry(
        *("CLIPVisionModel", "CLIPVisionConfig", SQUARE, {**image(), "interpolate_pos_encoding": True}),
        {"embeddings": ("(B, 1 + FT, C)", 32, 4), "encoder.layers.{2}": ("(B, 1 + FT, C)", 32, 4)},
        about="interpolated",
    ),
    Entry(
        *("VitDetModel", "VitDetConfig", {**SQUARE, "window_block_indices": [0]}, image(128, 128)),
        {"embeddings": ("(B, C, F, T)", 256), "encoder.layer.{2}": ("(B, C, F, T)", 256)},
    ),
    Entry(
        *("SamVisionModel", "SamVisionConfig"),
        {
            **{"num_channels": 1, "hidden_size": 32, "output_channels": 16, "num_hidden_layers": 2, "mlp_dim": 48},
            **{"num_attention_heads": 2, "image_size": 128, "patch_size": 16, "window_size": 4},
            **{"global_attn_indexes": [1], "num_pos_feats": 8},
        },
        image(128, 128),
        {"vision_encoder.patch_embed": ("(B, F, T, C)", 256), "vision_encoder.layers.{2}": ("(B, F, T, C)", 256)},
    ),
    Entry(
        *("VJEPA2Model", "VJEPA2Config"),
        {
            **{"patch_size": 16, "crop_size": 64, "frames_per_clip": 2, "tubelet_size": 2, "hidden_size": 48},
            **{"in_chans": 3, "num_attention_heads": 2, "num_hidden_layers": 2, "pred_hidden_size": 48},
            **{"pred_num_attention_heads": 2, "pred_num_hidden_layers": 2},
        },
        {"pixel_values_videos": noise(4, 2, 3, 64, 64)},
        {"encoder.layer.{2}": ("(B, T, C)", 48)},
    ),
    Entry(
        *("PixtralVisionModel", "PixtralVisionConfig", {**SQUARE, "head_dim": 16}, image(128, 128)),
        {"patch_conv": ("(B, C, F, T)", 256)},
        refused=("transformer.layers.0", "transformer.layers.1"),
        few=True,
    ),
    *(
        _of_stages(f"{name}Model", _SWIN, _SWIN_LAYERS, few=name == "Swin")
        for name in ("Swin", "Swinv2", "DonutSwin", "MaskFormerSwin")
    ),
    _of_stages("SwinForImageClassification", _SWIN, _SWIN_LAYERS, prefix="swin."),
    _of_stages("Swinv2ForImageClassification", _SWIN, _SWIN_LAYERS, prefix="swinv2."),
    _of_stages("DonutSwinForImageClassification", _SWIN, _SWIN_LAYERS, prefix="donut."),
    _of_stages("HieraModel", _HIERA, _HIERA_LAYERS),
    _of_stages("HieraForImageClassification", _HIERA, _HIERA_LAYERS, prefix="hiera."),
    _of_stages("FocalNetModel", _FOCAL, _FOCAL_LAYERS, few=True),
    _of_stages("FocalNetModel", {**_FOCAL, "use_conv_embed": True}, _FOCAL_LAYERS, about="convolutional"),
    _of_stages("FocalNetForImageClassification", _FOCAL, _FOCAL_LAYERS, prefix="focalnet."),
    _of_stages("SegformerModel", _SEGFORMER, _SEG_LAYERS),
    _of_stages("SegformerForImageClassification", _SEGFORMER, _SEG_LAYERS, prefix="segformer."),
    _of_stages(
        *("GLPNModel", _SEGFORMER),
        {
            **{"encoder.patch_embeddings.0": _FIRST, "encoder.patch_embeddings.1": _SECOND},
            **{"encoder.block.0.{2}": _FIRST, "encoder.block.1.{2}": _SECOND},
        },
    ),
    _of_stages("PvtV2Model", _PVT2, _PVT2_LAYERS),
    _of_stages("PvtV2Model", {**_PVT2, "linear_attention": True}, _PVT2_LAYERS, about="linear attention"),
    _of_stages("PvtV2ForImageClassification", _PVT2, _PVT2_LAYERS, prefix="pvt_v2."),
    _of_stages("CvtModel", _CVT, _CVT_LAYERS, few=True),
    _of_stages("CvtForImageClassification", _CVT, _CVT_LAYERS, prefix="cvt."),
]
