"""Run the utterances of a corpus through a model, and draw the rows of all layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from rankwatch.analysis.models.depth_cost import counted_parameters, depth_costs
from rankwatch.analysis.models.feature_inputs import default_extractor, feature_input, needs_features
from rankwatch.analysis.models.frame_times import FrameTimes, frame_times
from rankwatch.analysis.models.model_sources import NamedModel
from rankwatch.analysis.models.utterance_frames import UnreadableModel, UtteranceFrames
from rankwatch.analysis.rows.extraction_plan import Extraction, ModelOptions
from rankwatch.analysis.rows.pieces import Piece
from rankwatch.analysis.rows.row_files import RowFiles, fingerprint_of, fingerprint_of_audio
from rankwatch.analysis.rows.row_tables import FRAME, LayerInfo, ModelRows, not_numbers
from rankwatch.analysis.rows.table_writer import TableWriter
from rankwatch.analysis.rows.utterance_rows import UtteranceRows, utterance_rows
from rankwatch.corpora.corpus import counted_in_words
from rankwatch.extraction.execution.preserved_model import preserved_model
from rankwatch.extraction.model.layers import WatchedLayer, find_layers
from rankwatch.runtime.terminal.progress import progress

_REASONS = 8
"""Reasons for which utterances are left out that are told."""


def collect_rows(
    model: NamedModel, options: ModelOptions, extraction: Extraction, warn: Callable[[str], None]
) -> ModelRows:
    """Run all utterances and put their rows together.

    An utterance that can't be read or run is left out with a warning; a layer that can't be read in the first
    utterances is left out altogether.

    Args:
        model: The model; it is left as it was.
        options: How it is run.
        extraction: What is run and drawn.
        warn: Is told what was left out.

    Returns:
        Its rows, which lie in files of a temporary folder until they are no longer used.

    Raises:
        UnreadableModel: If the model can't be run, no layer can be read, or no utterance was left.
    """
    layers = find_layers(model.root, options.layers)
    with preserved_model(model.root, seed=0):
        reader = _reader(model, options, layers, extraction)
        with counted_parameters(model.root, layers) as parameters:
            times, failures = frame_times(reader)
        if not times:
            reasons = "; ".join(failures.values()) or "no layer fired"
            raise UnreadableModel(f"no layer of {model.name} could be read: {reasons}")
        files = RowFiles(extraction.folder, model.name, _settings(model, reader, times, extraction), warn)
        writer = TableWriter([layer.name for layer in layers if layer.name in times])
        left_out = _run_all(reader, times, extraction, files, writer)
    said = counted_in_words(left_out)
    if not writer.ids:
        why = f" ({'; '.join(said[:_REASONS])})" if said else ""
        raise UnreadableModel(f"{model.name}: not one of {len(extraction.pieces)} utterances could be run{why}")
    for reason in said[:_REASONS]:
        warn(f"{model.name}: left out: {reason}")
    if len(said) > _REASONS:
        warn(f"{model.name}: other utterances are left out for {len(said) - _REASONS} further reasons")
    by_id = {piece.utterance.id: piece for piece in extraction.pieces}
    costs = depth_costs(parameters, writer.clocks)
    infos = tuple(
        LayerInfo(
            layer.label,
            layer.name,
            layer.kind,
            writer.width(layer.name),
            costs.get(layer.name),
            reader.taps.get(layer.name, ""),
        )
        for layer in layers
        if layer.name in times
    )
    tables = writer.tables(list(extraction.draws.spans))
    failures |= not_numbers(tables[FRAME])
    return ModelRows(
        model.name,
        reader.call,
        infos,
        tuple(by_id[name].utterance for name in writer.ids),
        tuple(by_id[name].recording for name in writer.ids),
        tables,
        writer.acoustics,
        failures,
        writer.tables_by_label(extraction.draws.published),
        writer.sequences(list(extraction.draws.abx)),
        extraction.draws.abx,
        writer.cells(),
        extraction.tagged,
    )


def _reader(
    model: NamedModel, options: ModelOptions, layers: Sequence[WatchedLayer], extraction: Extraction
) -> UtteranceFrames:
    rate = model.sample_rate or extraction.sample_rate
    extractor = options.extractor if options.extractor is not None else model.extractor
    if extractor is None and options.forward is None and needs_features(model.root):
        extractor = default_extractor(model.root)
    features = feature_input(extractor, rate) if extractor is not None and options.forward is None else None
    return UtteranceFrames(
        model.root,
        layers,
        sample_rate=rate,
        forward=options.forward,
        features=features,
        layouts=dict(options.layouts),
    )


def _settings(
    model: NamedModel, reader: UtteranceFrames, times: Mapping[str, FrameTimes], extraction: Extraction
) -> dict[str, Any]:
    """What all rows hang on: weights, and what the model makes of a second of noise with them, however it is run."""
    draws = extraction.draws
    noise = reader(0.1 * torch.randn(reader.sample_rate, generator=torch.Generator().manual_seed(0)))
    return {
        "weights": fingerprint_of(model.root),
        "outputs": {name: f"{float(noise.frames[name].abs().mean()):.3g}" for name in times if name in noise.frames},
        "call": reader.call,
        "times": {name: [round(one.step, 9), round(one.first, 9)] for name, one in times.items()},
        "sample_rate": reader.sample_rate,
        "max_seconds": extraction.max_seconds,
        "corpus": extraction.corpus.name,
        "draws": [draws.frames, sorted(draws.spans.items()), sorted(draws.conventions.items()), draws.seed],
        # Which spans of an utterance are drawn by label or for ABX hangs on all others that are run.
        **({"published": draws.published} if draws.published is not None else {}),
        **({"tagged": sorted(draws.tagged)} if draws.tagged else {}),
        **({"abx": {tier: draw.places for tier, draw in draws.abx.items()}} if draws.abx else {}),
    }


def _run_all(
    reader: UtteranceFrames,
    times: Mapping[str, FrameTimes],
    extraction: Extraction,
    files: RowFiles,
    writer: TableWriter,
) -> dict[str, str]:
    """Write the rows of all utterances that could be run; of the others why not."""
    seconds = extraction.max_seconds if reader.window is None else min(extraction.max_seconds, reader.window)
    left_out = {}
    try:
        for piece in progress(extraction.pieces, "running the model"):
            key = fingerprint_of_audio(piece.utterance)
            rows = files.get(key)
            if rows is None:
                try:
                    rows = _run_one(reader, times, piece, extraction, seconds)
                except ImportError:
                    raise
                except Exception as error:
                    left_out[piece.utterance.id] = str(error)
                    continue
                files.add(key, rows)
            writer.add(rows)
    finally:
        files.flush()  # whatever ends this, also Ctrl-C
    return left_out


def _run_one(
    reader: UtteranceFrames, times: Mapping[str, FrameTimes], piece: Piece, extraction: Extraction, seconds: float
) -> UtteranceRows:
    utterance = piece.utterance
    waveform = extraction.corpus.read(utterance, reader.sample_rate, seconds)
    if not len(waveform):
        raise ValueError("it holds no samples")
    if not torch.isfinite(waveform).all():
        raise ValueError("samples that are no numbers (NaN or infinite)")
    given = reader(waveform)
    missing = [name for name in times if name not in given.frames or not len(given.frames[name])]
    if missing:
        reason = given.failures.get(missing[0], "it has no frame")
        raise ValueError(f"layer {missing[0]!r} could not be read ({reason})")
    frames = {name: given.frames[name] for name in times}
    return utterance_rows(utterance, waveform, reader.sample_rate, frames, times, extraction.draws, given.seconds)
