"""What the page asks for: which runs there are, and the data of some of them."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from rankwatch.reporting.recorded.recorded_run import RecordedRun
from rankwatch.reporting.tensorboard_page.log_search import FoundRuns, LogSearch, is_remote
from rankwatch.reporting.tensorboard_page.open_runs import MOST_RUNS, OpenRuns
from rankwatch.reporting.tensorboard_page.served_runs import ServedData, ServedRun, read_served

_FRESH = 5.0  # seconds for which a search of the log folders holds
_PATIENCE = 2.0  # seconds that an answer may wait for records to be read
_MOST_SERVED = 1_000
INSTALL = "pip install 'rankwatch[report]'"


class Answers:
    """Answers from the log folders and from what TensorBoard serves; safe in several threads.

    Args:
        folders: Log folders by prefix, see `rankwatch.reporting.tensorboard_page.log_search.log_folders`.
    """

    def __init__(self, folders: dict[str, str]) -> None:
        self._search = LogSearch(folders)
        self._remote = [folder for folder in folders.values() if is_remote(folder)]
        self._found, self._found_at = FoundRuns(), -float("inf")
        self._searching, self._reading = threading.Lock(), threading.Lock()
        self._open = OpenRuns()
        self._process = secrets.token_hex(4)  # so that a page from before a restart isn't told that nothing is new
        self._newest: tuple[str, dict[str, Any]] = ("", {})

    def found(self) -> FoundRuns:
        """Runs in the log folders, not older than some seconds."""
        with self._searching:
            if time.monotonic() - self._found_at > _FRESH:
                self._found = self._search.look()
                self._found_at = time.monotonic()
            return self._found

    def any_run(self, data: ServedData) -> bool:
        """Whether there is anything to show."""
        return bool(data.runs() or self.found().runs)

    def runs(self, data: ServedData) -> dict[str, Any]:
        """The runs that can be chosen.

        Args:
            data: What TensorBoard serves.

        Returns:
            For the page: names with what each is read from, the newest first, and what was left out.
        """
        found = self.found()
        listed = [{"name": name, "from": "records", "modified": run.modified} for name, run in found.runs.items()]
        served = self._served(found, data)
        listed += [{"name": name, "from": "TensorBoard", "modified": 0} for name in served]
        notes = [*found.notes]
        for folder in self._remote:
            notes.append(
                f"{folder[:300]} isn't on this machine's disks: runs are shown as far as TensorBoard serves them. "
                "`rankwatch report` reads their records."
            )
        return {"runs": listed, "notes": notes, "most": MOST_RUNS}

    def _served(self, found: FoundRuns, data: ServedData) -> dict[str, ServedRun]:
        """Runs without records, by a name that no other has."""
        read = {(event_run, run.callback) for run in found.runs.values() for event_run in run.event_runs}
        served: dict[str, ServedRun] = {}
        for one in data.runs()[:_MOST_SERVED]:
            if (one.run, one.callback) not in read:
                name = one.run if one.callback == "RankWatch" else f"{one.run}/{one.callback}"
                while name in served or name in found.runs:
                    name += " (event files)"
                served[name] = one
        return served

    def data(self, names: Sequence[str], known: str, data: ServedData) -> dict[str, Any]:
        """The data of some runs.

        Args:
            names: Which, from `runs`; one that isn't there is said to be missing.
            known: The state that the page has, as an earlier answer gave it.
            data: What TensorBoard serves.

        Returns:
            For the page: ``state``; ``data`` as `rankwatch.reporting.page.page_data.page_data` gives it, unless the
            page has that state; ``reading`` while records are read; ``problems`` in sentences.
        """
        found = self.found()
        served = self._served(found, data)
        problems = [
            f"No run {name[:300]!r} is in the log folder now."
            for name in names
            if not (name in found.runs or name in served)
        ]
        if len(names) > MOST_RUNS:
            problems.append(f"{len(names)} runs are too many to tell apart; the first {MOST_RUNS} are shown.")
        there = [name for name in dict.fromkeys(names) if name in found.runs or name in served][:MOST_RUNS]
        recorded = [found.runs[name] for name in there if name in found.runs]
        looks = self._open.look(recorded, lambda run: data.loss(run.event_runs), _PATIENCE)
        known_of = dict(zip([run.name for run in recorded], looks, strict=True))
        problems += [look.problem for look in looks if look.problem]
        reading = [{"name": name, "part": look.part} for name, look in known_of.items() if look.part is not None]
        states = {name: str(look.version) for name, look in known_of.items() if look.run is not None}
        states |= {name: served[name].state for name in there if name in served}
        state = self._process + repr(sorted(states.items())) if states else ""
        answer: dict[str, Any] = {"state": state, "reading": reading, "problems": problems}
        if not states or state == known:
            return answer

        def chosen() -> list[RecordedRun]:
            runs = []
            for name in there:
                look = known_of.get(name)
                if look is not None and look.run is not None:
                    runs.append(look.run)
                elif name in served:
                    try:
                        runs.append(read_served(served[name], data, name))
                    except ValueError as error:
                        problems.append(f"{error}.")
            return runs

        with self._reading:  # one page at a time is made; several browsers mostly ask for the same
            if self._newest[0] != state:
                self._newest = ("", {})
                self._newest = (state, _page(chosen, problems))
            return {**answer, **self._newest[1]}


def _page(chosen: Callable[[], Sequence[RecordedRun]], problems: list[str]) -> dict[str, Any]:
    """The page's data, or why there are none."""
    try:
        from rankwatch.reporting.page.page_data import page_data
    except Exception as error:  # plotly is missing, or broken in any way
        return {"failure": missing_library(error)}
    runs = chosen()
    if not runs:
        return {}
    try:
        return {"data": page_data(runs)}
    except Exception as error:  # what no test has thought of; the page says so and goes on
        problems.append(f"These runs can't be drawn: {type(error).__name__}: {str(error)[:500]}")
        return {}


def missing_library(error: Exception) -> str:
    """What to do where plotly can't be imported.

    Args:
        error: What the import raised.

    Returns:
        Sentences.
    """
    if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("plotly"):
        return f"The figures need plotly, which isn't installed here: {INSTALL}, and start TensorBoard again."
    again = INSTALL.replace("install", "install --upgrade --force-reinstall")
    return (
        f"The figures can't be drawn, since an import failed ({type(error).__name__}: {str(error)[:500]}). Where that "
        f"is plotly: {again}, and start TensorBoard again."
    )
