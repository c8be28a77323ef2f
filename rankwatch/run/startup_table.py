"""The start-up table of a run: which layers were found, where their lengths come from, and what a reading costs."""

from __future__ import annotations

from dataclasses import replace

from rankwatch.arguments.plain_settings import plain_settings
from rankwatch.arguments.settings import Settings
from rankwatch.extraction.model.layers import unwatched_teachers
from rankwatch.monitor.row_collector import RowCollector
from rankwatch.readings.report import Cost, LayerRow, RunHeader

_MOST_CHANGES = 4  # sentences about layers that differ from batch to batch


def run_header(
    settings: Settings, row_collector: RowCollector, version: str, cost: Cost | None = None, *, processes: int = 1
) -> RunHeader:
    """What is known about a run, complete after its first reading.

    Args:
        settings: The user's arguments.
        row_collector: Knows the layers and evaluation sets that were found.
        version: rankwatch's own.
        cost: What the first reading took.
        processes: How many there are.

    Returns:
        The header, with one row for each layer.
    """
    notes = _notes(row_collector)
    if cost is not None:
        seconds = {part: s for part, s in cost.seconds.items() if part not in ("watching", "waiting", "reporting")}
        parts = ", ".join(f"{part} {s:.2f}" for part, s in seconds.items())
        notes.append(
            f"the first reading took {sum(seconds.values()):.2f} s ({parts}); a reading is reported "
            f"{settings.lag} optimiser {'step' if settings.lag == 1 else 'steps'} after its rows were drawn"
        )
    rows = [_row(settings, row_collector, index) for index in range(len(row_collector.layers))]
    header = RunHeader(settings.name, version, rows, settings.levels, settings.sources, settings.every_n_steps, notes)
    device = next((parameter.device.type for parameter in row_collector.root.parameters()), "cpu")
    about = {"precision": row_collector.precision, "device": device, "processes": processes}
    return replace(header, settings={**plain_settings(settings), **about})


def _row(settings: Settings, row_collector: RowCollector, index: int) -> LayerRow:
    layer = row_collector.layers[index]
    facts = row_collector.row_extractor.facts.get(layer.name)
    if facts is None:
        fired, left_out = row_collector.eval_pass.fired, row_collector.eval_pass.left_out
        why = "not read" if layer.name in fired else "did not fire" if fired else "not read yet"
        if layer.name in left_out:
            why = "left out: it depends on weights that the checkpoint lacks"
        return LayerRow(layer.name, layer.label, 0, "-", "-", None, why)
    columns, asked = settings.rows.columns(facts.width), settings.rows.projection
    note = (
        f"not projected: {asked} columns are not fewer than its width"
        if isinstance(asked, int) and columns is None
        else ""
    )
    frames = settings.rows.frames_per_utterance if "frame" in settings.levels else 0
    quota, wanted = row_collector.quota, settings.rows.n_utterances
    brief = quota * settings.rows.brief_of(wanted) / wanted if frames else 0  # of which more frames are drawn
    count = quota * (frames + ("utterance" in settings.levels)) + brief * (settings.rows.brief_frames - frames)
    megabytes = count * facts.width * 4 / 1e6
    row = LayerRow(layer.name, layer.label, facts.width, facts.layout, facts.lengths, columns, note)
    return replace(row, cost=f"{megabytes:.1f} MB", tap=row_collector.row_extractor.taps.of_any(layer.name))


def _notes(row_collector: RowCollector) -> list[str]:
    notes = [*row_collector.notes, *row_collector.disabled_sources.values()]
    if row_collector.row_extractor.axes_note:
        notes.append(row_collector.row_extractor.axes_note)
    if row_collector.row_extractor.mask_note:
        notes.append(row_collector.row_extractor.mask_note)
    notes += list(row_collector.row_extractor.changes)[:_MOST_CHANGES]
    teachers = unwatched_teachers(row_collector.root, row_collector.layers)
    if teachers:
        notes.append(f"the teacher branch is not watched; layers=[..., {', '.join(map(repr, teachers[:4]))}] adds it")
    if row_collector.eval_pass.runner is not None and row_collector.eval_sets:
        notes.insert(0, row_collector.eval_pass.runner.describe(row_collector.eval_sets.values()))
    return notes
