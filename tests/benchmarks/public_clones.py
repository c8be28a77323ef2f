"""Breaks and healthy twins in public training codes that are no packages: fairseq's data2vec audio and ATST-Frame.

As `public_codes.py`, whose loop it uses. Python has to find clones of fairseq (3d262bb) and of audiossl (ec3a14d), and
omegaconf, hydra-core, bitarray, sacrebleu, lxml, scikit-learn and einops for what they import::

    PYTHONPATH=fairseq:audiossl python tests/benchmarks/public_clones.py --codes data2vec atst_frame --seeds 0 1

fairseq draws its masks from the system's entropy, so that two of its runs differ also with one seed.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))

import public_codes
from public_codes import CONVOLUTIONS, STEPS, PublicCode


@contextlib.contextmanager
def _hashable_configurations() -> Iterator[None]:
    """While fairseq is imported: its configurations are each other's defaults, for which Python 3.11 wants a hash."""
    plain = dataclasses.dataclass

    def dataclass(cls: Any = None, **options: Any) -> Any:
        if cls is None:
            return partial(dataclass, **options)
        return plain(cls, **{"unsafe_hash": cls.__module__.startswith(("fairseq", "examples")), **options})

    dataclasses.dataclass = dataclass
    try:
        yield
    finally:
        dataclasses.dataclass = plain


def _fairseq() -> Any:
    with _hashable_configurations():
        from examples.data2vec.models import data2vec_audio
    return data2vec_audio


class Data2Vec(PublicCode):
    """fairseq's data2vec audio, as its base configuration but for sizes and the teacher's pace."""

    def __init__(self) -> None:
        package = _fairseq()
        config = package.Data2VecAudioConfig(
            conv_feature_layers=str(CONVOLUTIONS),
            extractor_mode="layer_norm",
            encoder_layers=4,
            encoder_embed_dim=96,
            encoder_ffn_embed_dim=384,
            encoder_attention_heads=4,
            encoder_layerdrop=0.05,
            dropout_input=0.0,
            dropout_features=0.0,
            feature_grad_mult=1.0,
            mask_prob=0.65,
            mask_length=10,
            pos_conv_depth=5,
            conv_pos=19,  # shorter than a crop, else its edges tell the position of each frame
            instance_norm_target_layer=True,
            average_top_k_layers=3,
            ema_decay=0.99,
            ema_end_decay=0.999,
            ema_anneal_end_step=STEPS,
        )
        self.model: Any = package.Data2VecAudioModel(config)
        self.model.set_num_updates(0)

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), 5e-4, (0.9, 0.98), eps=1e-6, weight_decay=0.01)

    def loss(self, speech: Tensor) -> Tensor:
        result = self.model(speech)
        loss: Tensor = result["losses"]["regression"] / result["sample_size"]
        return loss

    def embed(self, speech: Tensor) -> None:
        self.model.extract_features(speech, None)

    def frames(self, output: Any) -> Tensor:
        found: Tensor = output[0][:, 0]
        return found

    def moved(self, step: int, broken: str) -> None:
        if broken == "no_ema":
            self.model.cfg.ema_decay = self.model.cfg.ema_end_decay = 0.0
            self.model.ema.set_decay(0.0)
        self.model.set_num_updates(step)


class FrameATST(PublicCode):
    """ATST-Frame with its augmentations, on log-mels of crops; its loss counts on CUDA, here on one CPU."""

    def __init__(self) -> None:
        from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

        _fairseq()  # for its masks
        from audiossl.methods.atstframe import byol
        from audiossl.methods.atstframe.audio_transformer import FrameAST
        from audiossl.methods.atstframe.byol import ByolLoss, MultiCropWrapper
        from audiossl.transforms.byol_a import Mixup, RandomResizeCrop

        byol.compute_var = lambda y: torch.sqrt(y.flatten(0, -2).var(0) + 1e-6)
        norm = partial(nn.LayerNorm, eps=1e-6)
        encoder = FrameAST(patch_h=64, patch_w=4, embed_dim=96, depth=4, num_heads=4, norm_layer=norm)
        student = MultiCropWrapper(encoder, 96, predictor=True)
        teacher = copy.deepcopy(student).requires_grad_(False)
        teacher.predictor = nn.Identity()
        self.model: Any = nn.ModuleDict({"student": student, "teacher": teacher})
        self.criterion = ByolLoss(symmetric=True)
        spectrogram = MelSpectrogram(16_000, 1024, 1024, 160, f_min=60, f_max=7800, n_mels=64)
        self.mel = nn.Sequential(spectrogram, AmplitudeToDB("power", 80))
        self.views = [nn.Sequential(Mixup(), RandomResizeCrop((1, 1.0), time_scale=(1.0, 1.0))) for _ in range(2)]

    def _mels(self, speech: Tensor) -> Tensor:
        return (self.mel(speech)[:, None] + 79.6482) / (50.6842 + 79.6482) * 2 - 1

    def loss(self, speech: Tensor) -> Tensor:
        from audiossl.methods.atstframe.random_mask import get_mask

        mels = self._mels(speech)
        views = [torch.stack([augmented(clip) for clip in mels]) for augmented in self.views]
        lengths = [torch.full((len(mels),), mels.shape[-1])] * 2
        masks = [get_mask(len(mels), mels.shape[-1] // 4, 0.65, no_overlap=False, min_length=5, other=2)] * 2
        with torch.no_grad():
            targets = self.model["teacher"](views, lengths, masks, False)
        predicted = self.model["student"](views, lengths, masks, True)
        loss: Tensor = self.criterion(predicted, targets)[0]
        return loss

    def embed(self, speech: Tensor) -> None:
        mels = self._mels(speech)
        self.model["student"].encoder.get_intermediate_layers(mels, torch.tensor([mels.shape[-1]]))

    def moved(self, step: int, broken: str) -> None:
        kept = 0.0 if broken == "no_ema" else 1 - 0.005 * (1 + math.cos(math.pi * step / STEPS))
        with torch.no_grad():
            for part in ("encoder", "projector"):
                ours = getattr(self.model["student"], part).parameters()
                for theirs, mine in zip(getattr(self.model["teacher"], part).parameters(), ours, strict=True):
                    theirs.mul_(kept).add_((1 - kept) * mine)


public_codes.MODELS = {"data2vec": Data2Vec, "atst_frame": FrameATST}

if __name__ == "__main__":
    np.random.seed(0)
    public_codes.main()
