"""What a comparison says, in plain words: what differs, by how much, and what that is evidence of."""

from __future__ import annotations

from collections.abc import Sequence

from rankwatch.comparison.differences.difference import ALL_LAYERS, Difference
from rankwatch.comparison.differences.verdicts import ALIKE, HIGHER, LOWER, SEEDS
from rankwatch.comparison.records.parting import Parting
from rankwatch.comparison.records.turnovers import FASTER, SLOWER, TurnoverRatio

RUNS, CHECKPOINTS = "runs", "checkpoints"

_NAMED = 3

_APART = (
    "The intervals are those of both readings apart, wider than need be: on the same utterances errors go together. "
    "Checkpoints are compared more sharply: rankwatch compare MODULE:CLASS@A.ckpt MODULE:CLASS@B.ckpt --audio DIR."
)
_LABELS = "A higher effective rank isn't by itself a better model: a small labelled check decides that."
_WITH_SEEDS = (
    "The variation between seeds is in these intervals: what differs are the recipes, as far as so few seeds can tell, "
    "and on this audio."
)
_SAME_SEEDS = " Runs of the same seed were compared with each other, so that what a seed does in both isn't in them."


def sentences(
    kind: str,
    differences: Sequence[Difference],
    partings: Sequence[Parting],
    turnovers: Sequence[TurnoverRatio],
    chosen: bool,
) -> list[str]:
    """Everything that is to be said, the most useful first.

    Args:
        kind: `RUNS` or `CHECKPOINTS`.
        differences: All of them.
        partings: Of runs.
        turnovers: Of runs.
        chosen: Whether the user has said which difference matters.

    Returns:
        Sentences.
    """
    said = []
    for key in dict.fromkeys(_key(d) for d in differences):
        said.append(_level(key, [d for d in differences if _key(d) == key], chosen))
    for key in dict.fromkeys(_key(p) for p in partings):
        said.append(_parting(key, [p for p in partings if _key(p) == key]))
    for key in dict.fromkeys(_key(t) for t in turnovers):
        said.append(_moving(key, [t for t in turnovers if _key(t) == key]))
    said += _alike_layers(differences)
    said.append(_evidence(kind, differences, chosen))
    if not any(d.paired for d in differences):
        said.append(_APART)
    return [*said, _LABELS]


def _key(one: Difference | Parting | TurnoverRatio) -> tuple[str, str, str, str]:
    return one.one, one.other, one.place.source, one.place.level


def _level(key: tuple[str, str, str, str], here: Sequence[Difference], chosen: bool) -> str:
    """One pair at one level."""
    one, other, source, level = key
    layers = [d for d in here if d.place.layer != ALL_LAYERS]
    if not any(d.differs is not None for d in layers):
        reasons = ", ".join(sorted({reason for d in layers for reason in d.status})) or "there is no interval"
        return f"{source}, {level} level: whether {one} and {other} differ isn't known ({reasons})."
    parts, margin = [], f"{here[0].at_least:.0%}" if chosen else "seeds alone give"
    for word in (HIGHER, LOWER):
        found = [d for d in layers if d.verdict == word]
        if found:
            beyond = "" if here[0].seeds else f" by more than {margin}"
            where = f"in {len(found)} of {len(layers)} layers ({_strongest(found)})"
            parts.append(f"{one} has a {word} effective rank than {other}{beyond} {where}")
    alike = sum(d.verdict == ALIKE for d in layers)
    rest = [d for d in layers if d.verdict not in (HIGHER, LOWER, ALIKE)]
    differing = sum(bool(d.differs) for d in rest)
    parts += [f"alike within {here[0].at_least:.0%} in {alike}"] if alike else []
    parts += [f"different in {differing}, though perhaps by less than that"] if differing else []
    parts += [f"neither alike nor different for sure in {len(rest) - differing}"] if len(rest) > differing else []
    mean = next((d for d in here if d.place.layer == ALL_LAYERS and d.differs is not None), None)
    over = f" Over all layers: {_ratio(mean)}." if mean is not None else ""
    start = "" if parts[0].startswith(one) else f"{one} and {other} are "
    return f"{source}, {level} level: {start}{'; '.join(parts)}.{over}"


