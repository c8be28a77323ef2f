"""How a model could be run on waveforms, where nobody has said how."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from rankwatch.extraction.execution.model_families import unmasked_call
from rankwatch.extraction.hooks.replayable_calls import backbone_candidates
from rankwatch.extraction.model.conventions import SPEECHBRAIN
from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.extraction.model.module_paths import can_fire, comes_from


@dataclass(frozen=True)
class AudioCall:
    """One way to run a model on waveforms.

    Attributes:
        name: What is called, in words.
        run: Takes waveforms (B, T) and lengths (B,) int64 in samples.
        takes_lengths: Whether the lengths reach the model; without them no utterance may be padded.
    """

    name: str
    run: Callable[[Tensor, Tensor], Any]
    takes_lengths: bool


def audio_calls(root: nn.Module, layers: Sequence[WatchedLayer]) -> list[AudioCall]:
    """Ways to run a model on waveforms, the likeliest first.

    A known family's unmasked forward pass is the only one where there is one. Otherwise every module that holds all
    layers and can be called with waveforms alone, or with waveforms and lengths, from the outermost to the innermost.

    Args:
        root: The whole model.
        layers: Those that have to fire.

    Returns:
        The calls; whether one really works shows when it is tried.
    """
    adapter = unmasked_call(root, root)
    if adapter is not None:
        return [AudioCall(f"{adapter.name} (unmasked)", adapter.run, takes_lengths=True)]
    outermost_first = [(path, module) for path, module in reversed(backbone_candidates(root, layers))]
    found = [_call(path, module) for path, module in outermost_first if can_fire(module)]
    return [call for call in found if call is not None]


def _call(path: str, module: nn.Module) -> AudioCall | None:
    """The module called with waveforms and, if it takes them, lengths: by name, since some take nothing else."""
    parameters = inspect.signature(module.forward).parameters
    names = [name for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    needed = [name for name in names if parameters[name].default is inspect.Parameter.empty]
    lengths = next((name for name in names[1:] if "len" in name.lower()), None)
    if not names or set(needed[1:]) - {lengths}:
        return None
    name = f"{type(module).__name__} at {path}" if path else type(module).__name__
    if lengths is None:
        return AudioCall(name, lambda waveforms, counts: module(**{names[0]: waveforms}), takes_lengths=False)
    fractions = _takes_fractions(module, lengths)

    def run(waveforms: Tensor, counts: Tensor) -> Any:
        return module(**{names[0]: waveforms, lengths: counts / waveforms.shape[1] if fractions else counts})

    return AudioCall(name, run, takes_lengths=True)


def _takes_fractions(module: nn.Module, lengths: str) -> bool:
    """Whether lengths are shares of the longest, as SpeechBrain has them throughout (``wav_lens``, ``wav_len``)."""
    return lengths.startswith("wav_len") and any(comes_from(part, SPEECHBRAIN) for part in module.modules())
