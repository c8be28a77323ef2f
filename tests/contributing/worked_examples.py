"""Code blocks of .github/CONTRIBUTING.md, carried out on a copy of the project as a contributor would carry them out.

A block whose first line is a comment with a path is that file, and is new. A ``diff`` block changes the file that its
``+++`` line names; hunks are found by their lines, not by numbers, so that they don't age with every line above them.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / ".github" / "CONTRIBUTING.md"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"# ((?:rankwatch|tests)/\S+\.py)\n")


@dataclass(frozen=True)
class Example:
    """One worked example.

    Attributes:
        title: Its heading.
        blocks: (language, content) of its code, in order.
    """

    title: str
    blocks: list[tuple[str, str]]

    @property
    def new_files(self) -> dict[str, str]:
        """Content of the files that it adds, by path."""
        found = {}
        for language, content in self.blocks:
            path = _PATH.match(content)
            if language == "python" and path is not None:
                found[path[1]] = content[path.end() :]
        return found

    @property
    def tests(self) -> list[str]:
        """Paths of its tests."""
        return [path for path in self.new_files if path.startswith("tests/")]

    def apply(self, project: Path) -> None:
        """Carry it out."""
        for path, content in self.new_files.items():
            assert not (project / path).exists(), f"{self.title}: {path} is there already"
            (project / path).write_text(content)
        for language, content in self.blocks:
            if language == "diff":
                apply_diff(project, content)


def worked_examples() -> list[Example]:
    """All sections of the guide's part "Worked examples", by their headings of third order."""
    part = re.search(r"^## Worked examples\n(.*?)(?=^## |\Z)", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert part is not None, f"{GUIDE} has no part 'Worked examples'"
    _, *sections = re.split(r"^### ", part[1], flags=re.MULTILINE)
    return [Example(section.splitlines()[0], _BLOCK.findall(section)) for section in sections]


def apply_diff(project: Path, diff: str) -> None:
    """Change one file.

    Args:
        project: The copy.
        diff: A unified diff; the lines that a hunk starts from must be in the file exactly once.
    """
    head, *hunks = re.split(r"^@@.*\n", diff, flags=re.MULTILINE)
    named = re.search(r"^\+\+\+ (\S+)", head, re.MULTILINE)
    assert named is not None, f"a diff that names no file:\n{diff}"
    path = project / named[1]
    for hunk in hunks:
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        text = path.read_text()
        assert text.count(old) == 1, f"{named[1]} holds these lines {text.count(old)} times, not once:\n{old}"
        path.write_text(text.replace(old, new))


def copy_project(folder: Path) -> Path:
    """What an example may change: the package, and the tests without the benchmarks."""
    project = folder / "project"
    ignore = shutil.ignore_patterns("__pycache__", "benchmarks", ".*")
    for name in ("rankwatch", "tests"):
        shutil.copytree(ROOT / name, project / name, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", project)
    return project
