"""Runs that somebody looks at: their records are read in a thread, each from where it was read to before."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rankwatch.reporting.recorded.log_folder import LogFolder
from rankwatch.reporting.recorded.recorded_run import LossCurve, RecordedRun
from rankwatch.reporting.recorded.run_reader import RunReader
from rankwatch.reporting.tensorboard_page.log_search import FoundRun

MOST_RUNS = 8
"""Runs that one page can tell apart by colour, and whose readings are in memory at a time."""

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Look:
    """What is known of a run now.

    Attributes:
        run: All that was read of it when it was last read to its end, or None.
        version: Changes whenever `run` does.
        problem: Why there is nothing newer, in a sentence; or empty.
        part: How much of the file was read, in [0, 1], while it is being read; else None.
    """

    run: RecordedRun | None
    version: int
    problem: str = ""
    part: float | None = None


class OpenRun:
    """One run.

    Args:
        found: Where its records are.
        loss: Gives its loss where a logger's files needn't be read for it; None where they must be.
    """

    def __init__(self, found: FoundRun, loss: Callable[[], LossCurve | None] = lambda: None) -> None:
        self._found, self._loss = found, loss
        self._reader = RunReader(found.path, found.name)
        self._folder = LogFolder(found.path, within=found.root)
        self._thread: threading.Thread | None = None
        self._run: RecordedRun | None = None
        self._version = 0
        self._problem = ""

    def look(self, patience: float) -> Look:
        """Begin to read what is new, unless that is going on already.

        Args:
            patience: Seconds that may be waited for it.

        Returns:
            What is known by then.
        """
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._read, name="rankwatch reads records", daemon=True)
            self._thread.start()
        self._thread.join(patience)
        part = self._part() if self._thread.is_alive() else None
        return Look(self._run, self._version, self._problem, part)

    def _part(self) -> float:
        try:
            return min(self._reader.bytes_read / max(self._found.path.stat().st_size, 1), 1.0)
        except OSError:
            return 0.0

    def _read(self) -> None:
        try:
            with _one_at_a_time:  # eight large files side by side would hold up TensorBoard itself
                if not self._found.is_inside():
                    self._problem = f"{self._found.name} is no file of the log folder any more."
                    return
                if self._reader.update() or self._run is None:
                    self._run = self._folder.added_to(self._reader.run(), loss=self._loss())
                    self._version += 1
                self._problem = ""
        except Exception as error:  # whatever is in the file, the page says so and goes on
            self._problem = f"{self._found.name} can't be read: {type(error).__name__}: {str(error)[:500]}"


class OpenRuns:
    """The runs that were looked at last, at most `MOST_RUNS` of them."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, tuple[FoundRun, OpenRun]] = OrderedDict()
        self._lock = threading.Lock()

    def look(
        self, runs: Sequence[FoundRun], loss: Callable[[FoundRun], LossCurve | None], patience: float
    ) -> list[Look]:
        """Look at several runs.

        Args:
            runs: At most `MOST_RUNS`.
            loss: Gives a run's loss, or None.
            patience: Seconds that may be waited for all of them.

        Returns:
            What is known of each.
        """
        with self._lock:
            opened = [self._opened(found, loss) for found in runs]
        latest = time.monotonic() + patience
        return [one.look(max(latest - time.monotonic(), 0.0)) for one in opened]

    def _opened(self, found: FoundRun, loss: Callable[[FoundRun], LossCurve | None]) -> OpenRun:
        before = self._open.pop(found.name, None)
        if before is not None and (before[0].path, before[0].root) == (found.path, found.root):
            self._open[found.name] = before
        else:
            self._open[found.name] = (found, OpenRun(found, lambda: loss(found)))
        while len(self._open) > MOST_RUNS:
            self._open.popitem(last=False)
        return self._open[found.name][1]
