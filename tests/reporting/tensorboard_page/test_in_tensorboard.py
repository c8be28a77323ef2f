"""The tab in a real TensorBoard and a real browser: drawn, live, silent while it can't be seen, and text stays text."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from headless import CHROMIUM, browse_address, driver
from recorded_runs import write_records
from tensorboard_app import lay_down

pytest.importorskip("plotly", reason="the page is drawn by plotly, which isn't installed")

from rankwatch import tensorboard_plugin
from rankwatch.reporting.tensorboard_page import answers, plugin
from rankwatch.tensorboard_plugin import RankWatchLoader

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page in"),
]

NOT_OURS = ("Three.js", "WebGL", "GPU stall")
"""What TensorBoard's own page puts on the console."""

SEEN = """
const shown = () => ({ readout: find("output").textContent, words: all(".verdict .word").map((one) => one.textContent),
  chips: all(".chip.on").map((chip) => chip.textContent), theme: document.documentElement.dataset.theme,
  drawn: all("#page .plot").map((box) => box.querySelectorAll(".main-svg").length > 0),
  scroll: document.documentElement.scrollTop });
const until = async (what) => { for (let i = 0; i < 900 && !what(); i++) await pause(100); };
const asked = () => performance.getEntriesByType("resource").length;
const tabs = () => [...parent.document.querySelectorAll("[role=tab] *")];
const tab = (name) => tabs().filter((one) => one.textContent.trim() === name).pop();
"""

WAIT = """
(async () => {
  const said = () => (document.querySelector(".rankwatch-said") || document.body).textContent;
  while (!said().includes("pip install")) await new Promise((go) => setTimeout(go, 100));
  console.info("FOUND " + btoa(JSON.stringify(said())) + " END");
})();
"""
"""Finds what is said where there is no page."""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a program into the frame: into the page's own script, since nothing else may run there."""
    real = plugin._own_file

    def put(body: str) -> None:
        text = driver(SEEN + body)
        monkeypatch.setattr(plugin, "_own_file", lambda name: real(name) + (text if name == "index.js" else ""))

    return put


def look(logs: Path, *options: str, state: str = "", dark: bool = False, other: str = "") -> tuple[Any, list[str]]:
    """Start TensorBoard in this process and open the tab; what the program has found, and the console."""
    from tensorboard import assets, default, program

    board = program.TensorBoard(
        [*default.get_static_plugins(), RankWatchLoader], assets.get_default_assets_zip_provider()
    )
    board.configure(["tensorboard", f"--logdir={logs}", "--port=0", "--host=127.0.0.1", "--load_fast=false", *options])
    address = board.launch()
    while other and not json.load(urlopen(f"{address}data/plugins_listing"))[other]["enabled"]:
        time.sleep(0.2)  # until TensorBoard has read the event files
    address += ("?darkMode=true" if dark else "") + "#rankwatch"
    found, console = browse_address(
        address + (f"&p.rankwatch.state={quote(state, safe='')}" if state else ""), logs.parent / "profile"
    )
    return found, [line for line in console if not any(other in line for other in NOT_OURS)]


def test_runs_and_layers_come_from_the_address_and_all_is_drawn_behind_a_prefix(tmp_path: Path, script: Any) -> None:
    for name, collapse in {"broken": True, "healthy": False}.items():
        lay_down(tmp_path / "logs" / name, layers=4, readings=35, collapse=collapse)
    script("""const first = shown(), slider = find("input[type=range]");
      slider.value = 3; slider.dispatchEvent(new Event("input"));
      await until(() => parent.location.hash.includes("step%3D1000"));
      const hosts = performance.getEntriesByType("resource").map((one) => new URL(one.name).host);
      const other = hosts.filter((one) => one !== location.host);
      return { ...first, hash: decodeURIComponent(parent.location.hash), own: location.hash, other };""")
    state = "run=broken&run=healthy&layers=L01&focus=L01&relative=1"
    found, console = look(tmp_path / "logs", "--path_prefix=/team", state=state, dark=True)
    assert console == []
    assert found["drawn"] == [True] * 5
    assert found["words"] == ["critical", "no alarm"]
    assert (found["chips"], found["theme"], found["other"]) == (["L01"], "dark", [])
    for part in ("step=1000", "run=broken", "run=healthy", "layers=L01", "relative=1"):
        assert part in found["hash"]
        assert part in found["own"]
    assert found["hash"].startswith("#rankwatch&p.rankwatch.state=")


