"""How long the page of `rankwatch report` takes in a browser: to its first picture, and from cursor to new picture.

    python tests/benchmarks/page_speed.py --layers 49 --readings 1000

Needs Chromium. Times are wall time, so the machine should do nothing else.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))

from headless import CHROMIUM, browse
from recorded_runs import write_records

from rankwatch.report import open_run
from rankwatch.reporting.page.html_page import write_page
from rankwatch.reporting.page.page_data import page_data

BODY = """
const marks = Object.fromEntries(performance.getEntriesByType("mark").map((mark) => [mark.name, mark.startTime]));
const slider = find("input[type=range]"), moves = [];
for (let i = 1; i <= 20; i++) {
  const began = performance.now();
  slider.value = Math.floor((Number(slider.max) * i) / 21);
  slider.dispatchEvent(new Event("input"));
  await frames();
  moves.push(performance.now() - began);
  await pause(100);
}
return { marks, moves: moves.sort((a, b) => a - b) };
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=49)
    parser.add_argument("--readings", type=int, default=1_000)
    options = parser.parse_args()
    if CHROMIUM is None:
        parser.error("no Chromium on the path")
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "RankWatch.jsonl"
        write_records(records, options.layers, options.readings, sources=("first_batches",))
        began = time.process_time()
        run = open_run(records)
        print(f"records of {records.stat().st_size / 2**20:.0f} MiB read in {time.process_time() - began:.1f} s (CPU)")
        began = time.process_time()
        write_page(Path(folder) / "page.html", page_data([dataclasses.replace(run, name="run")]))
        size = (Path(folder) / "page.html").stat().st_size / 2**20
        print(f"page of {size:.1f} MiB written in {time.process_time() - began:.1f} s (CPU)")
        found, _ = browse(Path(folder) / "page.html", BODY)
    for name, at in found["marks"].items():
        print(f"{name} drawn {at / 1000:.2f} s after the page was opened")
    moves = found["moves"]
    print(f"cursor to new picture: median {moves[len(moves) // 2]:.0f} ms, slowest {moves[-1]:.0f} ms")


if __name__ == "__main__":
    main()
