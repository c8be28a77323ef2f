"""The methods that thresholds may be chosen on: HuBERT, data2vec, wav2vec 2.0, BEST-RQ, VICReg, BYOL."""

from __future__ import annotations

import torch
from hubert import Units
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy, mse_loss, normalize, relu
from transformers import Wav2Vec2Config
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2GumbelVectorQuantizer

from zoo_of_encoders.method import Method, WithTeacher, contrast, instance_norm, pooled, projector, two_views
from zoo_of_encoders.speech import AudioBatch


class Hubert(Method):
    """Masked prediction of k-means units of MFCCs, by cosine similarity with their embeddings (Hsu et al. 2021)."""

    def __init__(self, architecture: str, width: int, dropout: float = 0.1, units: int = 64) -> None:
        super().__init__(architecture, width, dropout)
        self.units = Units(units)
        self.head = nn.Linear(width, 64)
        self.embeddings = nn.Parameter(torch.empty(units, 64).uniform_())

    def prepare(self, speech: list[Tensor]) -> None:
        """Fit the units."""
        self.units.fit(speech, seed=0)

    def loss(self, batch: AudioBatch, progress: float) -> Tensor:
        """Cross entropy on masked tokens."""
        output = self.encode(batch)
        frames = self.units(batch.waveforms, batch.waveforms.shape[1] // 320 + 1)
        units = self.encoder.at_tokens(frames, output.features.shape[1])
        if self.broken == "one_cluster":
            units = torch.zeros_like(units)
        where = self.where(output)
        target = self.targets(units[where])
        projected = self.head(output.features[where])
        logits = cosine_similarity(projected.unsqueeze(1), self.embeddings.unsqueeze(0), dim=2) / 0.1
        self.see(logits, nn.functional.one_hot(target, len(self.embeddings)))
        return cross_entropy(logits, target)


class Data2Vec(WithTeacher):
    """Masked regression of the averaged layers of a slowly moving copy (Baevski et al. 2022)."""

    def __init__(self, architecture: str, width: int, dropout: float = 0.1) -> None:
        super().__init__(architecture, width, dropout)
        self.predictor = nn.Linear(width, width)
        nn.init.zeros_(self.predictor.weight)
        nn.init.zeros_(self.predictor.bias)

    def loss(self, batch: AudioBatch, progress: float) -> Tensor:
        """Mean squared error on masked tokens."""
        output = self.encode(batch)
        seen = self.teach(*batch)
        targets = torch.stack([instance_norm(x, seen.valid) for x in seen.hidden[-2:]]).mean(0)
        where = self.where(output)
        prediction, target = self.predictor(output.features[where]), self.targets(targets[where])
        self.see(prediction, target)
        return mse_loss(prediction, target)


class Wav2Vec2(Method):
    """Masked tokens are to be told from others of their utterance by their quantised front end (Baevski et al. 2020).

    The Gumbel quantiser is Hugging Face's own class, the losses are the paper's equations 2 to 4.
    """

    def __init__(self, architecture: str, width: int, dropout: float = 0.1) -> None:
        super().__init__(architecture, width, dropout)
        config = Wav2Vec2Config(
            conv_dim=(self.encoder.channels,),
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
        self.of_codes, self.of_tokens = nn.Linear(64, 64), nn.Linear(width, 64)

    def loss(self, batch: AudioBatch, progress: float) -> Tensor:
        """Contrastive and diversity loss."""
        output = self.encode(batch)
        self.quantizer.temperature = max(0.5, 2.0 * 0.25**progress)
        mask = self.where(output)
        codes, perplexity = self.quantizer(output.local, mask)
        prediction, target = self.of_tokens(output.features), self.of_codes(codes)
        self.see(prediction[mask], target[mask])
        self.facts["perplexity"] = float(perplexity.detach()) / 128
        pairs = [(p[m], self.targets(t[m])) for p, t, m in zip(prediction, target, mask, strict=True) if m.sum() > 1]
        loss = torch.stack([contrast(p, t) for p, t in pairs]).mean()
        return loss + 0.1 * self.term * (128 - perplexity) / 128


class BestRQ(Method):
    """Masked prediction of the codes of a frozen random projection (Chiu et al. 2022)."""

    projection: Tensor
    codebook: Tensor

    def __init__(self, architecture: str, width: int, dropout: float = 0.1, codes: int = 128) -> None:
        super().__init__(architecture, width, dropout)
        contents = 160 * self.encoder.per_token // self.encoder.bands
        self.register_buffer("projection", nn.init.xavier_normal_(torch.empty(contents, 16)))
        self.register_buffer("codebook", normalize(torch.randn(codes, 16), dim=1))
        self.head = nn.Linear(width, codes)

    def loss(self, batch: AudioBatch, progress: float) -> Tensor:
        """Cross entropy on masked tokens."""
        output = self.encode(batch)
        with torch.no_grad():
            tokens = self.encoder.contents(self.encoder.log_mel(batch.waveforms), output.features.shape[1])
            tokens = (tokens - tokens.mean((0, 1))) / (tokens.std((0, 1)) + 1e-5)
            codes = (normalize(tokens @ self.projection, dim=2) @ self.codebook.T).argmax(2)
        if self.broken == "one_cluster":
            codes = torch.zeros_like(codes)
        where = self.where(output)
        target, logits = self.targets(codes[where]), self.head(output.features[where])
        self.see(logits, nn.functional.one_hot(target, self.head.out_features))
        return cross_entropy(logits, target)


class VICReg(Method):
    """Two corrupted views of an utterance are to have one embedding (Bardes et al. 2022), over time-averaged tokens."""

    mask = (0.3, 8)

    def __init__(self, architecture: str, width: int, dropout: float = 0.1) -> None:
        super().__init__(architecture, width, dropout)
        self.projector = projector(width, 2 * width)

    def loss(self, batch: AudioBatch, progress: float) -> Tensor:
        """Invariance, variance and covariance terms, weighted 25, 25 and 1."""
        x, y = self.projector(pooled(self.encode(two_views(batch)))).chunk(2)
        y = self.targets(y)
        self.see(x, y)
        variance = sum(relu(1 - (z.var(0) + 1e-4).sqrt()).mean() / 2 for z in (x, y))
        centred = [z - z.mean(0) for z in (x, y)]
        covariances = [(z.T @ z / (len(z) - 1)).square() for z in centred]
        covariance = sum((c.sum() - c.diagonal().sum()) / len(c) for c in covariances)
        return 25 * mse_loss(x, y) + 25 * self.term * variance + covariance


class Byol(WithTeacher):
    """A view's embedding is predicted from the other view's, as a slowly moving copy gives it (Grill et al. 2020)."""

    mask = (0.3, 8)
    decay = (0.98, 0.999)

    def __init__(self, architecture: str, width: int, dropout: float = 0.1) -> None:
        super().__init__(architecture, width, dropout)
        self.projector, self.predictor = projector(width, 64), projector(64, 64)
        self.slow_projector = projector(width, 64).requires_grad_(False)
        self.slow_projector.load_state_dict(self.projector.state_dict())

    def loss(self, batch: AudioBatch, progress: float) -> Tensor:
        """Two minus twice the cosine, both ways."""
        views = two_views(batch)
        projected = self.projector(pooled(self.encode(views)))
        predicted = projected if self.broken == "no_predictor" else self.predictor(projected)
        free = self.broken == "no_stop_gradient"
        target = (self.projector if free else self.slow_projector)(pooled(self.teach(*views)))
        target = torch.cat([self.targets(half) for half in target.chunk(2)[::-1]])
        self.see(predicted, target)
        return 2 - 2 * cosine_similarity(predicted, target if free else target.detach()).mean()

    def moved(self, progress: float) -> None:
        """The projector's copy follows, too; its decay is that of the encoder's."""
        super().moved(progress)
        decay = 0.0 if self.broken == "fast_teacher" else self.decay_factor * self.decay[0]
        with torch.no_grad():
            for slow, fast in zip(self.slow_projector.parameters(), self.projector.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)
