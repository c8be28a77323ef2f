"""Sizes of the passes that a test's model was run with.

They stand here since global variables of the model's own file are put back after our passes.
"""

SEEN: list[int] = []


def see(size: int) -> None:
    """One more pass."""
    SEEN.append(size)
