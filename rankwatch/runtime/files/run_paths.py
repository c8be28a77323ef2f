"""Paths in a run's folder: `pathlib.Path` on this machine's disks, `RemotePath` on ``s3://``, ``gs://``, ``memory://``.

What is done to files is in `rankwatch.runtime.files.file_actions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCAL = ("file", "local")
"""Protocols of this machine's own disks."""


@dataclass(frozen=True)
class RemotePath:
    """A place that only fsspec reaches, with what a `pathlib.Path` has of it; `str` gives the URL.

    Attributes:
        url: With its protocol, for example ``"s3://bucket/runs/1"``.

    Example:
        >>> path = RemotePath("memory://bucket/run") / "rankwatch"
        >>> str(path), path.name, str(path.with_suffix(".new"))
        ('memory://bucket/run/rankwatch', 'rankwatch', 'memory://bucket/run/rankwatch.new')
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, inner: str) -> RemotePath:
        return RemotePath(f"{self.url.rstrip('/')}/{inner}")

    @property
    def name(self) -> str:
        """What comes after the last slash."""
        return self.url.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> RemotePath:
        """The folder it is in."""
        return RemotePath(self.url.rstrip("/").rpartition("/")[0])

    def with_suffix(self, suffix: str) -> RemotePath:
        """The same place with another ending."""
        return self.parent / Path(self.name).with_suffix(suffix).name

    def store(self) -> tuple[Any, str]:
        """What reaches it, and its name there.

        Returns:
            The file system of fsspec's, and the path in it. A protocol whose package isn't installed raises
            ImportError, an unknown one ValueError.
        """
        import fsspec.core  # torch and Lightning bring it; needed here alone

        store, path = fsspec.core.url_to_fs(self.url)
        return store, path

    def exists(self) -> bool:
        """Whether it is there now, which another machine may have changed."""
        store, path = self.store()
        store.invalidate_cache()
        return bool(store.exists(path))

    def is_dir(self) -> bool:
        """Whether there is anything inside of it."""
        store, path = self.store()
        return bool(store.isdir(path))

    def open(self, mode: str = "rb", encoding: str | None = None, errors: str | None = None) -> Any:
        """Open it for reading; to write, see `rankwatch.runtime.files.file_actions.write`.

        Args:
            mode: ``"r"`` or ``"rb"``.
            encoding: Of text.
            errors: What is done with bytes that are no text; see `open`.

        Returns:
            The file; one that isn't there raises FileNotFoundError.
        """
        store, path = self.store()
        words = {} if "b" in mode else {"encoding": encoding, "errors": errors}
        return store.open(path, mode, **words)


RunPath = Path | RemotePath
"""A place in a run's folder, wherever that is."""


def run_path(place: str | Path | RemotePath) -> RunPath:
    """A path as a trainer or a user writes it.

    Args:
        place: A path or a URL.

    Returns:
        A `pathlib.Path` where it is on this machine's disks.

    Example:
        >>> run_path("s3://bucket/run")
        RemotePath(url='s3://bucket/run')
        >>> run_path(Path("s3://bucket/run"))
        RemotePath(url='s3://bucket/run')
        >>> run_path("file:///data/run").parts[-1], run_path("lightning_logs").parts
        ('run', ('lightning_logs',))
    """
    if isinstance(place, RemotePath):
        return place
    place = str(place)
    protocol, separator, rest = place.partition("://")
    if not separator:
        # A URL that has been through a `Path`, or through Lightning, has lost a slash.
        protocol, separator, rest = place.partition(":/")
        if not separator or not _is_protocol(protocol):
            return Path(place)
        rest = rest if protocol not in LOCAL else f"/{rest}"
    return Path(rest) if protocol in LOCAL else RemotePath(f"{protocol}://{rest}")


def _is_protocol(word: str) -> bool:
    import fsspec  # see `RemotePath.store`

    return len(word) > 1 and word in fsspec.available_protocols()
