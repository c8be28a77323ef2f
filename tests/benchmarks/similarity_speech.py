"""Similarities, labels and probes of the layers of a real encoder (Whisper base) on real recordings.

    python tests/benchmarks/similarity_speech.py --data ../shared/data --model ../shared/models --only rows

Three parts: `rows` (do 4 and 10 frames of each recording say what 60 do?), `profile` (acoustics, phones, words, speaker
and emotion over depth, with probes beside), `order` (Spearman's correlation over layers between what needs no probe and
the probe, on random halves of the recordings: a bootstrap would have each utterance twice, as two independent ones).
Features are computed once and kept in `--features` (about 1.3 s of processor time a recording).
"""

import argparse
import csv
import math
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from rankwatch.metrics import (
    cca_squared,
    cca_squared_matrix,
    cka,
    explained,
    frame_labels,
    linear_probe,
    pool_spans,
    probe_r2,
    similarity,
    usable_labels,
)

LAYERS, RATE = 7, 50.0
WINDOW = {"fsdd": 3, "arabic_commands": 3}
"""Seconds to which short clips are padded; all others to Whisper's own 30, at ten times the cost."""

MOST = {"fsdd": 500}
"""Recordings of large corpora, drawn at random."""


def encoder(path, seconds):
    import safetensors.torch
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = WhisperConfig(
        d_model=512,
        encoder_layers=6,
        encoder_attention_heads=8,
        encoder_ffn_dim=2048,
        num_mel_bins=80,
        max_source_positions=50 * seconds,
    )
    found = WhisperEncoder(config).eval()
    state = safetensors.torch.load_file(path / "whisper_base_encoder" / "whisper_base_encoder.safetensors")
    state["embed_positions.weight"] = state["embed_positions.weight"][: 50 * seconds]
    found.load_state_dict({name: value.float() for name, value in state.items()})
    return found


