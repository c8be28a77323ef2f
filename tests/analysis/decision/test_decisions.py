"""Conclusions are right where the truth is known: layers are made to hold, lose and copy what they do."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_layers import MadeUpCorpus

from rankwatch.analysis.decision.decide import decide
from rankwatch.analysis.decision.sentences import sentences
from rankwatch.analysis.measures.profile import measure_models
from rankwatch.analysis.rows.row_tables import FRAME


def concluded(*models, weights=None):
    profile = measure_models(models)
    layers = {one.name: one.layers for one in models}
    decision = decide(profile, layers, weights)
    return decision, sentences(decision, profile, layers), profile


def made(*layers, utterances=160, seed=0):
    corpus = MadeUpCorpus(utterances, seed)
    return corpus.model([corpus.layer(**one) for one in layers])


FULL = {"speaker": 1.0, "emotion": 0.7, "phone": 1.0, "acoustics": 0.7}


@functools.cache
def losing(name):
    """Four alike layers, of which the last two have lost one property."""
    without = {**FULL, name: 0.0}
    return concluded(made(FULL, FULL, without, without))


def changes(decision, kind):
    return {(one.layer, one.target) for one in decision.changes if one.kind == kind}


@pytest.mark.parametrize("name", ["speaker", "emotion", "phone"])
def test_a_layer_that_loses_a_property_is_named_and_no_other(name):
    decision, said, _ = losing(name)
    assert changes(decision, "loses") == {("L02", name)}
    assert not changes(decision, "copies") | changes(decision, "holds_nothing")
    assert sum(f"L02 loses {name}" in sentence for sentence in said) == 1
    (about,) = [one for one in decision.properties if one.target == name]
    assert set(about.alike) <= {"L00", "L01"}
    assert about.enough in {"L00", "L01"}


def test_a_copy_is_named():
    corpus = MadeUpCorpus()
    layers = [corpus.layer(**FULL) for _ in range(3)]
    rotation = torch.linalg.qr(torch.randn(48, 48, generator=torch.Generator().manual_seed(5)))[0]
    copied = {kind: 2.0 * rows @ rotation + 1.0 for kind, rows in layers[1].items()}
    decision, said, _ = concluded(corpus.model([layers[0], layers[1], copied, layers[2]]))
    assert changes(decision, "copies") == {("L02", "")}
    assert any("L02 is nearly a copy of L01" in sentence for sentence in said)


def test_a_layer_of_noise_holds_nothing_and_has_the_largest_rank():
    decision, said, _ = concluded(made(FULL, FULL, {}, FULL))
    assert changes(decision, "holds_nothing") == {("L02", "")}
    assert not changes(decision, "loses")
    (evidence,) = decision.rank
    assert evidence.largest == "L02"
    assert set(evidence.misses) == {"speaker", "emotion", "phone"}
    assert any("effective rank does not choose layers" in sentence for sentence in said)


def test_a_projection_that_takes_out_a_labels_directions_loses_that_label_alone():
    corpus = MadeUpCorpus()
    first, second = corpus.layer(**FULL), corpus.layer(**FULL)
    means = torch.stack([second[FRAME][corpus.speakers[corpus.at[FRAME]] == s].mean(0) for s in range(8)])
    directions = torch.linalg.svd(means - means.mean(0), full_matrices=False)[2][:6]
    cut = {kind: rows - rows @ directions.T @ directions for kind, rows in second.items()}
    decision, _, _ = concluded(corpus.model([first, second, cut]))
    assert changes(decision, "loses") == {("L02", "speaker")}


def test_a_rising_property_is_best_late_and_a_smaller_part_is_found_enough_only_where_it_is():
    model = made(*({**FULL, "phone": s} for s in (0.15, 0.5, 1.2, 1.2)))
    decision, _, _ = concluded(model)
    (phone,) = [one for one in decision.properties if one.target == "phone"]
    assert phone.best in {"L02", "L03"}
    assert "L00" not in phone.alike
    assert phone.enough in {"L02", "L03"}
    assert not changes(decision, "loses")


def test_a_property_that_no_layer_holds_is_called_that_or_not_known():
    decision, said, _ = concluded(made(*[{**FULL, "emotion": 0.0}] * 3))
    (emotion,) = [one for one in decision.properties if one.target == "emotion"]
    assert emotion.found is not True
    assert any("emotion: no layer holds it" in s or "emotion: not known" in s for s in said)


def test_the_better_model_is_named_and_equal_ones_are_not():
    corpus = MadeUpCorpus()
    strong = corpus.model([corpus.layer(**{**FULL, "phone": s}) for s in (0.6, 1.0)], "strong")
    weak = corpus.model([corpus.layer(**{**FULL, "phone": s}) for s in (0.25, 0.3)], "weak")
    decision, said, _ = concluded(strong, weak)
    choices = {one.target: one for one in decision.choices}
    assert choices["phone"].sure
    assert choices["phone"].better[0] == "strong"
    assert not choices["speaker"].sure
    assert any(s.startswith("phone: strong (L") for s in said)
    assert any(s.startswith("speaker: which model holds more isn't known") for s in said)


def test_a_group_that_is_served_worse_is_named_and_equal_ones_are_not():
    corpus = MadeUpCorpus()
    layers = [corpus.layer(**FULL) for _ in range(3)]
    bad = corpus.speakers[corpus.at["phone"]] == 3
    for layer in layers:
        layer["phone"][bad] = torch.randn(int(bad.sum()), 48, generator=torch.Generator().manual_seed(1))
    decision, said, _ = concluded(corpus.model(layers))
    sure = {(one.target, one.grouping, one.worst[0]) for one in decision.gaps if one.sure}
    assert sure == {("phone", "speaker", "s3")}
    assert any("speaker 's3' is served worse" in sentence for sentence in said)


def test_with_half_of_the_utterances_conclusions_agree_or_are_not_known():
    for name in ("speaker", "phone"):
        decision, _, _ = losing(name)
        half, _, _ = concluded(made(*[FULL, FULL, {**FULL, name: 0.0}, {**FULL, name: 0.0}], utterances=80))
        assert changes(half, "loses") <= changes(decision, "loses")
        assert not changes(half, "copies") | changes(half, "holds_nothing")
        for one, other in zip(decision.properties, half.properties, strict=True):
            assert set(one.alike) & set(other.alike)


def test_weights_order_the_layers_and_what_was_not_measured_counts_for_nothing():
    model = made({**FULL, "phone": 0.2}, {**FULL, "speaker": 0.1})
    assert next(iter(concluded(model, weights={"phone": 1.0})[0].orders[0].scores)) == "L01"
    assert next(iter(concluded(model, weights={"speaker": 1.0})[0].orders[0].scores)) == "L00"
    assert not concluded(model, weights={"dialect": 1.0})[0].orders


def test_several_labels_that_no_layer_knows_are_not_found():
    corpus = MadeUpCorpus(120)
    generator = np.random.default_rng(0)
    rows = corpus.model([corpus.layer(acoustics=1.0) for _ in range(4)])
    acts = [frozenset(np.array(["ask", "tell", "thank"])[generator.random(3) < 0.5]) for _ in range(120)]
    acts = [one or frozenset({"tell"}) for one in acts]
    utterances = tuple(replace(one, labels={"act": a}) for one, a in zip(rows.utterances, acts, strict=True))
    decision, said, _ = concluded(replace(rows, utterances=utterances))
    (act,) = [one for one in decision.properties if one.target == "act"]
    assert act.chance == pytest.approx(0.5, abs=0.15)
    assert act.found is not True
    assert not any("act: best in" in sentence for sentence in said)


def test_with_few_utterances_nothing_is_claimed_of_a_layer_of_noise():
    decision, said, _ = concluded(made(FULL, {}, FULL, utterances=12))
    assert not changes(decision, "holds_nothing") | changes(decision, "loses")
    assert not any("no layer holds" in sentence for sentence in said)


def test_groups_of_few_speakers_are_not_called_served_worse():
    corpus = MadeUpCorpus()
    layers = [corpus.layer(**FULL) for _ in range(2)]
    bad = (corpus.speakers[corpus.at["phone"]] == 3) | (corpus.speakers[corpus.at["phone"]] == 5)
    for layer in layers:
        layer["phone"][bad] = torch.randn(int(bad.sum()), 48, generator=torch.Generator().manual_seed(1))
    rows = corpus.model(layers)
    sexes = ["m" if k % 2 else "f" for k in corpus.speakers.tolist()]
    utterances = tuple(replace(one, labels={"sex": sex}) for one, sex in zip(rows.utterances, sexes, strict=True))
    profile = measure_models([replace(rows, utterances=utterances)], names=["phone"], groupings=["sex"])
    (gap,) = decide(profile, {"model": rows.layers}).gaps
    assert (gap.grouping, gap.worst[0], gap.sure) == ("sex", "m", False)
    one, _ = profile.find(model="model", measure="probe_accuracy", target="phone", group="sex=m").values()
    assert one.utterances == 4
