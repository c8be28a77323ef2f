"""The rooms of the package: each imports only those that it rests on, nothing runs in a circle, and all have a size.

A failure says which file to look at. To let one room import another, change `ROOMS`, and the table in
.github/CONTRIBUTING.md with it; a room never imports one of a higher floor.
"""

import ast
import subprocess
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

import rankwatch

ROOT = Path(rankwatch.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MOST_LINES, FEWEST_LINES, MOST_FILES = 250, 25, 10
_MODEL_ROOMS = ("runtime", "extraction.model", "extraction.inputs")
_JUDGEMENTS = ("analysis.measures", "analysis.decision", "analysis.output")
_COMPARISONS = ("comparison.differences", "comparison.records", "comparison.checkpoints")
_CORRELATIONS = ("correlation.statistics", "correlation.inputs", "correlation.evidence")
ROOMS = {
    # Floor 0: nothing of rankwatch's own outside of the room, but for numerics' own order.
    "runtime": (),
    "numerics.rows": (),
    "numerics.metrics": (),
    "numerics.probes": ("numerics.rows",),
    "numerics.rank": ("numerics.rows", "numerics.metrics"),
    "numerics.similarity": ("numerics.rows",),
    "numerics.spans": (),
    "numerics": (
        "numerics.rows",
        "numerics.metrics",
        "numerics.probes",
        "numerics.rank",
        "numerics.similarity",
        "numerics.spans",
    ),
    # Floor 1
    "extraction": (),
    "extraction.model": ("runtime",),
    "extraction.inputs": ("runtime", "extraction.model"),
    "extraction.hooks": _MODEL_ROOMS,
    "extraction.taps": (*_MODEL_ROOMS, "extraction.hooks"),
    "extraction.valid_frames": _MODEL_ROOMS,
    "extraction.rows": (*_MODEL_ROOMS, "numerics", "extraction.taps", "extraction.valid_frames", "extraction.hooks"),
    "extraction.state": _MODEL_ROOMS,
    "extraction.execution": (*_MODEL_ROOMS, "extraction.valid_frames", "extraction.hooks", "extraction.state"),
    "corpora": ("runtime", "extraction.inputs"),
    "extraction.eval_sets": ("runtime", "numerics", "extraction", "corpora"),
    "checkpoints": ("runtime", "extraction.model"),
    # Floors 2 to 6
    "readings": ("runtime", "numerics", "extraction"),
    "alarms": ("runtime", "numerics", "readings"),
    "reporting": ("runtime", "readings"),
    "reporting.pictures": ("runtime", "readings"),
    "reporting.recorded": ("runtime", "readings"),
    "reporting.search": ("runtime", "extraction.inputs", "reporting.recorded"),
    "reporting.figures": ("runtime", "readings", "reporting.recorded"),
    "reporting.page": ("runtime", "readings", "reporting.pictures", "reporting.recorded", "reporting.figures"),
    "reporting.tensorboard_page": ("runtime", "readings", "reporting"),
    "analysis.models": ("runtime", "extraction", "checkpoints"),
    "analysis.rows": ("runtime", "numerics", "extraction", "corpora", "analysis.models"),
    "analysis.measures": ("numerics", "corpora", "analysis.models", "analysis.rows"),
    "analysis.decision": ("numerics", "analysis.rows", "analysis.measures"),
    "analysis.output": ("runtime", "reporting", "analysis.rows", "analysis.measures", "analysis.decision"),
    "analysis": ("runtime", "corpora", "numerics", "extraction", "analysis.models", "analysis.rows", *_JUDGEMENTS),
    "comparison.differences": (),
    "comparison.records": ("readings", "reporting", "comparison.differences"),
    "comparison.checkpoints": ("numerics", "analysis.rows", "analysis.measures", "comparison.differences"),
    "comparison.output": ("runtime", "reporting", "analysis.output", "comparison.differences", "comparison.records"),
    "comparison": (
        "runtime",
        "corpora",
        "reporting",
        "analysis.models",
        "analysis.rows",
        "analysis.measures",
        *_COMPARISONS,
        "comparison.output",
    ),
    "correlation.statistics": (),
    "correlation.inputs": ("readings", "reporting", "runtime"),
    "correlation.evidence": ("correlation.statistics", "correlation.inputs"),
    "correlation.output": ("runtime", "reporting.figures", *_CORRELATIONS),
    "correlation": ("runtime", "reporting.search", *_CORRELATIONS, "correlation.output"),
    "arguments": ("runtime", "numerics", "extraction", "readings", "alarms"),
    "monitor": ("runtime", "numerics", "extraction", "readings", "alarms", "arguments"),
    "run": ("runtime", "numerics", "extraction", "readings", "alarms", "arguments", "reporting", "monitor"),
    "replays": (
        "runtime",
        "extraction",
        "checkpoints",
        "readings",
        "reporting",
        "analysis.models",
        "arguments",
        "monitor",
        "run",
    ),
}
"""What each room may import, from the ground up; a floor's name stands for all of its rooms, and a folder inside of a
room belongs to it."""

FACES = {"", "commands"}
"""Folders that are no rooms: what users import and run. They may import everything, and no room imports them."""

EVERYWHERE = {"rankwatch._version"}
"""What every room may import."""


def room_of(module):
    """The innermost room that a module of rankwatch is in, or None for a face."""
    inside = module.removeprefix("rankwatch.")
    found = [room for room in ROOMS if inside == room or inside.startswith(room + ".")]
    return max(found, key=len, default=None)


def module_name(path):
    return ".".join(["rankwatch", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


@cache
def imports(path):
    """Modules that a file imports, wherever in it; of a name imported from a package the module, where it is one."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write the import with its full name, `from rankwatch...`"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in inner if name in MODULES] or [node.module]
    return found


MODULES = {module_name(path) for path in FILES}


def belongs(room, to):
    return room == to or room.startswith(to + ".")


def test_every_folder_is_in_a_room():
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in FILES}
    unknown = sorted(folder for folder in folders - FACES if room_of(f"rankwatch.{folder}") is None)
    assert not unknown, f"new folders {unknown}: say in ROOMS what they may import"
    gone = sorted(ROOMS.keys() - folders)
    assert not gone, f"ROOMS names folders that aren't there: {gone}"


def test_each_room_rests_on_rooms_below_it():
    order = list(ROOMS)
    for room, below in ROOMS.items():
        wrong = [r for r in order[order.index(room) + 1 :] if any(belongs(r, one) for one in below)]
        assert not wrong, f"ROOMS lets {room!r} import {wrong}, which stand above it"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_each_room_imports_only_those_that_it_rests_on(path):
    room = room_of(module_name(path))
    for module in imports(path):
        if module.split(".")[0] != "rankwatch" or module in EVERYWHERE or room is None:
            continue
        other = room_of(module)
        allowed = other is not None and any(belongs(other, below) for below in (room, *ROOMS[room]))
        assert allowed, (
            f"{path.relative_to(ROOT)} is in room {room!r} and imports {module}, which is "
            f"{f'in room {other!r}' if other else 'a face'}; {room!r} rests on {', '.join(ROOMS[room]) or 'no other'}. "
            "Move what both need to a lower room, or hand it over as an argument."
        )


def test_optional_packages_are_imported_by_their_adapters_alone():
    """So that rankwatch works with either Lightning, without transformers, and on models of any origin."""
    adapters = {"lightning": "lightning", "pytorch_lightning": "lightning", "transformers": "huggingface"}
    for path in FILES:
        for top in {module.split(".")[0] for module in imports(path)}:
            assert top != "torchaudio", f"{path.relative_to(ROOT)} imports torchaudio: only examples/ may"
            allowed = adapters.get(top, path.stem)
            assert path.stem == allowed, f"{path.relative_to(ROOT)} imports {top}: only {allowed}.py may"


def test_nothing_is_imported_in_a_circle():
    """Whatever is imported inside of a function counts as well: it would only hide a circle."""
    graph = {module_name(path): {one for one in imports(path) if one in MODULES} for path in FILES}
    done, open_ = set(), []

    def visit(module):
        assert module not in open_, "imports in a circle: " + " -> ".join([*open_[open_.index(module) :], module])
        if module not in done:
            open_.append(module)
            for other in sorted(graph[module]):
                visit(other)
            done.add(open_.pop())

    for module in sorted(graph):
        visit(module)


def test_files_have_a_size_that_one_can_hold_in_mind():
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    long = {name: lines for name, lines in sizes.items() if lines > MOST_LINES}
    assert not long, f"more than {MOST_LINES} lines, so they hold more than one subject: {long}"
    # An __init__ is as long as what it exports.
    short = {
        name: lines for name, lines in sizes.items() if lines < FEWEST_LINES and Path(name).stem[:2] not in ("__", "_v")
    }
    assert not short, f"fewer than {FEWEST_LINES} lines: do they stand better in a file beside them? {short}"


def test_rooms_have_a_size_that_one_can_hold_in_mind():
    rooms = defaultdict(list)
    for path in FILES:
        if path.stem not in ("__init__", "_version"):
            rooms[str(path.parent.relative_to(ROOT))].append(path.stem)
    full = {room: sorted(names) for room, names in rooms.items() if len(names) > MOST_FILES}
    assert not full, f"more than {MOST_FILES} files in a folder, so it holds more than one subject: {full}"


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, rankwatch; "
        "print([m for m in ('torch', 'scipy', 'matplotlib', 'tensorboard', 'pytorch_lightning') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_every_public_name_can_be_imported():
    for name in set(rankwatch.__all__) - {"__version__"}:
        assert getattr(rankwatch, name).__name__ == name
    assert set(rankwatch.__all__) - {"__version__"} == set(rankwatch._HOMES)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = rankwatch.nothing_like_it
