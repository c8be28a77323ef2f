"""``rankwatch report``: one page of a run or several that opens anywhere, or one picture."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rankwatch.reporting.recorded.log_folder import LogFolder
from rankwatch.reporting.recorded.recorded_run import RecordedRun
from rankwatch.reporting.recorded.run_reader import RunReader
from rankwatch.reporting.search.record_search import find_records, run_names
from rankwatch.runtime.terminal.progress import progress

MOST_RUNS = 8
"""Runs that one page can tell apart by colour."""


def open_run(path: str | Path, name: str = "") -> RecordedRun:
    """Read a run's records, with the loss and the hyperparameters that a logger wrote beside them.

    Args:
        path: A run's ``.jsonl`` file, or its URL in an object store, or a folder that holds one run's records.
        name: What it is called; what is told of its path by default.

    Returns:
        The run; what couldn't be read of it stands in its `problems`. A missing file raises FileNotFoundError.

    Raises:
        ValueError: If nothing in it is a reading, or a folder holds the records of several runs.
    """
    files = find_records([path])
    if len(files) > 1:
        raise ValueError(f"{path} holds {len(files)} runs: {', '.join(files[:3])}{', ...' if files[3:] else ''}")
    reader = RunReader(files[0], name or run_names(files)[0])
    reader.update()
    return LogFolder(files[0]).added_to(reader.run())


@dataclasses.dataclass
class ReportOptions:
    """What ``rankwatch report`` is asked for; see its ``--help``.

    Attributes:
        runs: Files or folders.
        out: The page, or a picture.
        names: What runs are called, in their order.
        assets: Folder for the library that several pages share.
        watch: Seconds between two looks at the records; 0 to look once.
        figure: What a picture shows.
    """

    runs: Sequence[str]
    out: Path
    names: Sequence[str] = ()
    assets: Path | None = None
    watch: float = 0.0
    figure: str = "ranks"


def report(options: ReportOptions, say: Callable[[str], None], wait: Callable[[float], None] = time.sleep) -> None:
    """Write the page, and with `watch` anew as long as any of the runs goes on.

    Args:
        options: See there.
        say: Prints a line.
        wait: Lets so many seconds pass.

    Raises:
        ValueError: If there is nothing to show, or too much.
    """
    files = find_records(options.runs)
    if len(files) > MOST_RUNS:
        raise ValueError(f"{len(files)} runs are too many to tell apart; name up to {MOST_RUNS} of them")
    if options.names and len(options.names) != len(files):
        raise ValueError(f"{len(options.names)} names for {len(files)} runs")
    names = list(options.names) or run_names(files)
    readers = [RunReader(file, name) for file, name in zip(files, names, strict=True)]
    for reader in progress(readers, "reading runs"):
        reader.update()
    folders = [LogFolder(file) for file in files]
    runs = _runs(readers, folders, say)
    if options.out.suffix.lower() not in (".html", ".htm"):
        from rankwatch.reporting.page.picture import write_picture

        write_picture(options.out, runs, options.figure)
        say(f"written to {options.out}")
        return
    _write(options, runs, say)
    while options.watch and any(run.end is None for run in runs):
        wait(options.watch)
        news = [_has_news(reader) for reader in readers]  # of all of them, so no `any` that stops early
        if any(news):
            with contextlib.suppress(ValueError):  # a run that has begun anew has no reading yet
                runs = _runs(readers, folders, lambda line: None)
                _write(options, runs, lambda line: None)


def _has_news(reader: RunReader) -> bool:
    try:
        return reader.update()
    except OSError:  # moved away, or a disk that doesn't answer: the next look may find it again
        return False


def _runs(readers: Iterable[RunReader], folders: Iterable[LogFolder], say: Callable[[str], None]) -> list[RecordedRun]:
    runs = [folder.added_to(reader.run()) for reader, folder in zip(readers, folders, strict=True)]
    for run in runs:
        for problem in run.problems:
            say(f"{run.name}: {problem}")
    return runs


def _write(options: ReportOptions, runs: Sequence[RecordedRun], say: Callable[[str], None]) -> None:
    from rankwatch.reporting.page.html_page import write_page
    from rankwatch.reporting.page.page_data import page_data

    goes_on = options.watch and any(run.end is None for run in runs)
    data: dict[str, Any] = page_data(runs, refresh=max(int(options.watch), 2) if goes_on else 0)
    write_page(options.out, data, options.assets)
    if data["comparison"]["refusal"]:
        say(data["comparison"]["refusal"] + " They are shown one below the other.")
    for run in data["runs"]:
        verdict = run["verdict"]
        say(f"{run['name']}: {verdict['word']}: {verdict['title']} ({verdict['lead']})")
    say(f"written to {options.out} ({options.out.stat().st_size / 2**20:.1f} MiB)")


def to_stderr(line: str) -> None:
    """Print a line where it doesn't mix with what a command gives."""
    print(line, file=sys.stderr)
