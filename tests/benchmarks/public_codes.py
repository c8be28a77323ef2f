"""Breaks and healthy twins in public training codes that nobody here wrote: does an alarm come, and in which layers?

Model, masks and optimiser are those of the packages, at a small size; the loop around them, with the learning rate's
schedule, is ours. Needs the packages `spidr` and `minimal-hubert` (Python 3.12 or newer), which nothing else here does,
and the folder of real speech that the zoo needs::

    python tests/benchmarks/public_codes.py --codes spidr dinosr --breaks healthy rate_x20 no_ema --seeds 0 1
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent / "zoo"))

from corpus import digits, waveforms

from rankwatch import RowSampling, Watch
from rankwatch.numerics.probes.linear_probe import linear_probe

STEPS, WARM_UP, EVERY, BATCH, SAMPLES, FRAMES = 240, 36, 12, 8, 12_800, 39
CONVOLUTIONS = [(48, 10, 5)] + [(48, 3, 2)] * 4 + [(48, 2, 2)] * 2
CODES = 64
BREAKS = ("healthy", "rate_x20", "no_ema")


class PublicCode(ABC):
    """A model of a package, with the calls that its training loop makes."""

    model: nn.Module

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.model.parameters(), 5e-4, (0.9, 0.98), eps=1e-6)

    @abstractmethod
    def loss(self, speech: Tensor) -> Tensor:
        """Of a batch (B, N) of crops."""

    @abstractmethod
    def embed(self, speech: Tensor) -> None:
        """One unmasked pass through all layers."""

    def frames(self, output: Any) -> Tensor:
        """(T, C) from what a block has returned for one utterance."""
        found: Tensor = (output if isinstance(output, Tensor) else output[0])[0]
        return found

    def moved(self, step: int, broken: str) -> None:  # noqa: B027 - without a teacher there is nothing to do
        """After an optimiser step."""


class Spidr(PublicCode):
    """SpidR, or DinoSR, of the package `spidr`."""

    def __init__(self, kind: str = "spidr") -> None:
        from spidr.config import DinoSRConfig, MaskingConfig, SpidRConfig
        from spidr.data.masks import MaskGenerator
        from spidr.models import build_model

        config: Any = (SpidRConfig if kind == "spidr" else DinoSRConfig)(
            extractor_conv_layer_config=CONVOLUTIONS,
            encoder_embed_dim=96,
            encoder_num_layers=4,
            encoder_num_heads=4,
            encoder_ff_interm_features=384,
            encoder_pos_conv_kernel=9,  # shorter than a crop, else its edges tell the position of each frame
            encoder_pos_conv_depth=3,
            codebook_size=CODES,
            num_codebooks=3,
        )
        self.model: Any = build_model(cfg=config, model_type=kind)
        self.masks = MaskGenerator(MaskingConfig())

    def optimizer(self) -> torch.optim.Optimizer:
        from spidr.config import OptimizerConfig
        from spidr.optimizer import build_optimizer

        optimizer: torch.optim.Optimizer = build_optimizer(self.model, OptimizerConfig(dtype="float32"))[0]
        for group in optimizer.param_groups:  # their scheduler, which isn't used here, has begun its warm-up
            group["initial_lr"] = group["lr"] = 5e-4
        return optimizer

    def loss(self, speech: Tensor) -> Tensor:
        masked = self.masks(torch.zeros(len(speech), FRAMES, dtype=torch.bool))[0]
        loss: Tensor = self.model(speech, mask_indices=masked, attention_mask=None)[0].sum() / masked.numel()
        return loss

    def embed(self, speech: Tensor) -> None:
        self.model.get_intermediate_outputs(speech)

    def moved(self, step: int, broken: str) -> None:
        if broken == "no_ema":
            self.model.ema_scheduler = lambda step: 1e-9  # a decay of exactly 0 is no update there
        self.model.update_ema(step)


class MinimalHubert(PublicCode):
    """HuBERT of the package `minimal-hubert`; nearest MFCC-like centroids stand in for its units."""

    def __init__(self) -> None:
        from minimal_hubert import model as package
        from spidr.config import MaskingConfig
        from spidr.data.masks import MaskGenerator

        base = package.HuBERTConfig.from_size("base")
        small = replace(
            base,
            encoder_embed_dim=96,
            encoder_num_layers=4,
            encoder_num_heads=4,
            encoder_ff_interm_features=384,
            final_dim=64,
        )
        package.HuBERTConfig.from_size = classmethod(lambda cls, size: small)  # it has no other way to a small model
        package.DEFAULT_CONV_LAYER_CONFIG[:] = CONVOLUTIONS
        self.model: Any = package.HuBERTPretrain(CODES)
        self.masks = MaskGenerator(MaskingConfig())
        self.units = Units()

    def loss(self, speech: Tensor) -> Tensor:
        from spidr.models.components import mask_from_index

        masked = mask_from_index(self.masks(torch.zeros(len(speech), FRAMES, dtype=torch.bool))[0], FRAMES)
        losses: Tensor = self.model(speech, self.units(speech), mask=masked, attention_mask=None)[0]
        return losses.sum() / masked.sum()

    def embed(self, speech: Tensor) -> None:
        self.model.get_intermediate_outputs(speech)


class Units:
    """The nearest of random frames of log-mel energies: k-means after its first half step."""

    def __init__(self) -> None:
        from torchaudio.transforms import MelSpectrogram

        self._mel = MelSpectrogram(16_000, 400, hop_length=320, n_mels=40)
        self._centres: Tensor | None = None

    def __call__(self, speech: Tensor) -> Tensor:
        """(B, N) to units (B, T)."""
        frames = torch.log(self._mel(speech) + 1e-3).transpose(1, 2)[:, :FRAMES]
        if self._centres is None:
            flat = frames.flatten(0, 1)
            self._centres = flat[torch.randperm(len(flat))[:CODES]]
        return torch.cdist(frames.contiguous(), self._centres.expand(len(frames), -1, -1)).argmin(2)


MODELS: dict[str, Callable[[], Any]] = {
    "spidr": Spidr,
    "dinosr": lambda: Spidr("dinosr"),
    "minimal_hubert": MinimalHubert,
}


def _rate(step: int, factor: float) -> float:
    """A linear warm-up, then a linear decay to a tenth."""
    return factor * min((step + 1) / WARM_UP, 1.0 - 0.9 * max(0, step + 1 - WARM_UP) / (STEPS - WARM_UP))


def _crops(data: Path, generator: torch.Generator) -> Tensor:
    speech = [waveform for waveform in waveforms(data, "real") if len(waveform) > SAMPLES]
    crops = []
    for i in torch.randint(len(speech), (BATCH,), generator=generator).tolist():
        start = int(torch.randint(len(speech[i]) - SAMPLES, (), generator=generator))
        crops.append(speech[i][start : start + SAMPLES])
    return torch.stack(crops)


@torch.no_grad()
def _digits(code: PublicCode, data: Path, layers: list[str]) -> float:
    """Accuracy above majority of a linear probe for digits on means over time, speakers apart, mean over the layers."""
    labelled, found = digits(data), {layer: [] for layer in layers}  # type: ignore[var-annotated]
    hooks = [
        code.model.get_submodule(layer).register_forward_hook(
            lambda m, a, o, layer=layer: found[layer].append(code.frames(o).mean(0))
        )
        for layer in layers
    ]
    code.model.eval()
    for waveform in labelled.waveforms:
        code.embed(waveform.unsqueeze(0))
    for hook in hooks:
        hook.remove()
    labels, test = np.concatenate(labelled.labels), labelled.fold == 1
    above = []
    for rows in found.values():
        x = torch.nan_to_num(torch.stack(rows).double())
        probe = linear_probe(x[torch.from_numpy(~test)], labels[~test], x[torch.from_numpy(test)], labels[test])
        above.append(probe.accuracy - probe.majority)
    return float(np.mean(above))


def _run(name: str, broken: str, seed: int, data: Path, records: Path | None) -> None:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(1000 + seed)
    code = MODELS[name]()
    optimizer = code.optimizer()
    factor = 20.0 if broken == "rate_x20" else 1.0
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, factor))
    losses = []
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        folder = temporary if records is None else records / f"{name}-{broken}-{seed}"
        warnings.simplefilter("ignore")
        rows = RowSampling(n_utterances=48)
        with Watch(code.model, folder, optimizer=optimizer, every_n_steps=EVERY, max_overhead=None, rows=rows) as watch:
            for step in range(STEPS):
                speech = _crops(data, generator)
                with watch.batch(speech):
                    loss = code.loss(speech)
                    loss.backward()
                torch.nn.utils.clip_grad_norm_(code.model.parameters(), 10.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                code.moved(step + 1, broken)
                losses.append(loss.item())
                watch.step()
    layers = list(dict.fromkeys(r.layer for r in watch.readings if ".layers." in r.layer or ".blocks." in r.layer))
    last = [r for r in watch.readings if (r.layer, r.level) == (layers[-1], "frame")]
    ranks = " ".join(f"{reading.effective_rank:.0f}" for reading in last[::3])
    above = _digits(code, data, layers)
    print(f"{name} {broken} {seed}: loss {np.mean(losses[:10]):.2f} to {np.mean(losses[-10:]):.2f}", end=", ")
    print(f"digits {above:.2f} above majority, effective rank of {layers[-1]}: {ranks}")
    for alarm in watch.alarms:
        print(f"    {alarm.severity} {alarm.kind}, {alarm.level} level, {alarm.layer}, step {alarm.step}")


def main() -> None:
    """Print loss, probe, ranks and alarms of each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    parser.add_argument("--codes", nargs="+", choices=sorted(MODELS), default=sorted(MODELS))
    parser.add_argument("--breaks", nargs="+", choices=BREAKS, default=BREAKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--records", type=Path, help="keep each run's records in a folder there, to judge them anew")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.codes:
        for broken in arguments.breaks:
            if broken == "no_ema" and name == "minimal_hubert":
                continue  # it has no teacher
            for seed in arguments.seeds:
                _run(name, broken, seed, arguments.data, arguments.records)


if __name__ == "__main__":
    main()
