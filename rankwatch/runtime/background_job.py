"""Work in parallel to the training: one function in a thread of its own, whose result is fetched later."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch

_Result = TypeVar("_Result")

_FORK_WAITS = 60.0
"""Seconds that a fork waits for a decomposition at most; one takes less than one."""


_LEAVING = 10.0
"""Seconds that a process at its end waits for it."""


class _Forks:
    """Keeps a process from being forked in the middle of a decomposition.

    A dataloader's workers are forked from the training process whenever an epoch begins. What another thread holds at
    that moment (a lock within a BLAS library, say) stays locked for ever in the child. The only state of rankwatch that
    all callbacks of a process share, as the process is what is forked.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._before, after_in_parent=self._after, after_in_child=self._after)

    def _before(self) -> None:
        self._held = self._lock.acquire(timeout=_FORK_WAITS)

    def _after(self) -> None:
        if self._held:
            self._held = False
            self._lock.release()

    @contextlib.contextmanager
    def blocked(self) -> Iterator[None]:
        """No fork within; keep it short."""
        with self._lock:
            yield


forks = _Forks()


class BackgroundJob(Generic[_Result]):
    """A function that has been started in a thread.

    The thread calculates on one core, without gradients. It is a daemon: one that waits for a process that is gone
    keeps nobody from leaving.

    Args:
        work: What it does.
    """

    def __init__(self, work: Callable[[], _Result]) -> None:
        self._work: Callable[[], _Result] | None = work
        self._results: list[_Result] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="rankwatch", daemon=True)
        # A daemon that is calculating when the interpreter goes away takes the process down with an abort.
        atexit.register(self.wait, _LEAVING)
        self._thread.start()

    def _run(self) -> None:
        work, self._work = self._work, None
        assert work is not None
        try:
            _on_one_core()
            with torch.no_grad():
                self._results.append(work())
        except Exception as error:
            self._error = error
        finally:
            atexit.unregister(self.wait)

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it is done, after at most so many seconds."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> _Result:
        """Wait for the function; what it raised is raised here.

        Returns:
            What it returned.
        """
        self.wait()
        if self._error is not None:
            raise self._error
        return self._results[0]


def _on_one_core() -> None:
    """This thread's torch operations use one core: training wants the others.

    `torch.set_num_threads` does two things: it sets the calling thread's own number, and the one that threads start
    with which haven't asked yet. The second is put back, by a thread that is gone at once.
    """
    others = torch.get_num_threads()  # asking also makes this thread take over its starting number, once and for all
    if others == 1:
        return
    torch.set_num_threads(1)
    put_back = threading.Thread(target=torch.set_num_threads, args=(others,), daemon=True)
    put_back.start()
    put_back.join()
