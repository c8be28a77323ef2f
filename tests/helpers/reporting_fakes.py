"""A run that never happened, but could have: headers and reports for the reporters' tests."""

from __future__ import annotations

import math

import numpy as np

from rankwatch.readings.alarm import Alarm
from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading import Reading
from rankwatch.readings.report import Cost, LayerRow, Report, RunEnd, RunHeader, summarise_layers

WIDTH, POINTS = 768, 64
LEVELS, SOURCES = ("frame", "utterance"), ("first_batches", "music")


def fake_header(
    layers: int = 7, levels: tuple[str, ...] = LEVELS, sources: tuple[str, ...] = SOURCES, name: str = "RankWatch"
) -> RunHeader:
    front = LayerRow(
        "wav2vec2.feature_extractor.conv_layers.6", "L00", 512, "(B, C, T)", "feature_extractor's output", 256
    )
    blocks = [
        LayerRow(
            f"wav2vec2.encoder.transformer.layers.{i}", f"L{i + 1:02}", WIDTH, "(B, T, C)", "encoder's lengths", 256
        )
        for i in range(layers - 1)
    ]
    notes = ("Masked and unmasked frames are told apart; unmasked ones are read.",)
    return RunHeader(name, "0.1.0", [front, *blocks], levels, sources, 250, notes)


def fake_reading(
    header: RunHeader, depth: int, level: str, source: str, step: int, rank: float, *, interval: bool = True
) -> Reading:
    row = header.layers[depth]
    each = 4 if level == "frame" else 1
    at = np.geomspace(1.0, row.width, POINTS)
    spectrum = np.exp(-at / max(rank, 1.0) * 1.1) / math.exp(-1.1 / max(rank, 1.0))
    share = float(np.clip(1.0 - rank / row.width, 0.0, 0.999))
    return Reading(
        step=step,
        source=source,
        level=level,
        layer=row.layer,
        effective_rank=rank,
        effective_rank_low=rank * 0.93 if interval else None,
        effective_rank_high=rank * 1.06 if interval else None,
        rankme=None,
        metrics={
            "mean_energy_fraction": share,
            "top1_explained_variance": share * 0.3,
            "participation_ratio": rank * 0.4,
            "stable_rank": rank * 0.1,
        },
        status=frozenset(() if math.isfinite(rank) else {"too_few_rows"}),
        n=512 * each,
        d=row.width,
        k=256,
        protocol=Protocol(source, level, 512, each, row.width, 256),
        spectrum=tuple(float(v) for v in spectrum) if math.isfinite(rank) else (),
    )


def fake_run(
    layers: int = 7,
    readings: int = 40,
    *,
    collapse: bool = True,
    intervals: bool = True,
    records: str = "",
    **header: object,
) -> tuple[RunHeader, list[Report], RunEnd]:
    """A run in which, with `collapse`, the deeper half loses its dimensions from reading 24 on."""
    top = fake_header(layers, **header)  # type: ignore[arg-type]
    noise = np.random.default_rng(0)
    steps = [top.every_n_steps * (i + 1) for i in range(readings)]
    history = {(s, v): ([], [[] for _ in top.layers]) for s in top.sources for v in top.levels}
    reports: list[Report] = []
    raised: list[Alarm] = []
    for i, step in enumerate(steps):
        found = []
        for source, level in history:
            history[source, level][0].append(step)
            for depth in range(layers):
                rank = _rank(i, depth, layers, level, source, collapse) * float(noise.normal(1.0, 0.015))
                history[source, level][1][depth].append(rank)
                found.append(fake_reading(top, depth, level, source, step, rank, interval=intervals))
        new = _alarms(top, found, raised, i, step) if collapse else []
        raised += new
        worst = min(1.0, min(r.effective_rank / 200 for r in found if r.level == "frame"))
        message = f"Dimensional collapse in {len(new)} layers, L{layers - 1:02} first: is the teacher the student?"
        reports.append(
            Report(
                step=step,
                readings=found,
                alarms=new,
                open_alarms=list(raised),
                health=worst if collapse else min(1.0, 0.97 + float(noise.normal(0, 0.01))),
                alarm_level=2 if raised else 0,
                summary=summarise_layers(found),
                history={key: (list(s), [list(row) for row in rows]) for key, (s, rows) in history.items()},
                message=message if new else "",
                cost=Cost({"forward": 0.8, "exchange": 0.01, "decomposition": 0.3}, 0.006 + 0.01 / (i + 1), 1 << 20),
            )
        )
    end = RunEnd(steps[-1], readings, reports[-1].cost.share, 33.0, raised, records, bool(raised), "")
    return top, reports, end


def _rank(i: int, depth: int, layers: int, level: str, source: str, collapse: bool) -> float:
    rise = 1.0 - 0.5 * math.exp(-i / 4) - 0.1 * math.exp(-(((i - 3) / 1.5) ** 2))
    base = (300 + 150 * math.sin(math.pi * depth / layers)) * (1.0 if level == "frame" else 0.45)
    fall = max(0.01, math.exp(-(i - 24) / 3)) if collapse and i > 24 and depth >= layers / 2 else 1.0
    return base * rise * fall * (1.0 if source == "first_batches" else 0.6)


def _alarms(top: RunHeader, found: list[Reading], raised: list[Alarm], i: int, step: int) -> list[Alarm]:
    open_now = {(a.layer, a.level, a.source) for a in raised}
    alarms = []
    for reading in found:
        key = (reading.layer, reading.level, reading.source)
        if i > 26 and reading.effective_rank < 60 and reading.source == top.sources[0] and key not in open_now:
            text = f"effective rank {reading.effective_rank:.1f} is 12% of its usual 405.2"
            since = step - 2 * top.every_n_steps
            alarms.append(
                Alarm(
                    step, "dimensional_collapse", "critical", reading.layer, reading.level, reading.source, text, since
                )
            )
    return alarms
