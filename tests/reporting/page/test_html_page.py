"""One file that fetches nothing, runs only its own scripts, and shows text as text."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from recorded_runs import recorded

pytest.importorskip("plotly", reason="the page is drawn by plotly, which isn't installed")

from rankwatch.reporting.page import page_data as page_data_module
from rankwatch.reporting.page.html_page import html_page, page_script, write_page
from rankwatch.reporting.page.page_data import page_data
from rankwatch.reporting.recorded.recorded_run import RecordedRun
from rankwatch.reporting.recorded.spectrum_codes import MISSING

NASTY = "</script><script>alert(1)</script><img src=http://x/ onerror=alert(1)>"


class Elements(HTMLParser):
    """All elements with their attributes, and the text of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "script" and self.scripts:
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:
    return recorded(tmp_path_factory.mktemp("run"), layers=3, readings=35)


@pytest.fixture(scope="module")
def page(run: RecordedRun) -> str:
    return html_page(page_data([run]))


def test_nothing_is_fetched_and_only_its_own_scripts_run(page: str) -> None:
    elements = Elements(page)
    assert not [a for _, a in elements.found if a.get("src") or a.get("href")]
    policy = next(a["content"] for tag, a in elements.found if tag == "meta" and "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert "'unsafe-inline'" not in policy.split("style-src")[0]
    code = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(code) == 3
    for text in code:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_the_data_are_those_of_the_run(page: str, run: RecordedRun) -> None:
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert text is not None
    data = json.loads(text.group(1))
    assert [figure["id"] for figure in data["figures"]] == ["health", "ranks", "heatmap", "spectra", "cost"]
    assert data["steps"] == run.steps.tolist()
    assert data["runs"][0]["verdict"]["level"] == "critical"
    spectra = data["runs"][0]["spectra"]
    found = spectra["curves"]["frame|L02"]
    codes = np.frombuffer(base64.b64decode(found["codes"]), np.uint8).reshape(len(spectra["steps"]), found["points"])
    np.testing.assert_array_equal(codes, run.spectra["first_batches", "frame", run.layers[2].layer].codes)


def test_spectra_are_thinned_out_to_a_budget_with_the_healthy_one(
    run: RecordedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_data_module, "SPECTRA_BYTES", 64 * 6 * 8)
    data = page_data([run])["runs"][0]
    steps = data["spectra"]["steps"]
    assert len(steps) <= 10
    assert {data["healthy"], int(run.steps[0]), int(run.steps[-1])} <= set(steps)


def test_a_spectrum_that_is_missing_is_empty(run: RecordedRun) -> None:
    key = ("first_batches", "frame", run.layers[1].layer)
    short = dataclasses.replace(run.spectra[key], steps=run.steps[5:], codes=run.spectra[key].codes[5:])
    found = page_data([dataclasses.replace(run, spectra={**run.spectra, key: short})])["runs"][0]["spectra"]
    codes = np.frombuffer(base64.b64decode(found["curves"]["frame|L01"]["codes"]), np.uint8).reshape(len(run.steps), -1)
    assert (codes[:5] == MISSING).all()
    assert not (codes[5:] == MISSING).all()


def test_numbers_that_do_not_exist_are_null(run: RecordedRun) -> None:
    blank = dataclasses.replace(run, health=np.full(len(run.steps), np.nan, np.float32))
    text = html_page(page_data([blank]))
    data = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    assert "NaN" not in data.group(1)
    assert json.loads(data.group(1))["runs"][0]["health"] == [None] * len(run.steps)


def test_text_of_others_cannot_end_a_script_or_begin_an_element(run: RecordedRun) -> None:
    rows = [dataclasses.replace(row, label=row.label + NASTY, layer=row.layer + NASTY) for row in run.layers]
    header = dataclasses.replace(run.header, layers=rows, notes=[NASTY])
    alarms = [dataclasses.replace(alarm, kind=NASTY, message=NASTY, layer=alarm.layer + NASTY) for alarm in run.alarms]
    episodes = [dataclasses.replace(one, message=NASTY) for one in run.episodes]
    bad = dataclasses.replace(
        run,
        name=NASTY,
        header=header,
        curves={(s, v, y + NASTY): curve for (s, v, y), curve in run.curves.items()},
        alarms=alarms,
        episodes=episodes,
        problems=[NASTY],
        hyperparameters={NASTY: NASTY},
    )
    for runs in ([bad], [bad, run]):
        elements = Elements(html_page(page_data(runs)))
        assert not [tag for tag, _ in elements.found if tag in ("img", "iframe", "object")]
        assert len(elements.scripts) == 4


def test_the_scripts_put_text_in_as_text() -> None:
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert unsafe not in page_script()


def test_pages_may_share_the_library(run: RecordedRun, tmp_path: Path) -> None:
    pages = [tmp_path / "a" / "one.html", tmp_path / "two.html"]
    for path in pages:
        write_page(path, page_data([run]), tmp_path / "shared assets")
    assert sorted(file.name for file in (tmp_path / "shared assets").iterdir()) == [
        "plotly.min.js",
        "rankwatch-page.css",
        "rankwatch-page.js",
    ]
    assert pages[1].stat().st_size < 300_000
    links = [a.get("src") or a.get("href") for _, a in Elements(pages[0].read_text()).found]
    assert "../shared%20assets/plotly.min.js" in links


def test_runs_that_cannot_be_compared_are_shown_apart_with_the_reason(run: RecordedRun) -> None:
    protocols = {id_: dataclasses.replace(one, seed=7) for id_, one in run.protocols.items()}
    data = page_data([run, dataclasses.replace(run, name="other", protocols=protocols)])
    assert "differ in seed 0 against 7" in data["comparison"]["refusal"]
    assert data["comparison"]["tables"] == []
    ranks = [figure for figure in data["figures"] if figure["id"] == "ranks"]
    assert [{trace["meta"]["run"] for trace in one["figure"]["data"]} for one in ranks] == [{0}, {1}]


def test_runs_that_can_be_compared_are_ranked_for_each_layer_and_level(run: RecordedRun) -> None:
    data = page_data([run, dataclasses.replace(run, name="other", hyperparameters={"teacher": "student"})])
    tables = data["comparison"]["tables"]
    assert len([table for table in tables if table["layer"]]) == 3 * 2
    assert "can't be told apart" in tables[0]["rows"][1][-1]
    assert tables[-1]["rows"] == [["teacher", "", "student"]]
