"""Online clustering of a teacher's layers in small, as in DinoSR and SpidR: codebooks by no class's name."""

import copy
import functools

import torch
from torch import nn
from torch.nn import functional


class Cells(nn.Module):
    """Codes by the nearest centre, one-hot or as integers; centres follow what was assigned to them (EMA)."""

    def __init__(self, width=16, codes=12, decay=0.9, integers=False):
        super().__init__()
        self.decay, self.integers = decay, integers
        self.register_buffer("sums", torch.randn(codes, width))
        self.register_buffer("sizes", torch.ones(codes))

    @torch.no_grad()
    def forward(self, target):
        codes = torch.cdist(target, self.sums / self.sizes[:, None]).argmin(-1)
        return codes if self.integers else functional.one_hot(codes, len(self.sums)).float()

    @torch.no_grad()
    def follow(self, onehot, target):
        decay = torch.where(onehot.sum(0) > 0, self.decay, 1.0)
        self.sizes = decay * self.sizes + (1 - decay) * onehot.sum(0)
        self.sums = decay[:, None] * self.sums + (1 - decay)[:, None] * (onehot.T @ target)


def blocks(width=16):
    return nn.ModuleList(
        nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, batch_first=True) for _ in range(3)
    )


class OnlineClustering(nn.Module):
    """A student predicts at masked frames which cell its teacher's layers fall in; each layer has its own cells."""

    def __init__(self, codes=12, books=3, inside_teacher=False):
        super().__init__()
        self.front = nn.Conv1d(1, 16, 20, 20)
        self.student = blocks()
        self.heads = nn.ModuleList(nn.Sequential(nn.Linear(16, codes), nn.LogSoftmax(-1)) for _ in range(books))
        books = nn.ModuleList(Cells(16, codes) for _ in range(books))
        self.teacher = nn.ModuleDict({"layers": copy.deepcopy(self.student).requires_grad_(False)})
        (self.teacher if inside_teacher else self).add_module("cells", books)

    @property
    def books(self):
        return dict(self.teacher.items()).get("cells") or self.cells

    def forward(self, waveforms, places):
        x = clean = self.front(waveforms[:, None]).transpose(1, 2)
        x = x.masked_fill(places[:, :, None], 0.0)
        log_predictions = []
        for block, head in zip(self.student, self.heads, strict=True):
            x = block(x)
            log_predictions.append(head(x[places]))
        targets = []
        with torch.no_grad():
            for block in self.teacher["layers"]:
                clean = block(clean)
                targets.append(functional.instance_norm(clean.transpose(1, 2)).transpose(1, 2)[places])
        onehot = [book(target) for book, target in zip(self.books, targets, strict=True)]
        if self.training:
            for book, codes, target in zip(self.books, onehot, targets, strict=True):
                book.follow(codes, target)
        loss = -sum((a * b).sum(-1).mean() for a, b in zip(onehot, log_predictions, strict=True)) / len(onehot)
        return loss, {
            "target_ppl": sum(map(perplexity, onehot)) / len(onehot),
            "pred_ppl": sum(perplexity(one.exp()) for one in log_predictions) / len(onehot),
        }


class InADict(OnlineClustering):
    """Its codebooks are plain tensors that the forward pass itself compares with, as in DinoSR's code for fairseq."""

    def __init__(self):
        super().__init__()
        self.codebook_size = 12
        self.codebooks = {i: cells.sums for i, cells in enumerate(self.cells)}
        del self.cells

    @property
    def books(self):
        return [functools.partial(_nearest, codebook) for codebook in self.codebooks.values()]

    def forward(self, waveforms, places):
        training, self.training = self.training, False
        try:
            return super().forward(waveforms, places)
        finally:
            self.training = training


def _nearest(codebook, target):
    return functional.one_hot(torch.cdist(target, codebook).argmin(-1), len(codebook)).float()


def perplexity(shares):
    """2 to the entropy, in bits, of the mean over frames: as DinoSR's `compute_ppl` and SpidR's `perplexities`."""
    mean = shares.detach().mean(0)
    return torch.exp2(-(mean * (mean + 1e-8).log2()).sum())


def batch(step=0, size=6):
    generator = torch.Generator().manual_seed(step)
    return torch.randn(size, 800, generator=generator), torch.rand(size, 40, generator=generator) < 0.5
