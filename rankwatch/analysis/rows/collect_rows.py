"""Run the utterances of a corpus through a model, and draw the rows of all layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rankwatch.analysis.models.depth_cost import counted_parameters, depth_costs
from rankwatch.analysis.models.feature_inputs import default_extractor, feature_input, needs_features
from rankwatch.analysis.models.frame_times import FrameTimes, frame_times
from rankwatch.analysis.models.model_sources import NamedModel
from rankwatch.analysis.models.utterance_frames import Forward, UnreadableModel, UtteranceFrames
from rankwatch.analysis.rows.pieces import Piece, choose_pieces
from rankwatch.analysis.rows.row_files import RowFiles, fingerprint_of
from rankwatch.analysis.rows.row_tables import LayerInfo, ModelRows, row_tables
from rankwatch.analysis.rows.utterance_rows import Draws, UtteranceRows, utterance_rows
from rankwatch.corpora import Corpus
from rankwatch.extraction.execution.preserved_model import preserved_model
from rankwatch.extraction.model.layers import WatchedLayer, find_layers
from rankwatch.runtime.terminal.progress import progress


@dataclass(frozen=True)
class Extraction:
    """How rows are made, the same for all models that are compared.

    Attributes:
        corpus: The audio.
        pieces: The utterances that are run, in order.
        draws: What is drawn from each.
        max_seconds: Where utterances are cut.
        sample_rate: Samples per second, unless a model's source says otherwise.
        folder: Where rows are kept while the analysis goes on, or None.
    """

    corpus: Corpus
    pieces: tuple[Piece, ...]
    draws: Draws
    max_seconds: float
    sample_rate: int
    folder: Path | None

    @classmethod
    def planned(
        cls,
        corpus: Corpus,
        *,
        utterances: int,
        rows: int,
        max_seconds: float,
        sample_rate: int,
        seed: int,
        conventions: Mapping[str, str],
        folder: Path | None,
    ) -> Extraction:
        """Choose utterances, and so many times and spans of each that there are `rows` of every kind, or a few more."""
        pieces = tuple(choose_pieces(corpus, utterances, max_seconds, seed))
        tiers = {tier: sum(bool(p.utterance.spans.get(tier)) for p in pieces) for tier in corpus.tiers()}
        spans = {tier: -(-rows // having) for tier, having in tiers.items() if having}
        draws = Draws(-(-rows // max(len(pieces), 1)), spans, dict(conventions), seed)
        return cls(corpus, pieces, draws, max_seconds, sample_rate, folder)


@dataclass(frozen=True)
class ModelOptions:
    """How one model is run.

    Attributes:
        layers: Which layers are read, as `rankwatch.RankWatch` has it.
        forward: The user's own way to run it, or None.
        extractor: Its feature extractor, or None to find one where it needs one.
        layouts: The layouts that the user says, by glob over layers.
    """

    layers: str | Sequence[str] = "auto"
    forward: Forward | None = None
    extractor: Any = None
    layouts: Mapping[str, str] = dataclasses.field(default_factory=dict)


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
        Its rows.

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
        files = RowFiles(extraction.folder, model.name, _settings(model, reader, list(times), extraction))
        parts = _run_all(reader, times, extraction, files, warn)
    if not parts:
        raise UnreadableModel(f"{model.name}: not one of {len(extraction.pieces)} utterances could be run")
    by_id = {piece.utterance.id: piece for piece in extraction.pieces}
    names = [layer.name for layer in layers if layer.name in times]
    costs = depth_costs(parameters, [part.clock for part in parts])
    infos = tuple(
        LayerInfo(
            layer.label,
            layer.name,
            layer.kind,
            int(parts[0].mean[layer.name].shape[0]),
            costs.get(layer.name),
            reader.taps.get(layer.name, ""),
        )
        for layer in layers
        if layer.name in times
    )
    tables = row_tables(parts, list(extraction.draws.spans), names)
    acoustics = [part.acoustics for part in parts]
    return ModelRows(
        model.name,
        reader.call,
        infos,
        tuple(by_id[part.id].utterance for part in parts),
        tuple(by_id[part.id].recording for part in parts),
        tables,
        torch.cat(acoustics),
        failures,
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


def _settings(model: NamedModel, reader: UtteranceFrames, layers: list[str], extraction: Extraction) -> dict[str, Any]:
    draws = extraction.draws
    return {
        "weights": fingerprint_of(model.root),
        "call": reader.call,
        "layers": layers,
        "sample_rate": reader.sample_rate,
        "max_seconds": extraction.max_seconds,
        "corpus": extraction.corpus.name,
        "draws": [draws.frames, sorted(draws.spans.items()), sorted(draws.conventions.items()), draws.seed],
    }


def _run_all(
    reader: UtteranceFrames,
    times: Mapping[str, FrameTimes],
    extraction: Extraction,
    files: RowFiles,
    warn: Callable[[str], None],
) -> list[UtteranceRows]:
    done = files.load()
    seconds = extraction.max_seconds if reader.window is None else min(extraction.max_seconds, reader.window)
    found = []
    try:
        for piece in progress(extraction.pieces, "running the model"):
            name = piece.utterance.id
            if name not in done:
                try:
                    done[name] = _run_one(reader, times, piece, extraction, seconds)
                except ImportError:
                    raise
                except Exception as error:
                    warn(f"{name} is left out: {error}")
                    continue
                files.add(done[name])
            found.append(done[name])
    finally:
        files.flush()  # whatever ends this, also Ctrl-C
    return found


def _run_one(
    reader: UtteranceFrames, times: Mapping[str, FrameTimes], piece: Piece, extraction: Extraction, seconds: float
) -> UtteranceRows:
    utterance = piece.utterance
    waveform = extraction.corpus.read(utterance, reader.sample_rate, seconds)
    if not len(waveform):
        raise ValueError("it holds no samples")
    given = reader(waveform)
    missing = [name for name in times if name not in given.frames or not len(given.frames[name])]
    if missing:
        reason = given.failures.get(missing[0], "it has no frame")
        raise ValueError(f"layer {missing[0]!r} could not be read ({reason})")
    frames = {name: given.frames[name] for name in times}
    return utterance_rows(utterance, waveform, reader.sample_rate, frames, times, extraction.draws, given.seconds)
