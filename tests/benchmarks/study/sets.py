"""On what every checkpoint is measured: speech like that of the training, other speech, and sounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from zoo_of_encoders.encoders import Encoder, EncoderOutput

from rankwatch import AudioFolder, LabelledSet, RowSampling
from study.catalogue import WIDTH
from study.sounds import SHORT, SILENT, alarms, intermittent_clips, short_clips
from study.speech import unseen_files
from study.train import ARCHITECTURE

ROWS = RowSampling(n_utterances=480, frames_per_utterance=6, brief_utterances=None)
"""No set has more utterances than 480, but for the digits, of which 480 are drawn."""

IN_DOMAIN = ("unseen", "phones_emotion", "words", "keywords", "speaker")
OUT_OF_DOMAIN = ("digits", "music", "alarms")


def encoder() -> Encoder:
    """The model that the checkpoints are of."""
    return Encoder(ARCHITECTURE, WIDTH)


def forward(model: Encoder, batch: tuple[Tensor, Tensor]) -> EncoderOutput:
    """Run (B, n) padded samples with (B,) valid ones; each utterance is standardised, as in training."""
    waveforms, lengths = batch
    ready = torch.zeros_like(waveforms)
    for i, n in enumerate(lengths.tolist()):
        samples = waveforms[i, :n]
        ready[i, :n] = (samples - samples.mean()) / (samples.std(correction=0) + 1e-5)
    output: EncoderOutput = model(ready, lengths)
    return output


def evaluation_sets(data: Path, folder: Path) -> dict[str, Any]:
    """All sets by name; what they need is written into a folder.

    Args:
        data: The folder of corpora.
        folder: For links, and for sounds that are generated.

    Returns:
        What `rankwatch.Watch` and `rankwatch.replay` take as ``eval_sets``.
    """
    links = folder / "unseen"
    links.mkdir(parents=True, exist_ok=True)
    for file in unseen_files(data):
        link = links / "-".join(file.relative_to(data).parts)
        if not link.exists():
            link.symlink_to(file)
    emodb, words, keywords = (data / name / "manifest.csv" for name in ("emodb", "autovot", "arabic_commands"))
    common: dict[str, Any] = {"forward": forward, "max_seconds": 2.5}
    sets: dict[str, Any] = {
        # Emotions and phones over speakers, words over utterances, keywords over speakers, speakers over keywords.
        "unseen": AudioFolder(links, **common),
        "phones_emotion": LabelledSet(emodb, alignment="alignment_path", **common),
        "words": LabelledSet(words, None, None, alignment="alignment_path", tier="word", **common),
        "keywords": LabelledSet(keywords, **common),
        "speaker": LabelledSet(keywords, "speaker", "label", **common),
        "digits": LabelledSet(data / "fsdd" / "manifest.csv", **common),
        "music": LabelledSet(data / "ood_music_cc0" / "manifest.csv", speaker=None, **common),
        "alarms": LabelledSet(alarms(folder / "alarms"), speaker=None, **common),
    }
    for seconds in SHORT:
        name = f"clips_of_{seconds:g}_s"
        sets[name] = AudioFolder(short_clips(data, folder / name, seconds), **common)
    for share in SILENT:
        name = f"silent_{share:.0%}".rstrip("%")
        sets[name] = AudioFolder(intermittent_clips(data, folder / name, share), **common)
    return sets
