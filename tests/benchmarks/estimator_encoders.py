"""The estimator on layers of a trained speech foundation model, and of the same model at random initialisation.

    python tests/benchmarks/estimator_encoders.py ../shared/data ../shared/models [--draws 40]

Whisper-base's encoder on pieces of up to one second of all recordings (its first 50 positions; d = 512). Utterances are
drawn with replacement, so that the pieces are the population itself: the truth is exact, the plain effective rank of
their covariance, in which each piece counts the same. Beside it Gaussian rows with the same covariances between and
within pieces: what they don't show is due to rare and unlike frames. Errors of ln(effective rank) in percent: plain
value, median and standard deviation of the estimate; median half width of the 90 % intervals, and how many hold.
"""

from __future__ import annotations

import argparse
import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio
from numpy.typing import NDArray
from safetensors.torch import load_file
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from rankwatch.numerics import estimate_rank
from rankwatch.numerics.rank.spectrum import plain_rank

RATE, SECOND, POSITIONS = 16_000, 16_000, 50
SHORTEST = 8  # frames
CORPORA = ("fsdd", "emodb", "autovot", "speechocean", "arabic_commands")
DESIGNS = ((512, 4), (256, 8), (128, 16), (64, 32))
LAYERS = {"trained": (2, 4, 6), "random": (0, 4)}

Array = NDArray[np.float64]


def pieces(data: Path) -> list[Array]:
    """Recordings of all corpora, cut into pieces of one second; what is shorter than half of one is left out."""
    found = []
    for folder in (data / corpus for corpus in CORPORA):
        for row in csv.DictReader((folder / "manifest.csv").open()):
            samples, rate = soundfile.read(folder / row["path"], dtype="float32", always_2d=True)
            wave = torchaudio.functional.resample(torch.from_numpy(samples.mean(axis=1)), rate, RATE).numpy()
            last = max(len(wave) - SECOND // 2, 1)
            found += [wave[start : start + SECOND] for start in range(0, last, SECOND)]
    return found


def encoder(models: Path | None) -> WhisperEncoder:
    """With its trained weights, or random ones."""
    config = WhisperConfig(d_model=512, encoder_ffn_dim=2048, num_mel_bins=80, max_source_positions=POSITIONS)
    config.encoder_layers, config.encoder_attention_heads = 6, 8
    torch.manual_seed(0)
    model = WhisperEncoder(config).eval()
    if models is not None:
        state = load_file(models / "whisper_base_encoder" / "whisper_base_encoder.safetensors")
        state["embed_positions.weight"] = state["embed_positions.weight"][:POSITIONS]
        model.load_state_dict({name: value.float() for name, value in state.items()})
    return model


@torch.no_grad()
def hidden_states(model: WhisperEncoder, waves: list[Array]) -> tuple[list[Array], NDArray[np.int64]]:
    """Of each layer all pieces' valid frames (n, 512), and the number of each piece's frames."""
    extractor = WhisperFeatureExtractor(80)
    counts = np.array([min(math.ceil(50 * len(wave) / RATE), POSITIONS) for wave in waves])
    layers: list[list[Array]] = [[] for _ in range(len(model.layers) + 1)]
    for start in range(0, len(waves), 50):
        padded = [np.pad(wave, (0, SECOND - len(wave))) for wave in waves[start : start + 50]]
        mels = [extractor(one, sampling_rate=RATE, padding=False).input_features[0] for one in padded]
        x = torch.nn.functional.gelu(model.conv1(torch.from_numpy(np.stack(mels))))
        x = torch.nn.functional.gelu(model.conv2(x)).transpose(1, 2) + model.embed_positions.weight
        for found, layer in zip(layers, [None, *model.layers], strict=True):
            if layer is not None:
                told = layer(x, None)
                x = told[0] if isinstance(told, tuple) else told
            found += [row[:n].numpy() for row, n in zip(x, counts[start:], strict=False)]
    return [np.concatenate(found) for found in layers], counts


@dataclass
class Population:
    """Pieces that count the same each."""

    rows: Array
    first: NDArray[np.int64]
    counts: NDArray[np.int64]
    between: Array
    within: Array
    truth: float

    @staticmethod
    def of(rows: Array, counts: NDArray[np.int64]) -> Population:
        """Its covariance, and what of it lies between pieces."""
        kept = np.repeat(counts >= SHORTEST, counts)
        x, n = rows[kept].astype(np.float64), counts[counts >= SHORTEST]
        first = np.cumsum(n) - n
        weights = np.repeat(1.0 / n, n) / len(n)
        x -= weights @ x
        covariance = (x * weights[:, None]).T @ x
        means = np.add.reduceat(x, first) / n[:, None]
        between = means.T @ means / len(n)
        eigenvalues = np.linalg.eigvalsh(covariance)[::-1].clip(0.0)
        return Population(x, first, n, _root(between), _root(covariance - between), plain_rank(eigenvalues))

    def draw(self, rng: np.random.Generator, utterances: int, frames: int) -> Array:
        """Random frames of random pieces."""
        found = []
        for i in rng.integers(len(self.counts), size=utterances):
            chosen = rng.choice(self.counts[i], frames, replace=self.counts[i] < frames)
            found.append(self.rows[self.first[i] + chosen])
        return np.concatenate(found)

    def gaussian(self, rng: np.random.Generator, utterances: int, frames: int) -> Array:
        """Rows of the same covariances."""
        d = len(self.between)
        shared = rng.standard_normal((utterances, d)) @ self.between
        return np.repeat(shared, frames, axis=0) + rng.standard_normal((utterances * frames, d)) @ self.within


def _root(covariance: Array) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(values.clip(0.0))).T)


def row(population: Population, real: bool, utterances: int, frames: int, draws: int) -> str:
    """Of the table."""
    groups = torch.arange(utterances).repeat_interleave(frames)
    found = []
    for seed in range(draws):
        draw = population.draw if real else population.gaussian
        x = torch.from_numpy(draw(np.random.default_rng(100 + seed), utterances, frames)).float()
        e = estimate_rank(x, groups=groups)
        low, high = e.low or math.nan, e.high or math.nan
        errors = [100 * math.log(value / population.truth) for value in (e.plain, e.value)]
        found.append([*errors, 100 * math.log(high / e.value), low <= population.truth <= high])
    plain, error, half, holds = np.array(found).T
    cells = f"{np.median(plain):+.1f} | {np.median(error):+.1f} | {error.std():.1f} | {np.median(half):.1f}"
    return f"{cells} | {100 * holds.mean():.0f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("--draws", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    waves = pieces(options.data)
    print("| layer | utterances x frames | rows | plain | median | sd | half width | coverage |")
    print("|---|---|---|---|---|---|---|---|")
    for kind, layers in LAYERS.items():
        states, counts = hidden_states(encoder(options.models if kind == "trained" else None), waves)
        for layer in layers:
            population = Population.of(states[layer], counts)
            for utterances, frames in DESIGNS:
                for real in (True, False):
                    told = row(population, real, utterances, frames, options.draws)
                    name = f"{kind}, {layer} ({population.truth:.0f})"
                    print(
                        f"| {name} | {utterances} x {frames} | {'real' if real else 'Gaussian'} | {told} |", flush=True
                    )


if __name__ == "__main__":
    main()
