"""What goes wrong: in the method's own words, in the data, in the optimiser, in a layer."""

from __future__ import annotations

import torch
from catalogue import Run
from corpus import AudioBatch
from methods import Method
from torch import Tensor, nn

IN_THE_METHOD = ("no_stop_gradient", "fast_teacher", "no_variance", "no_diversity", "one_cluster", "no_mask")


def break_it(run: Run, method: Method, optimizer: torch.optim.Optimizer) -> None:
    """Once, at the switch."""
    if run.variant in IN_THE_METHOD:
        method.broken = run.variant
    elif run.variant == "decay_x1000":
        for group in optimizer.param_groups:
            group["weight_decay"] *= 1000
    elif run.variant == "dead_layer":
        method.blocks()[1].register_forward_hook(_dead)


def rate_factor(run: Run, step: int) -> float:
    """What the learning rate is multiplied with."""
    return 20.0 if run.variant == "rate_x20" and step >= run.switch else 1.0


def spoil(run: Run, batch: AudioBatch) -> AudioBatch:
    """The batch as a broken loader gives it."""
    if run.variant == "silence":  # with a recorder's dither
        return AudioBatch(1e-4 * torch.randn_like(batch.waveforms), batch.lengths)
    if run.variant == "one_utterance":
        seconds = torch.full_like(batch.lengths, int(batch.lengths[0]))
        repeated = batch.waveforms[:1, : int(batch.lengths[0])].expand(len(batch.lengths), -1)
        return AudioBatch(repeated.contiguous(), seconds)
    if run.variant == "nan" and len(batch.waveforms):
        waveforms = batch.waveforms.clone()
        waveforms[0, 100] = torch.nan
        return AudioBatch(waveforms, batch.lengths)
    return batch


def after_step(run: Run, method: Method, since: int) -> None:
    """Each step after the switch: a LayerNorm's gain that fades, as with a parameter that only decay acts on."""
    if run.variant == "gain_to_zero":
        norms = [m for m in method.blocks()[1].modules() if isinstance(m, nn.LayerNorm)]
        with torch.no_grad():
            for norm in norms:
                norm.weight.mul_(0.95)


def _dead(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """All that a layer with dead units gives is its bias: the same for each frame, whatever comes in."""
    first = output[0] if isinstance(output, tuple) else output
    dead = 0.0 * first + torch.linspace(-1, 1, first.shape[-1])
    return (dead, *output[1:]) if isinstance(output, tuple) else dead
