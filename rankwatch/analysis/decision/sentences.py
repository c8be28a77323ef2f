"""The conclusions in plain words, with how sure they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rankwatch.analysis.decision.decide import Decision
from rankwatch.analysis.decision.group_gaps import GroupGap
from rankwatch.analysis.decision.layer_changes import LayerChange
from rankwatch.analysis.decision.layer_order import LayerOrder, RankEvidence
from rankwatch.analysis.decision.model_choice import ModelChoice
from rankwatch.analysis.decision.property_layers import ENOUGH, PropertyLayers
from rankwatch.analysis.measures.layer_measures import ACOUSTICS
from rankwatch.analysis.measures.measurement import ABX, CCA, RANK, TAG_FRAME, TAG_SPAN, TOO_MANY_CELLS, Measurement
from rankwatch.analysis.measures.profile import Profile
from rankwatch.analysis.rows.row_tables import FRAME, LayerInfo

_WORDS = {
    "probe_accuracy": "accuracy",
    "probe_macro_f1": "macro F1",
    "probe_f1": "F1",
    TAG_FRAME: "F1",
    TAG_SPAN: "F1",
    CCA: "share of directions",
    **dict.fromkeys(ABX, "error"),
}


def sentences(decision: Decision, profile: Profile, models: Mapping[str, Sequence[LayerInfo]]) -> list[str]:
    """Everything that is to be said, the most useful first.

    Args:
        decision: The conclusions.
        profile: The measurements.
        models: Layers of each model, by its name.

    Returns:
        Sentences, each with a full stop.
    """
    several = len(models) > 1
    said = [_property(one, models[one.model], several) for one in decision.properties]
    said += [_choice(one) for one in decision.choices]
    said += [_change(one, several) for one in decision.changes]
    said += [_gap(one, several) for one in decision.gaps if one.sure]
    unsure = [one for one in decision.gaps if not one.sure]
    if unsure:
        names = ", ".join(sorted({f"{one.grouping} ({one.target})" for one in unsure}))
        said.append(f"Whether these groups are served differently isn't known from these utterances: {names}.")
    said += [_order(one, several) for one in decision.orders if len(one.weights) > 1]
    said += [_rank(one, several) for one in decision.rank]
    if not decision.properties:
        said += [_without_labels(name, profile, layers) for name, layers in models.items()]
    return said


def _of(model: str, several: bool) -> str:
    return f"{model}, " if several else ""


def _property(one: PropertyLayers, layers: Sequence[LayerInfo], several: bool) -> str:
    start = f"{_of(one.model, several)}{one.target}:"
    best = one.scores[one.best]
    if one.found is False:
        by = "ABX" if one.measure in ABX else "a linear map"
        return f"{start} no layer holds it, as far as {by} can find it (best {_score(one, one.best)})."
    if one.found is None and best.low is not None:
        return f"{start} not known: the best of {len(one.scores)} layers, {one.best}, has {_score(one, one.best)}."
    if one.found is None and best.value <= one.chance:
        return (
            f"{start} not known: no layer has more than chance (best {_score(one, one.best)}), and "
            f"{_without_interval(best)} to say that none holds it."
        )
    if not one.comparable:
        return f"{start} best in {one.best} ({_score(one, one.best)}); {_without_interval(best)} to tell layers apart."
    others = [layer for layer in one.alike if layer != one.best]
    alike = f"; {_listed(others)} can't be told apart from it" if others else ", better than all others"
    said = f"{start} best in {one.best} ({_score(one, one.best)}){alike}."
    cost = {layer.label: layer.cost for layer in layers}
    if one.enough is not None and one.enough != one.best and (saved := cost.get(one.enough)) is not None:
        said += (
            f" {one.enough} surely keeps {ENOUGH:.0%} of it, with {saved.parameter_share:.0%} of the parameters and "
            f"{saved.time_share:.0%} of the time."
        )
    elif one.possible not in (one.best, one.enough):
        said += f" {one.possible} may keep {ENOUGH:.0%} of it; these utterances don't decide that."
    return said


def _without_interval(best: Measurement) -> str:
    if TOO_MANY_CELLS in best.status:
        return "with so many pairs of labels it would take an interval that costs minutes a layer"
    return f"{best.utterances} independent speakers or utterances are too few"


def _score(one: PropertyLayers, layer: str) -> str:
    found = one.measured(layer)
    word = _WORDS.get(one.measure, one.measure)
    interval = f" [{found.low:.2f}, {found.high:.2f}]" if found.low is not None else ""
    by = "most frequent label" if one.measure == "probe_accuracy" else "by chance"
    level = 1.0 - one.chance if one.less_is_better else one.chance
    chance = f", {by} {level:.2f}" if level else ""
    return f"{word} {found.value:.2f}{interval}{chance}"


def _choice(one: ModelChoice) -> str:
    better, worse = (f"{model} ({layer})" for model, layer in (one.better, one.worse))
    values = f"{'errors of ' if one.less_is_better else ''}{one.values[0]:.2f} and {one.values[1]:.2f}"
    if not one.sure:
        return f"{one.target}: which model holds more isn't known: {better} and {worse} reach {values}."
    return f"{one.target}: {better} holds more than {worse}: {values}."


def _change(one: LayerChange, several: bool) -> str:
    start = f"{_of(one.model, several)}{one.layer}"
    if one.kind == "copies":
        return f"{start} is nearly a copy of {one.before} (similarity {one.values[0]:.3f})."
    if one.kind == "holds_nothing":
        return f"{start} holds nothing of what was asked about, neither labels nor acoustics, unlike {one.before}."
    before, after = one.values
    return f"{start} loses {one.target}: {before:.2f} of its directions in {one.before}, {after:.2f} in {one.layer}."


def _gap(one: GroupGap, several: bool) -> str:
    (best, high), (worst, low) = one.best, one.worst
    return (
        f"{_of(one.model, several)}{one.target}: {one.grouping} {worst!r} is served worse than {best!r} in {one.layer} "
        f"({low:.2f} against {high:.2f}{_mix(one)})."
    )


def _mix(one: GroupGap) -> str:
    """What the groups' mix of labels has to do with it."""
    if one.same_mix is None:
        return "; they have too few labels in common to say whether that is their different mix of labels"
    value, low, _ = one.same_mix
    if low is not None and low > 0.0:
        return f"; a gap of {value:.2f} with the same mix of labels"
    return f"; with the same mix of labels the gap is {value:.2f}, which may be chance: it may be their mix of labels"


