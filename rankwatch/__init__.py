"""Effective rank of every layer while a speech model pretrains.

``from rankwatch import RankWatch`` is the callback for Lightning, `Watch` the same for a loop of one's own, and
`rankwatch.huggingface.RankWatchCallback` for Hugging Face's Trainer; `analyze` says what a trained model knows; the
arithmetic (`estimate_rank`, `rankme`) works without any. Names are imported when they are first used, so
``import rankwatch`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rankwatch._version import __version__

_HOMES = {
    "RankWatch": "rankwatch.lightning",
    "AudioFolder": "rankwatch.extraction.eval_sets.eval_set_sources",
    "FirstBatches": "rankwatch.extraction.eval_sets.eval_set_sources",
    "LabelledSet": "rankwatch.extraction.eval_sets.labelled_set",
    "Loader": "rankwatch.extraction.eval_sets.eval_set_sources",
    "RowSampling": "rankwatch.extraction.rows.sampling_options",
    "Corpus": "rankwatch.corpora.corpus",
    "Span": "rankwatch.corpora.corpus",
    "Utterance": "rankwatch.corpora.corpus",
    "read_corpus": "rankwatch.corpora.read_corpus",
    "Watch": "rankwatch.loop",
    "RankEstimate": "rankwatch.numerics",
    "Similarity": "rankwatch.numerics",
    "Analysis": "rankwatch.analysis.analysis_result",
    "analyze": "rankwatch.analysis.analyze",
    "Comparison": "rankwatch.comparison.comparison_result",
    "compare": "rankwatch.comparison.compare",
    "Correlation": "rankwatch.correlation.result",
    "cka": "rankwatch.numerics",
    "correlate": "rankwatch.correlation.correlate",
    "estimate_rank": "rankwatch.numerics",
    "inspect": "rankwatch.inspection",
    "rankme": "rankwatch.numerics",
    "replay": "rankwatch.replays.replay",
    "ReplayResult": "rankwatch.replays.replay",
    "similarity": "rankwatch.numerics.similarity.resolved_similarity",
    "register_family": "rankwatch.extraction.execution.model_families",
    "Alarm": "rankwatch.readings.alarm",
    "CodebookReading": "rankwatch.readings.codebook_reading",
    "AlarmEvent": "rankwatch.run.alarm_actions",
    "trackio_alert": "rankwatch.run.alerts.alarm_alerts",
    "wandb_alert": "rankwatch.run.alerts.alarm_alerts",
    "CollapseError": "rankwatch.run.alarm_actions",
    "Protocol": "rankwatch.readings.protocol",
    "Reading": "rankwatch.readings.reading",
}

__all__ = [
    "Alarm",
    "AlarmEvent",
    "Analysis",
    "AudioFolder",
    "CodebookReading",
    "CollapseError",
    "Comparison",
    "Corpus",
    "Correlation",
    "FirstBatches",
    "LabelledSet",
    "Loader",
    "Protocol",
    "RankEstimate",
    "RankWatch",
    "Reading",
    "ReplayResult",
    "RowSampling",
    "Similarity",
    "Span",
    "Utterance",
    "Watch",
    "__version__",
    "analyze",
    "cka",
    "compare",
    "correlate",
    "estimate_rank",
    "inspect",
    "rankme",
    "read_corpus",
    "register_family",
    "replay",
    "similarity",
    "trackio_alert",
    "wandb_alert",
]

if TYPE_CHECKING:
    from rankwatch.analysis.analysis_result import Analysis
    from rankwatch.analysis.analyze import analyze
    from rankwatch.comparison.compare import compare
    from rankwatch.comparison.comparison_result import Comparison
    from rankwatch.corpora.corpus import Corpus, Span, Utterance
    from rankwatch.corpora.read_corpus import read_corpus
    from rankwatch.correlation.correlate import correlate
    from rankwatch.correlation.result import Correlation
    from rankwatch.extraction.eval_sets.eval_set_sources import AudioFolder, FirstBatches, Loader
    from rankwatch.extraction.eval_sets.labelled_set import LabelledSet
    from rankwatch.extraction.execution.model_families import register_family
    from rankwatch.extraction.rows.sampling_options import RowSampling
    from rankwatch.inspection import inspect
    from rankwatch.lightning import RankWatch
    from rankwatch.loop import Watch
    from rankwatch.numerics import RankEstimate, Similarity, cka, estimate_rank, rankme
    from rankwatch.numerics.similarity.resolved_similarity import similarity
    from rankwatch.readings.alarm import Alarm
    from rankwatch.readings.codebook_reading import CodebookReading
    from rankwatch.readings.protocol import Protocol
    from rankwatch.readings.reading import Reading
    from rankwatch.replays.replay import ReplayResult, replay
    from rankwatch.run.alarm_actions import AlarmEvent, CollapseError
    from rankwatch.run.alerts.alarm_alerts import trackio_alert, wandb_alert


def __getattr__(name: str) -> Any:
    if name == "figures":  # a module of its own, which needs plotly
        return importlib.import_module("rankwatch.figures")
    if name not in _HOMES:
        raise AttributeError(f"module 'rankwatch' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
