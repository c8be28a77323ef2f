"""Joint-embedding prediction: WavJEPA's masks over frames, Audio-JEPA's random subset of spectrogram patches."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from one_by_one import check, outputs, watch_every_frame
from recipe import padded, pretrain
from torch import Tensor, nn
from toys import pl

WIDTH, CHANNELS, SMALL = 24, 16, 12


class ConvFeatureExtractor(nn.Module):
    """(B, T, C) out."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv1d(1, CHANNELS, 10, 5), nn.GELU(), nn.Conv1d(CHANNELS, CHANNELS, 8, 4), nn.GELU()
        )

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.cnn(x).transpose(1, 2)
        return features


def _torchs_encoder(width: int, depth: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(width, 2, 32, 0.0, batch_first=True)
    return nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)


class WavJepaLike(pl.LightningModule):
    """The extractor and its mapper feed both branches; the student attends to the context only; a narrower decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.extract_audio = ConvFeatureExtractor()
        self.feature_norms = nn.LayerNorm(CHANNELS)
        self.encoder = _torchs_encoder(WIDTH, 3)
        self.post_extraction_mapper = nn.Linear(CHANNELS, WIDTH)
        self.decoder = _torchs_encoder(SMALL, 2)
        self.decoder_to_encoder_mapper = nn.Linear(SMALL, WIDTH)
        self.encoder_to_decoder_mapper = nn.Linear(WIDTH, SMALL)
        self.mask_token = nn.Parameter(torch.randn(SMALL))
        self.teacher_encoder = copy.deepcopy(self.encoder).requires_grad_(False)

    def forward(self, audio: Tensor, ctx_masks: Tensor, target_indices: Tensor) -> dict[str, Tensor]:
        local = self.post_extraction_mapper(self.feature_norms(self.extract_audio(audio)))
        context = self.encoder_to_decoder_mapper(self.encoder(local, src_key_padding_mask=ctx_masks)[~ctx_masks])
        tokens = self.mask_token.repeat(*ctx_masks.shape, 1).masked_scatter(~ctx_masks[..., None], context)
        predictions = self.decoder_to_encoder_mapper(self.decoder(tokens))
        with torch.no_grad():
            targets = local.detach()
            for layer in self.teacher_encoder.layers:
                targets = layer(targets)
        loss = ((predictions - targets).square().mean(-1) * target_indices).mean()
        return {"local_features": local, "loss": loss, "preds": predictions}

    def training_step(self, batch: Any, index: int) -> dict[str, Tensor]:
        out = self(*batch)
        with torch.no_grad():
            for ours, theirs in zip(self.teacher_encoder.parameters(), self.encoder.parameters(), strict=True):
                ours.data.lerp_(theirs, 0.01)
        return {"loss": out["loss"]}

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW((p for p in self.parameters() if p.requires_grad), 1e-3)


def _crops(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    audio, _ = padded([1000] * 6, seed)
    outside = torch.rand(6, 48, generator=generator) < 0.6
    outside[:, 0] = False
    return audio[:, None], outside, outside & (torch.rand(6, 48, generator=generator) < 0.5)


CROPS = [_crops(seed) for seed in range(3)]
WAV_BLOCKS = [f"encoder.layers.{i}" for i in range(3)]


def _check_wav(run: Any, layers: list[str]) -> None:
    calls = [lambda b=b, i=i: run.module(*(x[i : i + 1] for x in b)) for b in CROPS for i in range(6)]
    contexts = [~outside for _, masks, _ in CROPS for outside in masks]
    apart = {reading.protocol.frames for reading in run.watch.readings} == {"unmasked"}
    for layer in layers:
        assert set(run.frames(layer)) == {48}
        rows = outputs(run.module, layer, calls, lambda out: out[0])
        check(run, layer, [x[seen] for x, seen in zip(rows, contexts, strict=True)] if apart else rows)


def test_masks_over_frames(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretrain(WavJepaLike, CROPS, tmp_path, monkeypatch, watch=watch_every_frame())
    assert [layer for layer in run.layers if layer.startswith(("encoder", "teacher", "decoder"))] == WAV_BLOCKS
    _check_wav(run, WAV_BLOCKS)


def test_the_shared_extractor_is_the_students(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretrain(WavJepaLike, CROPS, tmp_path, monkeypatch, watch=watch_every_frame())
    _check_wav(run, ["extract_audio"])
    table = " ".join(run.table.split())
    assert "'teacher_encoder.layers.*'] adds it" in table or "'teacher_encoder.*'] adds it" in table
    assert "'extract_audio.*'" not in table


class PatchEmbed(nn.Module):
    """(B, 1, time, mels) to (B, patches, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, WIDTH, 8, 8)

    def forward(self, x: Tensor) -> Tensor:
        patches: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return patches


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        added: Tensor = x + self.mlp(self.norm2(x))
        return added