def _strongest(found: Sequence[Difference | TurnoverRatio]) -> str:
    ordered = sorted(found, key=lambda d: -max(d.ratio, 1.0 / d.ratio))
    more = ", ..." if len(ordered) > _NAMED else ""
    return ", ".join(f"{d.place.layer} {_ratio(d)}" for d in ordered[:_NAMED]) + more


def _ratio(d: Difference | TurnoverRatio) -> str:
    return f"{d.ratio:.2f} times [{d.low:.2f}, {d.high:.2f}]"


def _parting(key: tuple[str, str, str, str], here: Sequence[Parting]) -> str:
    """When one pair parts at one level."""
    one, other, source, level = key
    sure = [p for p in here if p.apart_from is not None]
    start, margin = f"{source}, {level} level: {one} and {other}", f"{here[0].at_least:.0%}"
    if not sure:
        layers = ", ".join(dict.fromkeys(p.place.layer for p in here))
        return f"{start} may have parted by more than {margin} ({layers}); these intervals don't decide it."
    first = min(sure, key=lambda p: (p.apart_from or 0, p.step or 0))
    since = f"after step {first.alike_until}" if first.alike_until is not None else "at any step before"
    return (
        f"{start} part in {len(sure)} layers, first in {first.place.layer}, where {first.higher} is higher by more "
        f"than {margin} for sure from step {first.apart_from} on, as estimated from step {first.step} on; it may have "
        f"begun {since}."
    )


def _moving(key: tuple[str, str, str, str], here: Sequence[TurnoverRatio]) -> str:
    """How fast the layers of one pair move at one level."""
    one, other, source, level = key
    layers = [t for t in here if t.place.layer != ALL_LAYERS]
    usual = "" if here[0].seeds else f" by more than seeds alone give ({1.0 + here[0].at_least:.1f} times)"
    parts = []
    for word in (FASTER, SLOWER):
        found = [t for t in layers if t.verdict == word]
        if found:
            where = f"in {len(found)} of {len(layers)} layers ({_strongest(found)})"
            parts.append(f"{one}'s layers move {word} than {other}'s{usual} {where}")
    said = "; ".join(parts) or f"that layers of {one} and {other} move at different speeds isn't shown"
    mean = next((t for t in here if t.place.layer == ALL_LAYERS and t.low is not None), None)
    over = f" Over all layers: {_ratio(mean)}." if mean is not None else ""
    cause = " The learning rate does that, or how fast a teacher follows." if parts else ""
    return f"{source}, {level} level: {said}.{over}{cause}"


def _alike_layers(differences: Sequence[Difference]) -> list[str]:
    said = []
    for one, other in dict.fromkeys((d.one, d.other) for d in differences):
        of_pair = [d for d in differences if (d.one, d.other) == (one, other)]
        known = [(d.similarity[0], d.place.layer) for d in of_pair if d.similarity is not None]
        if known:
            (low, least), (high, most) = min(known), max(known)
            said.append(
                f"Layers of {one} and {other} have a similarity of {low:.2f} ({least}) to {high:.2f} ({most}): "
                "1 is alike up to rotation."
            )
    return said


def _evidence(kind: str, differences: Sequence[Difference], chosen: bool) -> str:
    """What the differences are evidence of."""
    if any(d.seeds for d in differences):
        return _WITH_SEEDS + (_SAME_SEEDS if any(d.same_seeds for d in differences) else "")
    usual = " and ".join(f"{value:.0%} at {level} level" for level, value in SEEDS.items())
    smallest = "" if chosen else ", so smaller differences aren't called any"
    seeds = f"in 95 of 100 layers of our own small runs{smallest}"
    return (
        f"These are {kind}, not recipes: whether the recipes differ isn't known from one seed of each. Seeds alone "
        f"stayed below {usual} {seeds}; give several seeds of each with --group."
    )
