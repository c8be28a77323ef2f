"""Recorded readings and alarms of two versions, brought to one vocabulary and compared value by value."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RENAMED_SOURCES = {"held_back": "first_batches"}
RENAMED_SEVERITIES = {"notice": "info"}
RENAMED_KINDS = {
    "constant": "complete_collapse",
    "shared_vector": "anisotropy",
    "converging": "growing_anisotropy",
    "dimensional": "dimensional_collapse",
    "sudden_drop": "sudden_rank_drop",
    "temporal": "temporal_collapse",
    "utterance": "utterance_collapse",
    "codebook": "codebook_collapse",
    "slow_slide": "slow_rank_decline",
    "unsteady": "unstable_rank",
    "stalled": "frozen_representation",
    "layer_apart": "layer_outlier",
    "data_changed": "data_shift",
    "flat": "plateau",
}
RENAMED_METRICS = {
    "mean_share": "mean_energy_fraction",
    "first_direction_share": "top1_explained_variance",
    "dead_dimensions": "dead_dimension_fraction",
    "non_finite_share": "non_finite_fraction",
    "within_utterance_share": "within_utterance_variance_fraction",
    "coverage": "active_code_fraction",
    "perplexity_share": "normalized_perplexity",
    "probe_majority": "probe_majority_accuracy",
    "probe_chance": "probe_chance_accuracy",
}
"""Names of 0.1.0 while it was being written, and what they are called now. A rename adds a line here, and only here."""

_CODEBOOK_FIELDS = {"quantizer": "layer", "perplexity": "effective_rank", "n_codes": "d", "n_assignments": "n"}
_CODEBOOK_METRICS = ("active_code_fraction", "normalized_perplexity")
"""A quantizer's reading was once a `Reading` at level "codebook", whose effective rank was the perplexity."""


def load(path: Path) -> list[dict[str, Any]]:
    """The documents of a JSON-lines file; none where there is no file."""
    return [json.loads(line) for line in path.open()] if path.exists() else []


def canonical_reading(record: Mapping[str, Any]) -> dict[str, Any]:
    """A reading under today's names: what two versions must agree on.

    Args:
        record: A line that `reading_recorder` wrote.

    Returns:
        Its fields. Of a quantizer's reading only those that the older type and the newer have in common.
    """
    fields = {name: value for name, value in record.items() if name != "type"}
    if record.get("type") == "CodebookReading":
        fields["metrics"] = {name: fields.pop(name) for name in _CODEBOOK_METRICS if name in fields}
        fields = {_CODEBOOK_FIELDS.get(name, name): value for name, value in fields.items()}
        fields["level"] = "codebook"
    status = fields.get("status", "ok")
    flags = status.split("+") if isinstance(status, str) else status
    fields["status"] = sorted(flag for flag in flags if flag != "ok")
    fields["source"] = RENAMED_SOURCES.get(fields["source"], fields["source"])
    fields["metrics"] = {RENAMED_METRICS.get(name, name): value for name, value in fields.get("metrics", {}).items()}
    if fields["level"] == "codebook":
        shared = ("test", "step", "source", "level", *_CODEBOOK_FIELDS.values(), "status")
        known = {name: value for name, value in fields["metrics"].items() if value == value}  # not NaN
        fields = {name: fields[name] for name in shared if name in fields} | {"metrics": known}
    return fields


def canonical_alarm(record: Mapping[str, Any]) -> dict[str, Any]:
    """An alarm under today's names."""
    return {
        **record,
        "kind": RENAMED_KINDS.get(record["kind"], record["kind"]),
        "severity": RENAMED_SEVERITIES.get(record["severity"], record["severity"]),
        "source": RENAMED_SOURCES.get(record["source"], record["source"]),
    }


@dataclass
class Difference:
    """What a comparison of two lists of records has found.

    Attributes:
        what: What was compared, in the plural, for the printed line.
        compared: Distinct records of either side.
        examples: One line for each that is not on both sides.
    """

    what: str
    compared: int = 0
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.compared} {self.what} compared, {len(self.examples)} differ"

    def __add__(self, other: Difference) -> Difference:
        return Difference(self.what, self.compared + other.compared, self.examples + other.examples)


def compare(what: str, sides: Sequence[Iterable[Mapping[str, Any]]], key: tuple[str, ...]) -> Difference:
    """Compare two lists of records to the last digit, whatever their order.

    Records that are equal in everything count once: whether a version copies a reading does not matter.

    Args:
        what: What they are, in the plural.
        sides: Those of the older version and those of the newer, under today's names.
        key: Fields that say which records belong together.

    Returns:
        How many were compared, and those that one side has and the other has not.
    """
    base, head = (_by_key(side, key) for side in sides)
    found = Difference(what)
    for name in sorted(base.keys() | head.keys(), key=str):
        old, new = base.get(name, {}), head.get(name, {})
        only_old, only_new = sorted(old.keys() - new.keys()), sorted(new.keys() - old.keys())
        found.compared += len(old.keys() & new.keys()) + max(len(only_old), len(only_new))
        for i in range(max(len(only_old), len(only_new))):
            pair = [old[only_old[i]] if i < len(only_old) else None, new[only_new[i]] if i < len(only_new) else None]
            found.examples.append(f"{'  '.join(map(str, name))}: {_what_differs(*pair)}")
    return found


def _by_key(records: Iterable[Mapping[str, Any]], key: tuple[str, ...]) -> dict[tuple[Hashable, ...], dict[str, Any]]:
    found: dict[tuple[Hashable, ...], dict[str, Any]] = defaultdict(dict)
    for record in records:
        # As text, in which a NaN equals itself, and each float stands with all of its digits.
        found[tuple(record.get(name) for name in key)][json.dumps(record, sort_keys=True)] = record
    return found


def _what_differs(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> str:
    if old is None or new is None:
        return "only in head" if old is None else "only in base"
    old, new = _flat(old), _flat(new)
    names = [name for name in sorted(old.keys() | new.keys()) if str(old.get(name)) != str(new.get(name))]
    return ", ".join(f"{name} {old.get(name)} -> {new.get(name)}" for name in names[:4])


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    return {**record, **record.get("metrics", {}), "metrics": None}


def split_by_test(
    base: list[dict[str, Any]], head: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str]:
    """Readings of tests that both versions have, and a sentence about the tests that only one of them has."""
    tests = [Counter(record["test"] for record in side) for side in (base, head)]
    both = tests[0].keys() & tests[1].keys()
    only = [sum(count for test, count in side.items() if test not in both) for side in tests]
    sentence = f"readings of tests that only one version has, not compared: {only[0]} in base, {only[1]} in head"
    kept = ([record for record in side if record["test"] in both] for side in (base, head))
    return next(kept), next(kept), sentence if any(only) else ""
