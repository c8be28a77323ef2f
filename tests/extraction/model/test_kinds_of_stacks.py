"""Which blocks are found: stages with downsampling in between, hybrids, convolutional networks of several depths."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rankwatch.extraction.model.layers import find_layers

WIDTH = 8


def names(model: nn.Module, kind: str = "block") -> list[str]:
    return [layer.name for layer in find_layers(model) if layer.kind == kind]


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.norm, self.up, self.down = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 16), nn.Linear(16, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x, x, x, need_weights=False)[0]
        added: Tensor = x + self.down(torch.relu(self.up(self.norm(x))))
        return added


class StateSpace(nn.Module):
    """Without attention, as in Mamba."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.into, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 16), nn.Linear(16, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = x + self.out(torch.relu(self.into(self.norm(x))))
        return added


class Down(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(WIDTH, WIDTH, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        shorter: Tensor = self.conv(x.mT).mT
        return shorter


class Residual(nn.Module):
    """With a part that has two convolutions as well, as squeeze and excitation has."""

    def __init__(self, squeezes: bool = False) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.squeeze = Squeeze() if squeezes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = x + self.squeeze(self.two(torch.relu(self.one(x))))
        return added


class Squeeze(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(WIDTH, 2, 1), nn.Conv2d(2, WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        gated: Tensor = x * self.up(self.down(x.mean((2, 3), keepdim=True))).sigmoid()
        return gated


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.relu(self.norm(self.conv(x)))
        return y


class Stage(nn.Module):
    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def test_stages_with_downsampling_in_between_are_all_found() -> None:
    network = nn.ModuleList([Transformer(), Down(), Transformer(), Down(), Transformer()])
    assert names(nn.ModuleDict({"network": network})) == ["network.0", "network.2", "network.4"]


def test_a_hybrid_has_blocks_of_both_classes() -> None:
    for order in ("SST" * 2, "TS" * 3, "TTS" * 2):
        blocks = nn.ModuleList([Transformer() if one == "T" else StateSpace() for one in order])
        norm = nn.LayerNorm(WIDTH)
        model = nn.ModuleDict({"blocks": blocks, "norm": norm})
        assert names(model) == [f"blocks.{i}" for i in range(6)], order


def test_a_head_behind_blocks_is_none() -> None:
    model = nn.Sequential(Transformer(), Transformer(), StateSpace())
    assert names(model) == ["0", "1"]


class TestConvolutionalNetworks:
    def test_blocks_go_before_their_parts(self) -> None:
        blocks = nn.ModuleList([Residual(squeezes=i > 0) for i in range(3)])
        assert names(nn.ModuleDict({"blocks": blocks})) == ["blocks.0", "blocks.1", "blocks.2"]

    def test_the_innermost_container_counts(self) -> None:
        stages = nn.ModuleList([Stage(nn.ModuleList([Residual(), Residual()])) for _ in range(2)])
        expected = [f"stages.{i}.layers.{j}" for i in range(2) for j in range(2)]
        assert names(nn.ModuleDict({"stages": stages})) == expected

    def test_unless_only_some_of_the_outer_blocks_have_one(self) -> None:
        plain, light = nn.ModuleList([Layer(), Layer()]), nn.ModuleList([Residual(), Residual()])
        blocks = nn.ModuleList([Stage(plain), Stage(light), Stage(light)])
        assert names(nn.ModuleDict({"blocks": blocks})) == ["blocks.0", "blocks.1", "blocks.2"]

    def test_blocks_that_are_attributes(self) -> None:
        model = nn.ModuleDict({"conv_block1": Residual(), "conv_block2": Residual()})
        assert names(model) == ["conv_block1", "conv_block2"]

    def test_layers_of_one_convolution_each(self) -> None:
        layers = nn.ModuleList([Layer() for _ in range(3)])
        assert names(nn.ModuleDict({"stem": nn.Conv2d(1, WIDTH, 3, 2), "layer": layers})) == [
            f"layer.{i}" for i in range(3)
        ]


class TestFrontEnds:
    def test_a_stage_with_blocks_is_none_of_the_next_stage(self) -> None:
        """It ends with a strided convolution, which belongs to it."""
        stages = nn.ModuleList(nn.Sequential(nn.Sequential(Transformer(), Transformer()), Down()) for _ in range(2))
        model = nn.ModuleDict({"stem": nn.Conv1d(1, WIDTH, 4, 4), "stages": stages})
        assert names(model, "frontend") == ["stem"]
        assert names(model) == [f"stages.{i}.0.{j}" for i in range(2) for j in range(2)]

    def test_each_stage_has_the_patch_embedder_of_its_width(self) -> None:
        embedders = nn.ModuleList([nn.Conv2d(1, 8, 4, 4), nn.Conv2d(8, 16, 2, 2)])
        wide = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 16, batch_first=True), 2)
        blocks = nn.ModuleList([nn.ModuleList([Transformer(), Transformer()]), wide.layers])
        model = nn.ModuleDict({"patch_embeddings": embedders, "block": blocks})
        assert names(model, "frontend") == ["patch_embeddings.0", "patch_embeddings.1"]
