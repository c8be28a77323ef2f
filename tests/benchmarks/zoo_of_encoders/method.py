"""What all methods have in common, and the losses that several of them use."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy

from zoo_of_encoders.encoders import Encoder, EncoderOutput
from zoo_of_encoders.speech import AudioBatch


class Method(nn.Module, ABC):
    """An encoder and a loss.

    Attributes:
        broken: What is wrong with it at the moment, by name; see `breaks.py`.
        term: Factor of the term that keeps representations apart, where there is one.
        decay_factor: Factor of the teacher's decay, where there is one.
        facts: What the baselines look at.
        mask: Share of masked tokens and span in frames of 20 ms.
        causal: Whether no token may see later ones.
    """

    mask: ClassVar[tuple[float, int]] = (0.5, 8)
    causal: ClassVar[bool] = False

    def __init__(self, architecture: str, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = Encoder(architecture, width, dropout, self.causal, *self.mask)
        self.width = width
        self.broken, self.term, self.decay_factor = "", 1.0, 1.0
        self.facts: dict[str, float] = {}

    def prepare(self, speech: list[Tensor]) -> None:
        """Look at the corpus before the first step."""

    @abstractmethod
    def loss(self, batch: AudioBatch, progress: float) -> Tensor:
        """The loss of a batch, `progress` of the way through training."""

    def moved(self, progress: float) -> None:
        """After an optimiser step."""

    def encode(self, batch: AudioBatch) -> EncoderOutput:
        """The encoder's pass, in whatever mode the module is in."""
        output: EncoderOutput = self.encoder(batch.waveforms, batch.lengths)
        return output

    def where(self, output: EncoderOutput) -> Tensor:
        """Tokens that the loss is about: the masked ones; all where the mask is off."""
        return output.valid if self.broken == "no_mask" else output.mask

    def targets(self, targets: Tensor) -> Tensor:
        """What they are to become, in another order where that is what is broken."""
        return targets[torch.randperm(len(targets))] if self.broken == "shuffled_targets" else targets

    def see(self, prediction: Tensor, target: Tensor) -> None:
        """What data2vec's guard compares with its thresholds: mean standard deviation over a batch."""
        self.facts["target_std"] = float(target.detach().float().std(0).mean())
        self.facts["prediction_std"] = float(prediction.detach().float().std(0).mean())


class WithTeacher(Method):
    """A method whose targets come from a slowly moving copy of its encoder."""

    decay: ClassVar[tuple[float, float]] = (0.99, 0.999)

    def __init__(self, architecture: str, width: int, dropout: float = 0.1) -> None:
        super().__init__(architecture, width, dropout)
        self.teacher = copy.deepcopy(self.followed()).requires_grad_(False)

    def followed(self) -> nn.Module:
        """What the teacher is a copy of."""
        return self.encoder

    def teach(self, *inputs: Any) -> Any:
        """The teacher's pass in eval mode, or the student's own with gradients where nothing stops them."""
        free = self.broken == "no_stop_gradient"
        teacher = self.followed() if free else self.teacher
        teacher.eval()
        with torch.set_grad_enabled(free):
            seen = teacher(*inputs)
        self.followed().train()
        return seen

    def moved(self, progress: float) -> None:
        """The teacher follows, ever more slowly."""
        first, last = self.decay
        decay = self.decay_factor * (first + (last - first) * min(1.0, 2 * progress))
        if self.broken == "fast_teacher":
            decay = 0.0
        with torch.no_grad():
            for slow, fast in zip(self.teacher.parameters(), self.followed().parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)
            for kept, new in zip(self.teacher.buffers(), self.followed().buffers(), strict=True):
                kept.copy_(new)


def instance_norm(x: Tensor, valid: Tensor) -> Tensor:
    """Each utterance's channels (B, N, C) to zero mean and unit variance over its valid tokens."""
    valid = valid.unsqueeze(2).to(x.dtype)
    count = valid.sum(1, keepdim=True).clamp(min=1)
    centred = (x - (x * valid).sum(1, keepdim=True) / count) * valid
    variance = centred.square().sum(1, keepdim=True) / count
    return centred * torch.rsqrt(variance + 1e-5)


def contrast(prediction: Tensor, target: Tensor, negatives: int = 25) -> Tensor:
    """Cross entropy of the own target (n, d) among others of the same utterance; equal ones are no negatives."""
    n = len(prediction)
    others = (torch.arange(n).unsqueeze(1) + torch.randint(1, max(2, n), (n, negatives))) % n
    candidates = torch.cat([target.unsqueeze(1), target[others]], 1)
    logits = cosine_similarity(prediction.unsqueeze(1), candidates, dim=2) / 0.1
    same = (candidates[:, 1:] == candidates[:, :1]).all(2)
    logits = torch.cat([logits[:, :1], logits[:, 1:].masked_fill(same, -1e4)], 1)
    return cross_entropy(logits, torch.zeros(n, dtype=torch.long))


def two_views(batch: AudioBatch) -> AudioBatch:
    """Each utterance twice, with other noise and another gain; the second views follow the first ones."""
    noise = 0.3 * torch.randn(2, *batch.waveforms.shape)
    views = batch.waveforms * (0.7 + 0.6 * torch.rand(2, len(batch.waveforms), 1)) + noise
    return AudioBatch(views.flatten(0, 1), batch.lengths.repeat(2))


def pooled(output: EncoderOutput) -> Tensor:
    """Mean over valid tokens, (B, C)."""
    valid = output.valid.unsqueeze(2).to(output.features.dtype)
    mean: Tensor = (output.features * valid).sum(1) / valid.sum(1).clamp(min=1)
    return mean


def projector(width: int, out: int) -> nn.Sequential:
    """Two linear maps with batch norm between."""
    return nn.Sequential(nn.Linear(width, 2 * width), nn.BatchNorm1d(2 * width), nn.ReLU(), nn.Linear(2 * width, out))
