"""Which spans ABX compares, and what follows from layers that are known to tell them apart or not."""

import dataclasses

import numpy as np
import plain_abx
import pytest
import torch

from rankwatch.analysis.decision.decide import decide
from rankwatch.analysis.decision.sentences import sentences
from rankwatch.analysis.measures.abx import abx_measures
from rankwatch.analysis.measures.abx.abx_measures import of_abx
from rankwatch.analysis.measures.abx.fastabx_scores import AbxCells
from rankwatch.analysis.measures.measurement import mirrored
from rankwatch.analysis.measures.profile import Profile
from rankwatch.analysis.models.frame_times import FrameTimes
from rankwatch.analysis.output.analysis_page import write_analysis_page
from rankwatch.analysis.output.layer_table import layer_cells
from rankwatch.analysis.rows.pieces import choose_pieces
from rankwatch.analysis.rows.row_tables import LayerInfo, ModelRows
from rankwatch.analysis.rows.sequences.abx_draws import abx_spans, neighbours
from rankwatch.analysis.rows.sequences.sequence_tables import SequenceTable, sequence_rows
from rankwatch.corpora import Corpus, Span, Utterance

FRAME = 0.02
TIMES = FrameTimes(FRAME, FRAME / 2)


def phones(labels, context="sil"):
    """Spans of one frame each, with a context before and behind each."""
    names = [name for label in labels for name in (context, label)] + [context]
    return tuple(Span(m * FRAME, (m + 1) * FRAME - 1e-4, name) for m, name in enumerate(names))


def corpus(speakers, labels="abc", each=2, *, per_speaker=1, context="sil"):
    """Utterances in which labels of one frame each alternate with a context."""
    utterances = []
    for k in range(speakers * per_speaker):
        order = np.random.default_rng(k).permutation(list(labels) * each)
        spans = phones([str(label) for label in order], context)
        utterances.append(Utterance(f"u{k:02d}", None, speaker=f"s{k % speakers}", spans={"phone": spans}))
    return Corpus("made up", tuple(utterances))


def model(whole, noises, seed=0, **given):
    """Layers that hold the labels under so much noise each."""
    pieces = choose_pieces(whole, 512, 15.0)
    draw = abx_spans(pieces, "phone", 100.0, seed, **given)
    g = torch.Generator().manual_seed(seed)
    codes = {label: torch.randn(8, generator=g) for label in ("a", "b", "c", "sil")}
    layers = tuple(LayerInfo(f"L{k:02d}", f"blocks.{k}", "block", 8) for k in range(len(noises)))
    parts = []
    for one in whole.utterances:
        truth = torch.stack([codes[span.label] for span in one.spans["phone"]])
        frames = {
            layer.path: truth + noise * torch.randn(truth.shape, generator=g)
            for layer, noise in zip(layers, noises, strict=True)
        }
        at = draw.places.get(one.id, ())
        parts.append(sequence_rows(one.spans["phone"], at, frames, dict.fromkeys(frames, TIMES)))
    counts = [len(part.places) for part in parts]
    table = SequenceTable(
        {layer.path: torch.cat([part.frames[layer.path] for part in parts]) for layer in layers},
        {layer.path: np.concatenate([part.lengths[layer.path] for part in parts]).astype(int) for layer in layers},
        np.repeat(np.arange(len(parts)), counts),
        np.concatenate([part.places for part in parts]).astype(int),
    )
    ids = tuple(one.id for one in whole.utterances)
    rows = ModelRows("model", "", layers, whole.utterances, ids, {}, torch.zeros(0, 80), {})
    return ModelRows(**{**rows.__dict__, "sequences": {"phone": table}, "abx": {"phone": draw}})


@pytest.fixture
def without_fastabx(monkeypatch):
    monkeypatch.setattr(abx_measures, "abx_cells", plain_abx.abx_cells)


@pytest.fixture
def profile(without_fastabx):
    rows = model(corpus(16), [50.0, 1.5, 0.3, 0.3])
    found = Profile()
    for layer in rows.layers:
        found.measurements += list(of_abx(rows, layer, found.notes.append))
    return rows, found


