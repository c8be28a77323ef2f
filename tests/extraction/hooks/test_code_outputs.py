"""Codes are read right whatever axis groups are on, however a table is stored, and whatever a mask says."""

import pytest
import torch
from code_assigners import FORMS, Assigner, D, V, heard
from torch import nn
from torch.nn import functional

from rankwatch.extraction.hooks.code_hooks import CodeHooks
from rankwatch.extraction.model.quantizers import find_quantizers


class CalledQuantizer(Assigner):
    """Its class is called a quantizer, and its number of codes is known."""

    codebook_size = V


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_class_that_is_called_a_quantizer_is_read_no_worse(form):
    torch.manual_seed(0)
    module, x = CalledQuantizer(form), torch.randn(4, 9, D)
    ((one, codes),) = heard(module, x)
    assert one.codes == V
    assert torch.equal(codes.long(), torch.cdist(x.reshape(-1, D), module.table).argmin(-1)[:, None])


class Residual(nn.Module):
    """Codes of several groups, whose axis is where this codec has it."""

    codebook_size = V

    def __init__(self, axis, channels_first=False):
        super().__init__()
        self.tables = nn.Buffer(torch.randn(3, V, D))
        self.axis, self.channels_first = axis, channels_first

    def forward(self, x):
        x = x.transpose(1, 2) if self.channels_first else x
        return torch.stack([torch.cdist(x, table.expand(len(x), V, D)).argmin(-1) for table in self.tables], self.axis)


class ResidualQuantizer(Residual):
    pass


@pytest.mark.parametrize("kind", [Residual, ResidualQuantizer])
@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("frames", [9, 50])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_groups_may_be_on_any_axis(kind, channels_first, frames, axis):
    x = torch.randn(4, frames, D)
    module = kind(axis, channels_first)
    ((_, codes),) = heard(module, x.transpose(1, 2) if channels_first else x)
    expected = torch.cdist(x.reshape(1, -1, D), module.tables).argmin(-1).T
    assert torch.equal(codes.long(), expected)


HEADS = {
    "one-hot behind the groups": lambda hot: torch.stack(hot, 2),
    "one-hot, groups before the frames": lambda hot: torch.stack(hot, 1),
    "a list of one-hot rows": lambda hot: hot,
    "a list of integers": lambda hot: [one.argmax(-1) for one in hot],
    "a tuple of integers": lambda hot: {"codes": tuple(one.argmax(-1) for one in hot), "loss": torch.zeros(())},
}


class Heads(nn.Module):
    """A codebook for each of several heads."""

    codebook_size = V

    def __init__(self, form):
        super().__init__()
        self.codebooks = nn.ParameterList(torch.randn(V, D) for _ in range(3))
        self.form = form

    def forward(self, x):
        codes = [torch.cdist(x, table.expand(len(x), V, D)).argmin(-1) for table in self.codebooks]
        return self.form([functional.one_hot(one, V).float() for one in codes])


class HeadsQuantizer(Heads):
    pass


@pytest.mark.parametrize("kind", [Heads, HeadsQuantizer])
@pytest.mark.parametrize("form", HEADS.values(), ids=HEADS)
def test_all_heads_are_read(kind, form):
    x, module = torch.randn(4, 50, D), kind(form)
    ((_, codes),) = heard(module, x)
    expected = torch.stack([torch.cdist(x.reshape(-1, D), table).argmin(-1) for table in module.codebooks], 1)
    assert torch.equal(codes.long(), expected)


class ByColumns(nn.Module):
    """Holds its codes as columns, as VQ-VAEs do."""

    def __init__(self, codes):
        super().__init__()
        self.table = nn.Buffer(torch.randn(D, codes))

    def forward(self, x):
        return torch.cdist(x, self.table.T.expand(len(x), -1, D)).argmin(-1)


@pytest.mark.parametrize("codes", [V, 64])
def test_codes_may_be_a_tables_columns(codes):
    ((one, found),) = heard(ByColumns(codes), torch.randn(4, 50, D))
    assert (one.codes, len(found)) == (codes, 200)


class Masked(Assigner):
    def forward(self, x, padding_mask=None, mask_time_indices=None):
        return super().forward(x)


class MaskedQuantizer(Masked):
    codebook_size = V


@pytest.mark.parametrize("kind", [Masked, MaskedQuantizer])
@pytest.mark.parametrize("form", ["integers", "one-hot"])
def test_a_mask_of_padding_is_true_where_frames_do_not_count(kind, form):
    x, padding = torch.randn(4, 10, D), torch.arange(10).expand(4, 10) >= 7
    for given in [(padding,), (None, ~padding)]:
        ((_, codes),) = heard(kind(FORMS[form]), x, *given)
        assert torch.equal(codes.reshape(4, 10) == -1, padding)


def test_selected_frames_are_no_utterances():
    quantizer = CalledQuantizer(FORMS["integers"])
    hooks = CodeHooks(find_quantizers(nn.ModuleDict({"it": quantizer})))
    hooks.listen()
    quantizer(torch.randn(36, D))
    hooks.stop()
    assert hooks.take()[1] == 0
