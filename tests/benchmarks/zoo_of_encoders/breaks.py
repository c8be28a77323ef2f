"""What goes wrong: in the method's own words, in the data, in the optimiser, in a layer; at once or little by little.

A long run takes a longer time for what comes little by little, so that it comes equally far.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from zoo_of_encoders.catalogue import STEPS, Run
from zoo_of_encoders.method import Method, WithTeacher
from zoo_of_encoders.speech import AudioBatch

IN_THE_METHOD = (
    "no_stop_gradient",
    "fast_teacher",
    "no_predictor",
    "one_cluster",
    "no_mask",
    "sees_future",
    "shuffled_targets",
)
UNCHECKED = ("nan", "fp16_overflow")
"""With these, nobody looks for NaN or Inf before a step."""
_CLIPPED = 1e-8
_NORMS = (nn.LayerNorm, nn.BatchNorm1d, nn.GroupNorm)


class Break:
    """One way of breaking, applied to one run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.way = run.variant.removesuffix("_later")
        self.since = 0.0
        self._batch: AudioBatch | None = None

    def begin(self, method: Method, optimizer: torch.optim.Optimizer, fresh: Callable[[], Method]) -> None:
        """Once, at the switch.

        Args:
            method: What is trained.
            optimizer: Trains it.
            fresh: Gives the method as at random initialisation.
        """
        blocks = list(method.encoder.blocks)
        middle = blocks[1]
        if self.way in IN_THE_METHOD:
            method.broken = self.way
        elif self.way == "no_term":
            method.term = 0.0
        elif self.way == "decay_x1000":
            for group in optimizer.param_groups:
                group["weight_decay"] *= 1000
        elif self.way == "state_lost":
            optimizer.state.clear()
        elif self.way == "teacher_lost":
            other = fresh()
            assert isinstance(method, WithTeacher)
            assert isinstance(other, WithTeacher)
            method.teacher.load_state_dict(other.teacher.state_dict())
        elif self.way == "dead_layer":
            middle.register_forward_hook(_dead, prepend=True)
        elif self.way == "half_dims_die":
            middle.register_forward_hook(self._fade_half, prepend=True)
        elif self.way == "mean_drifts":
            for block in blocks[1:]:
                block.register_forward_hook(self._shift, prepend=True)
        elif self.way == "residual_grows":
            for block in blocks[1:]:
                block.register_forward_hook(self._outgrow, prepend=True)

    def rate_factor(self) -> float:
        """What the learning rate is multiplied with."""
        if self.way == "rate_grows":
            return float(1.02**self.since)
        return 20.0 if self.way == "rate_x20" else 1.0

    def clip(self, usual: float) -> float:
        """Norm to which gradients are clipped."""
        return _CLIPPED if self.way == "clipped" else usual

    def spoil(self, batch: AudioBatch) -> AudioBatch:
        """The batch as a broken loader gives it."""
        waveforms, lengths = batch
        if self.way == "same_batch":
            self._batch = self._batch or batch
            return self._batch
        if self.way == "silence":  # with a recorder's dither
            return AudioBatch(1e-4 * torch.randn_like(waveforms), lengths)
        if self.way == "zeros":
            return AudioBatch(torch.zeros_like(waveforms), lengths)
        if self.way == "int16":  # a loader that doesn't scale, and a recipe that doesn't standardise
            return AudioBatch(3000 * waveforms, lengths)
        if self.way == "wrong_rate":  # 8 kHz taken for 16 kHz: half as long, and an octave higher
            return AudioBatch(waveforms[:, ::2].contiguous(), lengths // 2)
        if self.way == "one_utterance":
            n = int(lengths[0])
            return AudioBatch(waveforms[:1, :n].expand(len(lengths), -1).contiguous(), torch.full_like(lengths, n))
        if self.way == "nan":
            spoilt = waveforms.clone()
            spoilt[0, 100] = torch.nan
            return AudioBatch(spoilt, lengths)
        return batch

    @torch.no_grad()
    def after_step(self, method: Method) -> None:
        """Each step after the switch."""
        pace = STEPS / self.run.steps
        self.since += pace
        if self.way == "term_fades":
            method.term *= 0.96**pace
        elif self.way == "decay_drifts":
            method.decay_factor *= 0.97**pace
        elif self.way == "attention_overflows":
            for module in method.encoder.blocks.modules():
                if hasattr(module, "sharpness"):
                    module.sharpness = 1.03**self.since
        elif self.way == "gain_to_zero":  # as with a parameter that only decay acts on
            for norm in _norms(method.encoder.blocks[1]):
                norm.weight.mul_(0.95)
        elif self.way == "decay_on_norms":
            for norm in _norms(method.encoder):
                norm.weight.mul_(0.98)
                norm.bias.mul_(0.98)

    def _fade_half(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        half = output.shape[2] // 2
        return torch.cat([output[:, :, :half], 0.97**self.since * output[:, :, half:]], 2)

    def _shift(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return output + 0.05 * self.since * torch.linspace(-1, 1, output.shape[2]).sin()

    def _outgrow(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return args[0] + 1.02**self.since * (output - args[0])


def _norms(module: nn.Module) -> list[Any]:
    return [m for m in module.modules() if isinstance(m, _NORMS)]


def _dead(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    """All that a layer with dead units gives is its bias: the same for each frame, whatever comes in."""
    return 0.0 * output + torch.linspace(-1, 1, output.shape[2])
