"""Hooks for one forward pass: what a layer gave, not what the model made of it afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rankwatch.extraction.hooks.layer_hooks import LayerHooks
from rankwatch.extraction.model.layers import WatchedLayer


class Model(nn.Module):
    """Writes into the first layer's output; the second fires twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h += 100
        return self.second(self.second(h))


@pytest.fixture
def model() -> Model:
    return Model()


def layers(model: Model) -> list[WatchedLayer]:
    return [WatchedLayer(name, module, "other", "student", name) for name, module in model.named_children()]


X = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("grad", [True, False])
def test_an_output_that_is_written_into_is_missing_once_and_then_copied(model: Model, grad: bool) -> None:
    written: set[str] = set()
    with torch.set_grad_enabled(grad), LayerHooks(layers(model), written=written) as layer_hooks:
        model(X)
        assert set(layer_hooks.take()) == {"second"}
        assert written == {"first"}
        model(X)
        outputs = layer_hooks.take()
        assert torch.equal(outputs["first"], model.first(X))
        assert not outputs["first"].requires_grad


def test_the_first_firing_counts_and_hooks_are_gone_afterwards(model: Model) -> None:
    with LayerHooks(layers(model), written={"first"}) as layer_hooks:
        model(X)
        outputs = layer_hooks.take()
    assert torch.equal(outputs["second"], model.second(model.first(X) + 100))
    assert not any(module._forward_hooks for module in model.modules())


def test_nothing_is_kept_where_it_is_not_active(model: Model) -> None:
    with LayerHooks(layers(model), active=lambda layer: False) as layer_hooks:
        model(X)
        assert layer_hooks.take() == {}
