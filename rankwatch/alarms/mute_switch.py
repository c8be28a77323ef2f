"""Muting a run while it goes on: a file in the records' folder that silences alarms as long as it exists."""

from __future__ import annotations

from rankwatch.runtime.files.run_paths import RunPath


class MuteFile:
    """A file whose presence mutes: no warning, no call of `on_alarm`, no stop. Its content does not matter.

    Records, TensorBoard and the log show everything all the same.

    Args:
        path: The file, or None where a run has no folder.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "RankWatch.mute"
        >>> mute = MuteFile(path)
        >>> mute.exists()
        False
        >>> path.touch()
        >>> mute.exists()
        True
    """

    def __init__(self, path: RunPath | None) -> None:
        self._path = path

    def exists(self) -> bool:
        """Look for the file; where the file system fails to answer, nothing is muted."""
        try:
            return self._path is not None and self._path.exists()
        except Exception:  # each store has errors of its own
            return False
