"""Whether something can be a detector, and whether its thresholds are numbers, before training and not at an alarm."""

from __future__ import annotations

import dataclasses

from rankwatch.runtime.argument_kinds import is_number, is_text, is_whole, refusal, takes


def check_detector(detector: object) -> None:
    """Refuse what isn't a detector, or one whose thresholds are of the wrong kind.

    Args:
        detector: One of the list that `sensitivity` is.

    Raises:
        ValueError: If it is none, with what a detector has; or with the threshold's name and what it may be.
    """
    named = is_text(getattr(detector, "kind", None)) and is_whole(getattr(detector, "patience", None))
    if isinstance(detector, type) or not named or not takes(getattr(detector, "check", None), 3):
        wrong = f"the class {detector.__name__}, not an object of it," if isinstance(detector, type) else repr(detector)
        raise ValueError(
            f"sensitivity: {wrong} is no detector, which has kind, patience and check(reading, past, context)"
        )
    if not dataclasses.is_dataclass(detector):
        return
    owner = f"sensitivity: {type(detector).__name__}"
    for field in dataclasses.fields(detector):
        value = getattr(detector, field.name)
        if field.name == "patience" and not is_whole(value, 1):
            raise ValueError(refusal(owner, field.name, value, "a whole number of readings, at least 1"))
        usual = field.default
        if is_number(usual) and not is_number(value):
            raise ValueError(refusal(owner, field.name, value, f"a number, by default {usual}"))
