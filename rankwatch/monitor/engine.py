"""The monitor: gather, exchange, read, judge. Knows no trainer; adapters call it.

The order of calls in a training loop::

    monitor = Monitor(Settings(every_n_steps=100))
    monitor.attach(model)                          # which layers; raises on a bad pattern or folder
    for step, batch in enumerate(loader):
        monitor.batch_starts(batch, step)
        loss = training_step(batch)
        monitor.before_backward()
        loss.backward(); optimizer.step()
        monitor.batch_ends(batch)
        if monitor.due(step + 1):
            outcome = monitor.read(step + 1)
    monitor.close()
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn

from rankwatch.monitor.complaints import Complaints, Stopwatch
from rankwatch.monitor.detectors import DEFAULT_DETECTORS, Detector, Falling
from rankwatch.monitor.exchange import Exchanged, GroupGather, exchange
from rankwatch.monitor.gathering import Gathering
from rankwatch.monitor.history import History
from rankwatch.monitor.judge import Judge, Verdict
from rankwatch.monitor.measure import measure
from rankwatch.monitor.reading import Reading
from rankwatch.monitor.report import Cost, Report, RunHeader
from rankwatch.monitor.settings import Settings
from rankwatch.monitor.sources import World
from rankwatch.monitor.summary import health, summarise
from rankwatch.monitor.window import Samples
from rankwatch.sampling.undisturbed import DefaultDevice

_STATE = 1  # raised when the saved state's form changes


@dataclass(frozen=True)
class Outcome:
    """What a reading led to.

    Attributes:
        report: For the reporters.
        verdict: Alarms and findings.
        healthy: No detector found anything in the headline set's frames: a checkpoint of now is a good one.
        collapsed: A critical alarm holds and this reading bears it out; the same on all processes.
    """

    report: Report
    verdict: Verdict
    healthy: bool
    collapsed: bool


_Method = TypeVar("_Method", bound=Callable[..., Any])


def _on_the_cpu(method: _Method) -> _Method:
    """A method of the monitor whose own tensors are made on the CPU, whatever the user's default device is."""

    @functools.wraps(method)
    def on_the_cpu(monitor: Monitor, *args: Any, **kwargs: Any) -> Any:
        with monitor.default_device.aside():
            return method(monitor, *args, **kwargs)

    return on_the_cpu  # type: ignore[return-value]


