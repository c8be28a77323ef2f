"""Models of spectrograms: BYOL-A's convolutional network, and ATST-Frame's patches over all mels."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from one_by_one import check, outputs, watch_every_frame
from recipe import pretrain
from torch import Tensor, nn
from toys import pl

MELS, WIDTH, CHANNELS = 16, 24, 8


def _mlp(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, outside))


class AudioNet(nn.Module):
    """(B, 1, mels, T) to one vector per clip; its head works on (B, T, mels * C)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inside in (1, CHANNELS, CHANNELS):
            layers += [nn.Conv2d(inside, CHANNELS, 3, padding=1), nn.BatchNorm2d(CHANNELS), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.fc = nn.Sequential(
            nn.Linear(CHANNELS * MELS // 8, WIDTH), nn.ReLU(), nn.Dropout(0.3), nn.Linear(WIDTH, WIDTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc(self.features(x).permute(0, 3, 2, 1).flatten(2))
        return x.amax(1) + x.mean(1)


class NetWrapper(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.projector = _mlp(WIDTH, 12)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.projector(self.net(x))
        return projected


class Byol(nn.Module):
    """The network stands in it twice, under two names; the target is copied in the first step."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.online_encoder = NetWrapper(net)
        self.target_encoder: NetWrapper | None = None
        self.online_predictor = _mlp(12, 12)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        if self.target_encoder is None:
            self.target_encoder = copy.deepcopy(self.online_encoder).requires_grad_(False)
        online = [self.online_predictor(self.online_encoder(x)) for x in (first, second)]
        with torch.no_grad():
            targets = [self.target_encoder(x) for x in (second, first)]
        pairs = zip(online, targets, strict=True)
        return torch.stack([2 - 2 * nn.functional.cosine_similarity(x, y, dim=-1).mean() for x, y in pairs]).sum()

    def update_moving_average(self) -> None:
        if self.target_encoder is not None:
            pairs = zip(self.target_encoder.parameters(), self.online_encoder.parameters(), strict=True)
            for ours, theirs in pairs:
                ours.data = 0.99 * ours.data + 0.01 * theirs.data


class BYOLALearner(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.learner = Byol(AudioNet())

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        views = torch.cat(batch)
        views = (views - views.mean()) / views.std()
        loss: Tensor = self.learner(views[: len(batch[0])], views[len(batch[0]) :])
        return loss

    def on_before_zero_grad(self, _: Any) -> None:
        self.learner.update_moving_average()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 3e-4)


def _views(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(4, 1, MELS, 48, generator=generator).cumsum(3) for _ in range(2)]


VIEWS = [_views(seed) for seed in range(3)]


def _check_byol(run: Any, layers: list[str]) -> None:
    normed = [(views - views.mean()) / views.std() for views in (torch.cat(pair) for pair in VIEWS)]
    calls = [lambda x=x[i : i + 1]: run.module.learner.net(x) for x in normed for i in range(4)]
    for layer in layers:
        assert run.frames(layer) == [6] * 12

        def frames(out: Tensor) -> Tensor:
            return out[0].permute(2, 1, 0).flatten(1) if out.ndim == 4 else out[0]

        check(run, layer, outputs(run.module, layer, calls, frames))


def test_a_convolutional_network_by_name(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time axis is the one that is as long as the head's; its channels and mels are one row."""
    layers = ["learner.net.features", "learner.net.fc"]
    run = pretrain(BYOLALearner, VIEWS, tmp_path, monkeypatch, watch=watch_every_frame(layers=layers))
    assert run.layers == layers
    _check_byol(run, layers)


def test_a_convolutional_network_is_found(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretrain(BYOLALearner, VIEWS, tmp_path, monkeypatch, watch=watch_every_frame())
    assert any(layer.startswith("learner.") and ".net" in layer for layer in run.layers)
    assert not any("target_encoder" in layer for layer in run.layers)


BANDS = 64
"""A patch of four frames has 256 values then, as one of 16 bands and 16 frames would have."""


class PatchEmbed(nn.Module):
    """Patches of all mels and four frames; returns them, their embeddings and how many are valid."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Linear(4 * BANDS, WIDTH)

    def forward(self, x: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        patches = x[..., : x.shape[-1] // 4 * 4].unflatten(-1, (-1, 4)).permute(0, 3, 2, 4, 1).flatten(2)
        return patches, self.patch_embed(patches), length // 4


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 32), nn.GELU(), nn.Linear(32, WIDTH))

    def forward(self, x: Tensor, length: Tensor) -> Tensor:
        y, padding = self.norm1(x), torch.arange(x.shape[1]) >= length[:, None]
        x = x + self.attn(y, y, y, key_padding_mask=padding, need_weights=False)[0]
        added: Tensor = x + self.mlp(self.norm2(x))
        return added


class FrameAST(nn.Module):
    """Returns only the frames of `mask_index`."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed()
        self.mask_embed = nn.Parameter(torch.randn(WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(3))

    def forward(self, x: Tensor, length: Tensor, mask_index: Tensor, mask_input: bool = True) -> Tensor:
        _, x, length = self.patch_embed(x, length)
        if mask_input:
            x = torch.where(mask_index[..., None], self.mask_embed, x)
        for block in self.blocks:
            x = block(x, length)
        return x[mask_index & (torch.arange(x.shape[1]) < length[:, None])]


class FrameATST(pl.LightningModule):
    """Both views go through each encoder in one call."""

    def __init__(self) -> None:
        super().__init__()
        self.student = nn.ModuleDict({"encoder": FrameAST(), "projector": _mlp(WIDTH, 12), "predictor": _mlp(12, 12)})
        self.teacher = nn.ModuleDict({name: copy.deepcopy(self.student[name]) for name in ("encoder", "projector")})
        self.teacher.requires_grad_(False)

    def training_step(self, batch: Any, index: int) -> Tensor:
        (views, lengths, masks), _ = batch
        x, length, mask = torch.cat(views), torch.cat(lengths), torch.cat(masks)
        targets = self.teacher["projector"](
            self.teacher["encoder"](x, length=length, mask_index=mask, mask_input=False)
        )
        student = self.student["encoder"](x, length=length, mask_index=mask, mask_input=True)
        predicted = self.student["predictor"](self.student["projector"](student))
        (first, second), (one, other) = targets.chunk(2), predicted.chunk(2)
        return nn.functional.mse_loss(one, second) + nn.functional.mse_loss(other, first)

    def on_train_batch_end(self, *_: Any) -> None:
        for ours, theirs in zip(
            self.teacher["encoder"].parameters(), self.student["encoder"].parameters(), strict=True
        ):
            ours.data.mul_(0.99).add_(0.01 * theirs.data)

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.student.parameters(), 5e-4)


LENGTHS = [[61, 84, 77, 69], [96, 90, 65, 81], [80, 48, 61, 33]]
"""96 frames make as many patches as the model is wide; 96 and 80 as many as patches of 16 x 16 would be."""


def _clips(lengths: list[int], seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    counts, longest = torch.tensor(lengths), max(lengths)
    keep = torch.arange(longest) < counts[:, None]
    views = [torch.randn(4, 1, BANDS, longest, generator=generator).cumsum(3) * keep[:, None, None] for _ in range(2)]
    mask = torch.rand(4, longest // 4, generator=generator) < 0.6
    return (views, [counts, counts.clone()], [mask, mask.clone()]), torch.zeros(4)


@pytest.mark.parametrize("frame_mask", ["all", "unmasked"])
def test_counts_of_spectrogram_frames(frame_mask: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both views of a batch go through in one call and count; every clip has the frames that it has alone."""
    batches = [_clips(lengths, seed) for seed, lengths in enumerate(LENGTHS)]
    run = pretrain(FrameATST, batches, tmp_path, monkeypatch, watch=watch_every_frame(frame_mask))
    blocks = [f"student.encoder.blocks.{i}" for i in range(3)]
    assert run.layers == ["student.encoder.patch_embed", *blocks]
    calls = [
        lambda x=view[i : i + 1, ..., :n], n=n, mask=mask[i : i + 1, : n // 4]: run.module.student["encoder"](
            x, torch.tensor([n]), mask
        )
        for ((views, _, masks), _), lengths in zip(batches, LENGTHS, strict=True)
        for view, mask in zip(views, masks, strict=True)
        for i, n in enumerate(lengths)
    ]
    masked = [
        mask[i, : n // 4]
        for ((_, _, masks), _), lengths in zip(batches, LENGTHS, strict=True)
        for mask in masks
        for i, n in enumerate(lengths)
    ]
    for layer in run.layers:
        assert run.frames(layer) == [n // 4 for lengths in LENGTHS for n in lengths * 2]
        assert run.source(layer) == "lengths given by student.encoder.patch_embed"
        alone = outputs(run.module, layer, calls, lambda out: out[0] if isinstance(out, Tensor) else out[1][0])
        if frame_mask == "unmasked":
            alone = [rows[~mask] for rows, mask in zip(alone, masked, strict=True)]
        check(run, layer, alone)
