"""How failures are reported: once each, and without ending the user's run, unless they asked for that."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator

log = logging.getLogger("rankwatch")


class CollapseWarning(RuntimeWarning):
    """The category of the warning that an alarm raises, for filters of the user's own."""


def log_info(text: str) -> None:
    """Log a text for the person at the terminal; to stdout where no logging was configured."""
    if not log.handlers and not logging.getLogger().handlers:
        log.addHandler(logging.StreamHandler(sys.stdout))
        log.setLevel(logging.INFO)
    log.info(text)


class Diagnostics:
    """Warns once per subject; in strict mode raises instead.

    Args:
        name: The callback's name, put before every message.
        strict: Raise instead of warning.
    """

    def __init__(self, name: str, strict: bool = False) -> None:
        self.name = name
        self.strict = strict
        self._reported: set[str] = set()

    def warn_once(self, subject: str, message: str) -> None:
        """Warn, the first time that this subject comes up."""
        if subject not in self._reported:
            self._reported.add(subject)
            try:
                warnings.warn(f"{self.name}: {message}", RuntimeWarning, stacklevel=2)
            except RuntimeWarning:  # the user has made errors of warnings; ours are still no reason to end a run
                log.warning("%s: %s", self.name, message)

    def fail(self, subject: str, message: str, error: Exception | None = None) -> None:
        """Raise in strict mode, else warn."""
        if self.strict:
            raise error if error is not None else RuntimeError(f"{self.name}: {message}")
        self.warn_once(subject, message)

    @contextlib.contextmanager
    def guarded(self, doing: str) -> Iterator[None]:
        """Turn an exception inside into one warning; in strict mode let it pass."""
        try:
            yield
        except Exception as error:
            self.fail(doing, f"{doing} failed: {type(error).__name__}: {error}", error)
