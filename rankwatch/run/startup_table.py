"""The table that is told once: what was found, where it comes from, and what it costs."""

from __future__ import annotations

from dataclasses import replace

from rankwatch.extraction.model.layers import unwatched_teachers
from rankwatch.monitor.row_collector import RowCollector
from rankwatch.monitor.settings import Settings
from rankwatch.readings.report import Cost, LayerRow, RunHeader


def run_header(settings: Settings, gathering: RowCollector, version: str, cost: Cost | None = None) -> RunHeader:
    """The header of a run; complete after the first reading.

    Args:
        settings: The user's arguments.
        gathering: What was found.
        version: rankwatch's own.
        cost: What the first reading took.
    """
    notes = _notes(gathering)
    if cost is not None:
        seconds = {part: s for part, s in cost.seconds.items() if part not in ("watching", "waiting", "reporting")}
        parts = ", ".join(f"{part} {s:.2f}" for part, s in seconds.items())
        notes.append(
            f"the first reading took {sum(seconds.values()):.2f} s ({parts}); outcomes are told {settings.lag} "
            f"optimiser {'step' if settings.lag == 1 else 'steps'} after their rows were drawn"
        )
    rows = [_row(settings, gathering, index) for index in range(len(gathering.layers))]
    return RunHeader(settings.name, version, rows, settings.levels, settings.sources, settings.every_n_steps, notes)


def _row(settings: Settings, gathering: RowCollector, index: int) -> LayerRow:
    layer = gathering.layers[index]
    facts = gathering.row_extractor.facts.get(layer.name)
    if facts is None:
        why = "not read" if layer.name in gathering.eval_pass.fired else "did not fire"
        return LayerRow(layer.name, layer.label, 0, "-", "-", None, why)
    columns, asked = settings.columns(facts.width), settings.projection
    note = f"k = {asked} >= width: unprojected" if isinstance(asked, int) and columns is None else ""
    frames = settings.frames_per_utterance if "frame" in settings.levels else 0
    kept = gathering.quota * (frames + ("utterance" in settings.levels)) * facts.width * 4 / 1e6
    row = LayerRow(layer.name, layer.label, facts.width, facts.layout, facts.lengths, columns, note)
    return replace(row, cost=f"{kept:.1f} MB")


def _notes(gathering: RowCollector) -> list[str]:
    notes = [*gathering.notes, *gathering.disabled_sources.values()]
    if gathering.row_extractor.mask_note:
        notes.append(gathering.row_extractor.mask_note)
    teachers = unwatched_teachers(gathering.root, gathering.layers)
    if teachers:
        notes.append(f"not watched: the teacher branch; layers=[..., '{teachers[0]}.*'] adds it")
    if gathering.eval_pass.runner is not None and gathering.eval_sets:
        notes.insert(0, f"evaluation sets are run by {gathering.eval_pass.runner.way}")
    return notes
