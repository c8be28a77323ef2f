"""What a trained model knows, layer by layer, and which of it is needed: `analyze`, and ``rankwatch analyze``."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from rankwatch._version import __version__
from rankwatch.analysis.analysis_result import Analysis
from rankwatch.analysis.checked_arguments import (
    ModelSource,
    check_abx,
    check_names,
    check_numbers,
    check_tiers,
    corpus_of,
    folder_of,
    named_models,
    span_conventions,
)
from rankwatch.analysis.decision.decide import decide
from rankwatch.analysis.measures.abx.fastabx_scores import abx_protocol
from rankwatch.analysis.measures.probes.tag_measures import tag_protocol
from rankwatch.analysis.measures.profile import measure_models
from rankwatch.analysis.own_names import with_own_names
from rankwatch.analysis.rows.collect_rows import collect_rows
from rankwatch.analysis.rows.extraction_plan import Extraction, ModelOptions
from rankwatch.analysis.rows.row_tables import ModelRows
from rankwatch.analysis.slue_preset import Asked, slue_tasks
from rankwatch.corpora import Corpus
from rankwatch.runtime.terminal.progress import progress

T = TypeVar("T")


def analyze(
    model: ModelSource | Mapping[str, ModelSource],
    audio: str | Path | Corpus,
    *,
    labels: str | Path | None = None,
    alignments: str | Path | None = None,
    against: ModelSource | None = None,
    layers: str | Sequence[str] = "auto",
    forward: Callable[[nn.Module, Any], Any] | None = None,
    feature_extractor: Any = None,
    targets: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    weights: Mapping[str, float] | None = None,
    n_utterances: int = 512,
    rows: int = 2048,
    max_seconds: float = 15.0,
    sample_rate: int = 16_000,
    span_convention: str = "frame_centres",
    preset: str | None = None,
    abx: str | Sequence[str] = (),
    abx_context: str = "auto",
    tags: str | Sequence[str] = (),
    seed: int = 0,
    out: str | Path | None = None,
    tensorboard: bool = False,
) -> Analysis:
    """Say what each layer of a trained model holds, and which layers and how much of the model are needed.

    Every utterance is run by itself, in eval mode and unpadded; frames at the same times and the means of the same
    phones and words are taken from every layer. The measures are those of `rankwatch.metrics`: corrected for the number
    of rows, with utterances (or speakers) left out, and with intervals. Nothing is trained.

    Args:
        model: The model: an object, ``"module:factory"``, ``"module:Class@file.ckpt"``, a folder or name of Hugging
            Face's, or the name of a torchaudio bundle. Several by name in a mapping.
        audio: A folder of audio, a manifest (see the documentation on corpora), or what `rankwatch.corpora.read_corpus`
            has read.
        labels: A table of labels for `audio`.
        alignments: Alignments of phones and words for `audio`: a file or a folder.
        against: Another model, which the layers of the first are compared with.
        layers: Which layers are read: ``"auto"``, or globs over paths of modules.
        forward: ``f(model, (waveforms (1, T), lengths (1,)))`` that runs the model, where that can't be found.
        feature_extractor: What makes the model's input of audio, where it takes features and that can't be found.
        targets: Tiers and columns that are asked about; by default all that have enough labels.
        groups: Columns whose values are looked at apart (sex, language); by default speakers and all of few values.
        weights: How much each property counts in the one order of layers; equally by default.
        n_utterances: Utterances that are run, at most.
        rows: Rows of each kind that are drawn, or a few more; as many as three columns of a layer have each are enough.
        max_seconds: Where utterances are cut.
        sample_rate: Samples per second that the model expects, where its source doesn't say.
        span_convention: Which frames of a phone or word count: ``"frame_centres"`` (whose centre lies in it, as ABX has
            it) or ``"pasad"`` (the middle third of phones, the whole of words: Pasad et al. 2021).
        preset: ``"pasad"`` adds the figures of Pasad et al.'s protocol (PWCCA of 200 spans of each phone and 15 of each
            of the 500 most frequent words: `rankwatch.metrics.published_pwcca`), also with utterances left out.
            ``"slue"`` asks about SLUE's tasks that the corpus has, and scores sentiment by macro F1.
        abx: Tiers whose spans are compared by ABX, such as ``"phone"``: how often a span is nearer to one of another
            label than to one of its own, within and across speakers. Needs fastabx.
        abx_context: Whether ABX compares only spans between the same two neighbours (``"within"``) or any (``"any"``);
            ``"auto"``: within, where at least half of the labels can then be compared.
        tags: Tiers whose labels are tags of spans, such as ``"named_entity"``: a probe tells them in all cells of 80 ms
            of whole utterances, and its frames and spans are scored by F1.
        seed: Of the choice of utterances, times and spans.
        out: A folder for the results; what is done is kept there, so that an interrupted analysis goes on.
        tensorboard: Whether event files for TensorBoard are written into ``out/tensorboard`` as well, a run for each
            model: the measures over the layers, whose number is the step, and pictures.

    Returns:
        Measurements and what follows from them. A ValueError says which argument is not what it may be, which model
        can't be found or run, or why nothing in `audio` can be used, and what to do; an ImportError, what to install.

    Example:
        >>> from rankwatch import analyze
        >>> found = analyze("my_project:make_model", "clips/", labels="clips.csv")  # doctest: +SKIP
        >>> print(found.table())  # doctest: +SKIP
    """
    numbers = {"n_utterances": n_utterances, "rows": rows, "sample_rate": sample_rate, "seed": seed}
    check_numbers(**numbers, max_seconds=max_seconds, preset=preset)
    conventions = span_conventions(span_convention)
    folder, compared = folder_of(out, tensorboard), check_abx(abx, abx_context)
    models = named_models(model, against)
    corpus, renamed = with_own_names(corpus_of(audio, labels, alignments))
    asked = Asked(targets, check_tiers("tags", tags, "named_entity"))
    check_names(corpus, targets, groups, weights, compared, asked.tags)
    if preset == "slue":
        asked = slue_tasks(corpus, targets, asked.tags)
    extraction = Extraction.planned(
        corpus,
        utterances=n_utterances,
        rows=rows,
        max_seconds=max_seconds,
        sample_rate=sample_rate,
        seed=seed,
        conventions=conventions,
        folder=folder / "rows" if folder is not None else None,
        published=preset == "pasad",
        abx=compared,
        abx_context=abx_context,
        tags=asked.tags,
    )
    options = ModelOptions(layers, forward, feature_extractor)
    notes = [*corpus.left_out_in_words(), *renamed, *asked.notes]

    def warn(reason: str) -> None:
        notes.append(reason)
        warnings.warn(f"analyze: {reason}", stacklevel=3)

    collected = [collect_rows(one, options, extraction, warn) for one in models]
    notes += [f"{one.name}: {reason}" for one in collected for reason in one.failures.values()]
    profile = measure_models(collected, names=asked.targets, groupings=groups, working=_layers_in_progress)
    profile.notes = notes + profile.notes
    infos = {one.name: one.layers for one in collected}
    decision = decide(profile, infos, weights, asked.macro_f1)
    analysis = Analysis(infos, profile, decision, _protocol(collected, extraction))
    if folder is not None:
        analysis.save(folder, tensorboard=tensorboard)
    return analysis


def _layers_in_progress(items: Sequence[T]) -> Iterator[T]:
    return progress(items, "measuring layers")


def _protocol(collected: Sequence[ModelRows], extraction: Extraction) -> dict[str, Any]:
    draws = extraction.draws
    return {
        "version": __version__,
        "corpus": extraction.corpus.name,
        "utterances": len(collected[0].utterances),
        "seconds": round(sum(one.seconds or 0.0 for one in collected[0].utterances), 3),
        "frames_per_utterance": draws.frames,
        "spans_per_utterance": dict(draws.spans),
        "span_convention": dict(draws.conventions),
        "spans_by_label": {tier: sum(map(len, places.values())) for tier, places in (draws.published or {}).items()},
        **({"tags": tag_protocol(collected[0])} if extraction.tagged else {}),
        **({"abx": abx_protocol(draws.abx)} if draws.abx else {}),
        "max_seconds": extraction.max_seconds,
        "seed": draws.seed,
        "mode": "eval, each utterance by itself, unpadded",
        "models": {
            one.name: {
                "call": one.call,
                "layers": [
                    {
                        "label": layer.label,
                        "path": layer.path,
                        "kind": layer.kind,
                        "width": layer.width,
                        "tap": layer.tap,
                        **(dataclasses.asdict(layer.cost) if layer.cost is not None else {}),
                    }
                    for layer in one.layers
                ],
            }
            for one in collected
        },
    }
