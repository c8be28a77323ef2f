"""NVIDIA NeMo's real classes, where they are installed: NeMo 3.0 wants Lightning 2.4, not ours.

In an environment of its own: ``pip install "nemo_toolkit[asr]==3.0.0" "lightning==2.4.0" "pytorch-lightning==2.4.0"``.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
from recipe import drawn, padded, pretrain

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("nemo") is None, reason="NeMo isn't installed"),
]

SECONDS = [[1.0, 0.5, 0.77, 0.3], [1.3, 1.25], [0.9, 0.6, 0.4]]
LAYERS = ["encoder.pre_encode", "encoder.layers.0", "encoder.layers.1"]


def _frames(samples: int) -> int:
    """A hop of 160 samples, then four times fewer by two convolutions of stride 2."""
    frames = samples // 160
    for _ in range(2):
        frames = (frames - 1) // 2 + 1
    return frames


def _config(position: str) -> Any:
    from omegaconf import OmegaConf

    modules = "nemo.collections.asr.modules"
    masking = {"_target_": f"{modules}.RandomBlockMasking", "block_size": 8, "mask_prob": 0.3, "feat_in": 40}
    quantizer = {
        "_target_": f"{modules}.RandomProjectionVectorQuantizer",
        **{"feat_in": 40, "code_dim": 8, "num_books": 1, "num_classes": 16, "dist_fn": "l2", "freeze": True},
        **{"squeeze_single": True, "combine_time_steps": 4},
    }
    encoder = {
        "_target_": f"{modules}.ConformerEncoder",
        **{"feat_in": 40, "n_layers": 2, "d_model": 32, "n_heads": 2, "subsampling_factor": 4},
        **{"subsampling": "dw_striding", "subsampling_conv_channels": 8, "conv_kernel_size": 5, "pos_emb_max_len": 50},
        **{"stochastic_depth_drop_prob": 0.1, "stochastic_depth_mode": "uniform"},
    }
    return OmegaConf.create(
        {
            "sample_rate": 16000,
            "num_classes": 16,
            "num_books": 1,
            "squeeze_single": True,
            "code_dim": 8,
            "mask_position": position,
            "preprocessor": {
                "_target_": f"{modules}.AudioToMelSpectrogramPreprocessor",
                **{"sample_rate": 16000, "features": 40, "window_size": 0.025, "window_stride": 0.01, "pad_to": 16},
            },
            "spec_augment": {"_target_": f"{modules}.SpectrogramAugmentation"},
            "masking": masking,
            "quantizer": quantizer,
            "encoder": encoder,
            "decoder": {
                "_target_": f"{modules}.MultiSoftmaxDecoder",
                **{"feat_in": 32, "num_classes": 16, "num_decoders": 1, "squeeze_single": True},
            },
            "loss": {
                "_target_": "nemo.collections.asr.losses.MultiMLMLoss",
                **{"combine_time_steps": 4, "mask_threshold": 0.8, "num_decoders": 1, "squeeze_single": True},
            },
            "optim": {"name": "adamw", "lr": 1e-3},
        }
    )


def _tuple(samples: list[int], seed: int) -> tuple[Any, ...]:
    waveforms, lengths = padded(samples, seed)
    return waveforms, lengths, torch.zeros(len(samples), 7, dtype=torch.long), torch.full((len(samples),), 7)


def _dataclass(samples: list[int], seed: int) -> Any:
    from nemo.collections.asr.data.ssl_dataset import AudioNoiseBatch

    waveforms, lengths = padded(samples, seed)
    noise = torch.randn(waveforms.shape, generator=torch.Generator().manual_seed(seed))
    whole = torch.full_like(lengths, waveforms.shape[1])
    noisy = waveforms + 0.1 * noise * (waveforms != 0)
    return AudioNoiseBatch([str(n) for n in samples], waveforms, lengths, noise, whole, noisy, lengths.clone())


@pytest.mark.parametrize(
    ("model", "batch", "position"),
    [
        ("EncDecMaskedTokenPredModel", _tuple, "pre_conv"),
        ("EncDecMaskedTokenPredModel", _tuple, "post_conv"),
        ("EncDecDenoiseMaskedTokenPredModel", _dataclass, "pre_conv"),  # NeMo 3.0's own "post_conv" can't run
    ],
)
def test_one_line(model: str, batch: Any, position: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from nemo.collections.asr.models import ssl_models

    samples = [[int(16000 * s) for s in seconds] for seconds in SECONDS]
    frames = [_frames(n) for some in samples for n in some]
    make = lambda: getattr(ssl_models, model)(_config(position))  # noqa: E731 - NeMo writes into its config
    run = pretrain(make, [batch(some, seed) for seed, some in enumerate(samples)], tmp_path, monkeypatch)
    assert run.layers == LAYERS
    for layer in LAYERS:
        assert run.frames(layer) == frames
        assert run.source(layer) == "lengths given by encoder.pre_encode"
        assert run.rows("frame")[layer] == {drawn(frames)}
    assert {r.protocol.input for r in run.watch.readings if r.source != "train"} == {"clean"}
    assert f"NeMo's {model} (unmasked, eval mode)" in run.table
