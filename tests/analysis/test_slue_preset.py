"""A folder of SLUE's is enough: its tasks are asked about, by its scores."""

import numpy as np
import pytest
import torch
from tiny_audio import write_text
from torch import nn

from rankwatch import analyze
from rankwatch.analysis.slue_preset import slue_tasks
from rankwatch.corpora import Corpus, Utterance

soundfile = pytest.importorskip("soundfile")

PITCH = {"ORG": 700.0, "PLACE": 2500.0}


class Encoder(nn.Module):
    """Pitch is in the phase of the first layer, and in the loudness of bands behind it."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.front = nn.Conv1d(1, 16, 400, stride=320)
            block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.blocks = nn.TransformerEncoder(block, 1, enable_nested_tensor=False)

    def forward(self, waveforms):
        return self.blocks(self.front(waveforms[:, None]).abs().transpose(1, 2))


def voxpopuli(folder, *, timed):
    """Twenty-four utterances of six speakers, in each of which one entity is a tone of its tag's pitch."""
    rows, times = [], []
    g = np.random.default_rng(0)
    (folder / "dev").mkdir(parents=True)
    for k in range(24):
        tag = ["ORG", "PLACE"][k % 2]
        start, length = float(g.uniform(0.2, 0.9)), 0.48
        wave = 0.02 * g.normal(size=24_000)
        inside = slice(int(start * 16_000), int((start + length) * 16_000))
        wave[inside] += 0.2 * np.sin(2 * np.pi * PITCH[tag] * np.arange(inside.stop - inside.start) / 16_000)
        soundfile.write(folder / "dev" / f"u{k}.ogg", wave, 16_000)
        rows.append(f"u{k}\tso it is\t{k % 6}\tdev\t[['{'ORG' if tag == 'ORG' else 'GPE'}', 3, 2]]")
        times.append(f"u{k},it,{start:.2f},{start + length:.2f},{tag}")
    write_text(folder / "slue-voxpopuli_dev.tsv", "id\tnormalized_text\tspeaker_id\tsplit\tnormalized_ner", *rows)
    if timed:
        header = "id,entity_phrase,start,end,entity_label"
        write_text(folder / "nel" / "dev_entity_alignments.csv", header, *times)
    return folder


def test_a_folder_of_named_entities_is_enough(tmp_path):
    found = analyze(Encoder(), voxpopuli(tmp_path / "slue-voxpopuli", timed=True), rows=128, preset="slue")
    asked = {one.target for one in found.decision.properties}
    assert asked == {"named_entities", "named_entity frames", "named_entity spans"}
    (spans,) = [one for one in found.decision.properties if one.target == "named_entity spans"]
    assert spans.best == "L01"
    assert spans.scores["L01"].value > 0.7
    assert spans.scores["L01"].value > spans.scores["L00"].value + 0.2
    assert found.protocol["tags"]["left_out"] == "speakers"
    assert found.protocol["tags"]["utterances"] == 24
    assert "named_entity spans" in found.table().splitlines()[0]


def test_without_times_it_says_what_to_do(tmp_path):
    found = analyze(Encoder(), voxpopuli(tmp_path / "slue-voxpopuli", timed=False), rows=64, preset="slue")
    assert [one.target for one in found.decision.properties] == ["named_entities"]
    assert any("alignments= with the words' times" in note for note in found.profile.notes)


def test_sentiment_is_compared_by_macro_f1(tmp_path):
    g = np.random.default_rng(0)
    utterances = []
    for k in range(24):
        path = tmp_path / f"{k}.wav"
        soundfile.write(path, (0.05 + 0.3 * (k % 2)) * g.normal(size=8_000), 16_000)
        sentiment = ["Neutral", "Positive"][k % 2]
        utterances.append(Utterance(f"u{k}", path, speaker=f"s{k % 4}", labels={"sentiment": sentiment}, seconds=0.5))
    found = analyze(Encoder(), Corpus("made up", tuple(utterances)), rows=48, preset="slue")
    (one,) = found.decision.properties
    assert (one.target, one.measure, one.chance) == ("sentiment", "probe_macro_f1", 0.5)
    assert "macro F1" in found.conclusions[0]


def test_a_corpus_that_has_none_of_the_tasks_is_refused():
    corpus = Corpus("others", (Utterance("u", None, labels={"dialect": "x"}),))
    with pytest.raises(ValueError, match="others has none of them"):
        slue_tasks(corpus, None, ())


@pytest.mark.parametrize(("tags", "message"), [(3, "tags must be a tier"), (["topic"], "nothing in the corpus is")])
def test_wrong_tags_are_refused(tags, message):
    corpus = Corpus("others", (Utterance("u", None, labels={"dialect": "x"}),))
    with pytest.raises(ValueError, match=message):
        analyze(Encoder(), corpus, tags=tags)