@torch.no_grad()
def compute(folder, model):
    """Front end and six blocks (7, frames, 512), log-mels at their rate, frames of each recording and its path."""
    import soundfile
    from scipy.signal import resample_poly
    from transformers import WhisperFeatureExtractor

    seconds = WINDOW.get(folder.name, 30)
    net, extractor = encoder(model, seconds), WhisperFeatureExtractor(chunk_length=seconds)
    x, mel, n, paths = [], [], [], []
    listed = list(csv.DictReader((folder / "manifest.csv").open()))
    chosen = np.sort(np.random.default_rng(0).permutation(len(listed))[: MOST.get(folder.name, len(listed))])
    for row in (listed[k] for k in chosen):
        audio, rate = soundfile.read(folder / row["path"])
        audio = resample_poly(audio, 16000 // rate, 1) if rate != 16000 else audio
        given = extractor(audio, sampling_rate=16000, return_tensors="pt").input_features.float()
        frames = math.ceil(len(audio) / 16000 * RATE)  # all others are padding
        front = torch.nn.functional.gelu(net.conv2(torch.nn.functional.gelu(net.conv1(given))))[0].T
        blocks = net(given, output_hidden_states=True).hidden_states[1:]
        x.append(torch.stack([front[:frames], *(block[0, :frames] for block in blocks)]).half().numpy())
        bands = given[0].T
        mel.append(((bands[0::2] + bands[1::2]) / 2.0)[:frames].numpy())
        n.append(frames)
        paths.append(row["path"])
    return {"x": np.concatenate(x, 1), "mel": np.concatenate(mel), "n": np.array(n), "paths": np.array(paths)}


class Corpus:
    """Features of one corpus, its manifest and its alignments."""

    def __init__(self, data, model, features, name):
        kept = features / f"{name}_trained.npz"
        if not kept.exists():
            features.mkdir(parents=True, exist_ok=True)
            np.savez(kept, **compute(data / name, model))
        with np.load(kept) as file:
            self.x, self.mel, self.n, paths = (file[key] for key in ("x", "mel", "n", "paths"))
        rows = {row["path"]: row for row in csv.DictReader((data / name / "manifest.csv").open())}
        self.rows, self.start = [rows[path] for path in paths], np.cumsum(self.n) - self.n
        self.folder = data / name

    def spans(self, utterance, tier):
        path = self.rows[utterance].get("alignment_path")
        lines = csv.DictReader((self.folder / path).open(), delimiter="\t") if path else []
        return [(float(line["start"]), float(line["end"]), line["label"]) for line in lines if line["tier"] == tier]

    def draw(self, frames, seed, utterances=None):
        """Places of so many random frames of each utterance, and the utterance of each."""
        rng, at, groups = np.random.default_rng(seed), [], []
        for u in range(len(self.n)) if utterances is None else utterances:
            chosen = np.sort(rng.permutation(self.n[u])[:frames])
            at.append(self.start[u] + chosen)
            groups += [u] * len(chosen)
        return np.concatenate(at), np.array(groups)

    def of_frames(self, tier):
        """Label of every frame, or None."""
        return [
            label for u, count in enumerate(self.n) for label in frame_labels(self.spans(u, tier), int(count), RATE)
        ]

    def pooled(self, tier, layer):
        """Rows of spans, their labels and utterances."""
        rows, labels, groups = [], [], []
        for u, (start, count) in enumerate(zip(self.start, self.n, strict=True)):
            found = pool_spans(self.x[layer, start : start + count].astype(np.float32), self.spans(u, tier), RATE)
            rows.append(found.rows)
            labels += found.labels
            groups += [u] * len(found.labels)
        return torch.cat(rows), np.array(labels), np.array(groups)


def accuracy(x, labels, groups, seed=0):
    """Of a linear probe on the half of the groups that it wasn't trained on, both ways."""
    ids = np.unique(labels, return_inverse=True)[1]
    first = np.isin(groups, np.random.default_rng(seed).permutation(np.unique(groups))[::2])
    halves = [(first, ~first), (~first, first)]
    x, ids = torch.as_tensor(x), torch.as_tensor(ids)
    return np.mean([linear_probe(x[a], ids[a], x[b], ids[b]).accuracy for a, b in halves])


def values(found):
    several = " to ".join(sorted({f"{one.value:.3f}" for one in found}))
    return f"{found[0].plain:.3f} → {several} {', '.join(sorted(found[0].status))}".strip()


def rows(corpora, seeds):
    """The same from few rows and from many."""
    print("| corpus | measure | 4 frames | 10 frames | 60 frames |\n|---|---|---|---|---|")
    for name, corpus in corpora.items():
        for block in (1, 6):
            for what, measure in (
                ("similarity 0.1, front end", lambda x, y, m, g: similarity(x, y, groups=g)),
                ("similarity 0.1, log-mel", lambda x, y, m, g: similarity(m, y, groups=g)),
                ("CKA, front end", lambda x, y, m, g: cka(x, y, groups=g)),
            ):
                cells = []
                for frames in (4, 10, 60):
                    found = []
                    for seed in range(1 if frames == 60 else seeds):
                        at, groups = corpus.draw(frames, seed)
                        x, y = (corpus.x[k, at].astype(np.float32) for k in (0, block))
                        found.append(measure(x, y, corpus.mel[at], groups))
                    cells.append(f"{found[0].n}: {values(found)}")
                print(f"| {name} | {what}, block {block} | {' | '.join(cells)} |", flush=True)


def targets_of(corpus, at, groups):
    phones = np.array(corpus.of_frames("phone"), dtype=object)[at]
    speaker, label = (np.array([corpus.rows[u][key] for u in groups]) for key in ("speaker", "label"))
    return {"log-mel": corpus.mel[at], "phones": phones.tolist(), "speaker": speaker, "emotion": label}


def profile_of(corpus, at, groups):
    """{target: (values of layers, probes of layers, Similarity of layers)}."""
    targets = targets_of(corpus, at, groups)
    layers = [corpus.x[k, at].astype(np.float32) for k in range(LAYERS)]
    matrix = cca_squared_matrix(layers, list(targets.values()), groups=groups)
    speakers, found = targets["speaker"], {}
    for k, (name, target) in enumerate(targets.items()):
        of_layers = [of_layer[k] for of_layer in matrix]
        if name == "log-mel":
            probes = [probe_r2(x, target, groups=groups).value for x in layers]
        else:
            mask = usable_labels(target, groups).mask
            apart = speakers if name == "emotion" else groups
            labels = np.array([str(one) for one in target])
            probes = [accuracy(x[mask], labels[mask], apart[mask]) for x in layers]
        found[name] = ([one.value for one in of_layers], probes, of_layers)
    return found, layers


def profile(corpora, seeds):
    """Over depth, with probes beside."""
    cells = " | ".join(["front", *map(str, range(1, LAYERS))])
    print(f"| | {cells} |\n|---|{'---|' * LAYERS}")
    corpus = corpora["emodb"]
    at, groups = corpus.draw(10, 0)
    found, layers = profile_of(corpus, at, groups)
    for name, (of_layers, probes, full) in found.items():
        half = [0.0 if one.low is None else (one.high - one.low) / 2.0 for one in full]
        print(f"| {name}: R/q | {' | '.join(f'{v:.3f} ± {h:.3f}' for v, h in zip(of_layers, half, strict=True))} |")
        print(f"| {name}: plain | {' | '.join(f'{one.plain:.3f}' for one in full)} |")
        print(f"| {name}: probe | {' | '.join(f'{probe:.3f}' for probe in probes)} |", flush=True)
    for what, measure in (
        ("log-mel: explained", lambda x: explained(x, corpus.mel[at], groups=groups)),
        ("similarity 0.01 to the front end", lambda x: similarity(layers[0], x, groups=groups, kappa=0.01)),
        ("CKA to the front end", lambda x: cka(layers[0], x, groups=groups)),
    ):
        print(f"| {what} | {' | '.join(f'{measure(x).value:.3f}' for x in layers)} |", flush=True)
    for tier in ("phone", "word"):
        value, probe = [], []
        for layer in range(LAYERS):
            rows_, labels, of_row = corpora["autovot"].pooled(tier, layer)
            value.append(cca_squared(rows_, labels, groups=of_row))
            mask = usable_labels(labels, of_row).mask
            probe.append(accuracy(rows_[mask], labels[mask], of_row[mask]))
        print(f"| autovot, {tier}s pooled: R/q | {' | '.join(f'{one.value:.3f}' for one in value)} |")
        print(f"| autovot, {tier}s pooled: probe | {' | '.join(f'{one:.3f}' for one in probe)} |", flush=True)


def order(corpora, seeds):
    """Spearman over layers, value and probe both on the same half of the utterances."""
    corpus, found = corpora["emodb"], {}
    for seed in range(seeds):
        half = np.sort(np.random.default_rng(seed).permutation(len(corpus.n))[: len(corpus.n) // 2])
        at, groups = corpus.draw(20, seed, half)
        for name, (of_layers, probes, full) in profile_of(corpus, at, groups)[0].items():
            plain = [one.plain for one in full]
            found.setdefault(name, []).append([spearmanr(v, probes).statistic for v in (of_layers, plain)])
    print("| target | Spearman, corrected: median (range) | plain |\n|---|---|---|")
    for name, pairs in found.items():
        cells = [f"{np.median(v):.2f} ({min(v):.2f} to {max(v):.2f})" for v in zip(*pairs, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


PARTS = {"rows": rows, "profile": profile, "order": order}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", type=Path, default=Path("../shared/models"))
    parser.add_argument("--features", type=Path, default=Path("../similarity_features"))
    parser.add_argument("--corpora", default="emodb,autovot,fsdd,arabic_commands")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    parser.add_argument("--seeds", type=int, default=4)
    arguments = parser.parse_args()
    for folder in (arguments.data, arguments.model):
        if not folder.is_dir():
            sys.exit(f"skipped: {folder} isn't there; say with --data and --model where recordings and encoder are")
    torch.set_num_threads(1)
    names = {"rows": arguments.corpora.split(","), "profile": ["emodb", "autovot"], "order": ["emodb"]}
    for part in [arguments.only] if arguments.only else PARTS:
        wanted = [name for name in names[part] if name in arguments.corpora.split(",")]
        corpora = {name: Corpus(arguments.data, arguments.model, arguments.features, name) for name in wanted}
        PARTS[part](corpora, arguments.seeds)


if __name__ == "__main__":
    main()
