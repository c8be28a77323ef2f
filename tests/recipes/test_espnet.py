"""ESPnet's self-supervised models: names of utterances beside a dict, masks in eval mode too, lengths handed along."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from one_by_one import check, outputs, watch_every_frame
from recipe import padded, pretrain
from torch import Tensor, nn
from toys import pl

WIDTH = 16
SAMPLES = [[1600, 1580, 1555], [920, 900], [1234, 1200, 1190], [400, 390, 380, 360]]


def _frames(samples: int) -> int:
    return ((samples - 10) // 5 + 1 - 8) // 4 + 1


class FrontEnd(nn.Module):
    """Waveforms and lengths in, (B, T, C) and its lengths out."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv1d(1, WIDTH, 10, 5, bias=False), nn.Conv1d(WIDTH, WIDTH, 8, 4, bias=False)])

    def forward(self, x: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        x = x[:, None]
        for layer in self.layers:
            x = nn.functional.gelu(layer(x))
            length = (length - layer.kernel_size[0]) // layer.stride[0] + 1
        return x.transpose(1, 2), length


class Masking(nn.Module):
    """Writes into what it is given, and says in a dict where: also in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor, padding: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        masked = (torch.rand(x.shape[:2]) < 0.5) & ~padding
        x = x.clone()
        x[masked] = self.embedding
        return x, {"mask_m": masked, "mask_u": ~masked}


class Block(nn.Module):
    """A pre-norm block that hands its mask (B, 1, T) on."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.self_attn = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.feed_forward = nn.Sequential(nn.Linear(WIDTH, 32), nn.ReLU(), nn.Linear(32, WIDTH))

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        y = self.norms[0](x)
        x = x + self.self_attn(y, y, y, key_padding_mask=~mask[:, 0], need_weights=False)[0]
        return x + self.feed_forward(self.norms[1](x)), mask


class Encoder(nn.Module):
    """All layers' outputs beside the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(Block() for _ in range(2))
        self.after_norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor, ilens: Tensor, masks: Tensor) -> tuple[Any, Tensor, None]:
        seen, mask = [], ~masks[:, None, :]
        for block in self.encoders:
            x, mask = block(x, mask)
            seen.append(x)
        return (self.after_norm(x), seen), mask.squeeze(1).sum(1), None


class SpeechModel(nn.Module):
    """Its `forward` masks always, its `inference_encode` never."""

    def __init__(self) -> None:
        super().__init__()
        self.frontend, self.preencoder = FrontEnd(), nn.Linear(WIDTH, WIDTH)
        self.mask, self.encoder, self.head = Masking(), Encoder(), nn.Linear(WIDTH, 8)

    def _encode(self, speech: Tensor, lengths: Tensor, mask: bool) -> tuple[Tensor, Any]:
        x, lengths = self.frontend(speech[:, : lengths.max()], lengths)
        padding = torch.arange(x.shape[1]) >= lengths[:, None]
        x, info = self.mask(self.preencoder(x), padding) if mask else (self.preencoder(x), {})
        return self.encoder(x, lengths, masks=padding)[0][0], info

    def inference_encode(self, speech: Tensor, speech_lengths: Tensor, use_mask: bool = False) -> Tensor:
        return self._encode(speech, speech_lengths, use_mask)[0]

    def forward(
        self, speech: Tensor, speech_lengths: Tensor, text: Tensor | None = None, **others: Any
    ) -> tuple[Tensor, dict[str, Any], int]:
        x, info = self._encode(speech, speech_lengths, True)
        loss = nn.functional.cross_entropy(self.head(x[info["mask_m"]]), text[info["mask_m"]], ignore_index=-1)
        return loss, {"loss": loss.detach()}, len(speech)


class Lightning(pl.LightningModule):
    """Of a batch the names of the utterances come first."""

    def __init__(self) -> None:
        super().__init__()
        self.model = SpeechModel()

    def training_step(self, batch: Any, index: int) -> Tensor:
        names, fields = batch
        loss, _, _ = self.model(**fields, utt_id=names)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 1e-3)


def _batch(samples: list[int], seed: int) -> tuple[list[str], dict[str, Tensor]]:
    speech, lengths = padded(samples, seed)
    text = torch.full((len(samples), _frames(max(samples))), -1)
    for row, count in zip(text, map(_frames, samples), strict=True):
        row[:count] = torch.arange(count) % 8
    fields = {"speech": speech, "speech_lengths": lengths, "text": text, "text_lengths": (text >= 0).sum(1)}
    return [f"utterance-{seed}-{i}" for i in range(len(samples))], fields


def test_read_without_masks_as_the_utterances_one_by_one(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [_batch(samples, seed) for seed, samples in enumerate(SAMPLES)]
    run = pretrain(Lightning, batches, tmp_path, monkeypatch, watch=watch_every_frame())
    assert run.layers == ["model.frontend", "model.encoder.encoders.0", "model.encoder.encoders.1"]
    assert {r.protocol.input for r in run.watch.readings} == {"clean"}
    model = run.module.model
    calls = [
        lambda one=fields["speech"][i : i + 1, :count], count=count: model.inference_encode(one, torch.tensor([count]))
        for (_, fields), samples in zip(batches, SAMPLES, strict=True)
        for i, count in enumerate(samples)
    ]
    for layer in run.layers:
        assert run.frames(layer) == [_frames(n) for samples in SAMPLES for n in samples]
        check(run, layer, outputs(run.module, layer, calls, lambda output: output[0][0]))
