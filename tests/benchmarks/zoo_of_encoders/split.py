"""Which runs thresholds may be chosen on, declared before any of them was made; all others are for counting only."""

from __future__ import annotations

CHOSEN_ARCHITECTURES = ("mel_transformer", "conformer", "cnn")
HELD_OUT_ARCHITECTURES = ("raw_waveform", "gru", "patches")
CHOSEN_METHODS = ("hubert", "data2vec", "wav2vec2", "bestrq", "vicreg", "byol")
HELD_OUT_METHODS = ("jepa", "cpc", "mae", "barlow")
ARCHITECTURES = CHOSEN_ARCHITECTURES + HELD_OUT_ARCHITECTURES
METHODS = CHOSEN_METHODS + HELD_OUT_METHODS

CHOSEN = "chosen on"
HALF_NEW = "held out, architecture or method new"
ALL_NEW = "held out, architecture and method new"
PARTS = (CHOSEN, HALF_NEW, ALL_NEW)


def part_of(architecture: str, method: str) -> str:
    """What runs of an architecture trained by a method are for.

    Args:
        architecture: One of `ARCHITECTURES`.
        method: One of `METHODS`.

    Returns:
        `CHOSEN` where thresholds may be chosen on them; else whether one of the two was seen then (`HALF_NEW`) or none
        of them (`ALL_NEW`).

    Raises:
        ValueError: For a name that is in neither list: what isn't declared is not counted by accident.
    """
    if architecture not in ARCHITECTURES or method not in METHODS:
        raise ValueError(f"{architecture} trained by {method} is not declared in the split")
    new = (architecture in HELD_OUT_ARCHITECTURES) + (method in HELD_OUT_METHODS)
    return PARTS[new]
