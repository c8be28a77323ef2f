"""The house: each floor imports only those below it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rankwatch

ROOT = Path(rankwatch.__file__).parent
FLOORS = {"numerics": 0, "sampling": 1, "monitor": 2, "reporting": 3, "actions": 4, "books": 4}
FLOORS |= {
    "session": 4,
    "trainer_facts": 4,
    "lightning": 5,
    "loop": 5,
    "huggingface": 5,
    "inspection": 5,
    "calibrate": 5,
    "cli": 6,
}


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def _floor(module):
    parts = module.split(".")
    return FLOORS.get(parts[1], -1) if parts[0] == "rankwatch" and len(parts) > 1 else -1


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_floor_reaches_up(path):
    own = _floor("rankwatch." + path.relative_to(ROOT).parts[0].removesuffix(".py"))
    if own < 0:
        return
    for module in _imports(path):
        assert _floor(module) <= own, f"{path.name} imports {module}"
        top = module.split(".")[0]
        assert top != "torchaudio", "the core never imports torchaudio"
        assert path.stem == "lightning" or top not in ("lightning", "pytorch_lightning")
        assert path.stem == "huggingface" or top != "transformers"


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
