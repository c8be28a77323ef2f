"""HuBERT's first iteration: the masked frames' k-means units of MFCCs are predicted.

Hsu et al. 2021, "HuBERT: Self-supervised speech representation learning by masked prediction of hidden units",
section II. The model is torchaudio's; the units are made here, before the first step, from the training audio.
"""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from audio_data import AudioBatch, AudioDataModule
from schedule import warm_up_and_decay
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn
from torchaudio.functional import compute_deltas
from torchaudio.models import HuBERTPretrainModel, hubert_pretrain_model
from torchaudio.transforms import MFCC

HOP = 320


class MaskInTraining(nn.Module):
    """torchaudio's mask generator masks in eval mode too; this one leaves eval mode's input clean."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Tensor, padding_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Frames (B, T, C), masked where the returned (B, T) is True."""
        if self.training:
            masked: tuple[Tensor, Tensor] = self.generator(x, padding_mask)
            return masked
        return x, torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)


class Units(nn.Module):
    """k-means units of 13 MFCCs with first and second differences, one every 20 ms.

    Args:
        n_units: Clusters.
    """

    mean: Tensor
    std: Tensor
    centroids: Tensor

    def __init__(self, n_units: int) -> None:
        super().__init__()
        mel = {"n_fft": 400, "hop_length": HOP, "n_mels": 40, "center": True}
        self.mfcc = MFCC(16_000, n_mfcc=13, melkwargs=mel)
        self.register_buffer("mean", torch.zeros(39))
        self.register_buffer("std", torch.ones(39))
        self.register_buffer("centroids", torch.zeros(n_units, 39))

    def features(self, waveforms: Tensor) -> Tensor:
        """(..., N) to (..., N // 320 + 1, 39)."""
        static = self.mfcc(waveforms)
        first = compute_deltas(static)
        return torch.cat([static, first, compute_deltas(first)], dim=-2).transpose(-1, -2)

    def fit(self, waveforms: list[Tensor], seed: int) -> None:
        """Standardise and cluster the frames of some utterances (whole, of any length).

        Raises:
            ValueError: If there are fewer frames than units.
        """
        frames = torch.cat([self.features(waveform) for waveform in waveforms])
        if len(frames) < len(self.centroids):
            raise ValueError(
                f"{len(frames)} frames are too few for {len(self.centroids)} units: more audio or fewer n_units"
            )
        self.mean.copy_(frames.mean(0))
        self.std.copy_(frames.std(0) + 1e-5)
        standardised = ((frames - self.mean) / self.std).numpy()
        centroids, _ = kmeans2(standardised, len(self.centroids), iter=15, minit="++", rng=seed)
        self.centroids.copy_(torch.from_numpy(centroids))

    @torch.no_grad()
    def forward(self, waveforms: Tensor, n_frames: int) -> Tensor:
        """Units (B, n_frames) of (B, N) waveforms; the last is repeated where the model has more frames."""
        frames = (self.features(waveforms) - self.mean) / self.std
        # |x - c|^2 without |x|^2, which is the same for all c.
        distance = self.centroids.square().sum(1) - 2 * frames @ self.centroids.T
        units = distance.argmin(-1)
        steps = torch.arange(n_frames, device=units.device).clamp(max=units.shape[1] - 1)
        return units[:, steps]


