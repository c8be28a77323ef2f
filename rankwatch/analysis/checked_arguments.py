"""The arguments of `rankwatch.analyze`, checked before a model is run: what is wrong is said by its name."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from rankwatch.analysis.measures.abx.fastabx_scores import missing_fastabx
from rankwatch.analysis.models.model_sources import NamedModel, find_model
from rankwatch.analysis.rows.row_tables import columns_of
from rankwatch.analysis.rows.sequences.abx_draws import ANY, AUTO, WITHIN
from rankwatch.corpora import Corpus, read_corpus
from rankwatch.numerics.spans.span_frames import PASAD_PHONES, PASAD_WORDS
from rankwatch.runtime.argument_kinds import is_flag, is_number, is_path, is_whole, refusal, words

ModelSource = nn.Module | str | Path
"""A model, or how it is found: see `find_model`."""

_CONVENTIONS: dict[str, dict[str, str]] = {
    "frame_centres": {},
    "pasad": {"phone": PASAD_PHONES, "phones": PASAD_PHONES, "word": PASAD_WORDS, "words": PASAD_WORDS},
}
"""Which frames the spans of a tier cover, where it isn't those whose centre lies in them."""


def check_numbers(**given: Any) -> None:
    """Refuse numbers and presets that are none.

    Args:
        **given: `analyze`'s arguments by name.

    Raises:
        ValueError: Says which is not what it may be.
    """
    for name in ("n_utterances", "rows", "sample_rate"):
        if not is_whole(given[name], 1):
            raise ValueError(refusal("analyze", name, given[name], "a whole number, at least 1"))
    if not is_whole(given["seed"], 0):
        raise ValueError(refusal("analyze", "seed", given["seed"], "a whole number, 0 or more"))
    if given["preset"] not in (None, "pasad", "slue"):
        raise ValueError(refusal("analyze", "preset", given["preset"], "'pasad', 'slue', or None"))
    seconds = given["max_seconds"]
    if not is_number(seconds) or not seconds > 0.0:
        raise ValueError(refusal("analyze", "max_seconds", seconds, "a number of seconds above 0"))


def span_conventions(name: str) -> dict[str, str]:
    """Which frames the spans of each tier cover, where it isn't those whose centre lies in them.

    Args:
        name: `analyze`'s `span_convention`.

    Returns:
        Conventions by tier.

    Raises:
        ValueError: If there is no convention of that name.
    """
    if name not in _CONVENTIONS:
        raise ValueError(refusal("analyze", "span_convention", name, " or ".join(map(repr, _CONVENTIONS))))
    return _CONVENTIONS[name]


def named_models(model: ModelSource | Mapping[str, ModelSource], against: ModelSource | None) -> list[NamedModel]:
    """Find the models, and tell those of one name apart.

    Args:
        model: `analyze`'s.
        against: Likewise.

    Returns:
        All models, the one that others are compared with last.

    Raises:
        ValueError: If one is nothing that a model can be found by.
    """
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


def _check_source(source: object) -> None:
    if not isinstance(source, (nn.Module, str, Path)):
        wanted = "a torch.nn.Module, module:factory, a folder, or the name of a model"
        raise ValueError(refusal("analyze", "model", source, wanted))


def folder_of(out: str | Path | None, tensorboard: bool) -> Path | None:
    """Where the results go.

    Args:
        out: `analyze`'s.
        tensorboard: Likewise.

    Returns:
        The folder, or None for none.

    Raises:
        ValueError: If `out` is no folder, or event files are wanted without one.
        ImportError: If event files are wanted and TensorBoard isn't there.
    """
    if not is_flag(tensorboard):
        raise ValueError(refusal("analyze", "tensorboard", tensorboard, "True or False"))
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ImportError("analyze: tensorboard=True needs TensorBoard, which isn't installed: pip install tensorboard")
    if out is None:
        if tensorboard:
            raise ValueError("analyze: tensorboard=True writes into the folder of the results: say which by out=")
        return None
    if not is_path(out) or (Path(out).exists() and not Path(out).is_dir()):
        raise ValueError(refusal("analyze", "out", out, "a folder, which is made where there is none, or None"))
    return Path(out)