class Monitor:
    """Watches one model during one run.

    Args:
        settings: The user's arguments.
        world: This process among the others.
        gather: The collective, where there are several processes.
        precision: The trainer's precision, for the protocol.
        autocast: Context in which a probe forward pass runs, as a training forward pass does.
        detectors: What is looked for.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        world: World | None = None,
        gather: GroupGather | None = None,
        precision: str = "32-true",
        autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
        detectors: Sequence[Detector] = DEFAULT_DETECTORS,
    ) -> None:
        self.settings = settings
        self.default_device = DefaultDevice()
        self.complaints = Complaints(settings.name, settings.strict)
        self.last_step: int | None = None
        self.readings_taken = 0
        self._named_silent = False
        self.world = world or World()
        self._gather = gather
        self._precision = precision
        self._autocast = autocast
        self._warmup = next((d.warmup for d in detectors if isinstance(d, Falling)), 0)
        self._history = History()
        self._judge = Judge(settings.sources[0], detectors)
        self.stopwatch = Stopwatch()
        self._gathering: Gathering | None = None

    @_on_the_cpu
    def attach(self, root: nn.Module) -> None:
        """Find the layers, read the named probe sets, put the hooks in place.

        Args:
            root: The whole model.

        Raises:
            ValueError: For a layer pattern that matches nothing, or a bad probe set.
            FileNotFoundError: For a folder that isn't there.
        """
        self._gathering = Gathering(
            root,
            self.settings,
            world=self.world,
            gather=self._gather,
            complaints=self.complaints,
            precision=self._precision,
            autocast=self._as_the_users,
        )

    @contextlib.contextmanager
    def _as_the_users(self) -> Iterator[None]:
        """A forward pass as in training: under the trainer's autocast, with the user's default device."""
        with self.default_device.back(), self._autocast():
            yield

    @property
    def gathering(self) -> Gathering:
        """The model's side.

        Raises:
            RuntimeError: Before `attach`.
        """
        if self._gathering is None:
            raise RuntimeError("Monitor.attach(model) comes first")
        return self._gathering

    @_on_the_cpu
    def batch_starts(self, batch: Any, step: int) -> None:
        """Before a training batch's forward pass, after `step` optimiser steps."""
        every = self.settings.every_n_steps
        with self.stopwatch.part("watching"), self.complaints.guarded("reading a training batch"):
            self.gathering.batch_starts(batch, 0 if self.last_step is None else every - step % every)

    @_on_the_cpu
    def before_backward(self) -> None:
        """After the forward pass, before backward."""
        with self.stopwatch.part("watching"), self.complaints.guarded("reading the training pass"):
            self.gathering.before_backward()

    @_on_the_cpu
    def batch_ends(self, batch: Any) -> None:
        """After a training batch."""
        with self.stopwatch.part("watching"), self.complaints.guarded("reading a training batch"):
            self.gathering.batch_ends(batch)

    @_on_the_cpu
    def epoch_ends(self) -> None:
        """No utterance will be new from here on: the default probe set is complete."""
        with self.complaints.guarded("completing the probe set"):
            self.gathering.freeze()

    def due(self, step: int) -> bool:
        """Whether a reading is to be made after `step` optimiser steps: the same on all processes."""
        if not self.gathering.complete or step == self.last_step or not self.gathering.sources:
            return False
        every = self.settings.every_n_steps
        return self.last_step is None or step // every > self.last_step // every

    @_on_the_cpu
    def read(self, step: int) -> Outcome:
        """Make one reading of every source and judge it."""
        self.last_step = step  # also if something fails below: the next try is at the next regular step
        with self.stopwatch.part("forward"):
            samples, refused, error = self.gathering.rows()
        with self.stopwatch.part("exchange"):
            exchanged = self._exchange(samples, refused, error)
        for reason in exchanged.failed if self.world.size > 1 else []:
            self.complaints.warn("processes", f"left out of a reading: {reason}")
        for source, reason in exchanged.refused.items():
            self.gathering.silence(source, reason)
        with self.stopwatch.part("decomposition"):
            readings = self._measure(exchanged.samples, step)
        verdict = self._judge.judge(readings, self._history)
        if self._history.restarted:
            curves = ", ".join("/".join(key) for key in self._history.restarted[:3])
            self.complaints.warn("restarted", f"another protocol than before: curves start again ({curves}, ...)")
        if not self._named_silent:
            self._named_silent = True
            self.gathering.probing.name_silent_layers()
        self.readings_taken += 1
        return self._outcome(step, readings, verdict, exchanged.sent)

    def _exchange(self, samples: Samples, refused: Mapping[str, str], error: str) -> Exchanged:
        """After a collective that failed (a process is gone) there are no further ones: no hang at every reading."""
        try:
            return exchange(samples, refused, error, self._gather)
        except Exception as problem:
            for source in self.gathering.sources:
                self.gathering.silence(source, f"the exchange between processes failed: {problem}")
            raise

    def _measure(self, samples: Samples, step: int) -> list[Reading]:
        order = {layer.name: index for index, layer in enumerate(self.gathering.layers)}
        sources = self.settings.sources
        readings = []
        for source, level, layer in sorted(samples, key=lambda key: (sources.index(key[0]), key[1], order[key[2]])):
            with self.complaints.guarded(f"decomposing {layer}"):
                protocol = self.gathering.protocol(source, level)
                readings.append(measure(samples[source, level, layer], step=step, layer=layer, protocol=protocol))
        return readings

    def _outcome(self, step: int, readings: list[Reading], verdict: Verdict, sent: int) -> Outcome:
        headline = self.settings.sources[0]
        names = [layer.name for layer in self.gathering.layers]
        report = Report(
            step=step,
            readings=readings,
            alarms=verdict.raised,
            open_alarms=verdict.open,
            health=health(readings, self._history, verdict.findings, headline=headline, warmup=self._warmup),
            alarm_level=verdict.level,
            summary=summarise(readings, headline),
            history={
                (source, level): self._history.table(source, level, names)
                for source in self.settings.sources
                for level in self.settings.levels
            },
            message=verdict.message,
            cost=Cost(seconds=self.stopwatch.take(), share=self.stopwatch.share, bytes_exchanged=sent),
        )
        frames = [r for r in readings if (r.source, r.level) == (headline, "frame")]
        breached = any((source, level) == (headline, "frame") for source, level, _ in verdict.findings)
        sound = not breached and any(reading.ok for reading in frames)
        # One process decides: a difference in the last bit must not stop some and leave others waiting.
        collapsed = bool(self._decide(int(verdict.level == 2 and breached)))
        return Outcome(report, verdict, healthy=sound and verdict.level < 2, collapsed=collapsed)

    def _decide(self, choice: int) -> int:
        return choice if self._gather is None else self._gather.numbers(choice)[0]

    def header(self, version: str, cost: Cost | None = None) -> RunHeader:
        """The table of what was found; complete after the first reading, whose cost is told."""
        rows, notes = self.gathering.table()
        if cost is not None:
            seconds = {part: s for part, s in cost.seconds.items() if part != "watching"}
            parts = ", ".join(f"{part} {s:.2f}" for part, s in seconds.items())
            notes.append(f"the first reading took {sum(seconds.values()):.2f} s ({parts})")
        settings = self.settings
        return RunHeader(settings.name, version, rows, settings.levels, settings.sources, settings.every_n_steps, notes)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts; loads with ``weights_only=True``."""
        return {
            "version": _STATE,
            "last_step": self.last_step,
            "readings_taken": self.readings_taken,
            "history": self._history.state_dict(),
            "judge": self._judge.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            ValueError: If another version of rankwatch wrote it in another form.
        """
        if state.get("version") != _STATE:
            raise ValueError(f"the saved state has form {state.get('version')}, this version reads {_STATE}")
        self.last_step = state["last_step"]
        self.readings_taken = state["readings_taken"]
        self._history.load_state_dict(state["history"])
        self._judge.load_state_dict(state["judge"])

    def close(self) -> None:
        """Take every hook away, and give the process group back."""
        if self._gathering is not None:
            self._gathering.close()
            self._gathering = None
        if self._gather is not None:
            self._gather.close()
            self._gather = None
