"""How much memory `rankwatch analyze` takes, by the number of layers and of files.

    python tests/benchmarks/analysis_memory.py                          # 25 layers of 1,024, 512 files of 10,000
    python tests/benchmarks/analysis_memory.py --layers 7 --files 600 --values values.json

A made-up model of narrow residual blocks, whose own weights are small, on short files of noise with speakers and
alignments. Prints the largest resident memory of the process after a tiny analysis and after this one, and CPU
seconds. With `--values` all measurements are written to a file, to be compared with another version's.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from rankwatch import analyze

RATE = 16_000
SECONDS = 0.4


class Block(nn.Module):
    """A residual block with few weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.down, self.up = nn.Linear(width, 32), nn.Linear(32, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        found: Tensor = x + self.up(torch.relu(self.down(self.norm(x))))
        return found


class Model(nn.Module):
    """A convolution and blocks."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.front = nn.Conv1d(1, width, 400, stride=320)
        self.blocks = nn.ModuleList(Block(width) for _ in range(layers - 1))

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, T) to (B, T', C)."""
        x: Tensor = self.front(waveforms[:, None]).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return x


def corpus(folder: Path, files: int) -> Path:
    """Noise by eight speakers, with a phone tier; returns the manifest."""
    generator = np.random.default_rng(0)
    lines = ["path,speaker,alignment"]
    for k in range(files):
        wave = generator.normal(size=int(SECONDS * RATE)) * 0.05
        for part in range(4):
            wave[part * RATE // 10 : (part + 1) * RATE // 10] *= 1 + (k + part) % 5
        soundfile.write(folder / f"{k}.wav", wave, RATE, subtype="PCM_16")
        spans = [f"phone\t{part / 10}\t{(part + 1) / 10}\tp{(k + part) % 5}" for part in range(4)]
        (folder / f"{k}.tsv").write_text("\n".join(["tier\tstart\tend\tlabel", *spans]) + "\n")
        lines.append(f"{k}.wav,s{k % 8},{k}.tsv")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.csv"


def _peak() -> float:
    """MiB of the largest resident memory so far (on Linux, where the unit is KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=25)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--utterances", type=int, default=512)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--values", type=Path)
    parser.add_argument("--in-python", action="store_true", help="without a folder for the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Model(options.layers, options.width)
    with tempfile.TemporaryDirectory() as name:
        manifest = corpus(Path(name), options.files)
        analyze(Model(3, 64), manifest, n_utterances=20, rows=100)  # what is imported on the way is in memory now
        before, begun = _peak(), time.process_time()
        out = None if options.in_python else Path(name) / "out"
        found = analyze(model, manifest, n_utterances=options.utterances, rows=options.rows, out=out)
        after, seconds = _peak(), time.process_time() - begun
    rows = {one.n for one in found.measurements}
    print(f"{options.layers} layers of {options.width}, {options.files} files, at most {max(rows)} rows of a kind")
    print(f"{before:.0f} MiB before, {after:.0f} MiB at most: {after - before:.0f} MiB; {seconds:.0f} s of CPU time")
    if options.values:
        options.values.write_text(json.dumps([one.to_plain() for one in found.measurements], indent=0))


if __name__ == "__main__":
    main()
