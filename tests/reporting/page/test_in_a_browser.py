"""The page in a real browser: it is drawn, one cursor moves all of it, and nothing of a file becomes a program."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from headless import CHROMIUM, browse
from recorded_runs import recorded

pytest.importorskip("plotly", reason="the page is drawn by plotly, which isn't installed")

from rankwatch.reporting.page.html_page import write_page
from rankwatch.reporting.page.page_data import page_data
from rankwatch.reporting.recorded.recorded_run import RecordedRun

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page in"),
]

SEEN = """
const now = () => { const box = find(".figure.spectra .plot");
  return box.data.filter((trace) => trace.meta.role === "now").map((trace) => trace.y[40]); };
const lines = () => find(".figure.ranks .plot").data.filter((trace) => trace.visible && trace.meta.role === "line");
const shown = () => [...new Set(lines().map((trace) => trace.meta.layer))];
const state = () => ({ readout: find("output").textContent, now: now(), shown: shown(),
  cursors: all(".cursor").map((line) => line.style.transform), theme: document.documentElement.dataset.theme });
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RecordedRun]:
    folder = tmp_path_factory.mktemp("runs")
    healthy = recorded(folder, "healthy", sources=("first_batches",), collapse=False)
    return {"broken": recorded(folder, "broken", sources=("first_batches",)), "healthy": healthy}


def page(folder: Path, runs: list[RecordedRun]) -> Path:
    path = folder / "report.html"
    write_page(path, page_data(runs))
    return path


@pytest.mark.parametrize("names", [["broken"], ["healthy"], ["healthy", "broken"]])
def test_everything_is_drawn_without_an_error_or_a_request(
    names: list[str], runs: dict[str, RecordedRun], tmp_path: Path
) -> None:
    body = """return { drawn: all(".plot").map((box) => box.querySelectorAll(".main-svg").length > 0),
      words: all(".verdict .word").map((one) => one.textContent),
      requests: performance.getEntriesByType("resource").length,
      bottom: find(".figure.ranks").getBoundingClientRect().bottom, wide: document.documentElement.scrollWidth };"""
    found, console = browse(page(tmp_path, [runs[name] for name in names]), body)
    assert console == []
    assert found["drawn"] == [True] * 5
    assert found["words"] == [{"broken": "critical", "healthy": "no alarm"}[name] for name in names]
    assert found["requests"] == 0
    assert found["bottom"] <= 768  # health, alarms and ranks without scrolling
    assert found["wide"] <= 1366


def test_one_cursor_moves_all_of_it(runs: dict[str, RecordedRun], tmp_path: Path) -> None:
    body = f"""{SEEN}
    const before = state(), slider = find("input[type=range]");
    slider.value = 10; slider.dispatchEvent(new Event("input")); await frames();
    const after = state();
    document.dispatchEvent(new KeyboardEvent("keydown", {{ key: "ArrowRight" }})); await frames(); await pause(300);
    return {{ before, after, then: state(), address: location.hash }};"""
    found, console = browse(page(tmp_path, [runs["broken"]]), body)
    assert console == []
    before, after, then = found["before"], found["after"], found["then"]
    assert before["readout"].startswith("10,000")
    assert "critical" in before["readout"]
    assert after["readout"] == "2,750 · health 1.00"
    assert then["readout"].startswith("3,000")
    assert after["now"][0] > 10 * before["now"][0]  # the cliff of the collapse against a full spectrum
    assert len(after["cursors"]) == 8
    assert all(a != b for a, b in zip(before["cursors"], after["cursors"], strict=True))
    assert "step=3000" in found["address"]


def test_layers_scale_and_theme_are_switched_and_stand_in_the_address(
    runs: dict[str, RecordedRun], tmp_path: Path
) -> None:
    body = f"""{SEEN}
    const top = () => Math.max(...lines().flatMap((trace) => [...trace.y])), colour = () => lines()[0].line.color;
    const first = {{ ...state(), top: top(), colour: colour() }};
    all(".chip")[0].click(); all(".chip")[1].click(); find("nav button").click(); find("header button").click();
    await frames(); await pause(300);
    return {{ first, then: {{ ...state(), top: top(), colour: colour() }}, address: location.hash }};"""
    path = page(tmp_path, [runs["broken"]])
    found, console = browse(path, body)
    assert console == []
    assert found["first"]["shown"] == ["L00", "L01", "L02", "L03", "L04"]
    assert found["then"]["shown"] == ["L02", "L03", "L04"]
    assert found["first"]["top"] > 200 > found["then"]["top"] > 80  # dimensions, then per cent
    assert found["first"]["theme"] == "light"
    assert found["then"]["theme"] == "dark"
    assert found["first"]["colour"] != found["then"]["colour"]
    again, _ = browse(path, f"{SEEN} return state();", address=found["address"])
    assert {name: again[name] for name in ("shown", "theme", "readout")} == {
        name: found["then"][name] for name in ("shown", "theme", "readout")
    }


