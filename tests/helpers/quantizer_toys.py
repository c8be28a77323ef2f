"""Quantizers in small, a real one without weights, and who listens to them."""

import torch
from speech_models import hugging_face
from torch import nn


class RandomQuantizer(nn.Module):
    """BEST-RQ's in small: a frozen projection, the nearest of random codes, for each of several books."""

    def __init__(self, codes=16, books=1, width=8):
        super().__init__()
        self.register_buffer("projection", torch.randn(width, 4))
        self.register_buffer("codebook", torch.randn(books, codes, 4))

    def forward(self, x):
        scores = torch.einsum("btd,gvd->btgv", x @ self.projection, self.codebook)
        codes = scores.argmax(-1)
        return codes if len(self.codebook) > 1 else codes[..., 0]


class Perplexing(nn.Module):
    """Tells nothing but a perplexity, summed over two groups, beside its losses."""

    num_vars, groups = 10, 2

    def forward(self, x):
        return {"x": x, "loss": x.sum(), "prob_perplexity": torch.tensor(8.0)}


class PerplexingQuantizer(Perplexing):
    pass


class PairQuantizer(Perplexing):
    """As transformers' do, without a projection to look at."""

    def forward(self, x):
        return x, torch.tensor(12.0)


def wav2vec2(**changes):
    return hugging_face("Wav2Vec2Config", "Wav2Vec2ForPreTraining", **changes).train()


def hooks(model):
    return [module for module in model.modules() if module._forward_hooks or module._forward_pre_hooks]
