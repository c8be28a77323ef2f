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
from rankwatch.analysis.decision.decide import decide
from rankwatch.analysis.measures.profile import measure_models
from rankwatch.analysis.models.model_sources import NamedModel, find_model
from rankwatch.analysis.rows.collect_rows import Extraction, ModelOptions, collect_rows
from rankwatch.analysis.rows.row_tables import ModelRows, columns_of
from rankwatch.corpora import Corpus, read_corpus
from rankwatch.numerics.spans.span_frames import PASAD_PHONES, PASAD_WORDS
from rankwatch.runtime.argument_kinds import is_number, is_path, is_whole, refusal
from rankwatch.runtime.terminal.progress import progress

ModelSource = nn.Module | str | Path
"""A model, or how it is found: see `find_model`."""

T = TypeVar("T")

_CONVENTIONS: dict[str, dict[str, str]] = {
    "frame_centres": {},
    "pasad": {"phone": PASAD_PHONES, "phones": PASAD_PHONES, "word": PASAD_WORDS, "words": PASAD_WORDS},
}
"""Which frames the spans of a tier cover, where it isn't those whose centre lies in them."""


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
    seed: int = 0,
    out: str | Path | None = None,
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
        seed: Of the choice of utterances, times and spans.
        out: A folder for the results; what is done is kept there, so that an interrupted analysis goes on.

    Returns:
        Measurements and what follows from them. A ValueError says which argument is not what it may be, which model
        can't be found or run, or why nothing in `audio` can be used, and what to do.

    Example:
        >>> from rankwatch import analyze
        >>> found = analyze("my_project:make_model", "clips/", labels="clips.csv")  # doctest: +SKIP
        >>> print(found.table())  # doctest: +SKIP
    """
    numbers = {"n_utterances": n_utterances, "rows": rows, "sample_rate": sample_rate, "seed": seed}
    _check(**numbers, max_seconds=max_seconds, preset=preset)
    conventions = _conventions(span_convention)
    models = _models(model, against)
    corpus = _corpus(audio, labels, alignments)
    _check_names(corpus, targets, groups, weights)
    folder = _folder(out)
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
    )
    options = ModelOptions(layers, forward, feature_extractor)
    notes = corpus.left_out_in_words()

    def warn(reason: str) -> None:
        notes.append(reason)
        warnings.warn(f"analyze: {reason}", stacklevel=3)

    collected = [collect_rows(one, options, extraction, warn) for one in models]
    notes += [f"{one.name}: {reason}" for one in collected for reason in one.failures.values()]
    profile = measure_models(collected, names=targets, groupings=groups, working=_layers_in_progress)
    profile.notes = notes + profile.notes
    infos = {one.name: one.layers for one in collected}
    analysis = Analysis(infos, profile, decide(profile, infos, weights), _protocol(collected, extraction))
    if folder is not None:
        analysis.save(folder)
    return analysis


def _layers_in_progress(items: Sequence[T]) -> Iterator[T]:
    return progress(items, "measuring layers")


def _check(**given: Any) -> None:
    for name in ("n_utterances", "rows", "sample_rate"):
        if not is_whole(given[name], 1):
            raise ValueError(refusal("analyze", name, given[name], "a whole number, at least 1"))
    if not is_whole(given["seed"], 0):
        raise ValueError(refusal("analyze", "seed", given["seed"], "a whole number, 0 or more"))
    if given["preset"] not in (None, "pasad"):
        raise ValueError(refusal("analyze", "preset", given["preset"], "'pasad', or None"))
    seconds = given["max_seconds"]
    if not is_number(seconds) or not seconds > 0.0:
        raise ValueError(refusal("analyze", "max_seconds", seconds, "a number of seconds above 0"))


def _conventions(name: str) -> dict[str, str]:
    if name not in _CONVENTIONS:
        raise ValueError(refusal("analyze", "span_convention", name, " or ".join(map(repr, _CONVENTIONS))))
    return _CONVENTIONS[name]


def _models(model: ModelSource | Mapping[str, ModelSource], against: ModelSource | None) -> list[NamedModel]:
    sources = dict(model) if isinstance(model, Mapping) else {"": model}
    if not sources:
        raise ValueError(refusal("analyze", "model", model, "at least one model by name"))
    found = []
    for name, source in [*sources.items(), *([("", against)] if against is not None else [])]:
        _check_source(source)
        one = find_model(source)
        found.append(dataclasses.replace(one, name=name) if name else one)
    names = [one.name for one in found]
    return [
        dataclasses.replace(one, name=f"{one.name} ({k + 1})") if names.count(one.name) > 1 else one
        for k, one in enumerate(found)
    ]


def _folder(out: str | Path | None) -> Path | None:
    if out is None:
        return None
    if not is_path(out) or (Path(out).exists() and not Path(out).is_dir()):
        raise ValueError(refusal("analyze", "out", out, "a folder, which is made where there is none, or None"))
    return Path(out)


def _check_source(source: object) -> None:
    if not isinstance(source, (nn.Module, str, Path)):
        wanted = "a torch.nn.Module, module:factory, a folder, or the name of a model"
        raise ValueError(refusal("analyze", "model", source, wanted))


def _corpus(audio: str | Path | Corpus, labels: str | Path | None, alignments: str | Path | None) -> Corpus:
    if isinstance(audio, Corpus):
        if labels is not None or alignments is not None:
            raise ValueError("analyze: labels and alignments belong to a corpus that was read already; pass them to it")
        return audio
    if not is_path(audio):
        raise ValueError(refusal("analyze", "audio", audio, "a folder, a manifest, or a Corpus"))
    return read_corpus(audio, labels=labels, alignments=alignments)


def _check_names(
    corpus: Corpus,
    targets: Sequence[str] | None,
    groups: Sequence[str] | None,
    weights: Mapping[str, float] | None,
) -> None:
    """Refuse what the corpus doesn't know, before a model is run."""
    tiers, columns = list(corpus.tiers()), columns_of(corpus.utterances)
    for argument, names, there in (
        ("targets", targets, [*tiers, *columns]),
        ("groups", groups, [*columns]),
        ("weights", weights, [*tiers, *columns]),
    ):
        unknown = [name for name in names or () if name not in there]
        if unknown:
            raise ValueError(f"analyze: {argument}: nothing in the corpus is called {unknown[0]!r}; there are {there}")
    numbers = list((weights or {}).values())
    if weights is not None and not (all(is_number(one) and one >= 0.0 for one in numbers) and any(numbers)):
        raise ValueError(f"analyze: weights must be numbers, none negative and not all of them zero: {dict(weights)}")


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
