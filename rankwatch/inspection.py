"""What would be watched, without training: the start-up table of a model that is run once on a little noise."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rankwatch._version import __version__
from rankwatch.arguments.settings import RankWatchArguments, Settings
from rankwatch.extraction.execution.audio_calls import AudioCall, audio_calls
from rankwatch.extraction.execution.preserved_model import preserved_model
from rankwatch.extraction.hooks.replayable_calls import backbone_candidates
from rankwatch.extraction.inputs.containers import map_tensors
from rankwatch.extraction.inputs.tensor_copies import Copies
from rankwatch.extraction.model.module_paths import can_fire
from rankwatch.monitor.monitor import Monitor
from rankwatch.reporting.console import start_table
from rankwatch.run.startup_table import run_header
from rankwatch.runtime.argument_kinds import is_whole, refusal, takes

if TYPE_CHECKING:
    from typing_extensions import Unpack

_SECONDS = (2.0, 1.25)  # two utterances, of which one is padded

Forward = Callable[[nn.Module, Any], Any]


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        table: The table that a run would print after its first reading.
        problems: What stands against watching this model as it is, in sentences; empty where nothing does.
    """

    table: str
    problems: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([self.table, *(f"  problem: {problem}" for problem in self.problems)])


def inspect(
    model: nn.Module,
    batch: Any = None,
    forward: Forward | None = None,
    *,
    sample_rate: int = 16_000,
    **arguments: Unpack[RankWatchArguments],
) -> Inspection:
    """Which layers of a model would be watched, their layouts, and where valid lengths come from.

    The model is run once in eval mode, without gradient, and left as it was.

    Args:
        model: The model or LightningModule; it needn't have been trained.
        batch: As the loader gives it. By default two utterances of noise, 2 s and 1.25 s.
        forward: ``f(model, batch)`` that runs the model on the batch. By default the forward pass of a known model
            family, or of the outermost module that can be called with the batch.
        sample_rate: Samples per second of the noise.
        arguments: All arguments of `rankwatch.RankWatch`.

    Returns:
        The table and the problems; printed, both. A model without layers to watch raises ValueError, an argument that
        isn't known TypeError.

    Raises:
        ValueError: For a bad argument, with what it may be.

    Example:
        >>> blocks = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
        >>> found = inspect(blocks, torch.randn(3, 20, 8))
        >>> found.problems
        ()
        >>> "layers.1" in found.table
        True
    """
    # Nothing is trained here of whose time a reading could take too much.
    settings = Settings.of("inspect", {"eval_sets": {"batch": "first_batches"}, "max_overhead": None, **arguments})
    if not isinstance(model, nn.Module):
        raise ValueError(refusal("inspect", "model", model, "a torch.nn.Module"))
    if not is_whole(sample_rate, 1):
        raise ValueError(refusal("inspect", "sample_rate", sample_rate, "a whole number of samples per second"))
    if forward is not None and not takes(forward, 2):
        raise ValueError(refusal("inspect", "forward", forward, "a function f(model, batch), or None"))
    monitor = Monitor(settings)
    problems: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            monitor.attach(model)
            failure, ran = _observe(monitor, model, batch, forward, sample_rate)
            problems += [failure] if failure else []
            header = run_header(settings, monitor.row_collector, __version__)
        finally:
            monitor.close()
    if not ran:
        rows = [replace(row, note="not run") for row in header.layers]
        header = replace(header, layers=rows, notes=[])
    problems += [
        str(one.message).removeprefix(f"{settings.name}: ") for one in caught if one.category is RuntimeWarning
    ]
    return Inspection(start_table(header), tuple(dict.fromkeys(problems)))


def _observe(
    monitor: Monitor, model: nn.Module, batch: Any, forward: Forward | None, sample_rate: int
) -> tuple[str, bool]:
    """One pass through the model and one reading; what stood against it, and whether there was a pass."""
    first = next(model.parameters(), torch.zeros(()))
    if first.is_meta:
        return "the model is on the meta device: give it memory first (model.to_empty(device=...))", False
    last: Exception | None = None
    for inputs, run in _attempts(monitor, model, batch, forward, sample_rate):
        there = Copies(first.device)(inputs)
        if batch is None:  # noise, in the numbers that the model calculates with
            there = map_tensors(there, lambda x: x.to(first.dtype) if x.is_floating_point() else x)
        monitor.batch_starts(there, 0)
        try:
            with preserved_model(model, seed=0):
                run(there)
        except Exception as error:
            last = error
            continue
        monitor.batch_ends(there)
        monitor.complete_eval_sets()
        monitor.row_collector.notes.clear()  # how many utterances there were is of no interest
        if monitor.row_collector.sources:
            monitor.read(0)
        return "", True
    what = "two seconds of noise" if batch is None else "the batch"
    why = f"{type(last).__name__}: {last}" if last is not None else "no module takes waveforms alone, or with lengths"
    return f"the model could not be run on {what} ({why}); pass a batch and forward=f with f(model, batch)", False


Attempt = tuple[Any, Callable[[Any], Any]]
"""A batch, and what runs the model on it."""


def _attempts(
    monitor: Monitor, model: nn.Module, batch: Any, forward: Forward | None, sample_rate: int
) -> list[Attempt]:
    """How the model could be run, the most likely attempt first."""
    inputs = noise(sample_rate) if batch is None else batch
    if forward is not None:
        return [(inputs, lambda batch: forward(model, batch))]
    if batch is None:
        calls = audio_calls(model, monitor.row_collector.layers)
        alone = inputs[0][:1].expand(2, -1), inputs[1][:1].expand(2)  # without lengths there is no padding
        return [(inputs if call.takes_lengths else alone, partial(_run, call)) for call in calls]
    outermost_first = [module for _, module in reversed(backbone_candidates(model, monitor.row_collector.layers))]
    return [(batch, partial(_spread, module)) for module in outermost_first if can_fire(module)]


def noise(sample_rate: int = 16_000) -> tuple[Tensor, Tensor]:
    """(2, 2 s) of noise, zero-padded, and its (2,) lengths in samples."""
    lengths = torch.tensor([int(seconds * sample_rate) for seconds in _SECONDS])
    generator = torch.Generator().manual_seed(0)
    waveforms = 0.1 * torch.randn(len(lengths), int(lengths.max()), generator=generator)
    return waveforms * (torch.arange(waveforms.shape[1]) < lengths[:, None]), lengths


def _run(call: AudioCall, batch: tuple[Tensor, Tensor]) -> Any:
    return call.run(*batch)


def _spread(module: nn.Module, batch: Any) -> Any:
    if isinstance(batch, dict):
        return module(**batch)
    return module(*batch) if isinstance(batch, (tuple, list)) else module(batch)
