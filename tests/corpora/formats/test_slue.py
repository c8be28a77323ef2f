"""SLUE's three tasks in small, with the files and columns that its toolkit has."""

import pytest
from tiny_audio import write_audio, write_text

from rankwatch.corpora import Span, read_corpus

SENTIMENT = "id\tnormalized_text\tspeaker_id\tsplit\tsentiment\tstart_second\tend_second"


@pytest.mark.parametrize("cut", [True, False])
def test_sentiment_of_voxceleb_whether_its_segments_are_cut_already_or_not(tmp_path, cut):
    folder = tmp_path / "slue-voxceleb"
    kinds = ("Positive", "<mixed>", "Neutral")
    rows = [f"id1_{i}\tso\tid1\tfine-tune\t{kind}\t0.5\t1.5" for i, kind in enumerate(kinds)]
    write_text(folder / "slue-voxceleb_fine-tune.tsv", SENTIMENT, *rows)
    blind = "id\tspeaker_id\tsplit\tstart_second\tend_second"
    write_text(folder / "slue-voxceleb_test_blind.tsv", blind, "id2_0\tid2\ttest\t0\t1")
    for name in ("fine-tune_raw/id1_0", "fine-tune_raw/id1_1", "fine-tune_raw/id1_2", "test_raw/id2_0"):
        write_audio(folder / f"{name}.flac", 2.0)
        if cut:
            write_audio(folder / f"{name.replace('_raw', '')}.flac", 1.0)
    corpus = read_corpus(folder)
    assert [one.labels.get("sentiment") for one in corpus.utterances] == ["Positive", "Neutral", None]
    assert [one.labels["split"] for one in corpus.utterances] == ["fine-tune", "fine-tune", "test"]
    assert [one.seconds for one in corpus.utterances] == [1.0, 1.0, 1.0]
    assert corpus.utterances[0].start == (None if cut else 0.5)
    assert list(corpus.left_out) == ["slue-voxceleb_fine-tune.tsv, row 2: id1_1"]


@pytest.mark.parametrize("cut", [True, False])
def test_dialog_acts_of_hvb_are_several_at_once(tmp_path, cut):
    header = "issue_id,channel,start_ms,duration_ms,text,asapp_dialog_acts,split"
    rows = [
        "c1,1,500,1000,hello there,\"['question_check', 'statement_open']\",dev",
        "c1,2,500,1000,,\"['backchannel']\",dev",
    ]
    write_text(tmp_path / "harpervalleybank_dialog_acts_20221108_asapp_annotated_ver3.csv", header, *rows)
    if cut:
        write_audio(tmp_path / "slue-hvb" / "dev" / "c1_500_1500.wav", 1.0)
    else:
        for who in ("caller", "agent"):
            write_audio(tmp_path / "hvb" / "data" / "audio" / who / "c1.wav", 2.0)
    corpus = read_corpus(tmp_path)
    first = corpus.utterances[0]
    assert first.labels["dialog_acts"] == frozenset({"question_check", "statement_open"})
    assert (first.text, first.seconds) == ("hello there", 1.0)
    if cut:  # the toolkit gives both channels' turns of the same times one name
        assert list(corpus.left_out.values()) == ["its id was there before"]
    else:
        assert [one.audio.parent.name for one in corpus.utterances] == ["caller", "agent"]
        assert corpus.utterances[1].labels["dialog_acts"] == frozenset({"backchannel"})


def test_named_entities_of_voxpopuli_have_times_where_words_are_aligned(tmp_path):
    folder = tmp_path / "slue-voxpopuli"
    text = "in may the european union, met mrs smith."
    entities = (
        f"[['DATE', 3, 3], ['ORG', {text.index('euro')}, 14], ['EVENT', 0, 2], ['PERSON', {text.index('smith')}, 5]]"
    )
    header = "id\traw_text\tnormalized_text\tspeaker_id\tsplit\traw_ner\tnormalized_ner"
    rows = [f"u1\tx\t{text}\t7\tdev\tNone\t{entities}", "u2\tx\tnothing here\t7\tdev\tNone\tNone"]
    write_text(folder / "slue-voxpopuli_dev.tsv", header, *rows)
    for name in ("u1", "u2"):
        write_audio(folder / "dev" / f"{name}.ogg", 1.0)
    first, second = read_corpus(folder).utterances
    assert first.labels["named_entities"] == frozenset({"WHEN", "ORG", "PERSON"})
    assert second.labels["named_entities"] == frozenset()
    assert first.spans == {}
    words = ["in", "may", "the", "european", "union", "met", "mrs"]  # the last was not aligned
    write_text(tmp_path / "u1.ctm", *(f"u1 1 {i / 8} 0.125 {word}" for i, word in enumerate(words)))
    corpus = read_corpus(folder, alignments=tmp_path / "u1.ctm")
    spans = corpus.utterances[0].spans["named_entity"]
    assert spans == (Span(0.125, 0.25, "WHEN"), Span(0.375, 0.625, "ORG"))
    assert "the alignment of words doesn't have" in corpus.left_out["named entities of u1"]


def test_times_of_named_entities_that_the_toolkit_wrote_need_no_alignment(tmp_path):
    folder = tmp_path / "slue-voxpopuli"
    header = "id\traw_text\tnormalized_text\tspeaker_id\tsplit\traw_ner\tnormalized_ner"
    rows = [f"u{k}\tx\tmet the union\t7\tdev\tNone\t[['ORG', 8, 5]]" for k in (1, 2)]
    write_text(folder / "slue-voxpopuli_dev.tsv", header, *rows)
    for name in ("u1", "u2"):
        write_audio(folder / "dev" / f"{name}.ogg", 1.0)
    lines = ["u1,union,0.5,0.75,ORG", "u1,may,0.1,0.2,DATE", "u1,cup,0.2,0.3,EVENT", "u1,x,soon,0.3,ORG"]
    write_text(folder / "nel" / "dev_entity_alignments.csv", "id,entity_phrase,start,end,entity_label", *lines)
    corpus = read_corpus(folder)
    first, second = corpus.utterances
    assert first.spans["named_entity"] == (Span(0.1, 0.2, "WHEN"), Span(0.5, 0.75, "ORG"))
    assert second.spans["named_entity"] == ()  # it is known that there are none
    assert list(corpus.left_out) == ["dev_entity_alignments.csv, row 4"]
    write_text(tmp_path / "u2.ctm", "u2 1 0 0.2 met", "u2 1 0.2 0.1 the", "u2 1 0.3 0.4 union")
    again = read_corpus(folder, alignments=tmp_path / "u2.ctm").utterances
    assert again[0].spans["named_entity"] == first.spans["named_entity"]


def test_an_utterance_without_entities_has_the_tier_where_its_words_are_aligned(tmp_path):
    folder = tmp_path / "slue-voxpopuli"
    header = "id\tnormalized_text\tspeaker_id\tsplit\tnormalized_ner"
    write_text(folder / "slue-voxpopuli_dev.tsv", header, "u1\tnothing here\t7\tdev\tNone")
    write_audio(folder / "dev" / "u1.ogg", 1.0)
    write_text(tmp_path / "u1.ctm", "u1 1 0 0.4 nothing", "u1 1 0.4 0.4 here")
    (one,) = read_corpus(folder, alignments=tmp_path / "u1.ctm").utterances
    assert one.spans["named_entity"] == ()
    assert "named_entity" not in read_corpus(folder).utterances[0].spans
