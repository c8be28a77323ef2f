"""What a replay of a checkpoint costs beside one forward pass of the evaluation set, and how much memory many take.

    python tests/benchmarks/replay_cost.py                      # a HuBERT of 12 layers, 4 checkpoints
    python tests/benchmarks/replay_cost.py --checkpoints 200 --width 96 --layers 4 --utterances 32 --seconds 2

Prints seconds of this process's CPU time on one thread, medians over checkpoints without the first, which also finds
out where layers are read: the bare forward pass of the same batches, measured by itself (the fastest of three); all of
a reading (its own forward pass with hooks, rows drawn, layers measured, reports, state on disk); of these the measuring
of the layers; and the loading of weights, which is in no ratio. Then how resident memory grows from the fifth
checkpoint on.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import rankwatch
from rankwatch.monitor.evaluator import Evaluator
from rankwatch.replays.model_weights import ModelWeights
from rankwatch.replays.replay_session import ReplaySession
from rankwatch.replays.replay_state import ReplayState


def hubert(width: int, layers: int) -> nn.Module:
    """torchaudio's, without weights of its own; the family is known, so audio is run through it as it is."""
    import torchaudio

    torch.manual_seed(0)
    return torchaudio.models.wav2vec2_model(
        extractor_mode="group_norm",
        extractor_conv_layer_config=None,
        extractor_conv_bias=False,
        encoder_embed_dim=width,
        encoder_projection_dropout=0.0,
        encoder_pos_conv_kernel=128,
        encoder_pos_conv_groups=16,
        encoder_num_layers=layers,
        encoder_num_heads=max(width // 64, 2),
        encoder_attention_dropout=0.0,
        encoder_ff_interm_features=4 * width,
        encoder_ff_interm_dropout=0.0,
        encoder_dropout=0.0,
        encoder_layer_norm_first=False,
        encoder_layer_drop=0.0,
        aux_num_out=None,
    )


def batches(utterances: int, seconds: float) -> list[tuple[Tensor, Tensor]]:
    """Coloured noise of one length."""
    generator = torch.Generator().manual_seed(0)
    samples = int(16_000 * seconds)
    sizes = [min(16, utterances - i) for i in range(0, utterances, 16)]
    return [(torch.randn(size, samples, generator=generator), torch.full((size,), samples)) for size in sizes]


def run(model: Any, batch: tuple[Tensor, Tensor]) -> Any:
    """Without a mask, as the family's own pass."""
    return model(*batch)


def resident() -> float:
    """MB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=4)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--utterances", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="replay-cost-"))
    model = hubert(options.width, options.layers)
    for step in range(1, options.checkpoints + 1):
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.0 + 1e-4 * step)
        optimizer = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
        torch.save({"model": model.state_dict(), "optimizer": optimizer, "step": step}, folder / f"step={step}.pt")
    audio = batches(options.utterances, options.seconds)
    bare = _bare(model, audio)
    loading, reading, measuring = _watch()
    memory: list[float] = []
    found = rankwatch.replay(
        model,
        folder,
        rankwatch.Loader(audio, forward=run),
        out=folder / "replay",
        rows=rankwatch.RowSampling(n_utterances=options.utterances, brief_utterances=None),
        device="cpu",
        say=lambda line: memory.append(resident()) if line.startswith("step ") else None,
    )
    size, whole = sum(p.numel() for p in model.parameters()) / 1e6, statistics.median(reading[1:])
    print(f"{len(found.steps)} checkpoints of {size:.0f} M weights, {options.utterances} x {options.seconds:g} s")
    print(f"bare forward pass of the set {bare:8.2f} s")
    print(f"reading, all of it           {whole:8.2f} s = {whole / bare:.3f} of that (first: {reading[0]:.2f} s)")
    print(f"of these measuring layers    {statistics.median(measuring[1:]):8.2f} s")
    print(f"loading of weights           {statistics.median(loading[1:]):8.2f} s")
    if len(memory) > 6:
        slope = np.polyfit(np.arange(len(memory) - 5), memory[5:], 1)[0]
        print(f"resident: {memory[4]:.0f} MB after 5, {memory[-1]:.0f} MB after {len(memory)}, {slope:+.3f} MB each")


def _bare(model: nn.Module, audio: list[tuple[Tensor, Tensor]]) -> float:
    seconds = []
    model.eval()
    for _ in range(3):
        start = time.process_time()
        with torch.no_grad():
            for batch in audio:
                run(model, batch)
        seconds.append(time.process_time() - start)
    model.train()
    return min(seconds)


def _watch() -> tuple[list[float], list[float], list[float]]:
    """CPU seconds of each loading, of each reading with all that follows it, and of the measuring in it."""
    loading: list[float] = []
    reading: list[float] = []
    saving: list[float] = []
    measuring: list[float] = []

    def time_it(owner: Any, name: str, into: list[float]) -> None:
        real = getattr(owner, name)

        def timed(*arguments: Any, **words: Any) -> Any:
            start = time.process_time()
            result = real(*arguments, **words)
            into.append(time.process_time() - start)
            if into is saving:
                reading[-1] += into[-1]
            return result

        setattr(owner, name, timed)

    time_it(ModelWeights, "load", loading)
    time_it(ReplaySession, "read", reading)
    time_it(ReplayState, "save", saving)
    time_it(Evaluator, "evaluate", measuring)
    return loading, reading, measuring


if __name__ == "__main__":
    main()
