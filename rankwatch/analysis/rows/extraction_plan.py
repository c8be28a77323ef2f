"""What is run and drawn, the same for all models that are compared, and how one model is run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankwatch.analysis.models.utterance_frames import Forward
from rankwatch.analysis.rows.pieces import Piece, choose_pieces
from rankwatch.analysis.rows.published_draws import published_spans
from rankwatch.analysis.rows.sequences.abx_draws import AUTO, SECONDS, abx_spans
from rankwatch.analysis.rows.sequences.cell_rows import CELLS, tagged_utterances
from rankwatch.analysis.rows.utterance_rows import Draws
from rankwatch.corpora import Corpus


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
        tagged: Tiers of tags.
    """

    corpus: Corpus
    pieces: tuple[Piece, ...]
    draws: Draws
    max_seconds: float
    sample_rate: int
    folder: Path | None
    tagged: tuple[str, ...] = ()

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
        published: bool = False,
        abx: Sequence[str] = (),
        abx_context: str = AUTO,
        tags: Sequence[str] = (),
    ) -> Extraction:
        """Choose utterances, and so many times and spans of each that there are `rows` of every kind, or a few more."""
        pieces = tuple(choose_pieces(corpus, utterances, max_seconds, seed))
        tiers = {tier: sum(bool(p.utterance.spans.get(tier)) for p in pieces) for tier in corpus.tiers()}
        spans = {tier: -(-rows // having) for tier, having in tiers.items() if having}
        by_label = published_spans(pieces, spans, seed) if published else None
        compared = {tier: abx_spans(pieces, tier, SECONDS * rows, seed, abx_context) for tier in abx}
        told = tagged_utterances(pieces, tags, CELLS * rows, seed)
        draws = Draws(-(-rows // max(len(pieces), 1)), spans, dict(conventions), seed, by_label, compared, told)
        return cls(corpus, pieces, draws, max_seconds, sample_rate, folder, tuple(tags))


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
