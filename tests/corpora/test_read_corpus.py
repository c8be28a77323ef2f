"""A corpus from a folder or a table, with labels and alignments beside it."""

import time
from pathlib import Path

import pytest
from tiny_audio import write_audio, write_text

from rankwatch.corpora import Span, read_corpus

SHARED = Path(__file__).parents[3] / "shared" / "data"


def test_a_folder_of_audio_is_a_corpus_whose_ids_are_paths_in_it(tmp_path):
    for name in ("b.wav", "x/a.flac"):
        write_audio(tmp_path / "in" / name)
    write_audio(tmp_path / "outside" / "c.wav")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "in" / "x" / "loop").symlink_to(tmp_path / "in")
    corpus = read_corpus(tmp_path / "in")
    assert [one.id for one in corpus.utterances] == ["b.wav", "link/c.wav", "x/a.flac"]
    assert [one.seconds for one in corpus.utterances] == pytest.approx([0.1] * 3)
    assert not corpus.left_out


def test_a_table_has_roles_by_the_names_of_its_columns_and_labels_in_all_others(tmp_path):
    write_audio(tmp_path / "a.wav", 2.0)
    table = write_text(
        tmp_path / "t.csv",
        "file,start,end,Speaker,text,emotion,acts",
        "a.wav,0,0.5,anna,so,,\"['ask', 'greet']\"",
        'a.wav,0.5,1.25,,"yes, no",sad,[]',
    )
    first, second = read_corpus(table).utterances
    assert (first.id, first.speaker, first.text) == ("a.wav:0-0.5", "anna", "so")
    assert first.labels == {"acts": frozenset({"ask", "greet"})}
    assert (second.start, second.end, second.seconds, second.speaker) == (0.5, 1.25, 0.75, None)
    assert second.labels == {"emotion": "sad", "acts": frozenset()}
    assert second.text == "yes, no"


def test_a_segment_is_read_as_what_the_whole_file_has_there(tmp_path):
    write_audio(tmp_path / "a.wav", 1.0)
    corpus = read_corpus(write_text(tmp_path / "t.csv", "path,start,end", "a.wav,,", "a.wav,0.25,0.5", "a.wav,0.75,"))
    whole, middle, last = (corpus.read(one, 8_000) for one in corpus.utterances)
    assert len(whole) == 8_000
    assert middle.equal(whole[2_000:4_000])
    assert last.equal(whole[6_000:])
    assert corpus.read(corpus.utterances[1], 8_000, max_seconds=0.1).equal(middle[:800])
    assert len(corpus.read(corpus.utterances[1], 16_000)) == 4_000


def test_what_cannot_be_used_is_named_and_the_rest_is_there(tmp_path):
    for name in ("a.wav", "b.wav", "c.wav"):
        write_audio(tmp_path / name, 0.5)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    rows = ["a,x", "b,y", "gone,x", "a,y", "broken,y"]
    labels = write_text(tmp_path / "labels.csv", "id,label", *rows)
    corpus = read_corpus(tmp_path, labels=labels)
    assert [one.labels["label"] for one in corpus.utterances] == ["x", "y"]
    assert corpus.left_out == {
        "labels.csv, row 3: gone": "labels without audio",
        "labels.csv, row 4: a": "labels that were there before",
        "c.wav": "audio without labels",
        f"broken.wav: {tmp_path / 'broken.wav'}": "a file that is no audio, or broken",
    }


def test_rows_without_audio_with_an_id_twice_or_impossible_times_are_left_out(tmp_path):
    write_audio(tmp_path / "a.wav", 0.5)
    rows = ["1,a.wav,,", "1,a.wav,,", "2,b.wav,,", "3,a.wav,0.4,0.2", "4,a.wav,x,", "5,a.wav,0.5,0.9", "6,a.wav,0,9"]
    corpus = read_corpus(write_text(tmp_path / "t.csv", "id,path,start,end", *rows))
    assert [one.id for one in corpus.utterances] == ["1", "6"]
    assert corpus.utterances[1].end == 0.5
    assert list(corpus.left_out.values()) == [
        "its id was there before",
        "there is no such file of audio",
        "a segment from 0.4 to 0.2 s is none",
        "'x' is no number of seconds",
        "the segment begins behind the end of its audio",
        "the segment ends after its audio, and was cut",
    ]
    assert corpus.left_out_in_words()[0].endswith(": 1 (t.csv, row 2: 1)")


