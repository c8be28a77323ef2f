"""What an analysis found: measurements, what follows from them, and how they are written."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankwatch.analysis.decision.decide import Decision
from rankwatch.analysis.decision.sentences import sentences
from rankwatch.analysis.measures.measurement import Measurement
from rankwatch.analysis.measures.profile import Profile
from rankwatch.analysis.output.event_files import write_event_files
from rankwatch.analysis.output.layer_table import layer_table
from rankwatch.analysis.output.profile_files import write_profile, write_text
from rankwatch.analysis.rows.row_tables import LayerInfo


@dataclass(frozen=True)
class Analysis:
    """What was found.

    Attributes:
        layers: The layers of each model, by its name.
        profile: All measurements.
        decision: What follows from them.
        protocol: How everything was measured, as plain data.
    """

    layers: Mapping[str, tuple[LayerInfo, ...]]
    profile: Profile
    decision: Decision
    protocol: Mapping[str, Any]

    @property
    def measurements(self) -> list[Measurement]:
        """All measurements, in the order in which they were made."""
        return self.profile.measurements

    @property
    def conclusions(self) -> list[str]:
        """What follows, in plain words, the most useful first."""
        return sentences(self.decision, self.profile, self.layers)

    def table(self, model: str | None = None) -> str:
        """The layers of a model and what was measured of them, as text.

        Args:
            model: The model's name; the first by default.

        Returns:
            A line for each layer.
        """
        name = model if model is not None else next(iter(self.layers))
        return "\n".join(layer_table(self.profile, name, self.layers[name]))

    def to_pandas(self) -> Any:
        """All measurements as a ``pandas.DataFrame``, a row for each."""
        pandas: Any = importlib.import_module("pandas")  # no dependency: who calls this has it
        return pandas.DataFrame([one.to_plain() for one in self.measurements])

    def save(self, folder: str | Path, *, tensorboard: bool = False) -> None:
        """Write ``profile.jsonl``, ``profile.csv``, ``conclusions.txt`` and, where plotly is, ``index.html``.

        Args:
            folder: Is made.
            tensorboard: Whether event files are written into ``tensorboard/`` as well; needs TensorBoard.
        """
        there = Path(folder)
        write_profile(there, self.protocol, self.measurements)
        tables = [line for name in self.layers for line in (name, self.table(name), "")]
        write_text(there / "conclusions.txt", [*tables, *self.conclusions, "", *self.profile.notes])
        if importlib.util.find_spec("plotly") is not None:
            page: Any = importlib.import_module("rankwatch.analysis.output.analysis_page")
            title = f"{' and '.join(self.layers)} on {self.protocol['corpus']}"
            parts = (self.profile, self.decision, self.layers, self.conclusions, self.protocol)
            page.write_analysis_page(there / "index.html", title, *parts)
        if tensorboard:
            write_event_files(there / "tensorboard", self.profile, self.layers, self.conclusions)
