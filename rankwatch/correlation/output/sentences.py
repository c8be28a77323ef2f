"""What was found in sentences that need no statistics; nobody reads more in them than the data say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from rankwatch.correlation.evidence.association import CONSTANT, TOO_FEW_CHECKPOINTS, Association
from rankwatch.correlation.evidence.choice import CHANCE, LAST, Choice
from rankwatch.correlation.evidence.findings import AGAINST, NO, NOT_KNOWN, RANK, YES, Finding
from rankwatch.correlation.inputs.run_series import LOSS, PROBE

_BY = {
    RANK: "the checkpoint of highest effective rank",
    LAST: "the last one",
    LOSS: "the one of lowest loss",
    CHANCE: "one at random",
}
_THAN = {-1: "is better than", 1: "is worse than", 0: ""}
_SURE = ("is better than", "is worse than")
_SMALL = 0.5  # a correlation over time below it needs no warning


def sentences(found: Sequence[Finding]) -> list[str]:
    """A paragraph for each check.

    Args:
        found: What follows for each check.

    Returns:
        Paragraphs of whole sentences.
    """
    return [" ".join(_about(one)) for one in found]


def _about(one: Finding) -> list[str]:
    check = check_name(one)
    if one.nothing_found:
        return [
            f"{_capital(check)}: the check has found nothing, in no layer and at no checkpoint (never more than two "
            "standard errors above naming the most frequent label), so nothing follows about rank."
        ]
    said = [_lost(one, check), *_compared(one), _follows(one, check), *_layers(one), *_choosing_layers(one)]
    return [*said, *_runs(one)]


def check_name(one: Finding | Choice | Association) -> str:
    """A check in words.

    Args:
        one: What is about it.

    Returns:
        For example ``"probe accuracy on 'emodb' at frame level"``.
    """
    name = "probe accuracy" if one.check == PROBE else one.check
    source = f" on {one.check_source!r}" if one.check_source else ""
    return name + source + (f" at {one.check_level} level" if one.check_level else "")


def _lost(one: Finding, check: str) -> str:
    rank = one.lost.get(RANK)
    these = "On this run" if one.runs == 1 else f"On these {one.runs} runs"
    if rank is None:
        return (
            f"{these}, {check}: there are too few checkpoints with both the check and effective rank to choose among."
        )
    where = f" in layer {one.layer}" if one.layer else ""
    unit = f"points of {check}" if one.check == PROBE else f"in {check}"
    said = (
        f"{these}, taking {_BY[RANK]} ({one.level} level, {one.source!r}){where} would have lost "
        f"{_amount(rank, rank.lost)} {unit}{_interval(rank)} against the best one"
    )
    if math.isfinite(rank.share):
        said += f", {rank.share:.0%} of what training has gained"
    others = [f"{_BY[rule]} {_amount(lost, lost.lost)}" for rule, lost in one.lost.items() if rule != RANK]
    said += f"; taking {', '.join(others)}." if others else "."
    if math.isnan(rank.share):
        said += " Whether training has gained anything by this check isn't known."
    if math.isfinite(one.error):
        said += f" The check itself is known to within ±{_amount(rank, one.error)} (one standard error)."
    return said


def _amount(choice: Choice, value: float) -> str:
    if not math.isfinite(value):
        return "an unknown amount"
    return f"{100.0 * value:.1f}" if choice.check == PROBE else f"{value:.3g}"


def _interval(choice: Choice) -> str:
    if not math.isfinite(choice.low):
        return ""
    over = "" if choice.beyond_these_runs else ", over utterances"
    return f" ({_amount(choice, choice.low)} to {_amount(choice, choice.high)}{over})"


def _compared(one: Finding) -> list[str]:
    """Whether rank is better than other rules, as far as that is known."""
    if RANK not in one.lost:
        return []
    words: dict[str, list[str]] = {"is better than": [], "is worse than": [], "": [], "same": []}
    for other, choice in one.rank_against.items():
        same = choice.lost == 0.0 and choice.no_worse == 1.0
        words["same" if same else _THAN[choice.surely]].append(_BY[other])
    said = [f"Choosing by rank {word} taking {_listed(words[word])}{_scope(one)}." for word in _SURE if words[word]]
    if words["same"]:
        said.append(f"Here it has come to the same as taking {_listed(words['same'])}.")
    if words[""]:
        few = " from so few runs" if one.runs < 3 else ""
        said.append(f"Whether choosing by rank is better or worse than taking {_listed(words[''])} isn't known{few}.")
    return said


def _scope(one: Finding) -> str:
    known = any(choice.beyond_these_runs for choice in one.rank_against.values())
    return "" if known else " on these utterances, of these runs"


def _follows(one: Finding, check: str) -> str:
    beyond, over_time = one.beyond, one.over_time
    numbers = "" if beyond is None or math.isnan(beyond.low) else f" ({_correlation(beyond, 'of changes ')})"
    start = f"Rank follows {check} beyond the mere passage of training:"
    word = {YES: "yes", NO: "no", AGAINST: "no, it moves the other way", NOT_KNOWN: "not known"}[one.follows]
    said = f"{start} {word}{numbers}{_why_not(one)}."
    if beyond is not None and not beyond.beyond_these_runs and one.follows != NOT_KNOWN:
        said += " That speaks of these runs alone."
    if over_time is not None and math.isfinite(over_time.value) and abs(over_time.value) >= _SMALL:
        if one.follows in (NOT_KNOWN, NO):
            later = "later is better" if over_time.value > 0 else "rank and quality go apart as training goes on"
            said += (
                f" Over time they correlate with {over_time.value:+.2f}, but both change with training, and that alone "
                f"gives such a number: it says no more than that {later}."
            )
        else:
            said += f" Over time as it is: {over_time.value:+.2f}."
    return said


def _why_not(one: Finding) -> str:
    if one.follows != NOT_KNOWN:
        return ""
    if one.beyond is None or TOO_FEW_CHECKPOINTS in one.beyond.status:
        n = 0 if one.beyond is None else one.beyond.n
        counted = "1 checkpoint is" if n == 1 else f"{n} checkpoints are"
        return f": {counted} too few to tell it from the passage of training, eleven are needed"
    if CONSTANT in one.beyond.status:
        return ": one of both doesn't change"
    return ""


def _correlation(one: Association, what: str = "") -> str:
    if not math.isfinite(one.value):
        return f"correlation {what}not known"
    interval = f", {one.low:+.2f} to {one.high:+.2f}" if math.isfinite(one.low) else ", interval not known"
    return f"correlation {what}{one.value:+.2f}{interval}"


def _layers(one: Finding) -> list[str]:
    if len(one.follows_by_layer) < 2:
        return []
    counts = Counter(one.follows_by_layer.values())
    listed = f"yes in {counts[YES]}, no in {counts[NO]}, the other way in {counts[AGAINST]}, not known in"
    by_chance = 0.05 * len(one.follows_by_layer)
    return [
        f"Of all {len(one.follows_by_layer)} layers: {listed} {counts[NOT_KNOWN]}; where rank follows nowhere, chance "
        f"still says yes in at most {by_chance:.1f} of them on average."
    ]


def _choosing_layers(one: Finding) -> list[str]:
    lost = one.layers_lost
    if lost is None:
        return []
    unit = "points" if one.check == PROBE else ""
    said = f"Taking the layer of highest rank at the end would have lost {_amount(lost, lost.lost)} {unit}".rstrip()
    said += f"{_interval(lost)} against the best layer"
    if one.across_layers is not None and math.isfinite(one.across_layers.value):
        said += f" ({_correlation(one.across_layers, 'over layers ')})"
    if lost.surely == 1:
        return [f"{said}: rank doesn't choose layers here."]
    return [f"{said}; rank isn't made to choose layers."]


def _runs(one: Finding) -> list[str]:
    if one.run_lost is None or one.across_runs is None:
        return []
    lost, known = one.run_lost, math.isfinite(one.across_runs.low)
    amount = _amount(lost, lost.lost)
    said = f"Taking the run of highest rank ({lost.chosen}) would have lost {amount} against the best run"
    if known:
        return [f"{said} ({_correlation(one.across_runs, 'over runs ')})."]
    return [f"{said}; {one.across_runs.n} runs are too few to say whether rank orders runs."]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + (" or " if len(names) > 1 else "") + names[-1]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