def _apply(x: Tensor, indices: list[Tensor]) -> Tensor:
    return torch.cat([x.gather(1, one.unsqueeze(-1).expand(-1, -1, x.shape[-1])) for one in indices])


class VisionTransformer(nn.Module):
    """Blocks see only the patches of `context_masks`, in their random order."""

    def __init__(self, patches: int) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed()
        self.pos_embed = nn.Parameter(torch.randn(1, patches, WIDTH), requires_grad=False)
        self.blocks = nn.ModuleList(Block(WIDTH) for _ in range(3))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor, context_masks: list[Tensor] | None = None) -> Tensor:
        x = self.patch_embed(x) + self.pos_embed
        if context_masks is not None:
            x = _apply(x, context_masks)
        for block in self.blocks:
            x = block(x)
        normed: Tensor = self.norm(x)
        return normed


class Predictor(nn.Module):
    def __init__(self, patches: int) -> None:
        super().__init__()
        self.predictor_embed, self.predictor_proj = nn.Linear(WIDTH, SMALL), nn.Linear(SMALL, WIDTH)
        self.predictor_blocks = nn.ModuleList(Block(SMALL) for _ in range(2))
        self.pos_embed = nn.Parameter(torch.randn(1, patches, SMALL), requires_grad=False)

    def forward(self, x: Tensor, context_masks: list[Tensor], target_masks: list[Tensor]) -> Tensor:
        there = self.pos_embed.expand(len(x), -1, -1)
        x = torch.cat([self.predictor_embed(x) + _apply(there, context_masks), _apply(there, target_masks)], 1)
        for block in self.predictor_blocks:
            x = block(x)
        predicted: Tensor = self.predictor_proj(x[:, context_masks[0].shape[1] :])
        return predicted


@dataclass
class Spectrograms:
    """The batch: waveforms are there for listening only."""

    waveforms: Tensor
    spectrograms: Tensor
    context_masks: list[Tensor]
    prediction_masks: list[Tensor]
    audio_names: list[str]


class AudioJepaLike(pl.LightningModule):
    def __init__(self, patches: int) -> None:
        super().__init__()
        self.encoder = VisionTransformer(patches)
        self.target_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.predictor = Predictor(patches)

    def training_step(self, batch: Spectrograms, index: int) -> Tensor:
        predicted = self.predictor(
            self.encoder(batch.spectrograms, batch.context_masks), batch.context_masks, batch.prediction_masks
        )
        with torch.no_grad():
            targets = _apply(self.target_encoder(batch.spectrograms), batch.prediction_masks)
        return nn.functional.mse_loss(predicted, targets)

    def on_train_batch_end(self, *_: Any) -> None:
        for ours, theirs in zip(self.target_encoder.parameters(), self.encoder.parameters(), strict=True):
            ours.data = 0.99 * ours.data + 0.01 * theirs.data

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW([*self.encoder.parameters(), *self.predictor.parameters()], 1e-3)


def _spectrograms(mels: int, seed: int) -> Spectrograms:
    generator = torch.Generator().manual_seed(seed)
    patches, seen = 8 * mels // 8, 14 + 3 * seed  # how many are seen changes from batch to batch
    order = torch.stack([torch.randperm(patches, generator=generator) for _ in range(4)])
    spectrograms = torch.randn(4, 1, 64, mels, generator=generator).cumsum(2)
    waveforms = torch.randn(4, 5120, generator=generator)
    return Spectrograms(waveforms, spectrograms, [order[:, :seen]], [order[:, seen:]], list("abcd"))


@pytest.mark.parametrize("mels", [32, 24])  # 24 patches and 24 channels
def test_a_random_subset_of_patches(mels: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [_spectrograms(mels, seed) for seed in range(2)]
    run = pretrain(lambda: AudioJepaLike(mels), batches, tmp_path, monkeypatch, watch=watch_every_frame())
    blocks = [f"encoder.blocks.{i}" for i in range(3)]
    assert run.layers == ["encoder.patch_embed", *blocks]
    assert "the teacher branch is not watched; layers=[..., 'target_encoder.*'] adds it" in run.table
    calls = [
        lambda b=b, i=i: run.module.encoder(b.spectrograms[i : i + 1], [one[i : i + 1] for one in b.context_masks])
        for b in batches
        for i in range(4)
    ]
    assert run.frames("encoder.patch_embed") == [mels] * 8
    for layer in run.layers:
        assert layer not in blocks or run.frames(layer) == [14] * 4 + [17] * 4
        check(run, layer, outputs(run.module, layer, calls, lambda out: out[0]))
