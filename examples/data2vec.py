"""data2vec on audio: a student with masked input predicts the averaged layers of a slowly moving teacher.

Baevski et al. 2022, "data2vec: A general framework for self-supervised learning in speech, vision and
language", section 3. It can collapse: nothing but the teacher's inertia and the normalisation of its targets
keeps the two from agreeing on something that is easy to predict.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Literal, cast

import lightning.pytorch as pl
import torch
from audio_data import AudioBatch
from encoder import EncoderOutput, SpeechEncoder
from lightning.pytorch.core.optimizer import LightningOptimizer
from schedule import warm_up_and_decay
from torch import Tensor, nn


def instance_norm(x: Tensor, valid: Tensor) -> Tensor:
    """Each utterance's channels to zero mean and unit variance over its valid frames.

    Args:
        x: (B, T, C).
        valid: (B, T, 1), 1 for valid frames and 0 for padding, of the same dtype.

    Returns:
        (B, T, C), with zeros at the padding.
    """
    count = valid.sum(1, keepdim=True)
    centred = (x - (x * valid).sum(1, keepdim=True) / count) * valid
    variance = centred.square().sum(1, keepdim=True) / count
    return centred * torch.rsqrt(variance + 1e-5)


class Data2Vec(pl.LightningModule):
    """Masked regression of a teacher's layers.

    Args:
        teacher: ``"ema"``: a copy of the student that follows it slowly, without gradient. ``"student"``: the
            student itself, as when the copy is forgotten: its own layers are the targets, and the gradient
            flows into them. That collapses.
        depth: Transformer layers.
        width: Width of the transformer and of the front end.
        dropout: Of the student; the teacher runs in eval mode.
        layer_drop: Probability that the student skips a layer.
        mask_share: Expected share of masked frames.
        mask_span: Frames of 20 ms per masked span.
        average_top_k: Targets are the mean of the teacher's last so many layers.
        ema_start: Decay of the teacher at the first step.
        ema_end: Decay that the linear schedule reaches half-way through the run.
        learning_rate: Peak of the schedule.
        front_end_rate: Learning rate of the front end, relative to the others'.
        warm_up: Share of the run in which the learning rate rises.

    Raises:
        ValueError: For values out of their range.
    """

    def __init__(
        self,
        teacher: Literal["ema", "student"] = "ema",
        depth: int = 4,
        width: int = 128,
        dropout: float = 0.1,
        layer_drop: float = 0.05,
        mask_share: float = 0.5,
        mask_span: int = 8,
        average_top_k: int = 3,
        ema_start: float = 0.99,
        ema_end: float = 0.999,
        learning_rate: float = 3e-4,
        front_end_rate: float = 0.1,
        warm_up: float = 0.5,
    ) -> None:
        super().__init__()
        if not 0 <= ema_start <= 1 or not 0 <= ema_end <= 1:
            raise ValueError(f"EMA decays lie in [0, 1], got ema_start={ema_start} and ema_end={ema_end}")
        if not 1 <= average_top_k <= depth:
            raise ValueError(f"average_top_k must lie in [1, depth={depth}], got {average_top_k}")
        self.save_hyperparameters()
        self.encoder = SpeechEncoder(
            width, width, depth, 4, dropout, layer_drop, mask_share=mask_share, mask_span=mask_span
        )
        self.predictor = nn.Linear(width, width)
        # The first prediction is the targets' mean: no large, blind first steps through the encoder.
        nn.init.zeros_(self.predictor.weight)
        nn.init.zeros_(self.predictor.bias)
        self.teacher = copy.deepcopy(self.encoder).requires_grad_(False) if teacher == "ema" else None

    def run_teacher(self, batch: AudioBatch) -> EncoderOutput:
        """The teacher's pass, in eval mode: no dropout, no mask."""
        if self.teacher is not None:
            with torch.no_grad():
                return cast(EncoderOutput, self.teacher.eval()(batch.waveforms, batch.lengths))
        output = self.encoder.eval()(batch.waveforms, batch.lengths)
        self.encoder.train()
        return cast(EncoderOutput, output)

    def targets(self, batch: AudioBatch) -> Tensor:
        """(B, T, C): mean of the teacher's top layers on the unmasked input, each instance-normalised."""
        output = self.run_teacher(batch)
        x = output.features
        valid = torch.arange(x.shape[1], device=x.device) < output.lengths.unsqueeze(1)
        top = output.hidden[-self.hparams["average_top_k"] :]
        return torch.stack([instance_norm(layer, valid.unsqueeze(2).to(x.dtype)) for layer in top]).mean(0)

    def training_step(self, batch: AudioBatch, batch_idx: int) -> Tensor:
        """Mean squared error on the masked frames."""
        output = self.encoder(batch.waveforms, batch.lengths)
        targets = self.targets(batch)
        prediction, target = self.predictor(output.features[output.mask]), targets[output.mask]
        loss = nn.functional.mse_loss(prediction, target)
        self.log("train/loss", loss, prog_bar=True)
        # What data2vec's own guard against collapse looks at.
        self.log("train/target_std", target.detach().std(0).mean())
        self.log("train/prediction_std", prediction.detach().std(0).mean())
        return loss

    def ema_decay(self) -> float:
        """Linear from `ema_start` to `ema_end` over the first half of the run, then constant."""
        progress = min(1.0, 2 * self.global_step / max(1, self.trainer.estimated_stepping_batches))
        return float(self.hparams["ema_start"] + (self.hparams["ema_end"] - self.hparams["ema_start"]) * progress)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Move the teacher after each step of the student (not after each batch)."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.teacher is None:
            return
        decay = self.ema_decay()
        with torch.no_grad():
            for slow, fast in zip(self.teacher.parameters(), self.encoder.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)

    def configure_optimizers(self) -> Any:
        """AdamW on the student, slower on the front end."""
        rate = self.hparams["learning_rate"]
        front = list(self.encoder.feature_extractor.parameters())
        inside = {id(p) for p in front}
        others = [p for m in (self.encoder, self.predictor) for p in m.parameters() if id(p) not in inside]
        groups = [{"params": others}, {"params": front, "lr": rate * self.hparams["front_end_rate"]}]
        optimizer = torch.optim.AdamW(groups, rate, (0.9, 0.98), weight_decay=0.01)
        return warm_up_and_decay(optimizer, self.hparams["warm_up"], int(self.trainer.estimated_stepping_batches))
