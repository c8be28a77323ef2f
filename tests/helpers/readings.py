"""Made-up readings for tests of judgement."""

import math

from rankwatch.readings.codebook_reading import CodebookReading
from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading import Reading


def reading(step, rank, *, layer="layers.0", level="frame", source="first_batches", half_width=None, **metrics):
    mode = "train" if source == "train" else "eval"
    protocol = Protocol(source, level, 512, 4, 128, None, mode=mode, seed=metrics.pop("seed", 0))
    return Reading(
        step=step,
        source=source,
        level=level,
        layer=layer,
        effective_rank=rank,
        effective_rank_low=None if half_width is None else rank - half_width,
        effective_rank_high=None if half_width is None else rank + half_width,
        rankme=rank,
        metrics={"mean_energy_fraction": 0.2, "non_finite_fraction": 0.0, **metrics},
        status=frozenset(() if math.isfinite(rank) else {"too_few_rows"}),
        n=2048,
        d=128,
        k=None,
        protocol=protocol,
    )


def codebook_reading(step, perplexity, *, codes=128, quantizer="quantizer", status=()):
    return CodebookReading(
        step=step,
        source="train",
        quantizer=quantizer,
        perplexity=perplexity,
        n_codes=codes,
        n_assignments=2048,
        active_code_fraction=1.0,
        normalized_perplexity=perplexity / codes,
        status=frozenset(status),
        protocol=Protocol("train", "codebook", 512, 0, codes, None, mode="train", power="codes"),
    )
