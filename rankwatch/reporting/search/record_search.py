"""Which files are meant by paths and folders of runs, and short names that tell the runs apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rankwatch.extraction.inputs.folder_search import find_files
from rankwatch.reporting.recorded.run_reader import holds_records
from rankwatch.runtime.files.run_paths import run_path


def find_records(paths: Sequence[str | Path]) -> list[str]:
    """The records that are named, or that are in folders that are, at any depth.

    Args:
        paths: Files or URLs, which are taken as they are, and folders.

    Returns:
        Files; one that is there twice counts once.

    Raises:
        ValueError: If a folder holds none.
    """
    found: list[str] = []
    for path in paths:
        place = run_path(path)
        if not isinstance(place, Path) or not place.is_dir():
            found.append(str(path))
            continue
        inside = [file for file in find_files(place, [".jsonl"]).files if holds_records(file)]
        if not inside:
            raise ValueError(f"{path} holds no records of rankwatch's, <name>.jsonl, at any depth")
        found += map(str, inside)
    return list(dict.fromkeys(found))


def run_names(files: Sequence[str]) -> list[str]:
    """Short names that tell runs apart: their folders, without what all of them share.

    Args:
        files: Records.

    Returns:
        One name for each.

    Example:
        >>> run_names(["logs/a/version_0/rankwatch/RankWatch.jsonl", "logs/b/version_0/rankwatch/RankWatch.jsonl"])
        ['a', 'b']
    """
    parts = []
    for file in files:
        path = Path(file)
        folders = [part for part in path.parts[:-1] if part not in ("rankwatch", "/", ".")]
        parts.append([*folders, *([] if path.stem == "RankWatch" and folders else [path.stem])])
    if len(files) == 1:
        return ["/".join(parts[0][-2:])]
    for end in (0, -1):
        while all(len(one) > 1 for one in parts) and len({one[end] for one in parts}) == 1:
            for one in parts:
                del one[end]
    return ["/".join(one) for one in parts]
