"""One word for all thresholds."""

import dataclasses

import pytest

from rankwatch.alarms.detectors import Anisotropy, CompleteCollapse, LowRank, NonFinite, default_detectors
from rankwatch.alarms.detectors.explanations import EXPLANATIONS


def test_every_kind_has_words_of_its_own():
    for detector in default_detectors():
        about = EXPLANATIONS[detector.kind]
        assert about.title
        assert about.causes
        assert about.remedies


def test_high_speaks_where_default_does_and_default_where_low_does():
    """Thresholds lie in order: a larger share of the reference, a smaller share of dead dimensions, less patience."""
    low, default, high = (default_detectors(word) for word in ("low", "default", "high"))
    falling = {"below", "utterance_below", "at_most"}
    for three in zip(low, default, high, strict=True):
        values = [dataclasses.asdict(one) for one in three]
        for name in falling & values[0].keys():
            column = [value[name] for value in values]
            rising = values[0]["kind"] != "dead_dimensions"
            assert column == sorted(column, reverse=not rising)
        patience = [value["patience"] for value in values]
        assert patience == sorted(patience, reverse=True)


def test_what_is_wrong_for_certain_is_told_by_all():
    certain = (NonFinite, CompleteCollapse, Anisotropy, LowRank)
    sets = [[d for d in default_detectors(word) if isinstance(d, certain)] for word in ("low", "default", "high")]
    assert sets[0] == sets[1] == sets[2]


def test_embeddings_converge_sooner_for_high():
    shares = [
        d.mean_energy_fraction
        for word in ("low", "default", "high")
        for d in default_detectors(word)
        if d.kind == "growing_anisotropy"
    ]
    assert shares == sorted(shares, reverse=True)


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="low, default, high"):
        default_detectors("medium")
