"""Layers that hold tags are told from those that don't, and chance is what knows nothing of an utterance."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rankwatch.analysis.decision.decide import decide
from rankwatch.analysis.decision.sentences import sentences
from rankwatch.analysis.measures.probes.tag_measures import of_tags, tag_protocol
from rankwatch.analysis.measures.profile import Profile
from rankwatch.analysis.models.frame_times import FrameTimes
from rankwatch.analysis.output.layer_table import layer_cells
from rankwatch.analysis.rows.pieces import Piece
from rankwatch.analysis.rows.row_tables import LayerInfo, ModelRows, RowTable
from rankwatch.analysis.rows.sequences.cell_rows import CELL, cell_rows, tagged_utterances
from rankwatch.corpora import Span, Utterance

TAGS = ("ORG", "PLACE", "WHEN")


def made(strengths, utterances=40, speakers=8, cells=50, tier="named_entity"):
    """Cells of layers that hold the tags of two spans of each utterance as strongly as is said."""
    g = np.random.default_rng(0)
    codes = g.normal(size=(4, 12))
    all_, tagged = [], []
    for u in range(utterances):
        own = np.zeros(cells, dtype=int)
        spans = []
        for start in (int(g.integers(3, 15)), int(g.integers(27, 40))):
            tag, length = int(g.integers(3)), int(g.integers(4, 9))
            own[start : start + length] = tag + 1
            spans.append(Span(start * CELL, (start + length) * CELL, TAGS[tag]))
        tiers = {tier: tuple(spans) if u % 5 else ()}  # some have the tier and no tag
        own *= u % 5 > 0
        all_.append(Utterance(f"u{u:02d}", None, speaker=f"s{u % speakers}", spans=tiers, seconds=cells * CELL))
        tagged.append(own)
    truth = codes[np.concatenate(tagged)]
    layers = tuple(LayerInfo(f"L{k:02d}", f"blocks.{k}", "block", 12) for k in range(len(strengths)))
    rows = {
        layer.path: torch.from_numpy(strength * truth + g.normal(size=truth.shape)).float()
        for layer, strength in zip(layers, strengths, strict=True)
    }
    ids = tuple(one.id for one in all_)
    keys = tuple((name, k) for name in ids for k in range(cells))
    table = RowTable(rows, np.repeat(np.arange(utterances), cells), None, keys)
    return ModelRows("model", "", layers, tuple(all_), ids, {}, torch.zeros(0, 80), {}, cells=table, tagged=(tier,))


def profile_of(rows):
    found = Profile()
    for layer in rows.layers:
        found.measurements += list(of_tags(rows, layer, found.notes.append))
    return found


@pytest.fixture(scope="module")
def found():
    rows = made([0.0, 0.6, 1.2])
    return rows, profile_of(rows)


def test_a_layer_that_holds_the_tags_tells_their_spans_and_one_of_noise_does_not(found):
    _, profile = found
    for measure in ("tag_frame_f1", "tagged_frame_f1", "tag_label_f1", "tag_span_f1"):
        noise, some, good = profile.find(model="model", measure=measure, target="named_entity").values()
        assert noise.value < some.value < good.value
        assert good.value > 0.8
        assert good.low < good.value <= good.high
        assert (good.utterances, good.grouped_by, good.speakers) == (40, "utterances", 8)
        assert good.level == ("frame" if "frame" in measure else "span")
        assert good.chance < 0.55
    noise, _, good = profile.find(model="model", measure="tag_span_f1", target="named_entity").values()
    assert noise.low <= max(noise.chance, 0.05)
    assert good.n == 64  # two spans of 32 utterances
    frames = profile.find(model="model", measure="tag_frame_f1", target="named_entity")["L00"]
    assert abs(frames.value - frames.chance) < 0.1
    untagged = profile.find(model="model", measure="tagged_frame_f1", target="named_entity")["L02"]
    assert untagged.value >= profile.find(model="model", measure="tag_frame_f1", target="named_entity")["L02"].value


def test_tags_stand_in_the_decision_and_in_the_table(found):
    rows, profile = found
    decision = decide(profile, {"model": rows.layers})
    assert [one.target for one in decision.properties] == ["named_entity frames", "named_entity spans"]
    for one in decision.properties:
        assert (one.best, one.found, one.alike) == ("L02", True, ("L02",))
    assert decision.orders[0].weights == pytest.approx({"named_entity frames": 0.5, "named_entity spans": 0.5})
    said = sentences(decision, profile, {"model": rows.layers})
    assert said[1].startswith("named_entity spans: best in L02 (F1 0.")
    head, *cells = layer_cells(profile, "model", rows.layers)
    assert {"named_entity frames", "named_entity spans"} <= set(head)
    assert float(cells[2][head.index("named_entity spans")]) > 0.8
    assert tag_protocol(rows)["left_out"] == "speakers"


def test_intervals_are_over_speakers_where_they_are_enough():
    rows = made([1.2], utterances=48, speakers=24)
    frame, *_ = of_tags(rows, rows.layers[0], print)
    assert (frame.utterances, frame.grouped_by, frame.speakers) == (24, "speakers", 24)


def test_a_model_of_noise_holds_no_tags():
    rows = made([0.0, 0.0], utterances=60)
    profile = profile_of(rows)
    for one in decide(profile, {"model": rows.layers}).properties:
        assert one.found is not True


def test_an_utterance_with_a_cell_that_is_no_number_is_left_out(found):
    rows = made([2.0])
    rows.cells.rows["blocks.0"][7] = torch.nan
    frame, *_ = of_tags(rows, rows.layers[0], print)
    assert frame.utterances == 39
    rows.cells.rows["blocks.0"][:] = torch.nan
    notes = []
    assert not list(of_tags(rows, rows.layers[0], notes.append))
    assert "in frames and spans of L00, which has NaN or infinite numbers: no tag is in" in notes[0]


def test_tags_of_few_utterances_are_not_told_and_that_is_said():
    notes = []
    rows = made([2.0], utterances=6)
    assert list(of_tags(rows, rows.layers[0], notes.append)) == []
    assert notes == ["named_entity is not told in frames and spans: no tag is in 6 utterances"]
    assert list(of_tags(ModelRows(**{**rows.__dict__, "cells": None}), rows.layers[0], notes.append)) == []
    assert "no utterance that was run has this tier" in notes[1]


def test_tags_of_one_speaker_alone_are_not_told_and_that_is_said():
    notes = []
    rows = made([2.0], utterances=24, speakers=3)
    spans = {"named_entity": (Span(0.8, 1.6, "ORG"),)}
    some = tuple(replace(one, spans=spans if one.speaker == "s0" else {}) for one in rows.utterances)
    assert list(of_tags(replace(rows, utterances=some), rows.layers[0], notes.append)) == []
    (said,) = notes
    assert "all utterances with it are of one of the speakers" in said


def test_cells_are_means_of_the_frames_in_them_and_of_coarse_layers_the_nearest():
    frames = {"fine": torch.arange(20.0)[:, None], "coarse": torch.arange(2.0)[:, None]}
    times = {"fine": FrameTimes(0.02, 0.01), "coarse": FrameTimes(0.2, 0.1)}
    found = cell_rows(frames, times, 0.41)
    assert found["fine"][:, 0].tolist() == [1.5, 5.5, 9.5, 13.5, 17.5]
    assert found["coarse"][:, 0].tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]
    assert len(cell_rows(frames, times, 0.05)["fine"]) == 0


def test_utterances_are_chosen_until_there_are_cells_enough():
    spans = {"named_entity": ()}
    pieces = [Piece(Utterance(f"u{k}", None, spans=spans if k % 2 else {}, seconds=0.8), f"u{k}") for k in range(20)]
    chosen = tagged_utterances(pieces, ["named_entity"], 30, 0)
    assert len(chosen) == 3
    assert all(int(name[1:]) % 2 for name in chosen)
    assert chosen < tagged_utterances(pieces, ["named_entity"], 1000, 0)
    assert tagged_utterances(pieces, [], 1000, 0) == frozenset()
    unknown = [Piece(Utterance(f"u{k}", None, spans=spans), f"u{k}") for k in range(20)]
    assert len(tagged_utterances(unknown, ["named_entity"], 400, 0)) == 3