def test_nothing_usable_is_an_error_that_says_why(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"not one utterance can.* no such file of audio: 4 .* 1 more"):
        read_corpus(write_text(tmp_path / "t.csv", "path", *(f"{i}.wav" for i in range(4))))
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        read_corpus(tmp_path / "nothing")
    with pytest.raises(ValueError, match="no column of audio files"):
        read_corpus(write_text(tmp_path / "u.csv", "where,label", "a.wav,x"))


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le", "shift_jis"])
def test_a_named_encoding_is_read_and_a_wrong_one_refused_by_the_files_name(tmp_path, encoding):
    word = "猫" if encoding == "shift_jis" else "größer"
    write_audio(tmp_path / "a.wav")
    table = write_text(tmp_path / "t.csv", "path,label", f"a.wav,{word}", encoding=encoding)
    assert read_corpus(table, encoding=encoding).utterances[0].labels == {"label": word}
    with pytest.raises(ValueError, match=r"t\.csv is not in UTF-8: byte .*iconv"):
        read_corpus(table)
    with pytest.raises(ValueError, match="no encoding has this name"):
        read_corpus(table, encoding="utf-99")


def test_files_of_the_same_name_are_told_apart_by_their_folders(tmp_path):
    for name in ("audio/en/1.wav", "audio/de/1.wav"):
        write_audio(tmp_path / name, 1.0)
    for folder in ("en", "de"):
        write_text(tmp_path / "align" / folder / "1.tsv", "tier\tstart\tend\tlabel", f"phone\t0\t0.5\t{folder}")
    write_text(tmp_path / "labels.csv", "file,label", "audio/de/1.wav,d", "en/1.wav,e", "1.wav,x")
    corpus = read_corpus(tmp_path / "audio", labels=tmp_path / "labels.csv", alignments=tmp_path / "align")
    assert {one.id: one.labels["label"] for one in corpus.utterances} == {"de/1.wav": "d", "en/1.wav": "e"}
    assert corpus.utterances[0].spans == {"phone": (Span(0.0, 0.5, "de"),)}
    assert corpus.left_out == {"labels.csv, row 3: 1.wav": "it fits several files of audio"}


def test_ten_times_as_many_rows_take_about_ten_times_as_long(tmp_path):
    """Processor time, in one run; looking for each row among all others would take a hundred times as long."""
    for i in range(500):
        (tmp_path / f"{i}.wav").touch()
    seconds = []
    for count in (1_000, 10_000):
        rows = [f"u{i},{i % 500}.wav,s{i % 9},{i % 4},what was said" for i in range(count)]
        table = write_text(tmp_path / "t.csv", "id,path,speaker,label,text", *rows)
        began = time.process_time()
        corpus = read_corpus(table, open_audio=False)
        seconds.append(time.process_time() - began)
        assert len(corpus.utterances) == count
    assert seconds[1] < 50.0 * seconds[0]


@pytest.mark.parametrize(
    ("name", "count", "tiers"),
    [
        ("emodb", 196, {"phone", "raw", "syllable"}),
        ("autovot", 107, {"phone", "vot", "word"}),
        ("arabic_commands", 160, set()),
        ("speechocean", 72, set()),
    ],
)
def test_real_corpora_are_read_whole(name, count, tiers):
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not there")
    corpus = read_corpus(SHARED / name)
    assert len(corpus.utterances) == count
    assert corpus.tiers().keys() == tiers
    assert all(one.labels["label"] and one.speaker and one.seconds for one in corpus.utterances)
    assert len(corpus.read(corpus.utterances[0], 16_000)) == round(corpus.utterances[0].seconds * 16_000)
