"""Spans go to the utterance that their file, or their line, is named after, and end where it ends."""

import pytest
from tiny_audio import write_audio, write_text

from rankwatch.corpora import Span, read_corpus

HEADER = "tier\tstart\tend\tlabel"


def test_spans_behind_the_end_are_cut_and_named_and_rounding_is_not(tmp_path):
    for name in ("a", "b", "c"):
        write_audio(tmp_path / f"{name}.wav", 0.5)
    write_text(tmp_path / "al" / "a.tsv", HEADER, "word\t0.25\t0.7\tlong", "word\t0.6\t0.7\tgone")
    write_text(tmp_path / "al" / "b.tsv", HEADER, "word\t0.25\t0.505\tround")
    write_text(tmp_path / "al" / "d.tsv", HEADER, "word\t0\t1\tx")
    corpus = read_corpus(tmp_path, alignments=tmp_path / "al")
    assert [one.spans for one in corpus.utterances] == [
        {"word": (Span(0.25, 0.5, "long"),)},
        {"word": (Span(0.25, 0.5, "round"),)},
        {},
    ]
    assert corpus.left_out == {
        "alignment d": "alignment without audio",
        "spans of a.wav": "spans behind the end of the audio, cut or left out",
        "spans of c.wav": "no alignment: its audio and labels count, its spans are none",
    }


def test_times_count_from_the_recording_where_the_file_is_the_recordings(tmp_path):
    write_audio(tmp_path / "r.wav", 3.0)
    table = write_text(tmp_path / "t.csv", "id,path,start,end", "u1,r.wav,1,2", "u2,r.wav,2,3")
    rows = ["word\t0.9\t1.5\ta", "word\t1.5\t2.5\tb", "word\t2.5\t2.75\tc"]
    write_text(tmp_path / "rec" / "r.tsv", HEADER, *rows)
    first, second = read_corpus(table, alignments=tmp_path / "rec").utterances
    assert first.spans["word"] == (Span(0.0, 0.5, "a"),)
    assert second.spans["word"] == (Span(0.0, 0.5, "b"), Span(0.5, 0.75, "c"))
    write_text(tmp_path / "utt" / "u2.tsv", HEADER, "word\t0.1\t0.2\ta")
    _, second = read_corpus(table, alignments=tmp_path / "utt").utterances
    assert second.spans["word"] == (Span(0.1, 0.2, "a"),)


def test_a_ctm_holds_many_utterances(tmp_path):
    for name in ("a", "b"):
        write_audio(tmp_path / f"{name}.wav", 1.0)
    ctm = write_text(tmp_path / "phones.ctm", ";; made by hand", "a 1 0.1 0.2 AH 0.9", "b 1 0 0.5 B", "a 1 0.3 0.1 T")
    first, second = read_corpus(tmp_path, alignments=ctm).utterances
    assert [span.label for span in first.spans["phone"]] == ["AH", "T"]
    assert [span.end for span in first.spans["phone"]] == pytest.approx([0.3, 0.4])
    assert second.spans == {"phone": (Span(0.0, 0.5, "B"),)}


def test_a_broken_alignment_is_named_and_the_others_count(tmp_path):
    for name in ("a", "b"):
        write_audio(tmp_path / f"{name}.wav", 1.0)
    write_text(tmp_path / "al" / "a.TextGrid", 'File type = "ooTextFile"', 'Object class = "TextGrid"', "0", "1")
    write_text(tmp_path / "al" / "b.ctm", "b 1 0 0.5 B")
    corpus = read_corpus(tmp_path, alignments=tmp_path / "al")
    assert "is the file whole?" in corpus.left_out[f"alignment {tmp_path / 'al' / 'a.TextGrid'}"]
    assert corpus.utterances[1].spans == {"word": (Span(0.0, 0.5, "B"),)}


def test_alignments_in_another_encoding_are_an_error_that_names_the_file(tmp_path):
    write_audio(tmp_path / "a.wav")
    write_text(tmp_path / "al" / "a.tsv", HEADER, "word\t0\t0.1\tgrün", encoding="cp1252")
    with pytest.raises(ValueError, match=r"a\.tsv is not in UTF-8"):
        read_corpus(tmp_path, alignments=tmp_path / "al")
    assert read_corpus(tmp_path, alignments=tmp_path / "al", encoding="cp1252").tiers() == {"word": 1}


def test_spans_whose_times_are_none_are_left_out_and_named(tmp_path):
    for name in ("a", "b", "c"):
        write_audio(tmp_path / f"{name}.wav", 0.5)
    bad = ["word\tnan\t0.2\tx", "word\t0.3\t0.2\tx", "word\t-1\t0.2\tx", "word\t0.2\tinf\tx"]
    write_text(tmp_path / "al" / "a.tsv", HEADER, *bad, "word\t0.1\t0.2\tgood", "word\t0.2\t0.2\tempty")
    write_text(tmp_path / "al" / "b.ctm", "b 1 0.1 -0.05 x", "b 1 0.1 0.05 good")
    write_text(tmp_path / "al" / "c.tsv", HEADER, "word\t0\t0.2\tgood")
    corpus = read_corpus(tmp_path, alignments=tmp_path / "al")
    assert [[span.label for span in one.spans["word"]] for one in corpus.utterances] == [["good"]] * 3
    assert {*corpus.left_out} == {"spans of a.wav", "spans of b.wav"}
