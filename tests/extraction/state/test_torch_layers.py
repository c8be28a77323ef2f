"""What a forward pass changes in torch's own layers comes back; wrappers and what FSDP exchanges are left alone."""

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.nn.utils import parametrizations

from rankwatch.extraction.execution.preserved_model import preserved_model
from rankwatch.extraction.state.belonging import is_only_a_wrapper, names_of_shards


class Changing(nn.Module):
    """Its forward pass changes a layer that it is built from."""

    def __init__(self, layer, change):
        super().__init__()
        self.layer, self.change = layer, change

    def forward(self):
        self.change(self.layer)


def parameter():
    return nn.Parameter(torch.zeros(1))


def with_list():
    layer = nn.Sequential(nn.Linear(2, 2))
    layer.seen = [1]
    return layer


LAYERS = {
    "rate of dropout": (nn.Dropout, lambda it: setattr(it, "p", it.p / 2), lambda it: it.p),
    "epsilon": (lambda: nn.LayerNorm(2), lambda it: setattr(it, "eps", 1.0), lambda it: it.eps),
    "list on a container": (with_list, lambda it: it.seen.append(2), lambda it: list(it.seen)),
    "attribute on a container": (nn.Sequential, lambda it: setattr(it, "calls", 1), lambda it: hasattr(it, "calls")),
    "list of parameters that grows": (lambda: nn.ParameterList([parameter()]), lambda it: it.append(parameter()), len),
    "dict of parameters that grows": (nn.ParameterDict, lambda it: it.update({"new": parameter()}), lambda it: [*it]),
    "list of modules that grows": (lambda: nn.ModuleList([nn.Tanh()]), lambda it: it.append(nn.Tanh()), len),
    "container that shrinks": (lambda: nn.Sequential(nn.Tanh(), nn.GELU()), lambda it: it.pop(0), lambda it: [*it]),
    "a layer's new parameter": (
        lambda: nn.Linear(2, 2),
        lambda it: it.register_parameter("gain", parameter()),
        lambda it: [name for name, _ in it.named_parameters()],
    ),
    "flags of attention": (
        lambda: nn.MultiheadAttention(4, 2),
        lambda it: setattr(it, "batch_first", True),
        lambda it: it.batch_first,
    ),
    "stride": (lambda: nn.Conv1d(1, 1, 3), lambda it: setattr(it, "stride", (2,)), lambda it: it.stride),
    "a recurrent layer's weights": (
        lambda: nn.GRU(2, 2),
        lambda it: setattr(it, "weight_hh_l0", nn.Parameter(torch.zeros(6, 2))),
        lambda it: [id(weight) for weight in (*it.parameters(), *it._flat_weights)],
    ),
    "a bare module's": (nn.Module, lambda it: setattr(it, "calls", 1), lambda it: hasattr(it, "calls")),
    "a parametrized layer's": (
        lambda: parametrizations.weight_norm(nn.Linear(2, 2)),
        lambda it: setattr(it.parametrizations.weight[0], "dim", -1),
        lambda it: it.parametrizations.weight[0].dim,
    ),
    "within a wrapper": (
        lambda: checkpoint_wrapper(nn.Dropout()),
        lambda it: setattr(it._checkpoint_wrapped_module, "p", 0.0),
        lambda it: it._checkpoint_wrapped_module.p,
    ),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_what_a_pass_changes_in_a_layer_comes_back(kind):
    make, change, look = LAYERS[kind]
    model = Changing(make(), change)
    before = look(model.layer)
    with preserved_model(model):
        model()
        assert look(model.layer) != before, "nothing was changed"
    assert look(model.layer) == before


def test_a_lazy_layer_that_is_built_within_a_pass_stays_built():
    """Its class and its parameters are other ones by then, so its attributes have to be the new ones, too."""
    model = nn.Sequential(nn.LazyLinear(3))
    with preserved_model(model):
        model(torch.zeros(2, 5))
    assert model[0].in_features == 5
    assert model(torch.zeros(2, 5)).shape == (2, 3)


def test_what_is_a_wrapper_and_what_a_layer():
    class Own(nn.Module):
        pass

    wrappers = [nn.parallel.DistributedDataParallel, nn.DataParallel, type(torch.compile(nn.Tanh())), nn.LazyLinear]
    wrappers += [torch.distributed.fsdp.FullyShardedDataParallel, type(checkpoint_wrapper(nn.Tanh()))]
    assert all(map(is_only_a_wrapper, wrappers))
    layers = [nn.Linear, nn.Sequential, nn.Module, nn.LSTM, nn.TransformerEncoder, Own]
    sharded = type("FSDPLinear", (torch.distributed.fsdp.FSDPModule, nn.Linear), {"__module__": "torch.distributed"})
    assert not any(map(is_only_a_wrapper, [*layers, sharded]))


class FSDPModule:
    """Stands for torch's class of this name, which needs processes: it exchanges parameters as it likes."""


class Sharded(FSDPModule, nn.GRU):
    pass


def test_parameters_that_are_sharded_are_left_as_they_are_after_the_pass():
    """What was gathered before has no memory any more afterwards."""
    model = nn.Sequential(Sharded(2, 2), nn.Linear(2, 2))
    shard, whole = nn.Parameter(torch.zeros(3, 2)), model[0].weight_ih_l0
    names = names_of_shards(model)
    assert model[1] not in names
    assert {"weight_ih_l0", "_flat_weights"} < names[model[0]]
    with preserved_model(model):
        model[0]._parameters["weight_ih_l0"] = shard
        model[0].calls = 1
    assert model[0].weight_ih_l0 is shard
    assert whole is not shard
    assert not hasattr(model[0], "calls")


def test_views_that_fsdp_puts_in_a_parameters_place_are_left_as_they_are():
    flat = nn.Parameter(torch.zeros(8))
    layer = nn.Linear(2, 2)
    layer._is_fsdp_managed_module = True
    del layer.weight
    layer.weight = flat[:4].view(2, 2)
    model = nn.Sequential(layer)
    new = flat[4:].view(2, 2)
    with preserved_model(model):
        layer.weight = new
        layer.in_features = 7
    assert layer.weight is new
    assert layer.in_features == 2
