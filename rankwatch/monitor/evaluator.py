"""From collected rows to an outcome: worked out in the background, on the first process for all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from rankwatch.alarms.alarm_state import AlarmState
from rankwatch.arguments.settings import Settings
from rankwatch.extraction.rows.row_buffer import Key, Rows
from rankwatch.monitor.background_reading import EvaluationResult, Trouble
from rankwatch.monitor.collected_rows import CollectedRows
from rankwatch.monitor.outcome import Outcome, outcome_of
from rankwatch.monitor.reading_exchange import Exchanged, merge, pack_share
from rankwatch.monitor.upcoming_reading import notes_about, upcoming_reading
from rankwatch.readings.brief_links import BriefLinks
from rankwatch.readings.codebook_usage import codebook_readings
from rankwatch.readings.drift.drift_memory import DriftMemory
from rankwatch.readings.layer_readings import layer_readings
from rankwatch.readings.protocol import CODEBOOK, TRAIN
from rankwatch.readings.report import Cost
from rankwatch.runtime.byte_payload import pack, unpack
from rankwatch.runtime.distributed import Group
from rankwatch.runtime.files.run_paths import RunPath
from rankwatch.runtime.plain_data import from_plain, to_plain
from rankwatch.runtime.reading_schedule import ReadingSchedule


class ExchangeFailedError(RuntimeError):
    """A process is gone or out of step, so there must be no further exchange."""


class Evaluator:
    """Turns the rows that all processes have collected into one outcome for all of them.

    The first process merges the rows, measures them, assesses the readings and decides; the others are sent the
    outcome. So processes can't differ, not even by the last bit of a number.

    Args:
        settings: The user's arguments.
        layers: Paths of the watched layers, in order.
        group: The other processes, or None.
        first: Whether this is the first process.
        mute: The file that mutes alarms while it exists, or None.
        quantizers: Paths of the quantizers.
    """

    def __init__(
        self,
        settings: Settings,
        layers: Sequence[str],
        group: Group | None,
        *,
        first: bool,
        mute: RunPath | None = None,
        quantizers: Sequence[str] = (),
    ) -> None:
        self._settings = settings
        self._layers = list(layers)
        self._quantizers = list(quantizers)
        self._group = group
        self._first = first
        self._alarms = AlarmState(
            settings.sources[0],
            settings.detectors,
            calibration=settings.calibration,
            every_n_steps=settings.every_n_steps,
            mute=mute,
        )
        self._links = BriefLinks()
        self._memory = DriftMemory() if settings.watches_drift else None
        self.schedule = ReadingSchedule(settings.every_n_steps, settings.max_overhead, settings.rows.full_every)

    def evaluate(self, collected: CollectedRows) -> EvaluationResult:
        """Work out the outcome; makes two collectives where there are several processes.

        An error on the first process is raised on all of them; a collective that fails raises `ExchangeFailedError`.

        Args:
            collected: This process's rows.

        Returns:
            The outcome, the same on all processes, with this process's own failures.
        """
        troubles: list[Trouble] = []
        start = time.perf_counter()
        share = self._share(collected, troubles)
        if self._group is None:
            shares = {key: [rows] for key, rows in share.items()}
            usages = {name: [usage] for name, usage in collected.usages.items()}
            exchanged = Exchanged(
                shares, dict(collected.protocols), dict(collected.refused), [], usages, collected.taps
            )
            seconds = {"exchange": 0.0, "decomposition": time.perf_counter() - start}
            outcome = self._outcome(collected, exchanged, troubles, seconds, 0)
        else:
            seconds = {"exchange": 0.0, "decomposition": 0.0}
            outcome = self._evaluate_together(self._group, collected, share, troubles, seconds)
        return EvaluationResult(outcome, troubles, seconds)

    def _evaluate_together(
        self,
        group: Group,
        collected: CollectedRows,
        share: dict[Key, Rows],
        troubles: list[Trouble],
        seconds: dict[str, float],
    ) -> Outcome:
        try:
            protocols = collected.protocols.values()
            about = (collected.refused, collected.error, protocols, collected.usages, collected.taps)
            packed = pack_share(share, *about)
        except Exception as error:  # the other processes wait for something
            packed = pack_share({}, {}, f"{type(error).__name__}: {error}")
        share.clear()  # it may be large, and has been packed
        payloads = self._timed(seconds, lambda: group.gather_to_rank0(packed, f"the rows of step {collected.step}"))
        answer = torch.empty(0, dtype=torch.uint8)
        failure: Exception | None = None
        if self._first:
            try:
                sent = sum(payload.numel() for payload in payloads)
                exchanged = merge(payloads)
                del payloads
                answer = pack(to_plain(self._outcome(collected, exchanged, troubles, seconds, sent)))
            except Exception as error:  # the other processes wait for an answer
                failure = error
                answer = pack({"failed": f"{type(error).__name__}: {error}"})
        content, _ = unpack(self._timed(seconds, lambda: group.broadcast_from_rank0(answer)))
        if "failed" in content:
            raise failure or RuntimeError(f"on the first process: {content['failed']}")
        return from_plain(Outcome, content)

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
    def _share(collected: CollectedRows, troubles: list[Trouble]) -> dict[Key, Rows]:
        share = {}
        for buffer in collected.windows:
            for level, layer in buffer.keys:
                try:
                    share[buffer.source, level, layer] = buffer.take(level, layer)
                except Exception as error:
                    message = f"layer {layer} could not be read: {error}"
                    troubles.append(Trouble(f"layer {layer}", message, error))
        return share

    def _outcome(
        self,
        collected: CollectedRows,
        exchanged: Exchanged,
        troubles: list[Trouble],
        seconds: dict[str, float],
        sent: int,
    ) -> Outcome:
        """Measure, assess, compose the outcome."""
        start = time.perf_counter()
        step, settings = collected.step, self._settings
        found = layer_readings(
            step,
            exchanged.shares,
            exchanged.protocols,
            self._links,
            exchanged.taps,
            sources=settings.sources,
            layers=self._layers,
            sampling=settings.rows,
            memory=self._memory,
            settled=self._alarms.has_settled(collected.rate),
        )
        codebooks = codebook_readings(step, exchanged.usages, exchanged.protocols)
        assessment = self._alarms.assess(
            step, found.readings, collected.rate, codebooks=codebooks, repeated_batches=collected.repeated_batches
        )
        failures = found.failures + [(f"the detector of {kind!r}", error) for kind, error in assessment.failed.items()]
        troubles += [Trouble(what, f"{what} failed: {type(e).__name__}: {e}", e) for what, e in failures]
        seconds["decomposition"] += time.perf_counter() - start
        upcoming = upcoming_reading(
            self.schedule, settings, collected, assessment, seconds, brief_sets=found.brief_sets
        )
        cost = Cost(seconds=dict(seconds), bytes_exchanged=sent, interval=upcoming.step - step)
        return outcome_of(
            step,
            found.readings,
            codebooks,
            assessment,
            cost=cost,
            learning_rate=collected.rate,
            upcoming=upcoming,
            refused=exchanged.refused,
            notes={**exchanged.notes(), **notes_about(upcoming, self.schedule, settings, step)},
        )

    def tables(self) -> dict[tuple[str, str], tuple[list[int], list[list[float]]]]:
        """Effective ranks over steps, by source and level, for the heatmap."""
        return {
            (source, level): self._alarms.history.table(source, level, self._layers)
            for source in self._settings.sources
            for level in self._settings.levels
        }

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts; loads with ``weights_only=True``."""
        return {
            "layers": self._layers,
            "alarms": self._alarms.state_dict(),
            "schedule": self.schedule.state_dict(),
            "brief_links": self._links.state_dict(),
            "drift": self._memory.state_dict() if self._memory is not None else [],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> str:
        """Go on from what `state_dict` gave, for the curves that still exist.

        Returns:
            A sentence about layers that are others than before, or empty.
        """
        here = {(s, v, y) for s in self._settings.sources for v in self._settings.levels for y in self._layers}
        here |= {(TRAIN, CODEBOOK, quantizer) for quantizer in self._quantizers}
        self._alarms.load_state_dict(state["alarms"], here)
        self.schedule.load_state_dict(state["schedule"])
        self._links.load_state_dict(state.get("brief_links", []))
        if self._memory is not None and self._first:  # the only process that compares
            self._memory.load_state_dict(state.get("drift", []), here)
        gone = [layer for layer in state["layers"] if layer not in self._layers]
        new = [layer for layer in self._layers if layer not in state["layers"]]
        if not gone and not new:
            return ""
        changes = [f"{word} {', '.join(some[:4])}" for word, some in (("without", gone), ("with", new)) if some]
        return f"other layers are watched than before the restart: {'; '.join(changes)}. The other layers' curves go on"
