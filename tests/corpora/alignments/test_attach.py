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


TWO_CHANNELS = ["rec A 0.1 0.2 hello", "rec B 0.2 0.2 hi", "rec A 0.4 0.1 there"]


@pytest.mark.parametrize(("first", "second"), [("rec_A", "rec_B"), ("rec-a", "rec-b"), ("recA", "recB")])
def test_the_channels_of_a_ctm_go_to_files_of_their_own(first, second, tmp_path):
    """A telephone recording: each channel is a speaker."""
    for name in (first, second):
        write_audio(tmp_path / "audio" / f"{name}.wav", 1.0)
    ctm = write_text(tmp_path / "words.ctm", *TWO_CHANNELS)
    corpus = read_corpus(tmp_path / "audio", alignments=ctm)
    words = [[span.label for span in one.spans["word"]] for one in corpus.utterances]
    assert words == [["hello", "there"], ["hi"]]
    assert corpus.left_out == {}


def test_the_channels_of_one_recording_are_refused_by_its_name(tmp_path):
    for name in ("rec", "mono"):
        write_audio(tmp_path / "audio" / f"{name}.wav", 1.0)
    ctm = write_text(tmp_path / "words.ctm", *TWO_CHANNELS, "mono A 0 0.5 x", "gone A 0 1 y", "gone B 0 1 z")
    corpus = read_corpus(tmp_path / "audio", alignments=ctm)
    spans = {one.id: one.spans for one in corpus.utterances}
    assert spans == {"mono.wav": {"word": (Span(0.0, 0.5, "x"),)}, "rec.wav": {}}
    assert "rec_A.wav" in corpus.left_out["alignment rec"]
    assert "several channels" in corpus.left_out["alignment rec"]
    assert corpus.left_out["alignment gone_A"] == "alignment without audio"


def test_the_channels_of_a_row_that_names_its_ctm(tmp_path):
    for name in ("rec", "rec_A"):
        write_audio(tmp_path / f"{name}.wav", 1.0)
    write_text(tmp_path / "w.ctm", *TWO_CHANNELS)
    table = write_text(tmp_path / "t.csv", "id,path,alignment", "rec,rec.wav,w.ctm", "rec_A,rec_A.wav,w.ctm")
    corpus = read_corpus(table)
    assert [[span.label for span in one.spans.get("word", ())] for one in corpus.utterances] == [[], ["hello", "there"]]
    assert "several channels" in corpus.left_out["alignment rec"]


SHORT = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "0", "1", "<exists>", "1", '"IntervalTier"']
SHORT += ['"words"', "0", "1", "1", "0", "0.5", '"größer"']


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16"])
def test_a_textgrid_in_utf_16_is_known_by_its_first_words_without_a_mark(encoding, tmp_path):
    write_audio(tmp_path / "a.wav", 1.0)
    write_text(tmp_path / "al" / "a.TextGrid", *SHORT, encoding=encoding)
    (found,) = read_corpus(tmp_path, alignments=tmp_path / "al").utterances
    assert found.spans == {"word": (Span(0.0, 0.5, "größer"),)}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_other_alignments_in_utf_16_without_a_mark_are_an_error_that_says_encoding(encoding, tmp_path):
    write_audio(tmp_path / "a.wav", 1.0)
    write_text(tmp_path / "al" / "a.ctm", "a 1 0 0.5 plain", encoding=encoding)
    with pytest.raises(ValueError, match=rf"a\.ctm is not in UTF-8: .*pass encoding='{encoding}'"):
        read_corpus(tmp_path, alignments=tmp_path / "al")
    with pytest.raises(ValueError, match=r"a\.ctm is not in CP1252: byte . \(0x00\)"):
        read_corpus(tmp_path, alignments=tmp_path / "al", encoding="cp1252")
    for named in (encoding, "utf-16"):
        assert read_corpus(tmp_path, alignments=tmp_path / "al", encoding=named).tiers() == {"word": 1}
