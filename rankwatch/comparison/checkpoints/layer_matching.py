"""Which layers of several models are compared with which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rankwatch.analysis.rows.row_tables import LayerInfo

LABEL, DEPTH = "label", "depth"
"""By short name, which is the place among the layers; or by depth relative to the last one."""


@dataclass(frozen=True)
class MatchedLayer:
    """One layer of each model.

    Attributes:
        name: What the row is called: the first model's short name; with the others' where they differ.
        layers: Of each model.
    """

    name: str
    layers: tuple[LayerInfo, ...]

    @property
    def equal_width(self) -> bool:
        """Whether effective ranks can be compared: of 768 dimensions no rank is larger than 768."""
        return len({layer.width for layer in self.layers}) == 1


def match_layers(models: Sequence[Sequence[LayerInfo]], names: Sequence[str], how: str = LABEL) -> list[MatchedLayer]:
    """Match the layers of models.

    Args:
        models: Layers of each, in order.
        names: Of the models.
        how: ``"label"``: the first with the first, and so on, of models with equally many. ``"depth"``: each layer of
            the shallowest model with that of the others which is at the nearest share of the depth; front ends with
            front ends.

    Returns:
        The rows of the comparison.

    Raises:
        ValueError: If models have different numbers of layers and `how` is ``"label"``, or `how` is neither.
    """
    if how not in (LABEL, DEPTH):
        raise ValueError(f"match must be 'label' or 'depth', got {how!r}")
    kinds = [tuple(layer.kind == "frontend" for layer in layers) for layers in models]
    if how == LABEL:
        other = next((k for k, kind in enumerate(kinds) if kind != kinds[0]), None)
        if other is not None:
            counts = " and ".join(f"{names[k]} has {_counted(kinds[k])}" for k in (0, other))
            raise ValueError(
                f"the models have different layers: {counts}. Name those to compare with --layers GLOB, or compare "
                "layers at the same share of the depth with --match depth"
            )
        return [MatchedLayer(row[0].label, tuple(row)) for row in zip(*models, strict=True)]
    rows = []
    shallowest = min(models, key=len)
    for layer in shallowest:
        nearest = tuple(_nearest(layer, shallowest, layers) for layers in models)
        if all(one is not None for one in nearest):
            found = tuple(one for one in nearest if one is not None)
            labels = list(dict.fromkeys(one.label for one in found))
            rows.append(MatchedLayer("/".join(labels) if len(labels) > 1 else labels[0], found))
    return rows


def _counted(kind: Sequence[bool]) -> str:
    front, blocks = sum(kind), len(kind) - sum(kind)
    return f"{blocks} blocks" + (f" and {front} front end" if front else " and no front end")


def _nearest(layer: LayerInfo, own: Sequence[LayerInfo], others: Sequence[LayerInfo]) -> LayerInfo | None:
    front = layer.kind == "frontend"
    mine = [one for one in own if (one.kind == "frontend") == front]
    theirs = [one for one in others if (one.kind == "frontend") == front]
    if not theirs:
        return None
    share = (mine.index(layer) + 1) / len(mine)
    return min(theirs, key=lambda one: abs((theirs.index(one) + 1) / len(theirs) - share))
