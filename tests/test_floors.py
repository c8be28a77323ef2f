"""The house: each floor imports only those below it, each room only those that it rests on, and nothing in a circle."""

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
ROOMS = {
    # Floor 0: nothing of rankwatch's own outside of the room, but for numerics' own order.
    "runtime": (),
    "numerics.rows": (),
    "numerics.metrics": (),
    "numerics.probes": ("numerics.rows",),
    "numerics.rank": ("numerics.rows", "numerics.metrics"),
    "numerics": ("numerics.rows", "numerics.metrics", "numerics.probes", "numerics.rank"),
    # Floor 1
    "extraction.model": ("runtime",),
    "extraction.inputs": ("runtime", "extraction.model"),
    "extraction.hooks": ("runtime", "extraction.model", "extraction.inputs"),
    "extraction.valid_frames": ("runtime", "extraction.model", "extraction.inputs"),
    "extraction.rows": (
        "runtime",
        "numerics",
        "extraction.model",
        "extraction.inputs",
        "extraction.valid_frames",
        "extraction.hooks",
    ),
    "extraction.execution": (
        *("runtime", "extraction.model", "extraction.inputs", "extraction.valid_frames", "extraction.hooks"),
    ),
    "extraction.eval_sets": ("runtime", "numerics", "extraction"),
    # Floors 2 to 6
    "readings": ("runtime", "numerics", "extraction"),
    "alarms": ("runtime", "numerics", "readings"),
    "reporting": ("runtime", "readings"),
    "monitor": ("runtime", "numerics", "extraction", "readings", "alarms"),
    "run": ("runtime", "numerics", "extraction", "readings", "alarms", "reporting", "monitor"),
}
"""What each room may import; a floor's name stands for all of its rooms. Files at the top are the faces of all this."""


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
            assert node.level == 0, f"{path}: relative import"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in inner if name in MODULES] or [node.module]
    return found


MODULES = {module_name(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_each_room_rests_on_those_below_it(path):
    room = room_of(module_name(path))
    for module in imports(path):
        top = module.split(".")[0]
        assert top != "torchaudio", "the core never imports torchaudio"
        assert path.stem == "lightning" or top not in ("lightning", "pytorch_lightning")
        assert path.stem == "huggingface" or top != "transformers"
        if top != "rankwatch" or module in ("rankwatch", "rankwatch._version") or room is None:
            continue
        other = room_of(module)
        allowed = other == room or any(other == below or str(other).startswith(below + ".") for below in ROOMS[room])
        assert allowed, f"{path.relative_to(ROOT)} in {room} imports {module}"


def test_nothing_is_imported_in_a_circle():
    """Whatever is imported inside of a function counts as well: it would only hide a circle."""
    graph = {module_name(path): {one for one in imports(path) if one in MODULES} for path in FILES}
    done, open_ = set(), []

    def visit(module):
        assert module not in open_, " -> ".join([*open_[open_.index(module) :], module])
        if module not in done:
            open_.append(module)
            for other in sorted(graph[module]):
                visit(other)
            done.add(open_.pop())

    for module in sorted(graph):
        visit(module)


def test_files_and_rooms_have_a_size_that_one_can_hold_in_mind():
    rooms = defaultdict(list)
    for path in FILES:
        lines = len(path.read_text().splitlines())
        assert lines <= 250, f"{path.relative_to(ROOT)} has {lines} lines"
        if path.stem not in ("__init__", "_version"):
            assert lines >= 25, f"{path.relative_to(ROOT)} has {lines} lines: is it a room of its own?"
            rooms[path.parent].append(path.stem)
    for room, names in rooms.items():
        assert len(names) <= 10, f"{room.relative_to(ROOT)} holds {len(names)} files: {sorted(names)}"


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, rankwatch; "
        "print([m for m in ('torch', 'scipy', 'matplotlib', 'tensorboard', 'pytorch_lightning') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_every_public_name_can_be_imported():
    for name in rankwatch.__all__:
        assert getattr(rankwatch, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = rankwatch.nothing_like_it
