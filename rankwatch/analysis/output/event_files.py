"""A profile as event files of TensorBoard: a run for each model, the number of a layer as the step.

A chart then is a measure over depth, and two models lie over each other in it. Tags are the callback's: `Tags.profile`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rankwatch.analysis.measures.measurement import CKA, RANK, SIMILARITY, Measurement
from rankwatch.analysis.measures.profile import Profile
from rankwatch.analysis.output.layer_table import layer_cells
from rankwatch.analysis.output.pictures import curves, likeness_pictures
from rankwatch.analysis.rows.row_tables import LayerInfo
from rankwatch.reporting.markdown_text import table
from rankwatch.reporting.tags import Tags

Curves = dict[str, dict[str, Measurement]]


def write_event_files(
    folder: Path, profile: Profile, models: Mapping[str, Sequence[LayerInfo]], conclusions: Sequence[str]
) -> None:
    """Write a run for each model; what an earlier analysis wrote there is replaced.

    Scalars are all measures of all utterances together, and the ends of their intervals; numbers that aren't finite
    are left out, and what is about pairs of layers is in pictures alone. Groups' numbers are in ``profile.csv``.

    Args:
        folder: Is made; it holds a folder for each model.
        profile: All measurements.
        models: Layers of each model, by its name.
        conclusions: The sentences, which are a text of each run.
    """
    from torch.utils.tensorboard import SummaryWriter  # takes seconds

    tags = Tags()
    for model, name in zip(models, folder_names(list(models)), strict=True):
        there = folder / name
        for file in there.glob("events.out.tfevents.*"):
            file.unlink()
        found = _by_tag(profile, model)
        writer: Any = SummaryWriter(str(there))
        with writer:
            _scalars(writer, tags, found, models[model])
            writer.add_custom_scalars(_layout(tags, found))
            for what, picture in _pictures(profile, models, model, found).items():
                writer.add_image(tags.top(what), picture, 0, dataformats="HWC")
            head, *rows = layer_cells(profile, model, models[model])
            steps = [(str(step), *row) for step, row in enumerate(rows)]
            writer.add_text(tags.top("layers"), table(("step", *head), steps), 0)
            writer.add_text(tags.top("conclusions"), "\n".join(f"- {one}" for one in conclusions), 0)


def folder_names(models: Sequence[str]) -> list[str]:
    """Names of folders for models: letters, digits, dots and dashes, and no two the same.

    Args:
        models: Their names.

    Returns:
        A name for each.

    Example:
        >>> folder_names(["zoo:make", "zoo/make", "base"])
        ['zoo-make', 'zoo-make-2', 'base']
    """
    found: list[str] = []
    for model in models:
        short = re.sub(r"[^\w.-]+", "-", model).strip("-.")[:60] or "model"
        names = [short, *(f"{short}-{k}" for k in range(2, len(models) + 2))]
        found.append(next(name for name in names if name not in found))
    return found


def _by_tag(profile: Profile, model: str) -> Curves:
    """All curves over a model's layers, by the ending of their tag."""
    found: Curves = {}
    for one in profile.measurements:
        if one.model == model and not one.group and one.measure not in (SIMILARITY, CKA):
            about = re.sub(r"[^\w.=-]+", "_", one.target or one.level)
            found.setdefault(f"{one.measure}_{about}", {})[one.layer] = one
    return found


def _scalars(writer: Any, tags: Tags, found: Curves, layers: Sequence[LayerInfo]) -> None:
    steps = {layer.label: step for step, layer in enumerate(layers)}
    for what, by_layer in found.items():
        for label, one in by_layer.items():
            for end, value in (("", one.value), ("_low", one.low), ("_high", one.high)):
                if value is not None and math.isfinite(value):
                    writer.add_scalar(tags.profile(what, end), value, steps[label])


def _layout(tags: Tags, found: Curves) -> dict[str, Any]:
    """The page of Custom Scalars: the curves of one measure in one chart, and each with its interval."""
    measures: dict[str, list[str]] = {}
    bands: dict[str, list[object]] = {}
    for what, by_layer in found.items():
        one = next(iter(by_layer.values()))
        measures.setdefault(one.measure, []).append(f"^{re.escape(tags.profile(what))}$")
        if any(known.low is not None for known in by_layer.values()):
            bands[what] = ["Margin", [tags.profile(what, end) for end in ("", "_low", "_high")]]
    charts = {measure: ["Multiline", names] for measure, names in measures.items()}
    layout = {f"{tags.name}: over the layers": charts, f"{tags.name}: with 90 % intervals": bands}
    return {category: inside for category, inside in layout.items() if inside}


def _pictures(profile: Profile, models: Mapping[str, Sequence[LayerInfo]], model: str, found: Curves) -> dict[str, Any]:
    """Pictures by the ending of their tag: the curves of one measure together, and how alike layers are."""
    together: dict[str, Curves] = {}
    for by_layer in found.values():
        one = next(iter(by_layer.values()))
        together.setdefault(one.measure, {})[one.target or one.level] = by_layer
    drawn: dict[str, Any] = {}
    for measure, by_name in together.items():
        if any(one.target for by_layer in by_name.values() for one in by_layer.values()) or measure == RANK:
            title = f"{measure.replace('_', ' ')} over the layers of {model}"
            drawn[measure] = curves(title, by_name, models[model], share=measure != RANK)
    drawn |= likeness_pictures(profile, models, model)
    return {what: picture for what, picture in drawn.items() if picture is not None}
