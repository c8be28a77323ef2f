"""Sizes of the passes that a test's model was run with: `eval_passes.SEEN.append(size)`.

A variable of another module that is reached by that module's name is not put back after our passes; one of the model's
own file, or of a function that it calls, is.
"""

SEEN: list[int] = []
