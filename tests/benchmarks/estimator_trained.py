"""The estimator on the layers of small trained models, eval mode, on all recordings mixed.

    python tests/benchmarks/estimator_trained.py ../shared/data CHECKPOINT [CHECKPOINT ...] [--draws 5]

Checkpoints are those of `examples/pretrain.py` (data2vec or HuBERT). From each layer, n = 5 d rows: 4 frames from each
of n / 4 utterances. Two populations: each utterance counts the same, and (from the same draws, by weights) each frame
does. Truth: the plain value of all frames, weighted likewise; it is off by less than 0.2 % where there are more than
200 d of them. Errors in percent of the truth over all layers and draws: median, median of the absolute, worst; how
often the 90 % interval holds the truth, and its median width.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from estimator_speech import draw

from rankwatch.extraction.hooks.layer_hooks import LayerHooks
from rankwatch.extraction.inputs.audio_files import find_audio, read_audio
from rankwatch.extraction.model.layers import find_layers
from rankwatch.extraction.valid_frames.layer_outputs import to_btc, unpack
from rankwatch.numerics import RankEstimate, estimate_rank
from rankwatch.numerics.rank.spectrum import eigenvalues_of, plain_rank

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 4


def load_model(checkpoint: Path) -> torch.nn.Module:
    """The example's module, in eval mode."""
    sys.path.insert(0, str(ROOT / "examples"))
    from data2vec import Data2Vec
    from hubert import Hubert

    kind = Hubert if "units.centroids" in torch.load(checkpoint, weights_only=True)["state_dict"] else Data2Vec
    module: torch.nn.Module = kind.load_from_checkpoint(checkpoint, map_location="cpu")
    return module.eval()


def frames_of(module: torch.nn.Module, waves: list[torch.Tensor]) -> dict[str, list[torch.Tensor]]:
    """(t, d) frames of every utterance that has enough, by layer."""
    layers = find_layers(module)
    run = module.model.wav2vec2.extract_features if hasattr(module, "model") else module.encoder
    frames: dict[str, list[torch.Tensor]] = {layer.name: [] for layer in layers}
    layouts: dict[str, str] = {}
    with torch.no_grad(), LayerHooks(layers) as layer_hooks:
        for wave in waves:
            run(wave[None], torch.tensor([wave.shape[0]]))
            outputs = layer_hooks.take()
            for layer in layers:
                hidden = unpack(outputs[layer.name])[0]
                hidden, layouts[layer.name] = to_btc(hidden, batch_size=1, layer=layer, known=layouts.get(layer.name))
                frames[layer.name].append(hidden[0])
    return {name: [x for x in stacks if x.shape[0] >= FRAMES] for name, stacks in frames.items()}


def all_frames(stacks: list[torch.Tensor], by_frame: bool) -> float:
    """Plain centred value of all frames; each utterance, or each frame, with the same weight."""
    weights = [1.0 if by_frame else 1.0 / x.shape[0] for x in stacks]
    total = sum(w * x.shape[0] for w, x in zip(weights, stacks, strict=True))
    mean = sum(w * x.double().sum(dim=0) for w, x in zip(weights, stacks, strict=True)) / total
    gram = torch.zeros(stacks[0].shape[1], stacks[0].shape[1], dtype=torch.float64)
    for weight, x in zip(weights, stacks, strict=True):
        centred = x.double() - mean
        gram += weight * (centred.T @ centred)
    return plain_rank(eigenvalues_of(gram))


def main() -> None:
    """Print one row per checkpoint and case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--draws", type=int, default=5)
    arguments = parser.parse_args()
    waves = []
    for path in find_audio(arguments.data).files:
        wave = read_audio(path, 16_000, 15.0)
        if wave.shape[0] >= 2400:
            waves.append(wave)
    print(f"{len(waves)} recordings, {sum(len(w) for w in waves) / 16_000 / 60:.0f} minutes")
    print(f"{'':44}{'plain':>8}{'median':>8}{'|median|':>9}{'worst':>8}{'cover':>7}{'width':>7}")
    everything: dict[str, list[tuple[RankEstimate, float]]] = {}
    for checkpoint in arguments.checkpoints:
        found = cases(frames_of(load_model(checkpoint), waves), arguments.draws)
        for case, pairs in found.items():
            everything.setdefault(case, []).extend(pairs)
            name = next((part for part in reversed(checkpoint.parts[:-1]) if "-" in part), checkpoint.stem)
            print(line(f"{name}: {case}", pairs), flush=True)
    for case, pairs in everything.items():
        print(line(f"all: {case}", pairs))


def cases(frames: dict[str, list[torch.Tensor]], draws: int) -> dict[str, list[tuple[RankEstimate, float]]]:
    """Estimates with their truths, over layers and draws."""
    found: dict[str, list[tuple[RankEstimate, float]]] = {}
    for stacks in frames.values():
        d = stacks[0].shape[1]
        lengths = torch.tensor([x.shape[0] for x in stacks])
        truths = {by_frame: all_frames(stacks, by_frame) for by_frame in (False, True)}
        for seed in range(draws):
            x, groups = draw(stacks, 5 * d // FRAMES, FRAMES, np.random.default_rng(seed))
            for k in (None, -(-d // 3)):
                for by_frame, truth in truths.items():
                    weights = lengths[groups] if by_frame else None
                    estimate = estimate_rank(x, groups=groups, weights=weights, projection=k, seed=seed)
                    counts = "frame" if by_frame else "utterance"
                    found.setdefault(f"each {counts}{', k = d/3' if k else ''}", []).append((estimate, truth))
    return found


def line(title: str, pairs: list[tuple[RankEstimate, float]]) -> str:
    """One row of the table."""
    errors = np.array([100.0 * (e.value / truth - 1.0) for e, truth in pairs])
    plain = np.median([100.0 * (e.plain / truth - 1.0) for e, truth in pairs])
    held = np.mean([(e.low or 0.0) <= truth <= (e.high or np.inf) for e, truth in pairs])
    width = np.median([100.0 * np.log((e.high or np.nan) / (e.low or np.nan)) for e, _ in pairs])
    worst = errors[np.argmax(np.abs(errors))]
    return (
        f"{title:44}{plain:8.1f}{np.median(errors):+8.2f}{np.median(np.abs(errors)):9.2f}{worst:+8.1f}"
        f"{100 * held:7.0f}{width:7.1f}"
    )


if __name__ == "__main__":
    main()
