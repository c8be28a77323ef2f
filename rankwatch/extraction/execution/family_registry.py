"""Model families whose unmasked forward pass is known: the registry, which users add to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from rankwatch.extraction.model.conventions import add_layout
from rankwatch.runtime.argument_kinds import is_text, refusal, takes

Run = Callable[[Any, Tensor, Tensor | None], Any]
Replay = Callable[[Any, Mapping[str, Any], Any], Callable[[], Any] | None]


@dataclass(frozen=True)
class ModelFamily:
    """One family, as `register_family` was called with it."""

    name: str
    belongs: Callable[[nn.Module], bool]
    run: Run
    replay: Replay
    part: Callable[[Any], nn.Module | None]
    package: str


FAMILIES: list[ModelFamily] = []
"""All families, in the order in which they are asked whether a module belongs to them."""


def _never(model: Any, arguments: Mapping[str, Any], batch: Any) -> None:
    """No recorded call is run without its masks."""


def _itself(model: Any) -> nn.Module | None:
    return model if isinstance(model, nn.Module) else None


def register_family(
    name: str,
    *,
    belongs: Callable[[nn.Module], bool],
    run: Run,
    replay: Replay = _never,
    part: Callable[[Any], nn.Module | None] = _itself,
    package: str = "",
    front_end_layout: str | None = None,
) -> None:
    """Make the unmasked forward pass of a model family known, for all runs of this process.

    With it, evaluation sets of such models need no `forward` of their own, and readings of models that mask also in
    eval mode are made without masks (``input="clean"`` in the protocol, instead of ``"replayed"``). Families are asked
    in the reverse order of their registration, those that rankwatch knows itself (torchaudio's, Hugging Face's,
    NeMo's and ESPnet's) last; a name that is registered again takes the place of the one before.

    Args:
        name: What stands in the table at the start of a run, such as ``"Acme's"``; the class's name follows.
        belongs: Whether a module is a model of this family. Of several modules within each other the outermost counts.
        run: ``run(model, waveforms, lengths)``: an unmasked forward pass over waveforms (B, T), with their lengths
            (B,) int64 in samples, or None where they are not padded. Its result is not used: the layers' hooks take
            what they need. Called in eval mode without gradient.
        replay: ``replay(model, arguments, batch)``: from a recorded call of the model in training, its arguments by
            the names of its parameters, and the batch behind it, the same audio's unmasked forward pass as a function
            without arguments; or None where the audio isn't among them. By default recorded calls are replayed as they
            were.
        part: The module that `run` and `replay` get, from the one that belongs to the family; by default itself.
        package: How the import paths of the family's classes begin, such as ``"acme.models"``. Where it is said,
            `arguments` is empty for recorded calls of modules that come from elsewhere.
        front_end_layout: ``"(B, C, T)"`` or ``"(B, T, C)"``: the layout of the output of the package's front ends, in
            a package all of whose layers have the batch first. Needed only where it can't be found from the sizes.

    Raises:
        ValueError: If an argument is of another kind, or `front_end_layout` is said without `package`.

    Example:
        >>> from rankwatch import register_family
        >>> register_family(
        ...     "Acme's",
        ...     belongs=lambda module: type(module).__name__ == "AcmeEncoder",
        ...     run=lambda model, waveforms, lengths: model(waveforms, lengths, mask=False),
        ...     replay=lambda model, arguments, batch: (
        ...         lambda: model(arguments["waveforms"], arguments.get("lengths"), mask=False)
        ...     ),
        ... )
    """
    if not is_text(name):
        raise ValueError(refusal("register_family", "name", name, "a word for the family"))
    if not isinstance(package, str):
        raise ValueError(refusal("register_family", "package", package, "the beginning of import paths, a string"))
    calls = {
        "belongs": (belongs, 1, "a function of a module"),
        "run": (run, 3, "a function f(model, waveforms, lengths)"),
        "replay": (replay, 3, "a function f(model, arguments, batch)"),
        "part": (part, 1, "a function of the model"),
    }
    for argument, (function, count, wanted) in calls.items():
        if not takes(function, count):
            raise ValueError(refusal("register_family", argument, function, wanted))
    if front_end_layout is not None:
        if not package:
            raise ValueError("register_family: front_end_layout is a convention of a package; say package as well")
        add_layout(package, front_end_layout)
    FAMILIES[:] = [family for family in FAMILIES if family.name != name]
    FAMILIES.insert(0, ModelFamily(name, belongs, run, replay, part, package))
