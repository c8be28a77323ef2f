"""The most asked-for numbers as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rankwatch.correlation.evidence.association import BEYOND_STEP, OVER_TIME, Association
from rankwatch.correlation.evidence.choice import BEST, CHECKPOINT, Choice
from rankwatch.correlation.evidence.findings import Finding
from rankwatch.correlation.inputs.run_series import PROBE
from rankwatch.correlation.output.sentences import check_name
from rankwatch.correlation.statistics.coefficients import PEARSON

_HEADER = ("measure", "set", "level", "beyond the step", "over time", "pairs", "lost by choosing by it")


def finding_table(finding: Finding, associations: Iterable[Association], choices: Iterable[Choice]) -> list[str]:
    """A line for each measure in the layer that a finding speaks of.

    Correlations are Pearson's with their 90 % intervals; ``pairs`` are the independent pairs that the changes of one
    run are worth; what choosing the checkpoint by the measure has lost is against the best checkpoint.

    Args:
        finding: What follows for a check.
        associations: Those of all runs together.
        choices: Those of all runs together.

    Returns:
        Lines of equal columns, the first two about the whole.
    """
    check = (finding.check, finding.check_source, finding.check_level)
    by_scope: dict[tuple[str, str, str], dict[str, Association]] = {}
    for one in associations:
        ours = (one.check, one.check_source, one.check_level) == check and one.layer in (finding.layer, "")
        if ours and one.coefficient == PEARSON and one.scope in (OVER_TIME, BEYOND_STEP):
            by_scope.setdefault((one.measure, one.source, one.level), {})[one.scope] = one
    lost = {
        (one.rule, one.source, one.level): one
        for one in choices
        if (one.what, one.against, one.layer) == (CHECKPOINT, BEST, finding.layer)
        and (one.check, one.check_source, one.check_level) == check
    }
    rows: list[tuple[str, ...]] = [_HEADER]
    for measure, scopes in by_scope.items():
        beyond = scopes.get(BEYOND_STEP)
        pairs = f"{beyond.pairs:.0f}" if beyond is not None and beyond.pairs else ""
        cells = (_correlation(beyond), _correlation(scopes.get(OVER_TIME)), pairs, _lost(lost.get(measure)))
        rows.append((*measure, *cells))
    rows += [(rule, "", "", "", "", "", _lost(one)) for (rule, *_), one in lost.items() if rule in ("last", "chance")]
    where = f" in layer {finding.layer}" if finding.layer else ""
    return [f"{check_name(finding)}{where}", *_aligned(rows)]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _correlation(one: Association | None) -> str:
    if one is None or not math.isfinite(one.value):
        return "not known" if one is None or not one.status else ", ".join(sorted(one.status)).replace("_", " ")
    interval = f" [{one.low:+.2f}, {one.high:+.2f}]" if math.isfinite(one.low) else " [not known]"
    return f"{one.value:+.2f}{interval}"


def _lost(one: Choice | None) -> str:
    if one is None:
        return ""
    scale, digits = (100.0, "{:.1f}") if one.check == PROBE else (1.0, "{:.3g}")
    interval = [digits.format(scale * end) for end in (one.low, one.high)] if math.isfinite(one.low) else []
    return digits.format(scale * one.lost) + (f" [{', '.join(interval)}]" if interval else "")
