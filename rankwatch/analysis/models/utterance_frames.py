"""One utterance through a model, by itself and unpadded: the frames of every layer."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.analysis.models.feature_inputs import FeatureInput
from rankwatch.extraction.execution.audio_calls import AudioCall, audio_calls
from rankwatch.extraction.hooks.layer_hooks import LayerHooks
from rankwatch.extraction.hooks.safe_hooks import eager
from rankwatch.extraction.model.layers import WatchedLayer, find_layers
from rankwatch.extraction.taps.operations import UNKNOWN
from rankwatch.extraction.taps.tap_finder import TapFinder
from rankwatch.extraction.valid_frames.length_matching import Pass, frames_of_convolutions, inputs_of
from rankwatch.extraction.valid_frames.observed_outputs import Observed, OutputReader
from rankwatch.extraction.valid_frames.valid_lengths import without_added

Forward = Callable[[nn.Module, Any], Any]
"""``f(model, (waveforms (1, T), lengths (1,)))``, as evaluation sets have it."""


class UnreadableModel(ValueError):  # noqa: N818 - said to the user by this name
    """A model could not be run on audio; the message says why, and what to pass."""


@dataclass
class FramesOfUtterance:
    """What one forward pass gave.

    Attributes:
        frames: (T, C) float32 on the CPU, by layer: those of the audio, without a fixed window's padding.
        seconds: From the beginning of the forward pass until each layer had its output, and ``""`` for the whole.
        failures: Why layers could not be read.
    """

    frames: dict[str, Tensor]
    seconds: dict[str, float]
    failures: dict[str, Exception] = field(default_factory=dict)


class UtteranceFrames:
    """Runs single utterances through a model and reads all layers.

    Each utterance is a batch of its own, without padding: nothing has to be masked, and neither the order nor the
    company of utterances changes a digit. Only where the model takes a window of one length (Whisper) is the rest of it
    silence, whose frames are cut off.

    Args:
        root: The whole model, in eval mode.
        layers: What is read.
        sample_rate: Samples per second that the model expects.
        forward: The user's own way to run it, or None.
        features: How audio becomes features, where the model takes features.
        layouts: The layouts that the user says, by glob over layers.
    """

    def __init__(
        self,
        root: nn.Module,
        layers: Sequence[WatchedLayer],
        *,
        sample_rate: int = 16_000,
        forward: Forward | None = None,
        features: FeatureInput | None = None,
        layouts: dict[str, str] | None = None,
    ) -> None:
        self._root = root
        self._layers = list(layers)
        self._features = features
        self._layouts = layouts or {}
        self._reader = OutputReader(layers, root, self._layouts)
        self._written: set[str] = set()
        self.sample_rate = sample_rate
        self._encoder = _encoder(root)
        self._inputs: tuple[Tensor, ...] = ()  # what the model was given, where that isn't the audio
        self._calls = self._ways(forward)
        self.call = ""
        """What is called, in words; known after the first utterance."""
        self.taps: dict[str, str] = {}
        """Where in its block each layer is read, as `rankwatch.Protocol` names it; known after the first utterance."""

    def _ways(self, forward: Forward | None) -> list[AudioCall]:
        if forward is not None:
            return [AudioCall("your forward", lambda x, lengths: forward(self._root, (x, lengths)), True)]
        if self._features is not None:
            return [
                AudioCall(f"{type(self._encoder).__name__} on {self._features.name}'s output", self._on_features, True)
            ]
        return audio_calls(self._root, self._layers)

    def _on_features(self, x: Tensor, lengths: Tensor) -> Any:
        assert self._features is not None
        given = self._placed(self._features.run(x[0]))
        self._inputs = tuple(given.values())
        return self._encoder(**given)

    @property
    def features(self) -> FeatureInput | None:
        """How audio becomes features, where the model takes features."""
        return self._features

    @property
    def window(self) -> float | None:
        """Seconds of the window that every input is padded to, or None."""
        return self._features.window if self._features is not None else None

    def with_features(self, run: Callable[[Tensor], dict[str, Tensor]]) -> UtteranceFrames:
        """The same with other features of a waveform, which reads the front ends that can be found as well."""
        assert self._features is not None
        fronts: list[WatchedLayer] = []
        with contextlib.suppress(ValueError):  # where none can be found
            fronts = [one for one in find_layers(self._root) if _is_front(one)]
        names = {layer.name for layer in self._layers}
        return UtteranceFrames(
            self._root,
            [*(one for one in fronts if one.name not in names), *self._layers],
            sample_rate=self.sample_rate,
            features=dataclasses.replace(self._features, run=run),
            layouts=self._layouts,
        )

    def __call__(self, waveform: Tensor) -> FramesOfUtterance:
        """Run one utterance.

        Args:
            waveform: (T,) float32.

        Returns:
            Its frames by layer.

        Raises:
            UnreadableModel: If no way to run the model works.
        """
        x = self._placed({"x": waveform[None]})["x"]
        last: Exception | None = None
        for call in self._calls:
            try:
                outputs, seconds = self._pass(call, x)
                if any(layer.name in self._written and layer.name not in outputs for layer in self._layers):
                    outputs, seconds = self._pass(call, x)  # outputs that the model writes into are copied now
            except Exception as error:
                last = error
                continue
            self._calls, self.call = [call], call.name
            return self._read(outputs, seconds, x)
        reason = f"{type(last).__name__}: {last}" if last else "no module that holds all layers takes waveforms alone"
        if self.call:  # which has worked before: it is this utterance
            raise UnreadableModel(f"the model fails on it, perhaps for its length ({reason})") from last
        raise UnreadableModel(
            f"{type(self._root).__name__} could not be run on {waveform.shape[0] / self.sample_rate:.1f} s of audio "
            f"({reason}); pass forward=f with f(model, (waveforms, lengths)), or feature_extractor= where it takes "
            "features"
        ) from last

    def _pass(self, call: AudioCall, x: Tensor) -> tuple[dict[str, Any], dict[str, float]]:
        seconds: dict[str, float] = {}
        handles = [
            layer.module.register_forward_hook(_clock(layer.name, seconds, x.device), always_call=False)
            for layer in self._layers
        ]
        try:
            with eager(), LayerHooks([*self._layers, *self._reader.convolutions], written=self._written) as hooks:
                begun = _now(x.device)
                with self._following():
                    call.run(x, torch.tensor([x.shape[1]], device=x.device))
                seconds[""] = _now(x.device)
                return hooks.take(), {name: end - begun for name, end in seconds.items()}
        finally:
            for handle in handles:
                handle.remove()

    @contextlib.contextmanager
    def _following(self) -> Iterator[None]:
        """In the first pass: find out where layers are tapped."""
        if self.taps:
            yield
            return
        finder = TapFinder(self._root, self._layers, lambda name, output: self._reader.unpack(name, output, 1)[0])
        with finder.listening():
            yield
        self.taps = {layer.name: finder.taps.get(layer.name, UNKNOWN) for layer in self._layers}

    def _read(self, outputs: dict[str, Any], seconds: dict[str, float], x: Tensor) -> FramesOfUtterance:
        found = FramesOfUtterance({}, seconds)
        inputs = inputs_of(
            self._inputs or (x,), {}, None, 1, self._root, [one.module for one in self._layers if _is_front(one)]
        )
        inputs = dataclasses.replace(inputs, unwatched=frames_of_convolutions(self._reader.convolutions, outputs))
        observed, _ = self._reader.read(outputs, Pass(1, inputs, [], ({}, None)), found.failures)
        for one in without_added(observed, inputs):
            try:
                found.frames[one.layer.name] = self._of_audio(one, x.shape[1] / self.sample_rate)
            except ValueError as error:
                found.failures[one.layer.name] = error
        return found

    def _of_audio(self, one: Observed, seconds: float) -> Tensor:
        if one.every:
            raise ValueError(f"layer {one.layer.name!r} has {one.every}, which have no times")
        hidden = one.hidden[0, : one.frames * one.per_frame]
        if one.per_frame > 1:  # patches of one time together: bands are columns, as in a spectrogram
            hidden = hidden.reshape(one.frames, -1)
        if self.window is not None:
            hidden = hidden[: math.ceil(len(hidden) * min(1.0, seconds / self.window))]
        return hidden.detach().float().cpu()

    def _placed(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """On the model's device, in the numbers that it calculates with."""
        first = next(self._root.parameters(), torch.zeros(()))
        return {
            name: value.to(first.device, first.dtype if value.is_floating_point() else value.dtype)
            for name, value in tensors.items()
        }


def _is_front(layer: WatchedLayer) -> bool:
    return layer.kind == "frontend"


def _encoder(root: nn.Module) -> nn.Module:
    """The encoder alone of a model that decodes as well."""
    find: Any = getattr(root, "get_encoder", None)
    found = find() if callable(find) and "decoder_input_ids" in inspect.signature(root.forward).parameters else root
    return found if isinstance(found, nn.Module) else root


def _clock(name: str, seconds: dict[str, float], device: torch.device) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        seconds.setdefault(name, _now(device))

    return hook


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
