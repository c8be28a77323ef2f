"""What a comparison found, and how it is written."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankwatch.comparison.differences.difference import Difference
from rankwatch.comparison.differences.orders import Order, orders
from rankwatch.comparison.output.difference_files import write_comparison
from rankwatch.comparison.output.difference_table import difference_table, turnover_table
from rankwatch.comparison.output.sentences import sentences
from rankwatch.comparison.records.parting import Parting
from rankwatch.comparison.records.turnovers import TurnoverRatio
from rankwatch.runtime.files.file_actions import write


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Attributes:
        kind: ``"runs"`` or ``"checkpoints"``.
        differences: Of all pairs of runs, checkpoints or groups, layer by layer.
        partings: Steps at which runs part; of checkpoints none.
        notes: What was left out, in sentences.
        protocol: What was compared, and how, as plain data.
        turnovers: How much faster layers move in one run than in another, where both have read drift at the same steps.
    """

    kind: str
    differences: tuple[Difference, ...]
    partings: tuple[Parting, ...]
    notes: tuple[str, ...]
    protocol: Mapping[str, Any]
    turnovers: tuple[TurnoverRatio, ...] = ()

    @property
    def conclusions(self) -> list[str]:
        """What follows, in plain words, the most useful first."""
        chosen = self.protocol["at_least"] is not None
        return sentences(self.kind, self.differences, self.partings, self.turnovers, chosen)

    @property
    def orders(self) -> list[Order]:
        """The order within each layer, with neighbours that can't be told apart."""
        return orders(self.differences)

    def table(self) -> str:
        """All layers and levels, and below them how fast layers move, as text."""
        moving = ["", *turnover_table(self.turnovers)] if self.turnovers else []
        return "\n".join([*difference_table(self.differences), *moving])

    def to_pandas(self) -> Any:
        """All differences as a ``pandas.DataFrame``, a row for each."""
        pandas: Any = importlib.import_module("pandas")  # no dependency: who calls this has it
        return pandas.DataFrame([one.to_plain() for one in self.differences])

    def save(self, folder: str | Path) -> None:
        """Write ``comparison.jsonl``, ``comparison.csv``, ``conclusions.txt`` and, where plotly is, ``index.html``.

        Args:
            folder: Is made.
        """
        there = Path(folder)
        write_comparison(there, self.protocol, self.differences, self.orders, self.partings, self.turnovers)
        lines = "\n".join([self.table(), "", *self.conclusions, "", *self.notes]) + "\n"
        write(there / "conclusions.txt", lambda file: file.write_text(lines, encoding="utf-8"))
        if importlib.util.find_spec("plotly") is not None:
            page: Any = importlib.import_module("rankwatch.comparison.output.comparison_page")
            title = " and ".join(dict.fromkeys(name for d in self.differences for name in (d.one, d.other)))
            said = self.conclusions, self.notes
            page.write_comparison_page(
                there / "index.html", title, self.differences, self.partings, self.turnovers, said, self.protocol
            )
