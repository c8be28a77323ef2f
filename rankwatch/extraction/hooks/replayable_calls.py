"""Which modules' calls can be recorded and replayed so that all watched layers fire."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from rankwatch.extraction.hooks.call_recorder import CallRecorder
from rankwatch.extraction.hooks.chained_calls import ChainedCallRecorder
from rankwatch.extraction.model.block_stacks import find_stacks, front_end_branches
from rankwatch.extraction.model.compiled_modules import compiled_functions, in_one_graph, itself_compiled
from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.extraction.model.module_paths import can_fire, clean_modules, clean_name, within


def recorder_for(root: nn.Module, layers: Sequence[WatchedLayer], device: str | None = "cpu") -> CallRecorder:
    """Records calls of what contains all layers and what feeds them, or of what does so together.

    Args:
        root: The model that `find_layers` was given.
        layers: What it returned.
        device: Where recorded tensors are copied to; None records by reference.

    Returns:
        The recorder, which is not armed yet.
    """
    fed = with_front_ends(root, layers)
    branches = sorted({layer.branch for layer in fed})
    parts: dict[str, CallRecorder] = {
        branch: _recorder(root, [layer for layer in fed if layer.branch == branch], device, {})
        for branch in branches
        if len(branches) > 1
    }
    return _recorder(root, fed, device, parts)


def _recorder(
    root: nn.Module, layers: Sequence[WatchedLayer], device: str | None, parts: dict[str, CallRecorder]
) -> CallRecorder:
    pair = front_end_and_blocks(root, layers)
    relay = ChainedCallRecorder(*pair, root) if pair is not None else None
    return CallRecorder(backbone_candidates(root, layers), device, relay, parts)


def backbone_candidates(root: nn.Module, layers: Sequence[WatchedLayer]) -> list[tuple[str, nn.Module]]:
    """The modules that contain all watched layers, deepest first, the root last.

    Which of them really fires in training is found by hooks: some parents are bypassed.

    Args:
        root: The model that `find_layers` was given.
        layers: What it returned.

    Returns:
        Pairs of clean path and module. Containers that are never called are left out, except for the root.
    """
    wanted = {id(layer.module) for layer in layers}
    found = []
    for path, module in root.named_modules():
        if (
            (module is root or can_fire(module))
            and not (len(wanted) == 1 and id(module) in wanted)
            and wanted <= {id(m) for m in module.modules()}
        ):
            found.append((path.count(".") + bool(path), clean_name(path), module))
    found.sort(key=lambda item: -item[0])
    return [(path, module) for _, path, module in found]


def with_front_ends(root: nn.Module, layers: Sequence[WatchedLayer]) -> list[WatchedLayer]:
    """Layers together with the convolutional front ends that feed them, watched or not.

    A call that is to be replayed has to begin before them: what they gave when it was recorded soon is out of date.

    Args:
        root: The model that `find_layers` was given.
        layers: What it returned.

    Returns:
        The watched layers, and then the front ends that are not among them.
    """
    modules = clean_modules(root)
    watched = {layer.name for layer in layers}
    stacks = find_stacks(modules)
    branches = front_end_branches(stacks)
    missing = {
        stack.front_end: branches[stack.front_end]
        for stack in stacks
        if stack.front_end is not None
        and stack.front_end not in watched
        and any(within(name, block) for block in stack.blocks for name in watched)
    }
    return [
        *layers,
        *(
            WatchedLayer(path, modules[path], "frontend", "teacher" if branch == "teacher" else "student", "")
            for path, branch in missing.items()
        ),
    ]


def front_end_and_blocks(
    root: nn.Module, layers: Sequence[WatchedLayer]
) -> tuple[tuple[str, nn.Module], list[tuple[str, nn.Module]]] | None:
    """The one front end, and the modules outside of it that contain all other watched layers, deepest first.

    None where there isn't one front end and other layers. For training code that calls them one after the other.

    Returns:
        Path and module of the front end, and those of the candidates.
    """
    front = [layer for layer in layers if layer.kind == "frontend"]
    others = [layer for layer in layers if layer.kind != "frontend"]
    if len(front) != 1 or not others:
        return None
    whole = {id(module) for _, module in backbone_candidates(root, layers)}
    candidates = [item for item in backbone_candidates(root, others) if id(item[1]) not in whole]
    return (front[0].name, front[0].module), candidates


def replay_advice(root: nn.Module) -> str:
    """What to do where no call of a model can be recorded, in words."""
    if in_one_graph(root) and not itself_compiled(root):
        return "all of it is compiled with fullgraph=True: use encoder = torch.compile(encoder) instead"
    example = 'eval_sets=AudioFolder("folder", forward=f) with f(module, batch)'
    own = f"pass a set with a forward of its own, for example {example}"
    functions = ", ".join(compiled_functions(root.modules()))
    if functions:  # where the training pass can't be seen either
        return (
            f"calls may lie within what torch.compile has made of {functions}, where no hook fires: compile the "
            f"encoder instead (encoder.compile()), or {own}"
        )
    return f'{own}, or add "training_pass" to watch'
