"""SpeechBrain's wav2vec 2.0: its real classes, called one by one as its recipe calls them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from one_by_one import check, outputs, watch_every_frame
from recipe import padded, pretrain
from torch import Tensor, nn
from toys import pl

KERNELS, STRIDES, CHANNELS, WIDTH = [11, 3, 3], [5, 2, 2], 16, 24
SAMPLES = [[1600, 900, 1234, 700], [1280, 777, 1111, 1200]]
BLOCKS = [f"latent_encoder.latent_encoder.layers.{i}" for i in range(2)]


def _frames(samples: int) -> int:
    for kernel, stride in zip(KERNELS, STRIDES, strict=True):
        samples = (samples - kernel) // stride + 1
    return samples


class Wav2Vec2(pl.LightningModule):
    """The extractor's output goes into the encoder as it is, and, where it is masked, into the quantiser."""

    def __init__(self) -> None:
        super().__init__()
        from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
        from speechbrain.lobes.models.wav2vec import EncoderWrapper, W2VLatentExtractor, W2VTargetQuantiser

        blocks = TransformerEncoder(
            d_model=WIDTH, num_layers=2, nhead=2, d_ffn=32, dropout=0.1, normalize_before=True, activation=nn.GELU
        )
        self.latent_extractor = W2VLatentExtractor([CHANNELS] * 3, KERNELS, STRIDES)
        self.latent_encoder = EncoderWrapper(CHANNELS, WIDTH, blocks, dropout_encoder_input=0.1)
        self.feat_proj = nn.Linear(WIDTH, 12)
        self.target_quantiser = W2VTargetQuantiser(CHANNELS, 12, num_vars=8)

    def training_step(self, batch: Any, index: int) -> Tensor:
        waveforms, fractions, mask = batch
        latents = self.latent_extractor(waveforms, normalize_signal=False)
        results = self.latent_encoder(latents, mask=mask, wav_lens=fractions)
        targets, meta = self.target_quantiser(latents[mask].view(len(waveforms), -1, CHANNELS))
        predicted = self.feat_proj(results["embeddings"][mask]).view_as(targets)
        loss: Tensor = nn.functional.mse_loss(predicted, targets) + 0.1 * meta["diversity_loss"]
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), 5e-4)


def _batch(samples: list[int], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    waveforms, lengths = padded(samples, seed)
    mask = torch.zeros(len(samples), _frames(max(samples)), dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed)
    for row, n in zip(mask, samples, strict=True):
        row[torch.randperm(_frames(n), generator=generator)[:10]] = True  # as many in each utterance
    return waveforms, lengths / max(samples), mask


def test_one_line(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder attends to a rounded number of frames, up to one more: only the extractor is compared one by one."""
    batches = [_batch(samples, seed) for seed, samples in enumerate(SAMPLES)]
    run = pretrain(Wav2Vec2, batches, tmp_path, monkeypatch, watch=watch_every_frame())
    assert run.layers == ["latent_extractor", *BLOCKS]
    wanted = [_frames(n) for samples in SAMPLES for n in samples]
    for layer in run.layers:
        assert run.frames(layer) == wanted
        assert "wav_lens' (fractions, through 3 convolutions)" in run.source(layer)
    assert {reading.protocol.frames for reading in run.watch.readings} == {"unmasked"}
    assert "target_quantiser.quantiser (8 codes)" in " ".join(run.table.split())
    calls, unmasked = [], []
    for (waveforms, _, mask), samples in zip(batches, SAMPLES, strict=True):
        for i, n in enumerate(samples):
            calls.append(lambda x=waveforms[i : i + 1, :n]: run.module.latent_extractor(x, normalize_signal=False))
            unmasked.append(~mask[i, : _frames(n)])
    rows = outputs(run.module, "latent_extractor", calls, lambda out: out[0])
    check(run, "latent_extractor", [x[keep] for x, keep in zip(rows, unmasked, strict=True)])
