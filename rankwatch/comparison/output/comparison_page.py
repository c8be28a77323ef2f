"""The page of a comparison: what follows first, then the figure, then all numbers; one file without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rankwatch.analysis.output.analysis_page import analysis_script
from rankwatch.comparison.differences.difference import Difference
from rankwatch.comparison.output.difference_table import difference_cells, turnover_cells
from rankwatch.comparison.output.ratio_figure import ratio_figure
from rankwatch.comparison.records.parting import Parting
from rankwatch.comparison.records.turnovers import TurnoverRatio
from rankwatch.reporting.page.html_page import write_page

_CAPTION = (
    "How much larger the first effective rank is than the second. Bars are intervals that hold with 95 % for all "
    "layers and levels together; hollow marks have none. Inside of the band a difference is too small to matter."
)


def write_comparison_page(
    file: Path,
    title: str,
    differences: Sequence[Difference],
    partings: Sequence[Parting],
    turnovers: Sequence[TurnoverRatio],
    said: tuple[Sequence[str], Sequence[str]],
    protocol: Mapping[str, Any],
) -> None:
    """Write the page.

    Args:
        file: The page.
        title: What is compared.
        differences: All of them.
        partings: Of runs.
        turnovers: Of runs.
        said: Conclusions, and notes on what was left out.
        protocol: What was compared, and how.
    """
    head, *rows = difference_cells(differences)
    themes = {theme: json.loads(ratio_figure(differences, theme).to_json()) for theme in ("light", "dark")}
    data = {
        "title": title,
        "conclusions": list(said[0]),
        "notes": list(said[1]),
        "decision": {"title": "Layer by layer", "head": head, "rows": rows, "open": True},
        "figures": [{"title": "Ratios of effective ranks", "caption": _CAPTION, "themes": themes}],
        "tables": [
            *([_turnovers(turnovers)] if turnovers else []),
            _partings(partings),
            {
                "title": "How it was measured",
                "head": ["what", "how"],
                "rows": _words(protocol),
            },
        ],
    }
    write_page(file, data, script=analysis_script())


def _words(protocol: Mapping[str, Any]) -> list[list[str]]:
    return [[name, str(value)] for name, value in protocol.items() if value is not None]


def _turnovers(turnovers: Sequence[TurnoverRatio]) -> dict[str, Any]:
    head, *rows = turnover_cells(turnovers)
    return {"title": "How fast layers move: mean turnover between readings", "head": head, "rows": rows}


def _partings(partings: Sequence[Parting]) -> dict[str, Any]:
    head = ["set", "level", "layer", "runs", "higher", "as estimated", "alike until", "apart for sure from"]
    rows = [
        [
            p.place.source,
            p.place.level,
            p.place.layer,
            f"{p.one} / {p.other}",
            p.higher,
            *("-" if step is None else str(step) for step in (p.step, p.alike_until, p.apart_from)),
        ]
        for p in partings
    ]
    return {"title": "Steps at which runs part", "head": head, "rows": rows}