def _order(one: LayerOrder, several: bool) -> str:
    first = list(one.scores.items())[:3]
    named = ", ".join(f"{layer} ({score:.2f})" for layer, score in first)
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in one.weights.items())
    return f"{_of(one.model, several)}all properties together: {named} of the best single layers (weights: {weights})."


def _rank(one: RankEvidence, several: bool) -> str:
    start = f"{_of(one.model, several)}effective rank does not choose layers; here it is largest in {one.largest}"
    correlations = ", ".join(f"{name} {value:+.2f}" for name, value in one.correlations.items())
    if one.misses:
        name = min(one.misses, key=lambda target: one.misses[target])
        start += f", which has {one.misses[name]:.0%} of the best layer's {name}"
    return f"{start}. Spearman's correlation with it over layers: {correlations}."


def _without_labels(name: str, profile: Profile, layers: Sequence[LayerInfo]) -> str:
    ranks = profile.find(model=name, measure=RANK, level=FRAME)
    heard = profile.find(model=name, measure=CCA, target=ACOUSTICS)
    both = [layer.label for layer in layers if layer.label in ranks and layer.label in heard]
    if not both:
        return f"{name}: nothing was measured."
    first, last = both[0], both[-1]
    if not all(math.isfinite(found[layer].value) for found in (ranks, heard) for layer in (first, last)):
        return f"{name}: too few utterances or frames could be used to say anything about the layers."
    doubts = sorted({flag for known in (ranks, heard) for layer in (first, last) for flag in known[layer].status})
    words = ", ".join(flag.replace("_", " ") for flag in doubts if flag != "imprecise")
    against = f" What stands against these numbers: {words}." if words else ""
    return (
        f"{name}: without labels, which layer is best isn't known, and effective rank doesn't say it. Measured: "
        f"effective rank goes from {ranks[first].value:.0f} ({first}) to {ranks[last].value:.0f} ({last}), and the "
        f"share of the acoustics that a linear map reaches from {heard[first].value:.2f} to {heard[last].value:.2f}."
        f"{against}"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]
