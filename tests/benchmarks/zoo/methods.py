"""The zoo's five methods on one small encoder: log-mel front end with two convolutions, three transformer layers.

Each is a module with `loss(batch, progress)` and `moved(progress)` after an optimiser step; `broken` names what is
wrong with it at the moment, and `facts` is what the baselines look at.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import torch
from corpus import AudioBatch
from data2vec import instance_norm
from encoder import SpeechEncoder
from hubert import Units
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy, mse_loss, relu
from transformers import Wav2Vec2Config
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2GumbelVectorQuantizer

CHANNELS = 64


class Method(nn.Module, ABC):
    """What all have in common."""

    encoder: SpeechEncoder

    def __init__(self) -> None:
        super().__init__()
        self.broken = ""
        self.facts: dict[str, float] = {}

    def prepare(self, speech: list[Tensor]) -> None:
        """Look at the corpus before the first step."""

    @abstractmethod
    def loss(self, batch: AudioBatch, progress: float) -> Tensor:
        """The loss of a batch, `progress` of the way through training."""

    def moved(self, progress: float) -> None:
        """After an optimiser step."""

    def embed(self, batch: AudioBatch) -> Any:
        """The encoder's pass, in whatever mode the module is in."""
        return self.encoder(batch.waveforms, batch.lengths)

    def blocks(self) -> nn.ModuleList:
        """The transformer's layers."""
        return self.encoder.layers

    def see(self, prediction: Tensor, target: Tensor) -> None:
        """What data2vec's guard compares with its thresholds: mean standard deviation over a batch's frames."""
        self.facts["target_std"] = float(target.detach().float().std(0).mean())
        self.facts["prediction_std"] = float(prediction.detach().float().std(0).mean())


def _valid(output: Any) -> Tensor:
    return torch.arange(output.features.shape[1]) < output.lengths.unsqueeze(1)


class Data2Vec(Method):
    """Masked regression of the averaged layers of a slowly moving copy (Baevski et al. 2022)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.encoder = SpeechEncoder(CHANNELS, width, 3, 4, dropout)
        self.predictor = nn.Linear(width, width)
        nn.init.zeros_(self.predictor.weight)
        nn.init.zeros_(self.predictor.bias)
        self.teacher = copy.deepcopy(self.encoder).requires_grad_(False)

    def loss(self, batch: AudioBatch, progress: float) -> Tensor:
        """Mean squared error on masked frames."""
        output = self.encoder(batch.waveforms, batch.lengths)
        free = self.broken == "no_stop_gradient"
        teacher = self.encoder if free else self.teacher
        teacher.eval()
        with torch.set_grad_enabled(free):
            seen = teacher(batch.waveforms, batch.lengths)
        self.encoder.train()
        valid = _valid(seen)
        targets = torch.stack([instance_norm(x, valid.unsqueeze(2).to(x.dtype)) for x in seen.hidden[-2:]]).mean(0)
        where = output.mask if self.broken != "no_mask" else valid
        prediction, target = self.predictor(output.features[where]), targets[where]
        self.see(prediction, target)
        return mse_loss(prediction, target)

    def moved(self, progress: float) -> None:
        """The teacher follows, ever more slowly."""
        decay = 0.0 if self.broken == "fast_teacher" else 0.99 + 0.009 * min(1.0, 2 * progress)
        with torch.no_grad():
            for slow, fast in zip(self.teacher.parameters(), self.encoder.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)


class BestRQ(Method):
    """Masked prediction of the codes of a frozen random projection (Chiu et al. 2022)."""

    def __init__(self, width: int, dropout: float, codes: int = 128) -> None:
        super().__init__()
        self.encoder = SpeechEncoder(CHANNELS, width, 3, 4, dropout)
        self.quantizer = RandomProjectionQuantizer(160, 16, codes)
        self.head = nn.Linear(width, codes)

    def loss(self, batch: AudioBatch, progress: float) -> Tensor:
        """Cross entropy on masked frames."""
        output = self.encoder(batch.waveforms, batch.lengths)
        with torch.no_grad():
            mel = torch.log(self.encoder.feature_extractor.mel(batch.waveforms) + 1e-3).transpose(1, 2)
            mel = nn.functional.pad(mel, (0, 0, 0, mel.shape[1] % 2))
            frames = mel.reshape(len(mel), -1, 160)[:, : output.features.shape[1]]
            codes = self.quantizer(frames)
        if self.broken == "one_cluster":
            codes = torch.zeros_like(codes)
        where = output.mask if self.broken != "no_mask" else _valid(output)
        logits = self.head(output.features[where])
        self.see(logits, nn.functional.one_hot(codes[where], self.head.out_features))
        return cross_entropy(logits, codes[where])


class RandomProjectionQuantizer(nn.Module):
    """The nearest of `codes` random unit vectors to a random projection of the standardised input."""

    projection: Tensor
    codebook: Tensor

    def __init__(self, width: int, size: int, codes: int) -> None:
        super().__init__()
        self.register_buffer("projection", nn.init.xavier_normal_(torch.empty(width, size)))
        self.register_buffer("codebook", nn.functional.normalize(torch.randn(codes, size), dim=1))

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, width) to codes (B, T)."""
        frames = (frames - frames.mean((0, 1))) / (frames.std((0, 1)) + 1e-5)
        return (nn.functional.normalize(frames @ self.projection, dim=2) @ self.codebook.T).argmax(2)


