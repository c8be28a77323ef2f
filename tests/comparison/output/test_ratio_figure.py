"""The picture of a comparison: every panel has its band, ticks that can be read, and pairs beside each other."""

import math

import pytest

from rankwatch.comparison.differences.difference import ALL_LAYERS, Difference, Place

pytest.importorskip("plotly")

from rankwatch.comparison.output.ratio_figure import ratio_figure


def difference(ratio, *, level="frame", source="audio", layer="L00", one="a", other="b", half=0.05, known=True):
    ends = (ratio * math.exp(-half), ratio * math.exp(half)) if known else (None, None)
    at_least = 0.11 if level == "frame" else 0.15
    return Difference(Place(source, level, layer), one, other, (ratio, 1.0), ratio, *ends, *ends, at_least=at_least)


def drawn(ratios, pairs=(("a", "b"),), sources=("audio",)):
    return ratio_figure([
        difference(ratio, level=level, source=source, layer=layer, one=one, other=other)
        for source in sources
        for level in ("frame", "utterance")
        for one, other in pairs
        for layer, ratio in zip(("L00", "L01", ALL_LAYERS), ratios, strict=True)
    ])  # fmt: skip


def test_each_panel_shows_what_is_too_small_to_matter():
    figure = drawn([1.0, 1.3, 1.1], sources=("speech", "music"))
    bands = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert [(band.yref.split()[0], round(band.y0, 3), band.y1) for band in bands] == [
        ("y", 0.901, 1.11), ("y2", 0.87, 1.15), ("y3", 0.901, 1.11), ("y4", 0.87, 1.15),
    ]  # fmt: skip
    assert [note.text for note in figure.layout.annotations] == [
        f"{level} level, {source}" for source in ("speech", "music") for level in ("frame", "utterance")
    ]


@pytest.mark.parametrize("ratios", [[1.0, 1.05, 0.97], [5.0, 1.0, 0.2], [1.0, 80.0, 1.0]])
def test_the_axis_holds_every_interval_and_a_few_ticks_that_say_the_ratio(ratios):
    axis = drawn(ratios).layout.yaxis
    low, high = (10**end for end in axis.range)
    assert low < min(ratios) * math.exp(-0.05)
    assert high > max(ratios) * math.exp(0.05)
    assert 1.0 in axis.tickvals
    assert 3 <= len(axis.tickvals) <= 8
    assert all(low <= tick <= high for tick in axis.tickvals)


def test_several_pairs_stand_beside_each_other_and_what_has_no_interval_is_hollow():
    figure = drawn([1.0, 1.1, 1.2], pairs=(("a", "b"), ("a", "c"), ("b", "c")))
    assert figure.layout.scattermode == "group"
    assert len({trace.offsetgroup for trace in figure.data}) == 3
    assert sum(bool(trace.showlegend) for trace in figure.data) == 3
    (trace,) = ratio_figure([difference(1.2, known=False)]).data
    assert trace.marker.symbol == ("circle-open",)
