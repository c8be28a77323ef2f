"""A small speech model with every habit that makes a monitor's life hard, and ragged noise to train it on."""

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

try:
    import lightning.pytorch as pl
except ModuleNotFoundError:  # rankwatch itself asks for the other one only
    import pytorch_lightning as pl


class Collapse(nn.Module):
    """Replaces embeddings by one vector, or by a cloud on one line, while gradients still flow."""

    def __init__(self, kind="none", width=32):
        super().__init__()
        self.kind = kind
        self.register_buffer("direction", torch.linspace(-1, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "constant":
            return 0 * x + self.direction
        if self.kind == "line":
            return x[..., :1] * self.direction
        return x


class Block(nn.Module):
    """A transformer layer behind layer drop, with a switch that collapses its output."""

    def __init__(self, width, dropout, collapse="none"):
        super().__init__()
        self.inner = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout, batch_first=True)
        self.collapse = Collapse(collapse, width)
        self.after = nn.Dropout(dropout)

    def forward(self, x, padding):
        return self.after(self.collapse(self.inner(x, src_key_padding_mask=padding)))


class Encoder(nn.Module):
    """Waveforms (B, T) and lengths (B,) to features (B, T', C)."""

    def __init__(self, width=32, depth=3, dropout=0.1, layer_drop=0.1, collapse="none"):
        super().__init__()
        self.feature_extractor = nn.Sequential(
            nn.Conv1d(1, width, 10, 5), nn.GELU(), nn.Conv1d(width, width, 8, 4), nn.GELU()
        )
        self.layers = nn.ModuleList(Block(width, dropout, collapse) for _ in range(depth))
        self.layer_drop = layer_drop

    def frames(self, samples):
        return (((samples - 10) // 5 + 1) - 8) // 4 + 1

    def forward(self, waveforms, lengths):
        x = self.feature_extractor(waveforms.unsqueeze(1)).transpose(1, 2)
        frames = self.frames(lengths).clamp(min=1)
        padding = torch.arange(x.shape[1], device=x.device) >= frames.unsqueeze(1)
        for layer in self.layers:
            if not self.training or torch.rand(()) >= self.layer_drop:
                x = layer(x, padding)
        return x


class Module(pl.LightningModule):
    """Reconstructs its own input frame by frame: healthy unless told otherwise."""

    def __init__(self, **encoder):
        super().__init__()
        self.encoder = Encoder(**encoder)
        self.head = nn.Linear(encoder.get("width", 32), 20)
        self.losses = []

    def training_step(self, batch, batch_idx):
        waveforms, lengths = batch
        features = self.encoder(waveforms, lengths)
        frames = waveforms.unfold(1, 20, 20)[:, : features.shape[1]]
        loss = (self.head(features[:, : frames.shape[1]]) - frames).square().mean()
        self.losses.append(loss.item())
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 1e-3)


class Manual(Module):
    """Steps its optimiser itself."""

    automatic_optimization = False

    def training_step(self, batch, index):
        loss = super().training_step(batch, index)
        self.optimizers().zero_grad()
        self.manual_backward(loss)
        self.optimizers().step()


class Noise(Dataset):
    """Ragged coloured noise; each item is cropped at random, as in pretraining."""

    def __init__(self, count=64, shortest=400, longest=1200, seed=0):
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.randint(shortest, longest + 1, (count,), generator=generator).tolist()
        self.items = [torch.randn(n, generator=generator) for n in lengths]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        item = self.items[index]
        return item[int(torch.randint(0, 50, ())) :]


def collate(items):
    lengths = torch.tensor([len(item) for item in items])
    return nn.utils.rnn.pad_sequence(items, batch_first=True), lengths


def loader(count=64, batch_size=8, shuffle=False, **noise):
    return DataLoader(Noise(count, **noise), batch_size, shuffle=shuffle, collate_fn=collate)


def trainer(folder, *callbacks, **arguments):
    defaults = {
        "max_steps": 20,
        "accelerator": "cpu",
        "default_root_dir": folder,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
    }
    return pl.Trainer(callbacks=list(callbacks), **{**defaults, **arguments})
