"""A small corpus of tones with labels, speakers and alignments, as files."""

import csv

import numpy as np
import pytest

RATE = 16_000
LABELS = {"low": 300.0, "middle": 1200.0, "high": 4000.0}


def corpus(folder, *, speakers=4, each=6, columns=("path", "label", "speaker", "alignment"), seed=0):
    """Writes a manifest and what it names; returns its path.

    Every clip is a tone of its label's pitch, at its speaker's own loudness, between two stretches of noise. The
    alignment calls the tone "tone" and the second noise "noise"; the first has no name.
    """
    soundfile = pytest.importorskip("soundfile")
    generator = np.random.default_rng(seed)
    (folder / "audio").mkdir(parents=True)
    rows = []
    for speaker in range(speakers):
        for i in range(each):
            label = list(LABELS)[i % 3]
            lead, tone, tail = generator.uniform(0.05, 0.12, 3)
            name = f"{speaker}_{i}"
            t = np.arange(int(tone * RATE)) / RATE
            wave = [
                0.02 * generator.normal(size=int(lead * RATE)),
                0.1 * (1 + speaker) * np.sin(2 * np.pi * LABELS[label] * generator.uniform(0.97, 1.03) * t),
                0.02 * generator.normal(size=int(tail * RATE)),
            ]
            soundfile.write(folder / "audio" / f"{name}.wav", np.concatenate(wave), RATE)
            spans = [("phone", lead, lead + tone, "tone"), ("phone", lead + tone, lead + tone + tail, "noise")]
            lines = ["tier\tstart\tend\tlabel", f"word\t0\t{lead + tone + tail}\tx"]
            lines += ["\t".join(str(cell) for cell in span) for span in spans]
            (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")
            row = {
                "path": f"audio/{name}.wav",
                "label": label,
                "speaker": f"s{speaker}",
                "alignment": f"{name}.tsv",
                "more": "",
            }
            rows.append({column: row[column] for column in (*columns, "more")})
    write(folder / "manifest.csv", rows)
    return folder / "manifest.csv"


def write(path, rows):
    """A manifest."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read(path):
    """Its rows."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
