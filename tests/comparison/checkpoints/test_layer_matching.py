"""Which layers are compared with which: by place, by depth, or not at all."""

import pytest

from rankwatch.analysis.rows.row_tables import LayerInfo
from rankwatch.comparison.checkpoints.layer_matching import match_layers


def layers(blocks, width=64, front=True):
    kinds = [*(["frontend"] if front else []), *(["block"] * blocks)]
    return [LayerInfo(f"L{k:02}", f"layers.{k}", kind, width) for k, kind in enumerate(kinds)]


def test_equal_models_are_matched_one_by_one():
    rows = match_layers([layers(3), layers(3)], ["a", "b"])
    assert [row.name for row in rows] == ["L00", "L01", "L02", "L03"]
    assert all(one.path == other.path for one, other in (row.layers for row in rows))
    assert all(row.equal_width for row in rows)
    assert not any(row.equal_width for row in match_layers([layers(3), layers(3, 32)], ["a", "b"]))


@pytest.mark.parametrize("other", [layers(4), layers(3, front=False)])
def test_models_of_other_depth_are_refused_with_two_ways_out(other):
    with pytest.raises(ValueError, match=r"a has 3 blocks and 1 front end and b has .*--layers GLOB.*--match depth"):
        match_layers([layers(3), other], ["a", "b"])


def test_by_depth_the_last_meets_the_last_and_front_ends_meet():
    rows = match_layers([layers(12), layers(3)], ["a", "b"], "depth")
    assert [(row.layers[0].label, row.layers[1].label) for row in rows] == [
        ("L00", "L00"), ("L04", "L01"), ("L08", "L02"), ("L12", "L03"),
    ]  # fmt: skip
    assert rows[1].name == "L04/L01"
    without = match_layers([layers(4), layers(2, front=False)], ["a", "b"], "depth")
    assert [[one.label for one in row.layers] for row in without] == [["L02", "L00"], ["L04", "L01"]]


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="'label' or 'depth'"):
        match_layers([layers(2), layers(2)], ["a", "b"], "name")
