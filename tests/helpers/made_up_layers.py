"""Rows of a model whose layers are known to hold what they hold: no audio and no model are run."""

import numpy as np
import torch

from rankwatch.analysis.models.depth_cost import DepthCost
from rankwatch.analysis.rows.row_tables import FRAME, UTTERANCE, LayerInfo, ModelRows, RowTable
from rankwatch.corpora import Utterance

SPEAKERS, EMOTIONS, PHONES = 8, 4, 12
NOISE, FRAMES, SPANS = 0.6, 6, 8


class MadeUpCorpus:
    """What is behind all layers: acoustics, a voice, an emotion, and a phone at each span."""

    def __init__(self, utterances=160, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.g, self.n = g, utterances
        self.speakers = torch.arange(utterances) % SPEAKERS
        self.emotions = (torch.arange(utterances) // SPEAKERS) % EMOTIONS
        self.phones = torch.randint(0, PHONES, (utterances * SPANS,), generator=g)
        codes = {
            name: torch.randn(count, 6, generator=g)
            for name, count in (("speaker", SPEAKERS), ("emotion", EMOTIONS), ("phone", PHONES))
        }
        of_frame = torch.arange(utterances).repeat_interleave(FRAMES)
        of_span = torch.arange(utterances).repeat_interleave(SPANS)
        self.at = {FRAME: of_frame, UTTERANCE: torch.arange(utterances), "phone": of_span}
        self.acoustics = torch.randn(len(of_frame), 16, generator=g)
        self.parts = {
            kind: {
                "speaker": codes["speaker"][self.speakers[at]],
                "emotion": codes["emotion"][self.emotions[at]],
                "phone": codes["phone"][self.phones] if kind == "phone" else torch.randn(len(at), 6, generator=g),
                "acoustics": self.acoustics if kind == FRAME else torch.randn(len(at), 16, generator=g),
            }
            for kind, at in self.at.items()
        }  # fmt: skip

    def layer(self, *, noise=NOISE, width=48, **strengths):
        """(n, d) rows of each kind that hold speaker, emotion, phone and acoustics as strongly as is said."""
        mix = {name: torch.randn(6 if name != "acoustics" else 16, width, generator=self.g) for name in strengths}
        rows = {}
        for kind, at in self.at.items():
            x = noise * torch.randn(len(at), width, generator=self.g)
            for name, strength in strengths.items():
                x = x + strength * self.parts[kind][name] @ mix[name] / 6**0.5
            rows[kind] = x
        return rows

    def model(self, layers, name="model"):
        """Rows of a model with these layers, each as dear as the one before."""
        ids = [f"u{k:03d}" for k in range(self.n)]
        utterances = tuple(
            Utterance(name, None, speaker=f"s{s}", labels={"emotion": f"e{e}"}, seconds=1.0)
            for name, s, e in zip(ids, self.speakers.tolist(), self.emotions.tolist(), strict=True)
        )
        paths = [f"blocks.{k}" for k in range(len(layers))]
        tables = {}
        for kind, at in self.at.items():
            place = torch.arange(len(at)) % (len(at) // self.n)
            tables[kind] = RowTable(
                {path: layer[kind] for path, layer in zip(paths, layers, strict=True)},
                at.numpy(),
                np.array([f"p{k}" for k in self.phones.tolist()]) if kind == "phone" else None,
                tuple((ids[u], k) for u, k in zip(at.tolist(), place.tolist(), strict=True)),
            )
        shares = [(k + 1) / len(layers) for k in range(len(layers))]
        infos = tuple(
            LayerInfo(f"L{k:02d}", path, "block", layer[FRAME].shape[1], DepthCost(round(1e6 * share), share, share))
            for k, (path, layer, share) in enumerate(zip(paths, layers, shares, strict=True))
        )
        return ModelRows(name, "made up", infos, utterances, tuple(ids), tables, self.acoustics, {})
