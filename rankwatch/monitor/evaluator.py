"""From windows of rows to an outcome: what is done beside the training, and for all processes on the first one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from rankwatch.alarms.alarm_tracker import AlarmTracker
from rankwatch.alarms.detectors import default_detectors
from rankwatch.alarms.episodes import message_about
from rankwatch.alarms.health import health
from rankwatch.alarms.history import History
from rankwatch.alarms.label_agreement import LabelAgreement
from rankwatch.alarms.mute_file import MuteFile, loud
from rankwatch.alarms.plateau import Plateau
from rankwatch.extraction.rows.row_buffer import Key, Rows
from rankwatch.monitor.outcome import Outcome
from rankwatch.monitor.pending_reading import CollectedRows, EvaluationResult, Trouble
from rankwatch.monitor.reading_exchange import Exchanged, merge, pack_share
from rankwatch.monitor.settings import Settings
from rankwatch.numerics import Sample
from rankwatch.readings.alarm import CRITICAL, Alarm
from rankwatch.readings.codebook_usage import TRAIN, codebook_readings
from rankwatch.readings.layer_statistics import summarise_layers
from rankwatch.readings.measure import measure
from rankwatch.readings.probe_accuracy import with_accuracy
from rankwatch.readings.protocol import CODEBOOK
from rankwatch.readings.reading import Reading
from rankwatch.readings.report import Cost, Report
from rankwatch.runtime.background_job import forks
from rankwatch.runtime.byte_payload import pack, unpack
from rankwatch.runtime.distributed import Group
from rankwatch.runtime.reading_schedule import ReadingSchedule


class ExchangeFailedError(RuntimeError):
    """A process is gone, or elsewhere; there is to be no further exchange."""


class Evaluator:
    """Turns what processes have gathered into one outcome for all.

    The first process merges, decomposes, judges and decides, and tells the others: what they do can't differ, be it by
    the last bit of a number.

    Args:
        settings: The user's arguments.
        layers: Paths of the watched layers, in order.
        group: The other processes, or None.
        first: Whether this is the first one.
        quantizers: Paths of the quantizers.
        mute: What it looks at before it decides.
    """

    def __init__(
        self,
        settings: Settings,
        layers: Sequence[str],
        group: Group | None,
        *,
        first: bool,
        mute: MuteFile,
        quantizers: Sequence[str] = (),
    ) -> None:
        self._quantizers = list(quantizers)
        self._settings = settings
        self._layers = list(layers)
        self._group = group
        self._first = first
        self._mute = mute
        self._names = [*layers, *quantizers, "flat", *(detector.kind for detector in settings.detectors)]
        self._primary = settings.sources[0]
        self._history = History()
        self._judge = AlarmTracker(self._primary, settings.detectors)
        self._plateau = Plateau()
        self._accuracies = LabelAgreement()
        self.budget = ReadingSchedule(settings.every_n_steps, settings.max_overhead)

    def evaluate(self, gathered: CollectedRows) -> EvaluationResult:
        """The whole way; makes two collectives where there are several processes.

        Raises:
            ExchangeFailedError: If a collective failed.
            Exception: What went wrong on the first process, on all of them.
        """
        troubles: list[Trouble] = []
        start = time.perf_counter()
        share = self._share(gathered, troubles)
        if self._group is None:
            shares = {key: [rows] for key, rows in share.items()}
            usages = {name: [usage] for name, usage in gathered.usages.items()}
            exchanged = Exchanged(shares, dict(gathered.protocols), dict(gathered.refused), [], usages)
            seconds = {"exchange": 0.0, "decomposition": time.perf_counter() - start}
            outcome = self._outcome(gathered, exchanged, troubles, seconds, 0)
        else:
            seconds = {"exchange": 0.0, "decomposition": 0.0}
            outcome = self._together(self._group, gathered, share, troubles, seconds)
        return EvaluationResult(outcome, troubles, seconds)

    def _together(
        self,
        group: Group,
        gathered: CollectedRows,
        share: dict[Key, Rows],
        troubles: list[Trouble],
        seconds: dict[str, float],
    ) -> Outcome:
        try:
            packed = pack_share(share, gathered.refused, gathered.error, gathered.protocols.values(), gathered.usages)
        except Exception as error:  # the others wait for something
            packed = pack_share({}, {}, f"{type(error).__name__}: {error}")
        share.clear()  # it may be large, and is in there
        payloads = self._timed(seconds, lambda: group.to_first(packed, f"the rows of step {gathered.step}"))
        answer = torch.empty(0, dtype=torch.uint8)
        failure: Exception | None = None
        if self._first:
            try:
                sent = sum(payload.numel() for payload in payloads)
                exchanged = merge(payloads)
                del payloads
                answer = pack(self._outcome(gathered, exchanged, troubles, seconds, sent).to_plain())
            except Exception as error:  # the others wait for an answer
                failure = error
                answer = pack({"failed": f"{type(error).__name__}: {error}"})
        told, _ = unpack(self._timed(seconds, lambda: group.from_first(answer)))
        if "failed" in told:
            raise failure or RuntimeError(f"on the first process: {told['failed']}")
        return Outcome.from_plain(told)

    @staticmethod
    def _timed(seconds: dict[str, float], collective: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        try:
            return collective()
        except Exception as error:
            raise ExchangeFailedError(f"{type(error).__name__}: {error}") from error
        finally:
            seconds["exchange"] += time.perf_counter() - start

    @staticmethod
    def _share(gathered: CollectedRows, troubles: list[Trouble]) -> dict[Key, Rows]:
        share = {}
        for window in gathered.windows:
            for level, layer in window.keys:
                try:
                    share[window.source, level, layer] = window.take(level, layer)
                except Exception as error:
                    message = f"layer {layer} could not be read: {error}"
                    troubles.append(Trouble(f"layer {layer}", message, error))
        return share

    def _outcome(
        self,
        gathered: CollectedRows,
        exchanged: Exchanged,
        troubles: list[Trouble],
        seconds: dict[str, float],
        sent: int,
    ) -> Outcome:
        start = time.perf_counter()
        step = gathered.step
        readings = self._readings(step, exchanged, troubles)
        refused = self._uncalibrated(readings)
        verdict = self._judge.judge(readings, self._history, gathered.rate)
        troubles += [
            Trouble(f"detector {kind}", f"the detector of {kind!r} failed: {type(error).__name__}: {error}", error)
            for kind, error in verdict.failed.items()
        ]
        muted = self._mute.read(self._names)
        audible = loud(verdict.open, muted.globs)
        labels = self._labels_agree(readings, audible)
        flat = self._plateau.look(readings, self._history, self._primary, alarmed=verdict.level > 0)
        seconds["decomposition"] += time.perf_counter() - start
        next_step = self._next_step(gathered, seconds)
        if verdict.unconfirmed:
            next_step = min(next_step, self.budget.sooner(gathered.step, self._settings.lag))
        report = Report(
            step=gathered.step,
            readings=readings,
            alarms=verdict.raised + ((flat,) if flat is not None else ()),
            open_alarms=verdict.open,
            health=health(readings, self._history, verdict.findings, primary=self._primary),
            alarm_level=verdict.level,
            summary=summarise_layers(readings, self._primary),
            history={},
            message=verdict.message + labels if verdict.message else "",
            cost=Cost(seconds=dict(seconds), bytes_exchanged=sent, interval=next_step - gathered.step),
            learning_rate=gathered.rate,
        )
        frames = [r for r in readings if (r.source, r.level) == (self._primary, "frame")]
        breached = any((source, level) == (self._primary, "frame") for source, level, _ in verdict.unsound)
        critical = {(a.source, a.level, a.layer) for a in audible if a.severity == CRITICAL}
        return Outcome(
            report,
            (message_about(step, audible, verdict.findings, self._layers) if muted.globs else verdict.summary) + labels,
            healthy=not breached and verdict.level < 2 and any(reading.ok for reading in frames),
            collapsed=any(key in verdict.unsound for key in critical),
            muted=muted.globs,
            next_step=next_step,
            refused=exchanged.refused,
            notes={**self._notes(gathered, exchanged, next_step), **muted.notes, **refused},
        )

    def _labels_agree(self, readings: Sequence[Reading], alarms: Sequence[Alarm]) -> str:
        """What a labelled set says about the gravest alarm, where that is critical."""
        critical = next((alarm for alarm in alarms if alarm.severity == CRITICAL), None)
        said = "" if critical is None else self._accuracies.sentence(readings, critical.level, critical.layer)
        self._accuracies.add(readings)
        return f" {said}" if said else ""

    def _uncalibrated(self, readings: Sequence[Reading]) -> dict[str, str]:
        """Thresholds hold for readings like those that they were chosen on; for others the defaults do."""
        calibration = self._settings.calibration
        ours = [reading.protocol for reading in readings if reading.source == self._primary]
        every = self._settings.every_n_steps
        if calibration is None:
            return {}
        differs = next((words for protocol in ours if (words := calibration.unlike(protocol, every))), "")
        if not differs:
            return {}
        self._judge.judged_by(default_detectors())
        return {"calibration": f"thresholds of {self._settings.sensitivity} refused, the defaults hold: {differs}"}

    def _readings(self, step: int, exchanged: Exchanged, troubles: list[Trouble]) -> list[Reading]:
        shares = exchanged.shares
        order = {layer: index for index, layer in enumerate(self._layers)}
        sources = self._settings.sources
        readings = []
        for source, level, layer in sorted(shares, key=lambda key: (sources.index(key[0]), key[1], order[key[2]])):
            what = f"decomposing {layer}"
            try:
                with forks.blocked():
                    rows = Rows.joined(shares.pop((source, level, layer)))
                    protocol = exchanged.protocols[source, level]
                    readings.append(measure(self._sample(rows), step=step, layer=layer, protocol=protocol))
                    what = f"the labelled check of {layer}"
                    readings[-1] = with_accuracy(readings[-1], rows)
            except Exception as error:
                troubles.append(Trouble(what, f"{what} failed: {type(error).__name__}: {error}", error))
        return readings + codebook_readings(step, exchanged.usages, exchanged.protocols)

    def _sample(self, rows: Rows) -> Sample:
        columns = self._settings.rows.columns(rows.rows.shape[1])
        return Sample.from_rows(rows.rows, rows.groups, columns, self._settings.rows.seed, rounding=rows.rounding)

    def _next_step(self, gathered: CollectedRows, seconds: Mapping[str, float]) -> int:
        taken = seconds["decomposition"] if gathered.shares_cpu_with_training else 0.0
        return self.budget.next_step(gathered.step, gathered.elapsed + taken, gathered.spent + taken)

    def _notes(self, gathered: CollectedRows, exchanged: Exchanged, next_step: int) -> dict[str, str]:
        notes = {}
        if exchanged.failed:
            notes["processes"] = f"left out of a reading: {'; '.join(exchanged.failed)}"
        if self._history.restarted:
            curves = ", ".join("/".join(key) for key in self._history.restarted[:3])
            notes["restarted"] = f"another protocol than before: curves start again ({curves}, ...)"
        regular = self.budget.regular(gathered.step)
        if next_step > regular:
            notes["stretched"] = (
                f"a reading every {self._settings.every_n_steps} steps would take more than max_overhead="
                f"{self._settings.max_overhead:g} of the run's time: the next one is at step {next_step} instead of "
                f"{regular}; fewer utterances, layers or levels make readings cheaper, max_overhead=None lets them be"
            )
        return notes

    def tables(self) -> dict[tuple[str, str], tuple[list[int], list[list[float]]]]:
        """Effective ranks over steps, by source and level, for the heatmap."""
        return {
            (source, level): self._history.table(source, level, self._layers)
            for source in self._settings.sources
            for level in self._settings.levels
        }

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts; loads with ``weights_only=True``."""
        return {
            "layers": self._layers,
            "history": self._history.state_dict(),
            "judge": self._judge.state_dict(),
            "plateau_told": self._plateau.told,
            "accuracies": self._accuracies.state_dict(),
            "budget": self.budget.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> str:
        """Take over what `state_dict` gave, of the curves that there still are.

        Returns:
            A sentence about layers that are others than before, or empty.
        """
        here = {(s, v, y) for s in self._settings.sources for v in self._settings.levels for y in self._layers}
        here |= {(TRAIN, CODEBOOK, quantizer) for quantizer in self._quantizers}
        self._history.load_state_dict(entry for entry in state["history"] if tuple(entry["key"]) in here)
        self._judge.load_state_dict(state["judge"], here)
        self._plateau.told = bool(state["plateau_told"])
        self._accuracies.load_state_dict([entry for entry in state["accuracies"] if tuple(entry["key"]) in here])
        self.budget.load_state_dict(state["budget"])
        gone = [layer for layer in state["layers"] if layer not in self._layers]
        new = [layer for layer in self._layers if layer not in state["layers"]]
        if not gone and not new:
            return ""
        changes = [f"{word} {', '.join(some[:4])}" for word, some in (("without", gone), ("with", new)) if some]
        return f"other layers are watched than before the restart: {'; '.join(changes)}; the others' curves go on"
