"""Labels and alignments never go to a file of the same name in another folder."""

import pytest
from tiny_audio import write_audio, write_text

from rankwatch.corpora import read_corpus


@pytest.fixture
def audio(tmp_path):
    for name in ("b/wav/1.wav", "b/wav/2.wav"):
        write_audio(tmp_path / "audio" / name)
    return tmp_path / "audio"


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("rows", [("a/wav/1.wav,x", "b/wav/1.wav,y"), ("b/wav/1.wav,y", "a/wav/1.wav,x")])
def test_the_row_with_the_same_folders_counts_wherever_it_is(audio, rows, ids):
    """Each speaker's files are numbered from 1, and the audio is that of one of them."""
    header = "id,label" if ids else "path,label"
    corpus = read_corpus(audio, labels=write_text(audio.parent / "t.csv", header, *rows))
    assert {one.id: one.labels["label"] for one in corpus.utterances} == {"b/wav/1.wav": "y"}
    assert corpus.left_out[f"t.csv, row {1 + rows.index('a/wav/1.wav,x')}: a/wav/1.wav"] == "labels without audio"


def test_rows_of_other_folders_alone_fit_none(audio):
    table = write_text(audio.parent / "t.csv", "path,label", "a/wav/1.wav,x", "c/wav/1.wav,y", "elsewhere/2.wav,z")
    corpus = read_corpus(audio, labels=table)
    assert {one.id: one.labels["label"] for one in corpus.utterances} == {"b/wav/2.wav": "z"}


def test_alignments_likewise(audio):
    for speaker in "ab":
        row = f"word\t0\t0.05\t{speaker}"
        write_text(audio.parent / "al" / speaker / "wav" / "1.tsv", "tier\tstart\tend\tlabel", row)
    corpus = read_corpus(audio, alignments=audio.parent / "al")
    assert [span.label for span in corpus.utterances[0].spans["word"]] == ["b"]
    assert corpus.left_out["alignment a/wav/1"] == "alignment without audio"


def test_a_number_behind_a_dot_is_no_ending(audio):
    corpus = read_corpus(audio, labels=write_text(audio.parent / "t.csv", "id,label", "1.5,x", "2,y"))
    assert {one.id: one.labels["label"] for one in corpus.utterances} == {"b/wav/2.wav": "y"}