def test_it_goes_on_with_the_run_and_is_silent_while_another_tab_is_looked_at(
    tmp_path: Path, script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.utils.tensorboard import SummaryWriter

    logs = tmp_path / "logs"
    path = lay_down(logs / "run", layers=4, readings=6, finished=False)
    with SummaryWriter(str(logs / "run")) as writer:
        writer.add_scalar("train_loss", 1.0, 1)  # so that there is another tab
    real, asked = answers.Answers.data, []

    def data(self: Any, names: Any, known: str, served: Any) -> Any:
        asked.append(known)
        if len(asked) == 2:  # the page has been drawn, and asks what is new
            write_records(path, 4, 9, append=True, finished=False, sources=("first_batches",))
        return real(self, names, known, served)

    monkeypatch.setattr(answers.Answers, "data", data)
    script("""const first = shown(), page = document.getElementById("page");
      all(".chip")[1].click(); document.documentElement.scrollTop = 200;
      await until(() => document.getElementById("page") !== page && !find(".coming")); await pause(500);
      const then = shown();
      tab("scalars").click(); await pause(7000);
      const before = asked(); await pause(7000); const silent = asked() - before;
      tab("RankWatch").click(); await until(() => asked() > before + silent);
      return { first, then, silent, again: asked() - before };""")
    found, console = look(logs, other="scalars")
    assert console == []
    first, then = found["first"], found["then"]
    assert first["readout"].startswith("1,500")
    assert then["readout"].startswith("2,250")
    assert then["chips"] == ["L00", "L02", "L03"]
    assert then["scroll"] == 200
    assert then["drawn"] == [True] * 5
    assert found["silent"] == 0
    assert found["again"] > 0


def test_with_no_run_ticked_none_is_shown(tmp_path: Path, script: Any) -> None:
    lay_down(tmp_path / "logs" / "run")
    script("""const box = () => find(".rankwatch-runs input[type=checkbox]");
      box().click(); await pause(500);
      const none = [all(".plot").length, box().checked];
      box().click(); await until(() => find("#page[data-ready]"));
      return { none, again: [all(".plot").length > 0, box().checked] };""")
    found, console = look(tmp_path / "logs")
    assert console == []
    assert found == {"none": [0, False], "again": [True, True]}


def test_nothing_of_a_log_folder_becomes_an_element_or_a_program(tmp_path: Path, script: Any) -> None:
    nasty = "<img src=x onerror='parent.hit=hit=1'>"
    path = lay_down(tmp_path / "logs" / nasty, layers=3, readings=35)
    path.write_text(path.read_text().replace("a teacher that is the student", nasty.replace('"', "'")))
    lay_down(tmp_path / "logs" / "other")
    script("""find(".rankwatch-runs details").open = true; await pause(300);
      return { hit: window.hit || parent.hit || 0, images: all("img").length, text: document.body.textContent };""")
    found, console = look(tmp_path / "logs", state=f"run={quote(nasty)}")
    assert console == []
    assert (found["hit"], found["images"]) == (0, 0)
    assert found["text"].count(nasty) >= 3  # in the list, the title and the causes


def test_without_plotly_the_tab_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_down(tmp_path / "logs" / "run")
    failure = answers.missing_library(ModuleNotFoundError("No module named 'plotly'", name="plotly"))
    monkeypatch.setattr(answers, "_page", lambda *rest: {"failure": failure})
    real = plugin._own_file
    monkeypatch.setattr(plugin, "_own_file", lambda name: real(name) + WAIT * (name == "index.js"))
    found, console = look(tmp_path / "logs")
    assert console == []
    assert found == failure


def test_where_it_cannot_be_loaded_the_tab_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logs").mkdir()
    monkeypatch.setitem(sys.modules, plugin.__name__, None)
    monkeypatch.setattr(tensorboard_plugin, "_SCRIPT", tensorboard_plugin._SCRIPT + WAIT)
    found, console = look(tmp_path / "logs")
    assert console == []
    assert "can't be loaded (ModuleNotFoundError: " in found
    assert "pip install" in found