def corpus_of(audio: str | Path | Corpus, labels: str | Path | None, alignments: str | Path | None) -> Corpus:
    """Read the corpus, if it wasn't yet.

    Args:
        audio: `analyze`'s.
        labels: Likewise.
        alignments: Likewise.

    Returns:
        The corpus.

    Raises:
        ValueError: If `audio` is nothing that can be read, or labels are named beside a corpus that was read already.
    """
    if isinstance(audio, Corpus):
        if labels is not None or alignments is not None:
            raise ValueError("analyze: labels and alignments belong to a corpus that was read already; pass them to it")
        return audio
    if not is_path(audio):
        raise ValueError(refusal("analyze", "audio", audio, "a folder, a manifest, or a Corpus"))
    return read_corpus(audio, labels=labels, alignments=alignments)


def check_abx(abx: str | Sequence[str], context: str) -> tuple[str, ...]:
    """The tiers for ABX.

    Args:
        abx: `analyze`'s: a tier, or several.
        context: `analyze`'s `abx_context`.

    Returns:
        The tiers.

    Raises:
        ValueError: If these are no names, or there is no such context.
        ImportError: If there are some, and fastabx isn't there.
    """
    tiers = check_tiers("abx", abx, "phone")
    if context not in (AUTO, WITHIN, ANY):
        raise ValueError(refusal("analyze", "abx_context", context, "'auto', 'within' or 'any'"))
    if tiers and (missing := missing_fastabx()):
        raise ImportError(f"analyze: {missing}")
    return tiers


def check_tiers(argument: str, tiers: str | Sequence[str], example: str) -> tuple[str, ...]:
    """Tiers that were named.

    Args:
        argument: By which argument.
        tiers: One, or several, or none.
        example: A name that a tier may have.

    Returns:
        All of them, each once.

    Raises:
        ValueError: If these are no names.
    """
    none = isinstance(tiers, Sequence) and not isinstance(tiers, str) and not len(tiers)
    found = () if none else words([tiers] if isinstance(tiers, str) else tiers)
    if found is None:
        wanted = f"a tier of the alignments, or several, such as {example!r}"
        raise ValueError(refusal("analyze", argument, tiers, wanted))
    return tuple(dict.fromkeys(found))


def check_names(
    corpus: Corpus,
    targets: Sequence[str] | None,
    groups: Sequence[str] | None,
    weights: Mapping[str, float] | None,
    abx: Sequence[str],
    tags: Sequence[str],
) -> None:
    """Refuse what the corpus doesn't know, before a model is run.

    Args:
        corpus: What was read.
        targets: `analyze`'s.
        groups: Likewise.
        weights: Likewise.
        abx: The tiers for ABX.
        tags: The tiers of tags.

    Raises:
        ValueError: If nothing in the corpus has such a name, or a weight is none.
    """
    tiers, columns = list(corpus.tiers()), columns_of(corpus.utterances)
    for argument, names, there in (
        ("targets", targets, [*tiers, *columns]),
        ("groups", groups, [*columns]),
        ("weights", weights, [*tiers, *columns]),
        ("abx", abx, tiers),
        ("tags", tags, tiers),
    ):
        unknown = [name for name in names or () if name not in there]
        if unknown:
            known = f"there are {there}" if there else "it has no alignments: alignments= says where they are"
            raise ValueError(f"analyze: {argument}: nothing in the corpus is called {unknown[0]!r}; {known}")
    numbers = list((weights or {}).values())
    if weights is not None and not (all(is_number(one) and one >= 0.0 for one in numbers) and any(numbers)):
        raise ValueError(f"analyze: weights must be numbers, none negative and not all of them zero: {dict(weights)}")
