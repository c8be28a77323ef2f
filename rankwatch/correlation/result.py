"""What ``rankwatch correlate`` found, and how it is written."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rankwatch.correlation.evidence.association import Association
from rankwatch.correlation.evidence.choice import Choice
from rankwatch.correlation.evidence.findings import Finding, findings
from rankwatch.correlation.inputs.run_series import RunSeries
from rankwatch.correlation.output.correlation_files import write_correlation
from rankwatch.correlation.output.correlation_table import finding_table
from rankwatch.correlation.output.sentences import sentences
from rankwatch.runtime.files.file_actions import write

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Correlation:
    """How label-free measures go with labelled checks, and what choosing by them would have lost.

    Attributes:
        runs: The series that were compared.
        associations: All correlations: of each run, of all runs together (whose `run` is empty), and across runs.
        choices: All choices, likewise.
        layer: The layer that sentences speak of; each check's best one where it is empty.
        protocol: What was compared and how, as plain data.
    """

    runs: Sequence[RunSeries]
    associations: Sequence[Association]
    choices: Sequence[Choice]
    layer: str
    protocol: Mapping[str, Any]

    @cached_property
    def findings(self) -> list[Finding]:
        """What follows for each check."""
        return findings(
            self.runs,
            [one for one in self.associations if not one.run],
            [one for one in self.choices if not one.run],
            self.layer,
        )

    @property
    def sentences(self) -> list[str]:
        """The same in whole sentences, a paragraph for each check."""
        return sentences(self.findings)

    @property
    def notes(self) -> list[str]:
        """What was left out, or should be known of the runs."""
        return [note for run in self.runs for note in run.notes]

    def table(self, check: int = 0) -> str:
        """Every measure's correlation with one check, and what choosing by it would have lost, as text.

        Args:
            check: Which of `findings`.

        Returns:
            Lines.
        """
        pooled = [one for one in self.associations if not one.run]
        return "\n".join(finding_table(self.findings[check], pooled, [one for one in self.choices if not one.run]))

    def to_pandas(self, what: str = "associations") -> Any:
        """A ``pandas.DataFrame``, a row for each.

        Args:
            what: ``"associations"`` or ``"choices"``.

        Returns:
            The table.

        Raises:
            ValueError: If there is nothing of that name.
        """
        if what not in ("associations", "choices"):
            raise ValueError(f"there are 'associations' and 'choices', and no {what!r}")
        pandas: Any = importlib.import_module("pandas")  # no dependency: who calls this has it
        rows: Sequence[Association] | Sequence[Choice] = getattr(self, what)
        return pandas.DataFrame([one.to_plain() for one in rows])

    def figure(self, check: int = 0, *, theme: str = "light") -> go.Figure:
        """Rank and check over time, correlations layer by layer, and what each rule would have lost.

        Args:
            check: Which of `findings`.
            theme: ``"light"`` or ``"dark"``.

        Returns:
            The figure; it needs plotly.
        """
        drawing: Any = importlib.import_module("rankwatch.correlation.output.correlation_figure")
        finding = self.findings[check]
        figure: go.Figure = drawing.correlation_figure(self.runs, self.associations, self.choices, finding, theme)
        return figure

    def save(self, folder: str | Path) -> None:
        """Write tables, sentences, and where plotly is, ``correlation.html`` (and ``.png`` where kaleido is, too).

        Args:
            folder: Is made.
        """
        there = Path(folder)
        write_correlation(there, self.protocol, self.associations, self.choices, self.sentences)
        tables = [self.table(place) + "\n" for place in range(len(self.findings))]
        text = "\n\n".join([*self.sentences, *tables, *self.notes]) + "\n"
        write(there / "sentences.txt", lambda file: file.write_text(text, encoding="utf-8"))
        if importlib.util.find_spec("plotly") is not None and self.findings:
            drawing: Any = importlib.import_module("rankwatch.correlation.output.correlation_figure")
            figures = [self.figure(place) for place in range(len(self.findings))]
            drawing.write_figures(there, figures, self.sentences)
