"""The methods that no threshold may be chosen on: JEPA, CPC, a masked autoencoder, Barlow Twins."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, layer_norm, mse_loss, smooth_l1_loss

from zoo_of_encoders.blocks import TransformerBlock
from zoo_of_encoders.encoders import EncoderOutput
from zoo_of_encoders.method import Method, WithTeacher, pooled, projector, two_views
from zoo_of_encoders.speech import AudioBatch


class Jepa(WithTeacher):
    """A narrow predictor gives the last layer of a slowly moving copy at large masked spans (Assran et al. 2023).

    The student's masked tokens are replaced rather than left out, since recurrent and convolutional encoders can't
    leave any out.
    """

    mask = (0.6, 14)
    decay = (0.99, 0.9995)

    def __init__(self, architecture: str, width: int, dropout: float = 0.1, narrow: int = 48) -> None:
        super().__init__(architecture, width, dropout)
        self.into, self.out = nn.Linear(width, narrow), nn.Linear(narrow, width)
        self.predictor = TransformerBlock(narrow, 0.0, norm_first=True)

    def loss(self, batch: AudioBatch, progress: float) -> Tensor:
        """Smooth L1 to the copy's normalised last layer."""
        output, seen = self.encode(batch), self.teach(*batch)
        where = self.where(output)
        predicted = self.predictor(self.into(output.features), output.valid, False, self.encoder.bands)
        target = self.targets(layer_norm(seen.features, (self.width,))[where])
        prediction = self.out(predicted[where])
        self.see(prediction, target)
        return smooth_l1_loss(prediction, target)


class Cpc(Method):
    """The next local features are told from others, from a context of the past (van den Oord et al. 2018)."""

    mask = (0.0, 8)
    causal = True
    steps = (2, 4, 6)

    def __init__(self, architecture: str, width: int, dropout: float = 0.1) -> None:
        super().__init__(architecture, width, dropout)
        self.ahead = nn.ModuleList(nn.Linear(width, self.encoder.channels) for _ in self.steps)

    def loss(self, batch: AudioBatch, progress: float) -> Tensor:
        """Cross entropy among all tokens of an utterance's band, averaged over how far ahead."""
        self.encoder.causal = self.broken != "sees_future"
        output: EncoderOutput = self.encode(batch)
        bands = self.encoder.bands
        context, local, valid = (
            x.unflatten(1, (-1, bands)).transpose(1, 2).flatten(0, 1)
            for x in (output.features, output.local, output.valid)
        )
        losses = []
        for steps, ahead in zip(self.steps, self.ahead, strict=True):
            by = max(1, steps // self.encoder.per_token)
            predicted, target, there = ahead(context[:, :-by]), local[:, by:], valid[:, by:]
            logits = predicted @ self.targets(target).transpose(1, 2) / local.shape[2] ** 0.5
            logits = logits.masked_fill(~there.unsqueeze(1), -1e4)
            own = torch.arange(logits.shape[1]).expand(len(logits), -1)
            losses.append(cross_entropy(logits[there], own[there]))
        self.see(predicted[there], target[there])
        return torch.stack(losses).mean()


class MaskedAutoencoder(Method):
    """A shallow decoder gives the normalised log-mel contents of masked tokens (He et al. 2022; Huang et al. 2022).

    Masked tokens are replaced rather than left out, as in SimMIM (Xie et al. 2022).
    """

    mask = (0.65, 4)

    def __init__(self, architecture: str, width: int, dropout: float = 0.1, narrow: int = 48) -> None:
        super().__init__(architecture, width, dropout)
        self.into = nn.Linear(width, narrow)
        self.decoder = TransformerBlock(narrow, 0.0, norm_first=True)
        self.out = nn.Linear(narrow, 160 * self.encoder.per_token // self.encoder.bands)

    def loss(self, batch: AudioBatch, progress: float) -> Tensor:
        """Mean squared error on masked tokens."""
        output = self.encode(batch)
        contents = self.encoder.contents(self.encoder.log_mel(batch.waveforms), output.features.shape[1])
        target = (contents - contents.mean(2, keepdim=True)) / (contents.std(2, keepdim=True) + 0.1)
        where = self.where(output)
        decoded = self.decoder(self.into(output.features), output.valid, False, self.encoder.bands)
        prediction, target = self.out(decoded[where]), self.targets(target[where])
        self.see(prediction, target)
        return mse_loss(prediction, target)


class BarlowTwins(Method):
    """The cross-correlation of two views' embeddings is to be the identity (Zbontar et al. 2021)."""

    mask = (0.3, 8)

    def __init__(self, architecture: str, width: int, dropout: float = 0.1) -> None:
        super().__init__(architecture, width, dropout)
        self.projector = projector(width, 2 * width)

    def loss(self, batch: AudioBatch, progress: float) -> Tensor:
        """Its invariance and redundancy terms, the latter weighted 0.005 as in the paper."""
        x, y = self.projector(pooled(self.encode(two_views(batch)))).chunk(2)
        y = self.targets(y)
        self.see(x, y)
        x, y = ((z - z.mean(0)) / (z.std(0) + 1e-4) for z in (x, y))
        correlation = x.T @ y / len(x)
        own = correlation.diagonal()
        return (1 - own).square().sum() + 5e-3 * self.term * (correlation.square().sum() - own.square().sum())
