"""Muting a run while it goes on: a file beside the records that keeps alarms quiet as long as it is there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from rankwatch.readings.alarm import Alarm


@dataclass(frozen=True)
class Muted:
    """What is muted now.

    Attributes:
        globs: Over layers' paths and kinds of alarm; ``("*",)`` is everything, empty nothing.
        notes: Sentences for the user, by subject.
    """

    globs: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)


class MuteFile:
    """A file that mutes: empty everything, else the layers and kinds of alarm that its lines name.

    Args:
        path: The file, or None where a run has no folder.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "RankWatch.mute"
        >>> MuteFile(path).read([]).globs
        ()
        >>> path.touch()
        >>> MuteFile(path).read([]).globs
        ('*',)
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def read(self, known: Collection[str]) -> Muted:
        """Look at the file. One that can't be read mutes nothing, which is noted.

        Args:
            known: Layers and kinds of alarm that there are; a line that matches none of them is noted.
        """
        if self._path is None:
            return Muted()
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return Muted()
        except OSError as error:
            return Muted(notes={"mute": f"{self._path} can't be read and mutes nothing: {error}"})
        globs = tuple(line.strip() for line in lines if line.strip()) or ("*",)
        idle = [glob for glob in globs if not any(fnmatchcase(name, glob) for name in known)]
        return Muted(
            globs,
            {f"mute {glob}": f"{self._path}: {glob!r} is neither a watched layer nor a kind of alarm" for glob in idle},
        )


def loud(alarms: Iterable[Alarm], globs: Sequence[str]) -> tuple[Alarm, ...]:
    """The alarms that none of the globs mutes."""
    return tuple(
        alarm
        for alarm in alarms
        if not any(fnmatchcase(name, glob) for name in (alarm.layer, alarm.kind) for glob in globs)
    )
