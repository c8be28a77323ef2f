"""Codebooks are found by what modules hold and return; ordinary layers are taken for none."""

import pytest
import torch
from code_assigners import FORMS, Assigner, D, V, heard
from online_clustering import Cells, OnlineClustering
from torch import nn
from torch.nn import functional

from rankwatch.extraction.hooks.code_hooks import CodeHooks
from rankwatch.extraction.model.codebooks import table_of
from rankwatch.extraction.model.quantizers import find_quantizers
from rankwatch.monitor.codebook_collector import confirmed


class LookedUp(nn.Module):
    """The codes of a child's embedding beside what they stand for, and a commitment loss."""

    def __init__(self):
        super().__init__()
        self.vectors = nn.Embedding(V, D)

    def forward(self, x):
        codes = torch.cdist(x, self.vectors.weight.expand(len(x), V, D)).argmin(-1)
        return self.vectors(codes), codes, (self.vectors(codes) - x).square().mean()


class Prototypes(nn.Module):
    """Logits over V prototypes."""

    def __init__(self):
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(V, D))

    def forward(self, x):
        return functional.linear(functional.normalize(x, dim=-1), self.prototypes)


@pytest.mark.parametrize("shape", [(4, 9, D), (36, D)], ids=["frames", "selected frames"])
@pytest.mark.parametrize("trained", [False, True], ids=["buffer", "parameter"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_codes_of_any_form_are_read(form, trained, shape):
    torch.manual_seed(0)
    module, x = Assigner(form, trained), torch.randn(shape)
    expected = torch.cdist(x.reshape(-1, D), module.table).argmin(-1)
    ((one, codes),) = heard(module, x)
    assert one.codes == V
    assert torch.equal(codes.long(), expected[:, None])


def test_codes_beside_the_vectors_and_logits_over_prototypes_are_read():
    x = torch.randn(4, 9, D)
    module = LookedUp()
    ((one, codes),) = heard(module, x)
    assert (one.codes, torch.equal(codes.long(), module(x)[1].reshape(-1, 1))) == (V, True)
    module = Prototypes()
    ((one, codes),) = heard(module, x)
    assert (one.codes, torch.equal(codes.long(), module(x).argmax(-1).reshape(-1, 1))) == (V, True)


class Scaled(nn.Linear):
    """A linear layer of a user's own, which has V outputs and returns numbers of any size."""

    def forward(self, x):
        return 2.0 * super().forward(x)


class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Buffer(torch.randn(64, D))

    def forward(self, x):
        return x + self.table[: x.shape[1]]


class Attention(nn.Module):
    """Its weights sum to one over T frames, which happen to be as many as its inputs are wide."""

    def __init__(self):
        super().__init__()
        self.inner = nn.MultiheadAttention(D, 2, batch_first=True)
        self.scale = nn.Parameter(torch.ones(D, D))

    def forward(self, x):
        return self.inner(x @ self.scale, x, x)


class WithLengths(nn.Module):
    """Returns numbers of frames, small integers, and the labels that it was given."""

    def __init__(self):
        super().__init__()
        self.table = nn.Buffer(torch.randn(64, D))

    def forward(self, x, labels):
        return x, torch.full((len(x),), x.shape[1]), labels


@pytest.mark.parametrize(
    "module",
    [nn.Linear(D, V), nn.LayerNorm(D), Scaled(D, V), Positions(), Attention(), nn.TransformerEncoderLayer(D, 2, V)],
    ids=lambda module: type(module).__name__,
)
def test_ordinary_layers_are_no_codebooks(module):
    assert heard(module, torch.randn(4, D, D)) == []


def test_lookups_lengths_and_labels_are_no_codes():
    assert heard(nn.Embedding(V, D), torch.randint(V, (4, 9))) == []
    assert heard(WithLengths(), torch.randn(4, 9, D), torch.randint(V, (4, 9))) == []


def test_a_candidate_that_is_none_gets_no_hook_any_more():
    module = Positions()
    hooks = CodeHooks(find_quantizers(nn.ModuleDict({"it": module})))
    assert [one.name for one in hooks.quantizers] == ["it"]
    hooks.listen()
    module(torch.randn(4, 9, D))
    hooks.stop()
    draws, _, _ = hooks.take()
    assert confirmed(hooks.quantizers, {"it": draws.get("it", [])}) == []


def test_torch_s_own_layers_and_plain_subclasses_are_no_candidates():
    class Mine(nn.Embedding):
        pass

    assert table_of(nn.Embedding(V, D)) is None
    assert table_of(Mine(V, D)) is None
    assert table_of(Cells(D, V)).sizes[0] == V


def test_heads_belong_to_codebooks_in_order_and_a_joint_one_is_cut():
    model = OnlineClustering()
    assert [one.head.module for one in find_quantizers(model)] == [head[0] for head in model.heads]
    model.heads = nn.ModuleList([nn.Linear(16, 36)])
    found = find_quantizers(model)
    assert [(one.head.module, one.head.first, one.head.last) for one in found] == [
        (model.heads[0], 12 * i, 12 * i + 12) for i in range(3)
    ]
    model.heads = nn.ModuleList([])
    assert [one.head for one in find_quantizers(model)] == [None] * 3


def test_a_teacher_s_own_codebook_counts_and_its_copy_of_the_student_s_does_not():
    names = [one.name for one in find_quantizers(OnlineClustering(inside_teacher=True))]
    assert names == [f"teacher.cells.{i}" for i in range(3)]
    both = nn.ModuleDict({"student": nn.ModuleDict({"book": Cells()}), "teacher": nn.ModuleDict({"book": Cells()})})
    assert [one.name for one in find_quantizers(both)] == ["student.book"]
