"""Weights put into a model: by prefix, without what wrappers add; what doesn't fit is named."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from rankwatch.checkpoints.load_weights import UnfittingWeightsError, load_weights


class Encoder(nn.Module):
    def __init__(self, layers=3):
        super().__init__()
        self.front = parametrizations.weight_norm(nn.Linear(4, 4))
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(layers))
        self.out = nn.Linear(4, 4, bias=False)
        self.out.weight = self.layers[0].weight  # tied


@pytest.fixture
def stored():
    torch.manual_seed(1)
    return Encoder().state_dict()


def same(model, stored):
    return all(torch.equal(value, stored[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name,
        lambda name: f"model.encoder.{name}",
        lambda name: f"module._orig_mod.{name}",
        lambda name: f"net.{name.replace('layers.', '_fsdp_wrapped_module.layers.')}",
        lambda name: name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ),
    ],
)
def test_names_are_found_whatever_was_put_around_the_model(rename, stored):
    model = Encoder()
    loaded = load_weights(model, {rename(name): value for name, value in stored.items()} | {"head.w": torch.zeros(1)})
    assert same(model, stored)
    assert loaded.untouched == ()
    assert loaded.unexpected == (("head.w",) if not loaded.prefix else ())


def test_tied_weights_are_stored_once(stored):
    stored.pop("out.weight")
    model = Encoder()
    assert load_weights(model, stored).missing == ()
    assert torch.equal(model.out.weight, stored["layers.0.weight"])


def test_of_two_copies_the_user_says_which(stored):
    both = {
        f"{who}.{name}": value + (who == "teacher") for who in ("student", "teacher") for name, value in stored.items()
    }
    with pytest.raises(UnfittingWeightsError, match=r"more than once.*'student', 'teacher'"):
        load_weights(Encoder(), both)
    model = Encoder()
    load_weights(model, both, prefix="teacher")
    assert torch.equal(model.layers[1].bias, stored["layers.1.bias"] + 1)
    load_weights(model, {**stored, **both})  # without a prefix it fits exactly
    assert same(model, stored)


def test_another_version_is_refused_or_loaded_in_part_with_all_names(stored):
    model = Encoder(layers=4)
    before = model.layers[3].weight.clone()
    with pytest.raises(
        UnfittingWeightsError, match=r"x\.pt lacks 2 weights of Encoder: layers\.3\.bias, layers\.3\.weight$"
    ):
        load_weights(model, stored, source="x.pt")
    stored["layers.2.bias"] = torch.zeros(5)
    stored["layers.9.bias"] = torch.zeros(5)
    loaded = load_weights(model, stored, partly=True)
    assert loaded.missing == ("layers.3.weight", "layers.3.bias")
    assert loaded.misshapen == ("layers.2.bias (5,) instead of (4,)",)
    assert loaded.unexpected == ("layers.9.bias",)
    assert loaded.untouched == ("layers.3.weight", "layers.3.bias", "layers.2.bias")
    assert torch.equal(model.layers[3].weight, before)


def test_a_checkpoint_that_lacks_most_is_of_another_model(stored):
    model = Encoder()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UnfittingWeightsError, match=r"lacks .* it has others instead: layers\.9\.weight"):
        load_weights(model, {"layers.1.bias": torch.ones(4), "layers.9.weight": torch.ones(4)}, partly=True)
    with pytest.raises(UnfittingWeightsError, match="holds no weights of Encoder"):
        load_weights(model, {"a.b": torch.ones(4)}, partly=True)
    assert same(model, before)
