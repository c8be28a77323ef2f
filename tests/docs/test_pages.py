"""The documentation says what the code does: its examples run, its names and links exist, and nothing is left out."""

import ast
import importlib
import inspect
import math
import re
from pathlib import Path

import pytest

import rankwatch
from rankwatch.alarms.detectors import default_detectors
from rankwatch.alarms.detectors.explanations import EXPLANATIONS
from rankwatch.arguments.renamed_arguments import RENAMED
from rankwatch.arguments.settings import Settings
from rankwatch.numerics import Sample, collapse_indicators, estimate_from_sample
from rankwatch.numerics.rank import rank_estimate
from rankwatch.readings import codebook_usage

ROOT = Path(rankwatch.__file__).parent.parent
PAGES = sorted((ROOT / "docs/pages").glob("*.md"))
DOCUMENTS = [*PAGES, ROOT / "README.md", ROOT / "docs/README.ja.md"]
ALSO_LINKED = [ROOT / "CHANGELOG.md", ROOT / "rankwatch/monitor/README.md"]
CODE = re.compile(r"(?P<run><!-- run -->\n)?^(?P<indent> *)```python\n(?P<code>.*?)^ *```$", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name_of(path):
    return str(path.relative_to(ROOT))


def blocks(path):
    """Python code of a document: (line, whether it is marked to be run, source)."""
    text = path.read_text(encoding="utf-8")
    for found in CODE.finditer(text):
        line = text.count("\n", 0, found.start("code")) + 1
        yield pytest.param(path, bool(found["run"]), found["code"], id=f"{name_of(path)}:{line}")


BLOCKS = [block for path in DOCUMENTS for block in blocks(path)]


def tree_of(source):
    """Parsed; the three dots that stand for further arguments come after keywords, which Python doesn't allow."""
    return ast.parse(source.replace(", ...)", ")"))


def anchor(title):
    """The anchor of a heading, as the site's builder makes it."""
    plain = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", lambda found: found[1] or "", title).strip().lower()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain))


def anchors(path):
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    return {anchor(title) for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def words(path):
    """Everything in code marks."""
    return set(re.findall(r"`([^`\n]+)`", path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("path", "run", "source"), BLOCKS)
def test_examples_are_python_and_those_that_are_marked_run(path, run, source, tmp_path, monkeypatch):
    compile(tree_of(source), name_of(path), "exec")
    if run:
        monkeypatch.chdir(tmp_path)
        namespace = {"__name__": "example"}
        # From a file of its own, since dataclasses look their module up.
        exec(compile(source, f"{name_of(path)} example", "exec"), namespace)


def test_examples_are_run_on_the_pages_that_promise_it():
    run = {block.values[0].stem for block in BLOCKS if block.values[1]}
    assert run >= {"start", "sensitivity", "models", "trainers", "numbers"}


@pytest.mark.parametrize(("path", "run", "source"), BLOCKS)
def test_what_examples_import_from_rankwatch_exists(path, run, source):
    for node in ast.walk(tree_of(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "rankwatch":
            if node.module == "rankwatch.huggingface":
                pytest.importorskip("transformers")
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "rankwatch":
            assert hasattr(rankwatch, node.attr), f"rankwatch has no {node.attr}"


def parameters(function):
    """Names of keyword arguments, those of the settings among them where a face takes all of them."""
    known = inspect.signature(function).parameters
    settings = [name for name, field in Settings.__dataclass_fields__.items() if field.init]
    return {*known, *(settings if any(one.kind is one.VAR_KEYWORD for one in known.values()) else ())}


def public(name):
    if name == "RankWatchCallback":
        return importlib.import_module("rankwatch.huggingface").RankWatchCallback if has_transformers() else None
    return getattr(rankwatch, name, None) if name in rankwatch.__all__ else None


def has_transformers():
    return importlib.util.find_spec("transformers") is not None


@pytest.mark.parametrize(("path", "run", "source"), BLOCKS)
def test_keyword_arguments_in_examples_exist(path, run, source):
    for node in ast.walk(tree_of(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        function = public(name)
        for keyword in node.keywords if function is not None else ():
            assert keyword.arg in parameters(function), f"{name}() has no argument {keyword.arg}"


def test_arguments_of_before_stand_in_the_migration_guide_alone():
    guide = ROOT / "docs/pages/migration.md"
    text = guide.read_text(encoding="utf-8")
    missing = sorted(name for name in RENAMED - {"frame_mask"} if name not in text)
    assert not missing, f"{name_of(guide)} does not say what to write instead of {missing}"
    old = {"probe_sets", "probe_forward", "watch_train", "held_back"}
    for path in DOCUMENTS:
        used = sorted(name for name in old if name in path.read_text(encoding="utf-8"))
        assert path == guide or not used, f"{name_of(path)} uses old names {used}"


@pytest.mark.parametrize("path", [*DOCUMENTS, *ALSO_LINKED], ids=name_of)
def test_relative_links_lead_to_files_and_headings(path):
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        if "://" in link:
            continue
        file, _, heading = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.is_file(), f"{name_of(path)} links to {link}, which isn't there"
        if heading:
            assert heading in anchors(target), f"{name_of(path)} links to {link}, and {file} has no such heading"


def test_every_page_is_in_the_navigation():
    configuration = (ROOT / "docs/mkdocs.yml").read_text(encoding="utf-8")
    missing = [path.name for path in PAGES if f": {path.name}\n" not in configuration]
    assert not missing


def kinds():
    """All kinds of alarm that the code knows."""
    return {*EXPLANATIONS, *(detector.kind for detector in default_detectors())}


def test_every_kind_of_alarm_has_a_section_and_a_row():
    page = ROOT / "docs/pages/alarms.md"
    assert kinds() - anchors(page) == set()
    assert len(kinds()) >= 17
    migration = words(ROOT / "docs/pages/migration.md")
    assert kinds() - migration == set()


def test_causes_and_remedies_are_those_of_the_messages():
    page = " ".join((ROOT / "docs/pages/alarms.md").read_text(encoding="utf-8").split())
    for kind, about in EXPLANATIONS.items():
        for text in (about.causes, about.remedies):
            assert text in page, f"docs/pages/alarms.md says something else about {kind} than: {text}"


def metrics():
    """All metrics that readings can have."""
    rows = [[math.sin(i * j) for j in range(1, 9)] for i in range(1, 65)]
    sample = Sample.from_rows(rows)
    measured = collapse_indicators(sample, estimate_from_sample(sample))
    source = (Path(rankwatch.__file__).parent / "readings/reading_from_sample.py").read_text()
    further = set(re.findall(r'metrics\["(\w+)"\] = ', source))
    assert further >= {"noise_floor", "non_finite_fraction"}
    from rankwatch.readings import probe_accuracy

    probe = {probe_accuracy.ACCURACY, probe_accuracy.MAJORITY, probe_accuracy.CHANCE, probe_accuracy.LABELLED}
    return {*measured, *further, *probe, "active_code_fraction", "normalized_perplexity"}


@pytest.mark.parametrize("page", ["curves.md", "terms.md", "migration.md"])
def test_every_metric_is_explained(page):
    missing = sorted(metrics() - words(ROOT / "docs/pages" / page))
    assert not missing, f"docs/pages/{page} says nothing about {missing}"


def test_every_status_flag_is_explained():
    flags = {value for name, value in vars(rank_estimate).items() if name.isupper()}
    assert len(flags) >= 8
    flags |= {codebook_usage.NON_FINITE, codebook_usage.TOO_FEW_ASSIGNMENTS}
    missing = sorted(flags - words(ROOT / "docs/pages/curves.md"))
    assert not missing, f"docs/pages/curves.md says nothing about {missing}"


@pytest.mark.parametrize("page", ["start.md", "api.md"])
def test_every_argument_and_public_name_is_there(page):
    text = (ROOT / "docs/pages" / page).read_text(encoding="utf-8")
    arguments = [name for name, field in Settings.__dataclass_fields__.items() if field.init]
    wanted = {"start.md": arguments, "api.md": [one for one in rankwatch.__all__ if one != "__version__"]}[page]
    missing = [name for name in wanted if not re.search(rf"\b{name}\b", text)]
    assert not missing, f"docs/pages/{page} does not mention {missing}"
    if page == "start.md":
        defaults = {name: Settings.__dataclass_fields__[name].default for name in arguments}
        for name in ("on_collapse", "sensitivity", "every_n_steps", "max_overhead", "layers", "eval_sets", "name"):
            shown = str(defaults[name]) if not isinstance(defaults[name], str) else f'"{defaults[name]}"'
            assert f"| `{name}` | `{shown}` |" in text, f"the default of {name} is {shown}"
