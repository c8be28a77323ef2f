"""The parts that SpidR, DinoSR and minimal-hubert are made of, with their names and calls."""

from __future__ import annotations

from torch import Tensor, nn

WIDTH, CHANNELS = 24, 16


def frame_count(samples: int) -> int:
    """What the front end makes of so many samples."""
    return ((samples - 10) // 5 + 1 - 8) // 4 + 1


class FeatureExtractor(nn.Module):
    """(B, T, C) out, with a norm over channels: no frame sees padding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList([nn.Conv1d(1, CHANNELS, 10, 5), nn.Conv1d(CHANNELS, CHANNELS, 8, 4)])

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(1)
        for conv in self.conv_layers:
            x = nn.functional.gelu(nn.functional.layer_norm(conv(x).transpose(1, 2), (CHANNELS,)).transpose(1, 2))
        return x.transpose(1, 2)


class FeatureProjection(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(CHANNELS)
        self.projection = nn.Linear(CHANNELS, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.projection(self.layer_norm(x))
        return projected


class ConvPositionalEmbedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 5, padding=2, groups=4) for _ in range(2))

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        keep = 1.0 if attention_mask is None else attention_mask[:, :, 0].to(x.dtype)
        x = x.transpose(1, 2)
        for conv in self.convs:
            x = nn.functional.gelu(conv(x * keep))
        return (x * keep).transpose(1, 2)


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        q, k, v = (one.unflatten(2, (2, WIDTH // 2)).transpose(1, 2) for one in self.qkv(x).chunk(3, 2))
        attended = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=attention_mask)
        projected: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return projected


class TransformerLayer(nn.Module):
    """Returns its output and what its feed-forward part adds, which is what the loss looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = SelfAttention()
        self.dropout = nn.Dropout(0.1)
        self.layer_norm = nn.LayerNorm(WIDTH)
        self.feed_forward = nn.Sequential(nn.Linear(WIDTH, 32), nn.GELU(), nn.Linear(32, WIDTH))
        self.final_layer_norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.layer_norm(x + self.dropout(self.attention(x, attention_mask=attention_mask)))
        added = self.feed_forward(x)
        return self.final_layer_norm(x + self.dropout(added)), added


class Transformer(nn.Module):
    """Its own forward is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.pos_conv_embed = ConvPositionalEmbedding()
        self.layers = nn.ModuleList(TransformerLayer() for _ in range(3))

    def get_intermediate_outputs(self, x: Tensor, attention_mask: Tensor | None = None) -> list[Tensor]:
        added = []
        x = x + self.pos_conv_embed(x, attention_mask)
        for layer in self.layers:
            x, one = layer(x, attention_mask)
            added.append(one)
        return added
