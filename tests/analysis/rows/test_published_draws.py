"""Spans drawn by label: so many of each, the same whatever the order of utterances."""

from collections import Counter

from rankwatch.analysis.rows.pieces import Piece
from rankwatch.analysis.rows.published_draws import PASAD, LabelDraw, drawn_by_label
from rankwatch.corpora import Span, Utterance


def pieces(count=30):
    """Utterances of 12 spans: "a" and "b" half of them each time, one "sil", now and then a "rare"."""
    made = []
    for k in range(count):
        labels = ["a", "b"] * 5 + ["sil", "rare" if k < 4 else "now and then"]
        spans = tuple(Span(0.1 * i, 0.1 * i + 0.1, label) for i, label in enumerate(labels))
        made.append(Piece(Utterance(f"u{k}", "u.wav", spans={"phone": spans}), f"u{k}"))
    return made


def labels_of(found, made):
    by_id = {piece.utterance.id: piece.utterance for piece in made}
    return Counter(by_id[name].spans["phone"][place].label for name, places in found.items() for place in places)


def test_so_many_of_each_label_are_drawn_without_silence_and_rare_ones():
    made = pieces()
    found = drawn_by_label(made, "phone", LabelDraw(100, None, ""), 0)
    assert labels_of(found, made) == {"a": 100, "b": 100, "now and then": 26}
    assert labels_of(drawn_by_label(made, "phone", LabelDraw(15, 2, ""), 0), made) == {"a": 15, "b": 15}
    assert all(places == tuple(sorted(set(places))) for places in found.values())


def test_the_draw_hangs_on_names_and_the_seed_alone():
    made = pieces()
    draw = LabelDraw(40, None, "")
    assert drawn_by_label(made, "phone", draw, 0) == drawn_by_label(made[::-1], "phone", draw, 0)
    assert drawn_by_label(made, "phone", draw, 0) != drawn_by_label(made, "phone", draw, 1)


def test_numbers_are_those_of_the_papers():
    assert (PASAD["phone"].each, PASAD["phone"].labels) == (200, None)
    assert (PASAD["words"].each, PASAD["words"].labels) == (15, 500)
