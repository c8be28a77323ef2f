"""fairseq's data2vec: the encoder adds frames to an odd number, and the teacher stands outside of the module."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from one_by_one import EVERY_FRAME, check, outputs, watch_every_frame
from recipe import padded, pretrain
from speech_models import FairseqLikeBlock
from torch import Tensor, nn
from toys import pl

from rankwatch import RankWatch, RowSampling

CHANNELS, WIDTH = 16, 24
BLOCKS = [f"encoder.layers.{i}" for i in range(3)]


def _frames(samples: int) -> int:
    return ((samples - 10) // 5 + 1 - 8) // 4 + 1


class ConvFeatureExtractionModel(nn.Module):
    """(B, C, T) out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList([nn.Conv1d(1, CHANNELS, 10, 5), nn.Conv1d(CHANNELS, CHANNELS, 8, 4)])

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(1)
        for conv in self.conv_layers:
            x = nn.functional.gelu(nn.functional.layer_norm(conv(x).transpose(1, 2), (CHANNELS,)).transpose(1, 2))
        return x


class TransformerEncoder(nn.Module):
    """Blocks see (T, B, C); an odd number of frames gets one more, which counts as padding, and loses it afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FairseqLikeBlock(WIDTH) for _ in range(3))

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        frames = x.shape[1]
        added = frames % 2
        if padding_mask is None and added:
            padding_mask = torch.zeros(x.shape[:2], dtype=torch.bool)
        if padding_mask is not None:
            padding_mask = nn.functional.pad(padding_mask, (0, added), value=True)
        x = nn.functional.pad(x, (0, 0, 0, added)).transpose(0, 1)
        results = []
        for layer in self.layers:
            x, _ = layer(x, padding_mask)
            results.append(x)
        return x.transpose(0, 1)[:, :frames], results


class Teacher:
    """Holds the moving average where no parent finds it."""

    def __init__(self, model: nn.Module) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    def step(self, model: nn.Module) -> None:
        with torch.no_grad():
            for ours, theirs in zip(self.model.parameters(), model.parameters(), strict=True):
                ours.lerp_(theirs, 0.1)


class Data2VecLike(pl.LightningModule):
    """Called with `source` and a `padding_mask` over samples."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_extractor = ConvFeatureExtractionModel()
        self.layer_norm = nn.LayerNorm(CHANNELS)
        self.post_extract_proj = nn.Linear(CHANNELS, WIDTH)
        self.mask_emb = nn.Parameter(torch.rand(WIDTH))
        self.encoder = TransformerEncoder()
        self.final_proj = nn.Linear(WIDTH, WIDTH)
        self.ema = Teacher(self.encoder)

    def forward(self, source: Tensor, padding_mask: Tensor | None = None, mask_indices: Tensor | None = None) -> Tensor:
        features = self.post_extract_proj(self.layer_norm(self.feature_extractor(source).transpose(1, 2)))
        if padding_mask is not None and padding_mask.any():
            frames = _counts((~padding_mask).sum(-1))
            padding_mask = torch.arange(features.shape[1]) >= frames[:, None]
        else:
            padding_mask = None
        x = features if mask_indices is None else torch.where(mask_indices[..., None], self.mask_emb, features)
        x, _ = self.encoder(x, padding_mask)
        with torch.no_grad():
            targets, _ = self.ema.model(features, padding_mask)
        loss: Tensor = (self.final_proj(x) - targets).square().mean()
        return loss

    def training_step(self, batch: Any, index: int) -> Tensor:
        loss: Tensor = self(**batch["net_input"])
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        self.ema.step(self.encoder)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 1e-3)


def _counts(samples: Tensor) -> Tensor:
    return torch.div(torch.div(samples - 10, 5, rounding_mode="floor") - 7, 4, rounding_mode="floor") + 1


def _batch(samples: list[int], seed: int) -> dict[str, Any]:
    source, lengths = padded(samples, seed)
    mask = torch.arange(source.shape[1]) >= lengths[:, None]
    return {"id": torch.arange(len(samples)), "net_input": {"source": source, "padding_mask": mask}}


# The longest utterances have 79, 63 and 94 frames: 80, 64 and 94 inside.
SAMPLES = [[1610, 900, 1234, 1605], [1290, 777, 1288, 1200], [1910, 1909, 640, 1830]]


def _check(samples: list[list[int]], tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [_batch(one, seed) for seed, one in enumerate(samples)]
    run = pretrain(Data2VecLike, batches, tmp_path, monkeypatch, watch=watch_every_frame())
    assert run.layers == ["feature_extractor", *BLOCKS]
    wanted = [_frames(n) for one in samples for n in one]
    calls = [
        lambda x=batch["net_input"]["source"][i : i + 1, :n]: run.module(x)
        for batch, lengths in zip(batches, samples, strict=True)
        for i, n in enumerate(lengths)
    ]
    assert run.frames("feature_extractor") == wanted
    check(run, "feature_extractor", outputs(run.module, "feature_extractor", calls, lambda out: out[0].T))
    for layer in BLOCKS:
        assert run.frames(layer) == wanted
        alone = outputs(run.module, layer, calls, lambda out: out[0][:, 0])
        check(run, layer, [rows[:n] for rows, n in zip(alone, wanted, strict=True)])


def test_even_numbers_of_frames(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _check([[1600, 900, 1234, 1590], [1280, 777, 1270, 1200]], tmp_path, monkeypatch)


def test_odd_numbers_of_frames(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _check(SAMPLES, tmp_path, monkeypatch)


@pytest.mark.parametrize(("layers", "lengths"), [("auto", "auto"), (["encoder.layers.*"], "none")])
def test_masked_frames_are_left_out_whether_their_number_is_odd_or_even(
    layers: Any, lengths: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mask is drawn over the frames of the front end, of which the blocks have one more where it is odd."""
    samples = [[n] * 4 for n in (1610, 1910)] if lengths == "none" else [SAMPLES[0], SAMPLES[2]]
    assert [_frames(one[0]) for one in samples] == [79, 94]
    batches = [_batch(one, seed) for seed, one in enumerate(samples)]
    for batch, one in zip(batches, samples, strict=True):
        masked = torch.zeros(4, _frames(one[0]), dtype=torch.bool)
        masked[:, 3:9] = masked[:, 12:16] = True
        batch["net_input"]["mask_indices"] = masked
    rows = RowSampling(frames_per_utterance=EVERY_FRAME, projection=None, lengths=lengths)
    run = pretrain(Data2VecLike, batches, tmp_path, monkeypatch, watch=RankWatch(rows=rows, layers=layers))
    assert run.layers[-3:] == BLOCKS
    wanted = sum(_frames(n) - 10 for one in samples for n in one)
    assert all(found == {wanted} for found in run.rows("frame").values())
