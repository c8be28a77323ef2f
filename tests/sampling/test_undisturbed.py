"""Promise 1: the model and the random generators are left as they were."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from rankwatch.sampling.undisturbed import same_random_state, undisturbed


class Counting(nn.Module):
    """Writes into a buffer in every forward pass, as an EMA or a codebook counter does."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.seen += 1
        return self.drop(self.norm(self.linear(x)))


def _draws():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()


def test_random_state_is_restored_after_an_exception_too():
    with torch.random.fork_rng():
        state = torch.get_rng_state(), np.random.get_state(), random.getstate()
        expected = _draws()
        torch.set_rng_state(state[0]), np.random.set_state(state[1]), random.setstate(state[2])
        with pytest.raises(KeyError), same_random_state():
            raise KeyError(_draws())
        assert _draws() == expected


class Replacing(nn.Module):
    """Puts a new tensor in the buffer's place."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self):
        self.seen = self.seen + 1


def test_a_replaced_buffer_is_put_back():
    model = Replacing()
    original = model.seen
    with undisturbed(model):
        model()
    assert model.seen is original
    assert model.seen.item() == 0


def test_modes_and_buffers_are_restored_and_eval_mode_holds_inside():
    model = Counting()
    model.norm.eval()  # frozen by its owner
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with undisturbed(model):
        assert not any(module.training for module in model.modules())
        out = model(torch.randn(4, 3))
        assert not out.requires_grad
        assert model.seen.item() == 1
    assert model.training
    assert model.drop.training
    assert not model.norm.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
