"""Scripts in processes of their own, without the ten seconds that importing Lightning takes in each.

One server process a test session imports it once, and forks for each script. It has a single thread and has run no
test, so that what a script sees is a fresh process with some modules imported.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT = 500
"""Seconds until a script is taken to hang; pytest itself gives up a little later."""


@dataclass
class Done:
    """What a script left behind, as `subprocess.CompletedProcess` has it; a script that hung has no exit status."""

    returncode: int | None
    stdout: str
    stderr: str


class ScriptServer:
    """The test session's end of it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, command: Sequence[str | Path], cwd: str | Path = ".") -> Done:
        """Run a Python script.

        Args:
            command: The script's path and its arguments.
            cwd: Where it runs; its own folder is where its imports are looked for first, as under ``python``.

        Returns:
            Its exit status and what it printed.
        """
        with tempfile.TemporaryDirectory() as folder:
            request = {"command": [*map(str, command)], "cwd": str(cwd), "folder": folder}
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            status = json.loads(self._process.stdout.readline())
            return Done(status, *(Path(folder, name).read_text() for name in ("stdout", "stderr")))

    def close(self) -> None:
        """End the server, which has nothing to do."""
        self._process.terminate()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


def _run(request: dict[str, Any]) -> None:
    """In the forked process."""
    os.setsid()  # with what it starts itself, so that all of it can be ended
    for number, name in (1, "stdout"), (2, "stderr"):
        os.dup2(os.open(Path(request["folder"], name), os.O_WRONLY | os.O_CREAT), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - for good
    os.chdir(request["cwd"])
    sys.argv = request["command"]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


def _serve() -> None:
    import toys  # noqa: F401 - what takes so long

    import rankwatch.lightning  # noqa: F401

    context = multiprocessing.get_context("fork")
    for line in sys.stdin:
        request = json.loads(line)
        for name in ("stdout", "stderr"):
            Path(request["folder"], name).touch()
        process = context.Process(target=_run, args=(request,))
        process.start()
        process.join(TIMEOUT)
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
            print(json.dumps(None), flush=True)
        else:
            print(json.dumps(process.exitcode), flush=True)


if __name__ == "__main__":
    _serve()
