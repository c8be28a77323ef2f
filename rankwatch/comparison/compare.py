"""``rankwatch compare`` and `rankwatch.compare`: runs or checkpoints side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from rankwatch.analysis.models.model_sources import NamedModel, find_model
from rankwatch.analysis.rows.collect_rows import collect_rows
from rankwatch.analysis.rows.extraction_plan import Extraction, ModelOptions
from rankwatch.comparison.checkpoints.layer_matching import LABEL
from rankwatch.comparison.compare_checkpoints import compare_checkpoints
from rankwatch.comparison.compare_runs import compare_runs
from rankwatch.comparison.comparison_result import Comparison
from rankwatch.comparison.differences.verdicts import AtLeast
from rankwatch.corpora import Corpus, read_corpus
from rankwatch.reporting.recorded.recorded_run import RecordedRun
from rankwatch.reporting.recorded.run_reader import RunReader
from rankwatch.reporting.search.record_search import find_records, run_names
from rankwatch.runtime.argument_kinds import is_number, is_whole, refusal

MOST = 16
"""Runs or models in one comparison: of so many there are 120 pairs."""

Source = nn.Module | str | Path
"""A run (its ``.jsonl`` file or folder), or a model as `rankwatch.analyze` takes it."""

Groups = Mapping[str, Sequence[str]] | None


def compare(
    sources: Sequence[Source] | Mapping[str, Source],
    audio: str | Path | Corpus | None = None,
    *,
    groups: Groups = None,
    same_seeds: bool = False,
    at_least: AtLeast | None = None,
    step: int | None = None,
    match: str = LABEL,
    layers: str | Sequence[str] = "auto",
    forward: Callable[[nn.Module, Any], Any] | None = None,
    n_utterances: int = 512,
    rows: int = 2048,
    max_seconds: float = 15.0,
    sample_rate: int = 16_000,
    seed: int = 0,
    out: str | Path | None = None,
) -> Comparison:
    """Say how two or more runs, or checkpoints, differ in effective rank, layer by layer, and how sure that is.

    Without `audio` the sources are runs, compared by what their records say. With it they are models or checkpoints
    that are run on the same utterances, unpadded and in eval mode: differences are then paired, with intervals that are
    several times narrower, and the similarity of the same layers is measured as well. One layer of each model is in
    memory at a time; the drawn rows lie in temporary files (80 MB a model of 13 layers of 768 and 2,048 rows).

    Args:
        sources: Runs, or with `audio` models, as a list or by name.
        audio: A folder of audio, a manifest, or what `rankwatch.corpora.read_corpus` has read.
        groups: Names of sources that differ in their seed alone, by a name for the group. Then recipes are compared:
            the variation between seeds is in the intervals.
        same_seeds: Whether the sources of each group stand in the order of the same seeds (the first of each has one
            seed, and so on). Then those of one seed are compared, and intervals are mostly narrower.
        at_least: The smallest relative difference that matters, such as 0.1, or one for each level. By default what
            seeds alone do in 95 of 100 layers of our own small runs: 0.11 at frame level, 0.15 at utterance level; with
            groups any difference.
        step: Optimiser step at which runs are compared; the last that all have reached by default.
        match: Which layers of models are compared: ``"label"`` or ``"depth"`` (at the same share of the depth).
        layers: Which layers of models are read: ``"auto"``, or globs over paths of modules.
        forward: ``f(model, (waveforms (1, T), lengths (1,)))`` that runs a model, where that can't be found.
        n_utterances: Utterances that are run, at most.
        rows: Frames that are drawn in all, or a few more.
        max_seconds: Where utterances are cut.
        sample_rate: Samples per second that models expect, where their source doesn't say.
        seed: Of the choice of utterances and frames.
        out: A folder for the results; rows of utterances that are done are kept there.

    Returns:
        Differences, orders within layers, steps at which runs part, and what follows.

    Raises:
        ValueError: If sources can't be found or compared, with the reason and what to do.

    Example:
        >>> from rankwatch import compare
        >>> found = compare({"a": "logs/a", "b": "logs/b"})  # doctest: +SKIP
        >>> print(found.table())  # doctest: +SKIP
    """
    _check(sources, at_least, {"n_utterances": n_utterances, "rows": rows, "sample_rate": sample_rate}, step)
    named = dict(sources) if isinstance(sources, Mapping) else None
    listed = list(named.values()) if named is not None else list(sources)
    folder = Path(out) if out is not None else None
    if audio is None:
        found = _of_runs(listed, list(named) if named is not None else None, (groups, same_seeds), at_least, step)
    else:
        if step is not None:
            raise ValueError("compare: a step belongs to runs; checkpoints are compared as they are")
        extraction = Extraction.planned(
            audio if isinstance(audio, Corpus) else read_corpus(audio),
            utterances=n_utterances,
            rows=rows,
            max_seconds=max_seconds,
            sample_rate=sample_rate,
            seed=seed,
            conventions={},
            folder=folder / "rows" if folder is not None else None,
        )
        models = _models(listed, list(named) if named is not None else None)
        found = _of_models(models, ModelOptions(layers, forward), extraction, (groups, same_seeds), at_least, match)
    if folder is not None:
        found.save(folder)
    return found


def _of_runs(
    sources: Sequence[Source],
    names: Sequence[str] | None,
    groups: tuple[Groups, bool],
    at_least: AtLeast | None,
    step: int | None,
) -> Comparison:
    for source in sources:
        if isinstance(source, nn.Module) or _looks_like_a_model(str(source)):
            shown = type(source).__name__ if isinstance(source, nn.Module) else source
            raise ValueError(f"compare: {shown} is a model; say on which audio models are run: --audio DIR (audio=...)")
    paths = [str(source) for source in sources]
    files = find_records(paths)
    if names is not None and len(files) != len(names):
        raise ValueError(
            f"compare: {len(names)} names for {len(files)} runs: name each run once, by its file or a folder of its own"
        )
    called = list(names) if names is not None else run_names(files)
    runs = [_read(file, name) for file, name in zip(files, called, strict=True)]
    found = compare_runs(runs, groups[0], at_least, step, same_seeds=groups[1])
    problems = [f"{run.name}: {problem}" for run in runs for problem in run.problems]
    return dataclasses.replace(found, notes=(*found.notes, *problems))


def _read(file: str, name: str) -> RecordedRun:
    reader = RunReader(file, name)
    reader.update()
    return reader.run()


def _of_models(
    models: Sequence[NamedModel],
    options: ModelOptions,
    extraction: Extraction,
    groups: tuple[Groups, bool],
    at_least: AtLeast | None,
    match: str,
) -> Comparison:
    notes = list(extraction.corpus.left_out_in_words())
    collected = [collect_rows(one, options, extraction, notes.append) for one in models]
    about = {
        "max_seconds": extraction.max_seconds,
        "sample_rate": extraction.sample_rate,
        "frames_per_utterance": extraction.draws.frames,
        "seed": extraction.draws.seed,
        "calls": {rows.name: rows.call for rows in collected},
    }
    name, same = extraction.corpus.name, groups[1]
    found = compare_checkpoints(collected, name, groups[0], at_least, match, about, same_seeds=same)
    return dataclasses.replace(found, notes=(*notes, *found.notes))


def _models(sources: Sequence[Source], names: Sequence[str] | None) -> list[NamedModel]:
    """All models, by names that differ."""
    found = [find_model(source) for source in sources]
    if names is not None:
        return [dataclasses.replace(one, name=name) for one, name in zip(found, names, strict=True)]
    called = [one.name for one in found]
    if len(set(called)) < len(called):  # checkpoints of several runs are often called alike
        places = [str(source).partition("@")[2] or str(source) for source in sources]
        if not any(isinstance(source, nn.Module) for source in sources) and len(set(places)) == len(places):
            called = run_names([f"{place}/_" for place in places])
            called = [name.removesuffix("/_") for name in called]
    return [
        dataclasses.replace(one, name=f"{name} ({k + 1})" if called.count(name) > 1 else name)
        for k, (one, name) in enumerate(zip(found, called, strict=True))
    ]


def _looks_like_a_model(source: str) -> bool:
    return "@" in source or (":" in source and "://" not in source and not Path(source).exists())


def _check(sources: Any, at_least: Any, numbers: Mapping[str, Any], step: Any) -> None:
    if isinstance(sources, (str, Path, nn.Module)) or not hasattr(sources, "__len__"):
        raise ValueError(refusal("compare", "sources", sources, "a list of runs or models, or a mapping by name"))
    if len(sources) > MOST:
        raise ValueError(f"compare: {len(sources)} runs or models are too many to tell apart; name up to {MOST}")
    values = list(at_least.values()) if isinstance(at_least, Mapping) else [] if at_least is None else [at_least]
    if not all(is_number(one) and one > 0.0 for one in values) or (isinstance(at_least, Mapping) and not values):
        raise ValueError(
            refusal("compare", "at_least", at_least, "a number above 0, such as 0.1, or one for each level")
        )
    for name, value in numbers.items():
        if not is_whole(value, 1):
            raise ValueError(refusal("compare", name, value, "a whole number, at least 1"))
    if step is not None and not is_whole(step, 0):
        raise ValueError(refusal("compare", "step", step, "a whole number, 0 or more"))