class VICReg(Method):
    """Two corrupted views of an utterance are to have one embedding (Bardes et al. 2022), over time-averaged frames."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.encoder = SpeechEncoder(CHANNELS, width, 3, 4, dropout, mask_share=0.3)
        self.projector = nn.Sequential(nn.Linear(width, 2 * width), nn.BatchNorm1d(2 * width), nn.ReLU())
        self.projector.append(nn.Linear(2 * width, 2 * width))

    def loss(self, batch: AudioBatch, progress: float) -> Tensor:
        """Invariance, variance and covariance terms, weighted 25, 25 and 1."""
        noise = 0.3 * torch.randn(2, *batch.waveforms.shape)
        views = (batch.waveforms * (0.7 + 0.6 * torch.rand(2, len(batch.waveforms), 1)) + noise).flatten(0, 1)
        output = self.encoder(views, batch.lengths.repeat(2))
        valid = _valid(output).unsqueeze(2)
        pooled = (output.features * valid).sum(1) / valid.sum(1)
        x, y = self.projector(pooled).chunk(2)
        self.see(x, y)
        loss = 25 * mse_loss(x, y)
        if self.broken != "no_variance":
            loss = loss + 25 * sum(relu(1 - (z.var(0) + 1e-4).sqrt()).mean() / 2 for z in (x, y))
        centred = [z - z.mean(0) for z in (x, y)]
        covariances = [(z.T @ z / (len(z) - 1)).square() for z in centred]
        return loss + sum((c.sum() - c.diagonal().sum()) / len(c) for c in covariances)


class Hubert(Method):
    """Masked prediction of k-means units of MFCCs, by cosine similarity with their embeddings (Hsu et al. 2021)."""

    def __init__(self, width: int, dropout: float, n_units: int = 64) -> None:
        super().__init__()
        self.units = Units(n_units)
        self.encoder = SpeechEncoder(CHANNELS, width, 3, 4, dropout)
        self.projection = nn.Linear(width, 64)
        self.embeddings = nn.Parameter(torch.empty(n_units, 64).uniform_())

    def prepare(self, speech: list[Tensor]) -> None:
        """Fit the units."""
        self.units.fit(speech, seed=0)

    def loss(self, batch: AudioBatch, progress: float) -> Tensor:
        """Cross entropy on masked frames; on all where the masking is off."""
        output = self.encoder(batch.waveforms, batch.lengths)
        units = self.units(batch.waveforms, output.features.shape[1])
        if self.broken == "one_cluster":
            units = torch.zeros_like(units)
        where = output.mask if self.broken != "no_mask" else _valid(output)
        projected = self.projection(output.features[where])
        logits = cosine_similarity(projected.unsqueeze(1), self.embeddings.unsqueeze(0), dim=2) / 0.1
        self.see(logits, nn.functional.one_hot(units[where], len(self.embeddings)))
        return cross_entropy(logits, units[where])


class Wav2Vec2(Method):
    """Masked frames are to be told from others of their utterance by their quantised front end (Baevski et al. 2020).

    The Gumbel quantiser is Hugging Face's own class, the losses are the paper's equations 2 to 4.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.encoder = SpeechEncoder(CHANNELS, width, 3, 4, dropout)
        config = Wav2Vec2Config(
            conv_dim=(CHANNELS,),
            conv_kernel=(3,),
            conv_stride=(2,),
            num_codevectors_per_group=64,
            num_codevector_groups=2,
            codevector_dim=64,
        )
        self.quantizer = Wav2Vec2GumbelVectorQuantizer(config)
        # As the model that it belongs to does; by itself it leaves its codes uninitialised.
        nn.init.normal_(self.quantizer.weight_proj.weight)
        nn.init.zeros_(self.quantizer.weight_proj.bias)
        nn.init.uniform_(self.quantizer.codevectors)
        self.of_codes, self.of_frames = nn.Linear(64, 64), nn.Linear(width, 64)

    def loss(self, batch: AudioBatch, progress: float) -> Tensor:
        """Contrastive and diversity loss."""
        seen: list[Tensor] = []
        hook = self.encoder.feature_extractor.register_forward_hook(lambda m, a, o: seen.append(o[0]))
        output = self.encoder(batch.waveforms, batch.lengths)
        hook.remove()
        self.quantizer.temperature = max(0.5, 2.0 * 0.25**progress)
        mask = output.mask if self.broken != "no_mask" else _valid(output)
        codes, perplexity = self.quantizer(seen[0], mask)
        prediction, target = self.of_frames(output.features), self.of_codes(codes)
        self.see(prediction[mask], target[mask])
        self.facts["perplexity"] = float(perplexity.detach()) / 128
        loss = torch.stack([_contrast(p[m], t[m]) for p, t, m in zip(prediction, target, mask, strict=True)]).mean()
        return loss if self.broken == "no_diversity" else loss + 0.1 * (128 - perplexity) / 128


def _contrast(prediction: Tensor, target: Tensor, negatives: int = 25) -> Tensor:
    """Cross entropy of the own target among others of the same utterance; chance draws may be the own one: excluded."""
    n = len(prediction)
    others = (torch.arange(n).unsqueeze(1) + torch.randint(1, max(2, n), (n, negatives))) % n
    candidates = torch.cat([target.unsqueeze(1), target[others]], 1)
    logits = cosine_similarity(prediction.unsqueeze(1), candidates, dim=2) / 0.1
    same = (candidates[:, 1:] == candidates[:, :1]).all(2)  # another frame of the same code is no negative
    logits = torch.cat([logits[:, :1], logits[:, 1:].masked_fill(same, -1e4)], 1)
    return cross_entropy(logits, torch.zeros(n, dtype=torch.long))


METHODS: dict[str, type[Any]] = {
    "hubert": Hubert,
    "data2vec": Data2Vec,
    "wav2vec2": Wav2Vec2,
    "bestrq": BestRQ,
    "vicreg": VICReg,
}
