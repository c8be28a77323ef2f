"""What .github/CONTRIBUTING.md says is what is there: its worked examples run, its paths exist, its table is ROOMS."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from worked_examples import GUIDE, ROOT, apply_diff, copy_project, worked_examples

EXAMPLES = worked_examples()
FLOORS = ("test_each_room_imports_only_those_that_it_rests_on", "test_nothing_is_imported_in_a_circle")
TITLES = ["A detector", "A metric", "A model family", "An audio source"]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """All examples carried out on one copy of the project, and the result of each of their tests by file."""
    project = copy_project(tmp_path_factory.mktemp("contributing"))
    for example in EXAMPLES:
        example.apply(project)
    tests = [path for example in EXAMPLES for path in example.tests]
    environment = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    for name in ("PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        environment.pop(name, None)  # the copy is not what is measured
    floors = [f"tests/test_floors.py::{name}" for name in FLOORS]
    options = ["-o", "addopts=", "-p", "no:cacheprovider", "--continue-on-collection-errors", "--junitxml=out.xml"]
    command = [sys.executable, "-m", "pytest", "-q", *options]
    done = subprocess.run([*command, *tests, *floors], cwd=project, env=environment, capture_output=True, text=True)
    cases = ElementTree.parse(project / "out.xml").getroot().iter("testcase")
    found = {}
    for case in cases:
        path = case.get("classname", "").replace(".", "/") + ".py"
        found.setdefault(path, []).append(case.find("failure") is None and case.find("error") is None)
    return project, found, done.stdout


def test_there_is_one_example_for_each_kind_of_addition():
    assert [example.title for example in EXAMPLES] == TITLES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_example_does_what_it_claims(example, outcome):
    project, found, output = outcome
    assert example.tests, f"{example.title}: no test in it"
    for path in example.tests:
        assert len(found.get(path, [])) > 0, output
        assert all(found[path]), output
    assert (project / next(iter(example.new_files))).exists()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_example_keeps_the_rules_of_the_house(example, outcome):
    """Lint of what it adds, the docstrings' rules included."""
    project, *_ = outcome
    ruff = pytest.importorskip("ruff", reason="lint needs the extra `dev`")
    done = subprocess.run(
        [ruff.find_ruff_bin(), "check", "--no-cache", "--output-format=concise", *example.new_files],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_examples_keep_to_the_rooms(outcome):
    """The copy has all that was there before and the additions."""
    _, found, output = outcome
    assert len(found["tests/test_floors.py"]) > len(FLOORS)
    assert all(found["tests/test_floors.py"]), output


def test_a_change_must_find_its_place(tmp_path):
    (tmp_path / "file.py").write_text("a = 1\nb = 2\nb = 2\n")
    apply_diff(tmp_path, "--- file.py\n+++ file.py\n@@\n-a = 1\n+a = 3\n b = 2\n")
    assert (tmp_path / "file.py").read_text() == "a = 3\nb = 2\nb = 2\n"
    with pytest.raises(AssertionError, match="2 times, not once"):
        apply_diff(tmp_path, "--- file.py\n+++ file.py\n@@\n b = 2\n+c = 1\n")


def test_paths_and_links_of_the_guide_exist():
    text = GUIDE.read_text()
    new = {path for example in EXAMPLES for path in example.new_files}
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert links
    for link in links:
        assert not link or (GUIDE.parent / link).exists(), f"the guide links {link}"
    paths = set(re.findall(r"`((?:rankwatch|tests|docs|configs|examples)/[\w./]+)`", text)) - new
    assert len(paths) > 10
    for path in paths:
        assert (ROOT / path).exists(), f"the guide names {path}"


def test_the_table_of_rooms_is_that_of_test_floors():
    sys.path.insert(0, str(ROOT / "tests"))
    from test_floors import ROOMS

    rows = re.findall(r"^\| (\d) \| (.+?) \|", GUIDE.read_text(), re.MULTILINE)
    assert [int(floor) for floor, _ in rows] == sorted(int(floor) for floor, _ in rows)
    named = {room.strip("/").replace("/", ".") for _, cell in rows for room in re.findall(r"`([\w/]+/)`", cell)}
    assert named >= {room for room in ROOMS if room not in ("numerics", "extraction")}
    assert named <= {*ROOMS, "alarms.detectors", "cli"}