class Hubert(pl.LightningModule):
    """Masked prediction of k-means units.

    Args:
        depth: Transformer layers.
        width: Width of the transformer.
        channels: Width of the convolutional front end.
        dropout: Everywhere in the transformer.
        layer_drop: Probability that a layer is skipped.
        mask_share: Share of frames that spans are drawn for (they overlap).
        mask_span: Frames of 20 ms per masked span.
        n_units: Clusters of MFCC frames.
        fit_utterances: Utterances that the clusters are fitted on.
        learning_rate: Peak of the schedule.
        warm_up: Share of the run in which the learning rate rises.
    """

    def __init__(
        self,
        depth: int = 4,
        width: int = 128,
        channels: int = 128,
        dropout: float = 0.1,
        layer_drop: float = 0.05,
        mask_share: float = 0.65,
        mask_span: int = 8,
        n_units: int = 64,
        fit_utterances: int = 400,
        learning_rate: float = 1.5e-3,
        warm_up: float = 0.05,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.units = Units(n_units)
        self.model = _model(depth, width, channels, dropout, layer_drop, mask_share, mask_span, n_units)
        self.model.mask_generator = MaskInTraining(self.model.mask_generator)

    def setup(self, stage: str) -> None:
        """Fit the units on training audio spread over the corpus. A checkpoint's units replace them."""
        if stage != "fit" or bool(self.units.centroids.any()):
            return
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, AudioDataModule) or data.train_set is None:
            raise TypeError("HuBERT's units need the AudioDataModule's training set")
        step = max(1, len(data.train_set) // self.hparams["fit_utterances"])
        self.units.fit([data.train_set.waveform(i) for i in range(0, len(data.train_set), step)], seed=0)

    def training_step(self, batch: AudioBatch, batch_idx: int) -> Tensor:
        """Cross entropy on the masked frames."""
        labels = self.units(batch.waveforms, self.n_frames(batch.waveforms.shape[1]))
        logits, _, _ = self.model(batch.waveforms, labels, batch.lengths)
        # torchaudio puts the true unit's logit first and -inf in its own place.
        truth = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        loss = nn.functional.cross_entropy(logits, truth)
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/accuracy", (logits.argmax(1) == 0).float().mean())
        return loss

    def n_frames(self, n_samples: int) -> int:
        """Frames that the front end makes of so many samples."""
        for block in self.model.wav2vec2.feature_extractor.conv_layers:
            n_samples = max(0, (n_samples - block.kernel_size) // block.stride + 1)
        return n_samples

    def configure_optimizers(self) -> Any:
        """AdamW."""
        optimizer = torch.optim.AdamW(
            self.model.parameters(), self.hparams["learning_rate"], (0.9, 0.98), weight_decay=0.01
        )
        return warm_up_and_decay(optimizer, self.hparams["warm_up"], int(self.trainer.estimated_stepping_batches))


def _model(
    depth: int,
    width: int,
    channels: int,
    dropout: float,
    layer_drop: float,
    mask_share: float,
    mask_span: int,
    n_units: int,
) -> HuBERTPretrainModel:
    """A small HuBERT; a front end of few layers with long strides, since the usual seven take most of the time."""
    return hubert_pretrain_model(
        extractor_mode="layer_norm",
        # 20 ms in all (40 * 4 * 2 samples), as usual.
        extractor_conv_layer_config=[(channels // 2, 80, 40), (channels, 4, 4), (channels, 2, 2)],
        extractor_conv_bias=False,
        encoder_embed_dim=width,
        encoder_projection_dropout=dropout,
        encoder_pos_conv_kernel=25,
        encoder_pos_conv_groups=16,
        encoder_num_layers=depth,
        encoder_num_heads=4,
        encoder_attention_dropout=dropout,
        encoder_ff_interm_features=2 * width,
        encoder_ff_interm_dropout=dropout,
        encoder_dropout=dropout,
        encoder_layer_norm_first=True,
        encoder_layer_drop=layer_drop,
        mask_prob=mask_share,
        mask_selection="static",
        mask_other=0.0,
        mask_length=mask_span,
        no_mask_overlap=False,
        mask_min_space=1,
        mask_channel_prob=0.0,
        mask_channel_selection="static",
        mask_channel_other=0.0,
        mask_channel_length=10,
        no_mask_channel_overlap=False,
        mask_channel_min_space=1,
        skip_masked=False,
        skip_nomask=True,
        num_classes=n_units,
        final_dim=64,
        feature_grad_mult=None,
    )