def test_a_page_that_goes_on_loads_itself_anew_with_what_was_chosen(
    runs: dict[str, RecordedRun], tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    write_page(path, page_data([runs["broken"]], refresh=1))
    body = f"""{SEEN}
    if (!location.hash.includes("theme=dark")) {{
      find("header button").click(); all(".chip")[0].click();
      await new Promise(() => {{}}); // until the page is loaded anew, sooner than its state is written by itself
    }}
    return state();"""
    found, console = browse(path, body)
    assert console == []
    assert found["theme"] == "dark"
    assert found["shown"] == ["L01", "L02", "L03", "L04"]


def test_what_is_taken_down_while_it_is_drawn_leaves_nothing_behind(
    runs: dict[str, RecordedRun], tmp_path: Path
) -> None:
    body = """const data = JSON.parse(find("#data").textContent), root = document.createElement("div");
    document.body.appendChild(root);
    const second = rankwatchPage.show(root, data, { onState: () => { window.hit = 1; } });
    root.querySelector("input[type=range]").dispatchEvent(new Event("input"));
    second.remove();
    await pause(1500);
    const drawn = root.querySelectorAll(".main-svg").length;
    return { drawn, ready: root.dataset.ready || "", hit: window.hit || 0 };"""
    found, console = browse(page(tmp_path, [runs["broken"]]), body)
    assert console == []
    assert found == {"drawn": 0, "ready": "", "hit": 0}


def test_a_zoom_is_everywhere(runs: dict[str, RecordedRun], tmp_path: Path) -> None:
    body = """const box = (id) => find(".figure." + id + " .plot");
    const range = (id) => box(id).layout.xaxis.range.map(Math.round);
    const before = ["health", "heatmap", "cost"].map(range);
    Plotly.relayout(box("ranks"), { "xaxis.range[0]": 1000, "xaxis.range[1]": 5000 }); await pause(800);
    return { before, after: ["health", "heatmap", "cost"].map(range) };"""
    found, console = browse(page(tmp_path, [runs["broken"]]), body)
    assert console == []
    assert found["after"] == [[1000, 5000]] * 3 != found["before"]


def test_runs_laid_over_each_other_are_ranked_for_the_layer_that_is_looked_at(
    runs: dict[str, RecordedRun], tmp_path: Path
) -> None:
    body = f"""{SEEN}
    const table = () => all(".comparison details")[0].textContent;
    const before = [shown(), table()];
    all(".chip")[0].click(); await frames();
    return [before, [shown(), table()]];"""
    (before, after), console = browse(page(tmp_path, [runs["healthy"], runs["broken"]]), body)
    assert console == []
    assert len(before[0]) == 1
    assert before[0][0] in before[1]
    assert "can't be told apart" not in before[1]  # the one has collapsed
    assert after[0] == ["L00"]
    assert "can't be told apart" in after[1]  # the front end never has


def test_nothing_of_a_file_becomes_an_element_or_a_program(runs: dict[str, RecordedRun], tmp_path: Path) -> None:
    nasty = "</script><img src=x onerror='window.hit=1'><a href='javascript:1'>x</a>&lt;b&gt;"
    run = runs["broken"]
    rows = [dataclasses.replace(row, label=row.label + nasty) for row in run.layers]
    bad = dataclasses.replace(
        run,
        name=nasty,
        header=dataclasses.replace(run.header, layers=rows, notes=[nasty]),
        alarms=[dataclasses.replace(alarm, kind=nasty, message=nasty) for alarm in run.alarms],
        episodes=[dataclasses.replace(one, message=nasty) for one in run.episodes],
        problems=[nasty],
    )
    body = """const box = find(".figure.health .plot");
    const bar = box.data.findIndex((trace) => trace.type === "bar");
    Plotly.Fx.hover(box, [{ curveNumber: bar, pointNumber: 0 }], "x2y2"); await pause(300);
    const text = document.body.textContent.includes("<img src=x onerror='window.hit=1'>");
    const links = all("a[href], svg a").map((one) => one.outerHTML.slice(0, 300));
    return { images: all("img").length, links, hit: window.hit || 0, text,
      hovered: box.querySelector(".hoverlayer").textContent, chips: all(".chip").map((chip) => chip.textContent) };"""
    for several in ([bad], [bad, run]):
        found, console = browse(page(tmp_path, several), body)
        assert console == []
        assert (found["images"], found["links"], found["hit"]) == (0, [], 0)
        assert found["text"]
        assert "<img src=x" in found["hovered"]
        assert found["chips"][0].endswith("&lt;b&gt;")
