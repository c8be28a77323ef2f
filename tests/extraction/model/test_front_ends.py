"""Which module feeds which blocks, whatever the order in which they were built and whoever shares it."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rankwatch.extraction.model.layers import find_layers, unwatched_teachers

WIDTH = 16


def blocks():
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, 2, 32, batch_first=True), 2)


def convolutions(width=WIDTH):
    return nn.Sequential(nn.Conv1d(1, width, 10, 5), nn.GELU(), nn.Conv1d(width, width, 4, 2))


def model_of(order, parts):
    model = nn.Module()
    for name in order:
        setattr(model, name, parts[name])
    return model


NAMES = ("front", "student", "shadow", "projector", "predictor", "heads")


@given(st.permutations(NAMES), st.sampled_from(["teacher", "ema_encoder", "target", "shadow"]), st.booleans())
def test_a_shared_front_end_is_the_students_in_any_order(order, teacher, projected):
    """The teacher is known by its name, or as a frozen twin; what both are fed by belongs to what trains."""
    student = blocks()
    parts = {
        "front": convolutions(24 if projected else WIDTH),
        "student": student,
        "shadow": copy.deepcopy(student).requires_grad_(False),
        "projector": nn.Sequential(nn.Linear(24, WIDTH), nn.LayerNorm(WIDTH)),
        "predictor": blocks(),
        "heads": nn.Linear(WIDTH, 4),
    }
    model = model_of(order, parts)
    setattr(model, teacher, parts["shadow"])
    if teacher != "shadow":
        del model.shadow
    found = {layer.name: (layer.kind, layer.branch) for layer in find_layers(model)}
    assert found == {
        "front": ("frontend", "student"),
        "student.layers.0": ("block", "student"),
        "student.layers.1": ("block", "student"),
    }
    assert unwatched_teachers(model, find_layers(model)) == [f"{teacher}.*"]


@given(st.permutations(["front", "student", "teacher", "target_front"]))
def test_each_branch_may_have_a_front_end_of_its_own(order):
    student = blocks()
    parts = {
        "front": convolutions(),
        "student": student,
        "teacher": copy.deepcopy(student).requires_grad_(False),
        "target_front": convolutions(),
    }
    assert [layer.name for layer in find_layers(model_of(order, parts)) if layer.kind == "frontend"] == ["front"]


class TestPatchEmbedders:
    def test_a_projection_that_cuts_patches_is_a_front_end(self):
        embeddings = nn.Module()
        embeddings.forward = lambda x: x
        patches = nn.ModuleDict({"projection": nn.Conv2d(1, WIDTH, 4, 4)})
        model = nn.ModuleDict({"patch_embeddings": patches, "encoder": blocks()})
        assert find_layers(model)[0].name == "patch_embeddings.projection"

    def test_patches_that_are_rearranged_and_mapped(self):
        class Rearrange(nn.Module):
            def forward(self, x):
                return x

        embedder = nn.Sequential(Rearrange(), nn.Linear(64, WIDTH))
        model = nn.ModuleDict({"to_patch_embedding": embedder, "transformer": blocks()})
        assert [layer.kind for layer in find_layers(model)] == ["frontend", "block", "block"]

    def test_a_later_stages_downsampling_feeds_no_earlier_one(self):
        stages = nn.ModuleList(
            nn.ModuleDict({"down": nn.Conv1d(WIDTH, WIDTH, 2, 2), "blocks": nn.ModuleList(_Block() for _ in range(2))})
            for _ in range(2)
        )
        del stages[0]["down"]
        model = nn.ModuleDict({"stem": nn.Conv1d(1, WIDTH, 4, 4), "stages": stages})
        assert [layer.name for layer in find_layers(model)][:2] == ["stem", "stages.0.blocks.0"]


class _Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.one, self.two = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 32), nn.Linear(32, WIDTH)

    def forward(self, x):
        return x + self.two(torch.relu(self.one(self.norm(x))))


class _Network(nn.Module):
    def __init__(self):
        super().__init__()
        parts = nn.Conv2d(1, 8, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.MaxPool2d(2)
        self.features = nn.Sequential(*parts)

    def forward(self, x):
        return self.features(x)


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(torch.relu(self.bn1(self.conv1(x))))


class TestOtherEncoders:
    def test_blocks_of_a_convolutional_network(self):
        stem = nn.Conv2d(1, 8, 7, 2)
        model = nn.ModuleDict({"stem": stem, "layer1": nn.Sequential(Residual(8), Residual(8)), "fc": nn.Linear(8, 4)})
        assert [layer.name for layer in find_layers(model)] == ["stem", "layer1.0", "layer1.1"]

    def test_stages_between_convolutions(self):
        def stage(a, b):
            return [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)]

        model = nn.ModuleDict({"features": nn.Sequential(*stage(1, 8), *stage(8, 8)), "fc": nn.Linear(8, 4)})
        assert [layer.name for layer in find_layers(model)] == ["features.3", "features.7"]

    @pytest.mark.parametrize("name", ["target_encoder", "shadow"])
    def test_a_network_and_its_copy_are_no_two_blocks(self, name):
        net = _Network()
        model = nn.ModuleDict({"net": net, name: copy.deepcopy(net).requires_grad_(False)})
        assert [layer.name for layer in find_layers(model)] == ["net.features.1", "net.features.3"]

    @pytest.mark.parametrize("net", [nn.GRU, nn.LSTM])
    def test_recurrent_layers_behind_convolutions(self, net):
        model = nn.ModuleDict({"front": convolutions(), "rnns": nn.ModuleList(net(WIDTH, WIDTH) for _ in range(2))})
        assert [(layer.name, layer.kind) for layer in find_layers(model)] == [
            ("front", "frontend"),
            ("rnns.0", "block"),
            ("rnns.1", "block"),
        ]

    def test_auto_stands_beside_globs(self):
        model = nn.ModuleDict({"front": convolutions(), "projection": nn.Linear(16, 16), "encoder": blocks()})
        kinds = {layer.name: layer.kind for layer in find_layers(model, ["auto", "projection"])}
        assert kinds == {
            **{"front": "frontend", "projection": "projection"},
            **{"encoder.layers.0": "block", "encoder.layers.1": "block"},
        }
