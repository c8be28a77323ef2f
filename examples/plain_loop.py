"""BEST-RQ in a training loop of one's own, watched by `rankwatch.Watch`.

Chiu et al. 2022, "Self-supervised learning with random-projection quantizer for speech recognition". The targets are
the nearest of a fixed random codebook's entries to a fixed random projection of the log-mel frames; nothing of that is
trained, so there is no teacher that could collapse.

    python examples/plain_loop.py                      # synthesised speech, 600 steps, about a minute
    python examples/plain_loop.py --folder PATH --steps 5000
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from audio_data import AudioBatch, AudioDataModule
from encoder import SpeechEncoder
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rankwatch import RowSampling, Watch


class BestRq(nn.Module):
    """An encoder, a head, and a quantiser that is never trained.

    Args:
        width: Width of the encoder.
        codes: Entries of the codebook.
        code_width: Width of the codebook.
    """

    projection: Tensor
    codebook: Tensor

    def __init__(self, width: int = 128, codes: int = 256, code_width: int = 16) -> None:
        super().__init__()
        self.encoder = SpeechEncoder(width, width)
        self.head = nn.Linear(width, codes)
        self.register_buffer("projection", torch.randn(160, code_width) / 160**0.5)
        self.register_buffer("codebook", nn.functional.normalize(torch.randn(codes, code_width), dim=1))

    @torch.no_grad()
    def targets(self, waveforms: Tensor, frames: int) -> Tensor:
        """(B, T): each 20 ms' nearest code, of two log-mel frames side by side, standardised over the batch."""
        mel = torch.log(self.encoder.feature_extractor.mel(waveforms) + 1e-3).transpose(1, 2)
        pairs = mel[:, : mel.shape[1] // 2 * 2].reshape(len(mel), -1, 160)
        pairs = nn.functional.pad(pairs, (0, 0, 0, max(0, frames - pairs.shape[1])))[:, :frames]
        standard = (pairs - pairs.mean((0, 1))) / (pairs.std((0, 1)) + 1e-5)
        codes: Tensor = nn.functional.normalize(standard @ self.projection, dim=2) @ self.codebook.T
        return codes.argmax(2)

    def forward(self, batch: AudioBatch) -> Tensor:
        """Cross-entropy on the masked frames."""
        output = self.encoder(batch.waveforms, batch.lengths)
        targets = self.targets(batch.waveforms, output.features.shape[1])
        loss: Tensor = nn.functional.cross_entropy(self.head(output.features[output.mask]), targets[output.mask])
        return loss


def epochs(loader: DataLoader[Tensor], watch: Watch) -> Iterator[AudioBatch]:
    """Batches without end; `Watch.epoch` is called after each pass over the data."""
    while True:
        yield from loader
        watch.epoch()


def pretrain(folder: Path | None, steps: int, runs: Path, batch_size: int = 16) -> Watch:
    """Train, and come back with what was seen."""
    torch.manual_seed(0)
    data = AudioDataModule(folder, batch_size, max_seconds=1.0)
    data.prepare_data()
    data.setup("fit")
    model = BestRq()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-4, (0.9, 0.98))
    settings: dict[str, Any] = {"every_n_steps": 60, "rows": RowSampling(n_utterances=32, frames_per_utterance=10)}
    with Watch(model, runs, on_collapse="stop", **settings) as watch:
        for batch in epochs(data.train_dataloader(), watch):
            with watch.batch(batch):
                loss = model(batch)
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if watch.step() or watch.steps == steps:
                break
            if watch.steps % 100 == 0:
                print(f"step {watch.steps}: loss {loss.item():.3f}")
                torch.save(model.state_dict(), runs / f"step-{watch.steps}.pt")
                watch.saved(runs / f"step-{watch.steps}.pt")
    return watch


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("rankwatch").setLevel(logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="audio to train on; by default speech is synthesised")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--runs", type=Path, default=Path("runs/plain_loop"))
    arguments = parser.parse_args()
    pretrain(arguments.folder, arguments.steps, arguments.runs)
