"""The page's addresses in TensorBoard's own application: what is found, what is new, what is refused."""

from __future__ import annotations

import builtins
import os
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from recorded_runs import write_records
from tensorboard_app import PLUGIN, App, lay_down

pytest.importorskip("plotly", reason="the page is drawn by plotly, which isn't installed")

from rankwatch.report import open_run
from rankwatch.reporting.page.page_data import page_data
from rankwatch.reporting.recorded.recorded_run import RecordedRun
from rankwatch.reporting.recorded.run_reader import RunReader
from rankwatch.reporting.tensorboard_page import answers, open_runs

HTML = "<img src=x onerror=alert(1)>"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def real_page() -> None:
    """The page's data as they are."""


@pytest.fixture(autouse=True)
def _little_page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take a second to make: most tests are about what stands before them."""
    if "real_page" not in request.fixturenames:
        from rankwatch.reporting.page import page_data as module

        monkeypatch.setattr(module, "page_data", _outline)


def _outline(runs: list[RecordedRun]) -> dict[str, Any]:
    return {
        "names": [run.name for run in runs],
        "readings": [run.n_readings for run in runs],
        "problems": [problem for run in runs for problem in run.problems],
        "loss": [None if run.loss is None else run.loss.name for run in runs],
    }


@pytest.fixture(autouse=True)
def _search_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_FRESH", 0.0)
    monkeypatch.setattr(answers, "_PATIENCE", 60.0)  # however slow the machine is


def test_runs_are_called_as_tensorboard_calls_them(logs: Path) -> None:
    lay_down(logs / "a" / "version_0")
    lay_down(logs / "b")
    write_records(logs / "b" / "Teacher.jsonl", 2, 4)
    write_records(logs / "RankWatch.jsonl", 2, 4)
    app = App(logs)
    assert app.names() == ["a/version_0", "b", "b/Teacher", "logs"]
    assert app.plugin.is_active()


def test_the_data_are_those_of_the_report_and_come_again_only_when_there_is_news(logs: Path, real_page: None) -> None:
    path = lay_down(logs / "a", finished=False)
    app = App(logs)
    first = app.ask("/data", run="a")
    wanted = page_data([open_run(path, "a")])
    assert {name: first["data"][name] for name in ("figures", "runs", "tables", "references")} == {
        name: wanted[name] for name in ("figures", "runs", "tables", "references")
    }
    assert not first["data"]["runs"][0]["ended"]
    again = app.ask("/data", run="a", state=first["state"])
    assert "data" not in again
    lay_down(logs / "a", readings=9, append=True)
    news = app.ask("/data", run="a", state=first["state"])
    assert len(news["data"]["steps"]) == 9
    assert news["data"]["runs"][0]["ended"]
    assert (news["reading"], news["problems"]) == ([], [])


def test_several_runs_are_laid_over_each_other_in_the_order_asked_for(logs: Path) -> None:
    for name in "abc":
        lay_down(logs / name)
    found = App(logs).ask("/data", run=["c", "a"])["data"]
    assert found["names"] == ["c", "a"]


def test_more_runs_than_can_be_told_apart_are_cut_off_and_as_many_stay_in_memory(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_runs, "MOST_RUNS", 2)
    monkeypatch.setattr(answers, "MOST_RUNS", 2)
    for name in "abc":
        lay_down(logs / name, readings=3)
    app = App(logs)
    found = app.ask("/data", run=["a", "b", "c"])
    assert found["data"]["names"] == ["a", "b"]
    assert "too many to tell apart" in found["problems"][0]
    app.ask("/data", run="c")
    assert list(app.plugin._answers._open._open) == ["b", "c"]


def test_two_runs_of_one_name_are_both_there(tmp_path: Path) -> None:
    for root in ("x", "y"):
        lay_down(tmp_path / root / "run", readings=3)
    write_records(tmp_path / "x" / "run" / "RankWatch.jsonl", 2, 4)
    app = App("", spec=f"{tmp_path}/x,one:{tmp_path}/y")
    assert app.names() == ["one/run", "run/RankWatch.jsonl", "run/rankwatch/RankWatch.jsonl"]
    assert [app.ask("/data", run=name)["data"]["readings"] for name in app.names()] == [[3], [4], [3]]


def test_a_log_folder_of_others_is_left_alone(logs: Path) -> None:
    for i in range(100):
        run = logs / f"run_{i}"
        run.mkdir(parents=True)
        (run / "metrics.jsonl").write_text('{"loss": 1.0}\n' * 3)
        (run / "events.out.tfevents.1").write_bytes(b"\0" * 64)
    app = App(logs)
    assert not app.plugin.is_active()
    assert app.ask("/runs")["runs"] == []
    lay_down(logs / "run_50")
    assert app.plugin.is_active()
    assert app.names() == ["run_50"]


def test_behind_a_prefix_and_by_relative_addresses_alone(logs: Path) -> None:
    lay_down(logs / "a")
    app = App(logs, prefix="/team/board")
    assert app.names() == ["a"]
    listing = app.client.get("/team/board/data/plugins_listing").get_json()["rankwatch"]
    assert listing["enabled"]
    assert listing["tab_name"] == "RankWatch"
    assert listing["loading_mechanism"]["module_path"] == f"/team/board{PLUGIN}/index.js"
    script = app.get("/index.js").get_data(as_text=True)
    assert "http" not in script
    assert '"/' not in script


def test_only_what_stands_in_the_table_is_answered(logs: Path) -> None:
    path = lay_down(logs / "a")
    app = App(logs)
    for kind, address in {"javascript": ("/index.js", "/page.js"), "css": ("/page.css",)}.items():
        for one in address:
            assert kind in app.get(one).headers["Content-Type"]
    assert b"Plotly" in app.get("/plotly.js").get_data()
    for address in ("/plugin.py", "/page.js/..", "/../rankwatch/plugin.py", "/data/a", f"/{path}", "/%2e%2e/index.css"):
        assert app.get(address).status_code == 404


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/rankwatch/RankWatch.jsonl", "", "a\0", HTML])
def test_a_request_names_no_file(logs: Path, name: str) -> None:
    lay_down(logs / "a")
    write_records(logs.parent / "secret.jsonl", 2, 4)
    found = App(logs).ask("/data", run=name)
    assert "data" not in found
    assert found["problems"] == [f"No run {name!r} is in the log folder now."]


def test_links_and_pipes_lead_nowhere(logs: Path) -> None:
    secret = lay_down(logs.parent / "outside" / "secret")
    lay_down(logs / "a")
    (logs / "file.jsonl").symlink_to(secret)
    (logs / "folder").symlink_to(secret.parent)
    (logs / "a" / "circle").symlink_to(logs)
    os.mkfifo(logs / "pipe.jsonl")
    os.mkfifo(logs / "a" / "events.out.tfevents.1")
    (logs / "a" / "metrics.csv").symlink_to("/etc/passwd")
    app = App(logs)
    answer = app.ask("/runs")
    assert [run["name"] for run in answer["runs"]] == ["a"]
    assert "3 links in the log folder are not followed" in answer["notes"][0]
    assert app.ask("/data", run="a")["problems"] == []


def test_a_link_that_takes_a_files_place_is_not_read(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lay_down(logs / "a")
    secret = lay_down(logs.parent / "secret", readings=9)
    monkeypatch.setattr(answers, "_FRESH", 1e9)  # the search is from before
    app = App(logs)
    assert app.names() == ["a"]
    path.unlink()
    path.symlink_to(secret)
    found = app.ask("/data", run="a")
    assert "data" not in found
    assert found["problems"] == ["a is no file of the log folder any more."]


def test_no_file_outside_of_the_log_folder_is_looked_into_for_the_loss(logs: Path) -> None:
    lay_down(logs)
    (logs / "metrics.csv").write_text("step,train_loss\n1,2.0\n")
    assert App(logs).ask("/data", run="logs")["data"]["loss"] == ["train_loss"]
    assert App(logs / "rankwatch").ask("/data", run="rankwatch")["data"]["loss"] == [None]


def test_text_of_a_log_folder_stays_text(logs: Path, real_page: None) -> None:
    lay_down(logs / HTML.replace("/", ""))
    lay_down(logs / "..." / "\udcff")
    app = App(logs)
    raw = app.get("/runs").get_data(as_text=True)
    assert "<" not in raw
    assert app.names() == [".../?", HTML]
    raw = app.get("/data", run=HTML).get_data(as_text=True)
    assert "<" not in raw
    assert app.ask("/data", run=".../?")["data"]["title"] == ".../?"


def test_a_line_of_100_megabytes_is_passed_over_in_little_memory(logs: Path) -> None:
    path = lay_down(logs / "a", finished=False)
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        file.truncate(end + 100_000_000)  # takes no room on the disk
        file.seek(0, 2)
        file.write(b"\n")
    tracemalloc.start()
    found = App(logs).ask("/data", run="a")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20e6
    assert "longer than any record of rankwatch's" in found["data"]["problems"][0]


def test_while_records_are_read_the_page_is_told_how_far(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    lay_down(logs / "a")
    monkeypatch.setattr(answers, "_PATIENCE", 0.0)
    monkeypatch.setattr(open_runs, "RunReader", _slow_reader(go_on))
    app = App(logs)
    found = app.ask("/data", run="a")
    assert found == {"state": "", "reading": [{"name": "a", "part": 0.0}], "problems": []}
    go_on.set()
    monkeypatch.setattr(answers, "_PATIENCE", 60.0)
    assert "data" in app.ask("/data", run="a")


def _slow_reader(go_on: threading.Event) -> type:
    class Slow(RunReader):
        def update(self) -> bool:
            go_on.wait(60)
            return super().update()

    return Slow


def test_a_file_that_holds_no_reading_yet_is_said(logs: Path) -> None:
    path = lay_down(logs / "a")
    path.write_text(path.read_text().splitlines()[0] + "\n")
    found = App(logs).ask("/data", run="a")
    assert "data" not in found
    assert "holds no reading of rankwatch's" in found["problems"][0]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module named 'plotly'", name="plotly"), "plotly, which isn't installed here: pip"),
        (SyntaxError("invalid syntax (plotly.py, line 1)"), "an import failed (SyntaxError: invalid syntax (plotly.py"),
    ],
)
def test_without_plotly_the_page_says_what_to_install(
    logs: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    lay_down(logs / "a")
    for name in list(sys.modules):
        if name.startswith(("plotly", "rankwatch.reporting.figures", "rankwatch.reporting.page.page_")):
            monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def no_plotly(name: str, *rest: Any) -> Any:
        if name.startswith("plotly"):
            raise error
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", no_plotly)
    app = App(logs)
    assert app.names() == ["a"]
    found = app.ask("/data", run="a")
    assert said in found["failure"]
    assert "rankwatch[report]" in found["failure"]


def test_a_remote_log_folder_is_said_to_be_one() -> None:
    answer = App("gs://bucket/logs").ask("/runs")
    assert answer["runs"] == []
    assert "gs://bucket/logs isn't on this machine's disks" in answer["notes"][0]