def test_the_best_layer_is_the_one_of_the_least_errors_and_one_of_noise_is_at_chance(profile):
    rows, found = profile
    for measure in ("abx_error_within_speaker", "abx_error_across_speakers"):
        noise, some, good, alike = found.find(model="model", measure=measure, target="phone").values()
        assert noise.low < 0.5 < noise.high
        assert good.value < some.value < 0.4
        assert (good.n, good.utterances, len(good.without), good.chance) == (96, 16, 16, 0.5)
        assert abs(good.value - alike.value) < 0.03
    decision = decide(found, {"model": rows.layers})
    names = [one.target for one in decision.properties]
    assert names == ["phone ABX within speaker", "phone ABX across speakers"]
    for one in decision.properties:
        assert one.found is True
        assert one.best in ("L02", "L03")
        assert "L00" not in one.alike
        assert "L01" not in one.alike
        measured = found.find(model="model", measure=one.measure, target="phone")["L00"]
        assert one.measured("L00").value == pytest.approx(measured.value)
    (order,) = decision.orders
    assert order.weights == pytest.approx(dict.fromkeys(names, 0.5))  # they share the tier's weight
    weighted = decide(found, {"model": rows.layers}, {"phone": 3.0}).orders[0]
    assert weighted.weights == order.weights
    said = sentences(decision, found, {"model": rows.layers})
    best = decision.properties[0].measured(decision.properties[0].best)
    assert f"best in {decision.properties[0].best} (error {best.value:.2f} [" in said[0]
    assert "by chance 0.50" in said[0]


def test_errors_stand_in_the_table_and_on_the_page(profile, tmp_path):
    rows, found = profile
    head, *cells = layer_cells(found, "model", rows.layers)
    error = found.find(model="model", measure="abx_error_across_speakers", target="phone")["L01"].value
    assert cells[1][head.index("phone ABX across speakers")] == f"{error:.3f}"
    pytest.importorskip("plotly")
    layers = {"model": rows.layers}
    write_analysis_page(tmp_path / "page.html", "x", found, decide(found, layers), layers, [], {})
    page = (tmp_path / "page.html").read_text()
    assert "ABX errors" in page
    assert '"error 0.' in page


def test_few_speakers_have_an_interval_of_their_utterances_where_it_is_cheap(without_fastabx, monkeypatch):
    rows = model(corpus(2, per_speaker=16, labels="ab"), [0.9])
    within, across = of_abx(rows, rows.layers[0], print)
    assert len(within.without) == len(across.without) == 16
    assert set(within.without) == {f"part {k}" for k in range(16)}
    assert within.low < within.value < within.high
    assert (within.grouped_by, within.speakers) == ("utterances", 2)
    assert 16 <= within.utterances <= 32
    monkeypatch.setattr(abx_measures, "MOST_CELLS", 3)
    within, _ = of_abx(rows, rows.layers[0], print)
    assert (within.low, within.high, within.without, within.status) == (None, None, {}, ("too_many_cells",))
    assert (within.utterances, within.grouped_by) == (2, "speakers")
    found = Profile([within, dataclasses.replace(within, layer="L01", value=0.4)])
    (said, *_) = sentences(decide(found, {"model": rows.layers}), found, {"model": rows.layers})
    assert "an interval that costs minutes a layer to tell layers apart" in said
    assert "too few" not in said


def test_parts_of_the_utterances_are_the_same_in_a_model_that_could_not_run_one_of_them():
    draw = abx_spans(choose_pieces(corpus(2, per_speaker=20), 512, 15.0), "phone", 100.0, 0)
    names = np.array(sorted(draw.places))

    def left_out(there):
        found = []

        def score(kept):
            found.append(set(there[~kept].tolist()))
            return AbxCells(0.5, np.array([0.5]), np.zeros(1, dtype=int), np.array([""]), np.array([""]), False)

        abx_measures._without_parts(score, there, np.ones(len(there), dtype=bool), draw, 0.5)
        return found

    every, fewer = left_out(names), left_out(names[1:])
    assert len(every) == 16
    assert fewer == [part - {names[0]} for part in every]


def test_where_one_speaker_has_all_comparisons_there_is_no_interval(without_fastabx):
    """Of 16 others each says one phone alone: they are X, and without the one who says several nothing is left."""
    one = Utterance("u00", None, speaker="s00", spans={"phone": phones("ababab")})
    others = [Utterance(f"u{k:02d}", None, speaker=f"s{k:02d}", spans={"phone": phones("aa")}) for k in range(1, 17)]
    rows = model(Corpus("made up", (one, *others)), [0.5])
    across = list(of_abx(rows, rows.layers[0], print))[-1]
    assert (across.measure, across.speakers) == ("abx_error_across_speakers", 17)
    assert np.isfinite(across.value)
    assert (across.low, across.high, across.without) == (None, None, {})


