"""A tier or column called as something else is not taken for it."""

import clips
import pytest
from torch import nn

from rankwatch import analyze
from rankwatch.analysis.own_names import with_own_names
from rankwatch.corpora import Corpus, Span, Utterance


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Conv1d(1, 4, 400, stride=320)])

    def forward(self, waveforms):
        return self.blocks[0](waveforms[:, None]).transpose(1, 2)


@pytest.fixture
def manifest(tmp_path):
    pytest.importorskip("soundfile")
    found = clips.corpus(tmp_path, speakers=2, each=8)
    for file in tmp_path.glob("*.tsv"):
        file.write_text(file.read_text().replace("word\t", "utterance\t"))
    return found


def test_spans_of_a_tier_called_utterance_are_not_taken_for_utterance_means(manifest):
    found = analyze(Encoder(), manifest, rows=64, layers=["blocks.*"])
    (rank,) = found.profile.find(model="Encoder", measure="effective_rank", level="utterance").values()
    assert (rank.n, rank.utterances) == (16, 16)
    assert any("is called 'utterance (tier)'" in note for note in found.profile.notes)


def test_a_column_of_a_tiers_name_is_another_property():
    spans = {"word": (Span(0.0, 0.1, "x"),), "speaker": (Span(0.0, 0.1, "y"),)}
    corpus = Corpus("c", (Utterance("u", None, labels={"word": "z", "sex": "f"}, spans=spans),))
    found, said = with_own_names(corpus)
    (one,) = found.utterances
    assert (dict(one.labels), list(one.spans)) == ({"word (column)": "z", "sex": "f"}, ["word", "speaker (tier)"])
    assert len(said) == 2
    assert "the column is called 'word (column)'" in said[1]


def test_a_corpus_without_such_names_stays_the_very_same():
    corpus = Corpus("c", (Utterance("u", None, labels={"sex": "f"}, spans={"word": ()}),))
    assert with_own_names(corpus) == (corpus, [])
    assert with_own_names(corpus)[0] is corpus
