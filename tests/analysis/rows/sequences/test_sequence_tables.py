"""Frames of whole spans are the layer's own, at the times of the spans, also from files of an earlier analysis."""

import clips
import pytest
import torch
from torch import nn

from rankwatch.analysis.models.frame_times import FrameTimes
from rankwatch.analysis.models.model_sources import NamedModel
from rankwatch.analysis.rows.collect_rows import collect_rows
from rankwatch.analysis.rows.extraction_plan import Extraction, ModelOptions
from rankwatch.analysis.rows.sequences.sequence_tables import sequence_rows
from rankwatch.corpora import Span, read_corpus
from rankwatch.numerics.spans.span_frames import span_frames

pytest.importorskip("soundfile")


class Encoder(nn.Module):
    """Frames of 20 ms, and behind them half as many."""

    def __init__(self):
        super().__init__()
        self.front, self.back = nn.Conv1d(1, 6, 320, stride=320), nn.Conv1d(6, 4, 2, stride=2)

    def forward(self, x):
        return self.back(self.front(x[:, None]))


def test_a_span_that_a_layer_has_no_frame_for_is_left_out_of_all():
    frames = {"fine": torch.arange(10.0)[:, None], "coarse": torch.arange(2.0)[:, None]}
    times = {"fine": FrameTimes(0.02, 0.01), "coarse": FrameTimes(0.1, 0.05)}
    spans = [Span(0.0, 0.07, "a"), Span(0.07, 0.13, "b"), Span(0.13, 0.2, "c")]
    found = sequence_rows(spans, [0, 1, 2], frames, times)
    assert found.places == [0, 2]
    assert found.lengths == {"fine": [4, 4], "coarse": [1, 1]}
    assert found.frames["fine"][:, 0].tolist() == [0.0, 1.0, 2.0, 3.0, 6.0, 7.0, 8.0, 9.0]
    assert sequence_rows(spans, [1], frames, times).places == []


def test_an_analysis_carries_the_frames_of_all_spans(tmp_path):
    corpus = read_corpus(clips.corpus(tmp_path / "clips", speakers=2, each=10))
    model = Encoder().eval()
    plan = Extraction.planned(
        corpus, utterances=20, rows=200, max_seconds=15.0, sample_rate=16_000, seed=0, conventions={},
        folder=tmp_path / "rows", abx=["phone"],
    )  # fmt: skip
    assert sum(map(len, plan.draws.abx["phone"].places.values())) == 40
    for _ in range(2):  # the second time from files
        rows = collect_rows(NamedModel("m", model), ModelOptions(layers=["front", "back"]), plan, print)
        table = rows.sequences["phone"]
        assert 38 <= len(table) <= 40  # one may end after the last frame of 40 ms
        for path, hop in (("front", 320), ("back", 640)):
            expected = []
            for u, place in zip(table.utterances.tolist(), table.places.tolist(), strict=True):
                one = rows.utterances[u]
                with torch.no_grad():
                    found = model.front(corpus.read(one, 16_000)[None, None])
                    found = (model.back(found) if path == "back" else found)[0].T
                span = one.spans["phone"][place]
                (where,) = span_frames([(span.start, span.end)], len(found), 16_000 / hop).ranges
                expected.append(found[slice(*where)])
            assert table.lengths[path].tolist() == [len(part) for part in expected]
            assert torch.allclose(table.frames[path], torch.cat(expected), atol=1e-6)