def test_spans_that_are_no_numbers_are_left_out(without_fastabx):
    rows = model(corpus(2), [0.3])
    rows.sequences["phone"].frames["blocks.0"][3] = torch.nan
    within, _ = of_abx(rows, rows.layers[0], print)
    assert within.n == len(rows.sequences["phone"]) - 1
    assert np.isfinite(within.value)
    rows.sequences["phone"].frames["blocks.0"][:] = torch.nan
    notes = []
    assert not list(of_abx(rows, rows.layers[0], notes.append))
    assert notes[0].startswith("abx_error_within_speaker of phone in L00, which has NaN or infinite numbers: there are")


def test_where_nothing_can_be_compared_that_is_said(without_fastabx):
    notes = []
    rows = model(corpus(1), [0.3])
    assert [one.measure for one in of_abx(rows, rows.layers[0], notes.append)] == ["abx_error_within_speaker"]
    rows = model(corpus(2, each=1), [0.3])
    assert [one.measure for one in of_abx(rows, rows.layers[0], notes.append)] == ["abx_error_across_speakers"]
    assert notes == [
        "abx_error_within_speaker of phone: there are no two spans of one label and one of another to compare"
    ]
    rows = model(corpus(2, labels="a"), [0.3])
    rows.sequences.clear()  # as where no spans were drawn
    assert not list(of_abx(rows, rows.layers[0], notes.append))
    assert notes[1:] == ["ABX of phone: there are no two spans of one label and one of another to compare"]


def test_contexts_are_held_equal_where_labels_can_still_be_compared():
    def draw(whole, seconds=100.0, **given):
        return abx_spans(choose_pieces(whole, 512, 15.0), "phone", seconds, 0, **given)

    one = draw(corpus(2, context="x"))
    assert one.within_context
    spans = corpus(1).utterances[0].spans["phone"]
    assert neighbours(spans, 1) == ("sil", "sil")
    assert neighbours(spans, 0) == ("", spans[1].label)
    apart = (Span(0.0, 0.1, "a"), Span(0.2, 0.3, "b"))
    assert neighbours(apart, 1) == ("", "")
    assert not draw(corpus(2, context="x"), context="any").within_context
    chain = tuple(Span(k * 0.1, (k + 1) * 0.1, label) for k, label in enumerate("abcabcabc"))
    lone = Corpus("chain", (Utterance("u", None, speaker="s", spans={"phone": chain}),))
    found = draw(lone)
    assert not found.within_context  # each label has its own neighbours
    assert found.places == {"u": tuple(range(9))}


def test_silence_is_left_out_and_the_budget_holds():
    whole = corpus(3, each=20)

    def draw(seconds, **given):
        return abx_spans(choose_pieces(whole, 512, 15.0), "phone", seconds, 0, **given)

    free = draw(100.0)
    labels = [whole.utterances[int(name[1:])].spans["phone"][k].label for name, at in free.places.items() for k in at]
    assert sorted(set(labels)) == ["a", "b", "c"]
    assert (free.each, len(labels)) == (10, 3 * 3 * 10)
    tight = draw(0.9, context="any")
    assert tight.each == 5
    assert tight.seconds <= 0.9
    least = draw(0.2, context="any")
    assert least.each == 2
    assert len(least.places) == 1  # speakers are left out as a whole
    assert draw(100.0) == free


@pytest.mark.parametrize("context", ["within", "any"])
def test_the_budget_holds_for_many_words_of_one_speaker(context):
    spans = phones([f"w{k % 100}" for k in range(200)])
    whole = Corpus("words", (Utterance("u", None, speaker="s", spans={"word": spans}),))
    found = abx_spans(choose_pieces(whole, 512, 15.0), "word", 1.0, 0, context)
    assert 0.9 < found.seconds <= 1.0
    labels = [spans[k].label for k in found.places["u"]]
    assert all(labels.count(label) == 2 for label in labels)
    least = abx_spans(choose_pieces(whole, 512, 15.0), "word", 0.01, 0, context)
    assert len(least.places["u"]) == 4  # two spans of each of two labels


def test_an_error_turned_round_is_a_share_of_right_answers(profile):
    _, found = profile
    one = found.measurements[0]
    other = mirrored(one)
    assert (other.low, other.high) == (1.0 - one.high, 1.0 - one.low)
    assert other.error == one.error
    assert mirrored(other).value == pytest.approx(one.value)
