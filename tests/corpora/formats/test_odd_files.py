"""Files as they go wrong: nothing of them is read as something else, and what is left out is named."""

import gzip
import json

import pytest
from tiny_audio import write_audio, write_text

from rankwatch.corpora import read_corpus


@pytest.fixture
def audio(tmp_path):
    for name in ("a", "b"):
        write_audio(tmp_path / f"{name}.wav", 0.5)
    return tmp_path


def labels(corpus):
    return {one.id: dict(one.labels) for one in corpus.utterances}


class TestTables:
    def test_a_row_with_too_many_cells_is_left_out(self, audio):
        """A comma that nobody quoted: which cells belong together can't be known."""
        table = write_text(audio / "t.csv", "path,text,label", "a.wav,so, it is,x", "b.wav,yes,y,,")
        corpus = read_corpus(table)
        assert labels(corpus) == {"b.wav": {"label": "y"}}
        assert [*corpus.left_out] == ["t.csv, row 1"]
        corpus = read_corpus(audio, labels=table)
        assert labels(corpus) == {"b.wav": {"label": "y"}}
        assert {"t.csv, row 1", "a.wav"} == {*corpus.left_out}

    def test_a_quotation_mark_without_an_end_is_refused(self, audio):
        table = write_text(audio / "t.csv", "path,text,label", "a.wav,x,y", 'a.wav,"so,x', "b.wav,yes,y")
        with pytest.raises(ValueError, match=r"t\.csv: .* line 3 a quotation mark isn't closed"):
            read_corpus(table)
        write_text(table, "path,text,label", 'a.wav,"so', 'it ""is""",x', "b.wav,yes,y")
        assert [one.text for one in read_corpus(table).utterances] == ['so\nit "is"', "yes"]

    def test_names_and_cells_of_any_length_are_answered_by_name(self, audio):
        table = write_text(audio / "t.csv", "path", "x" * 5_000, "a.wav")
        assert [one.id for one in read_corpus(table).utterances] == ["a.wav"]
        with pytest.raises(ValueError, match=r"t\.csv can't be read as a table \(field larger"):
            read_corpus(write_text(table, "path,text", f"a.wav,{'x' * 200_000}"))

    def test_columns_without_a_name_are_no_labels_and_two_of_one_name_are_refused(self, audio):
        """Pandas writes its index into a column without a name."""
        table = write_text(audio / "t.csv", ",path,label", "0,a.wav,x", "1,b.wav,y")
        assert labels(read_corpus(table)) == {"a.wav": {"label": "x"}, "b.wav": {"label": "y"}}
        with pytest.raises(ValueError, match=r"two columns 'label'"):
            read_corpus(write_text(table, "path,label,label", "a.wav,x,y"))

    @pytest.mark.parametrize("odd", ["\u2028", "\u0085", "\f", "\x1c"])
    def test_lines_end_at_line_ends_alone(self, audio, odd):
        table = write_text(audio / "t.tsv", "path\ttext\tlabel", f"a.wav\tso{odd}it\tx")
        manifest = audio / "m.jsonl"
        manifest.write_text(
            json.dumps({"audio_filepath": "a.wav", "text": "so\u2028it"}, ensure_ascii=False) + "\r\n" * 2
        )
        assert [one.text for one in read_corpus(table).utterances] == [f"so{odd}it"]
        corpus = read_corpus(manifest)
        assert ([one.text for one in corpus.utterances], corpus.left_out) == (["so\u2028it"], {})

    def test_an_empty_first_line_and_gzip_make_no_difference(self, audio):
        text = "\r\npath,label\r\na.wav,x\r\n"
        (audio / "t.csv").write_text(text, newline="")
        (audio / "z.csv.gz").write_bytes(gzip.compress(text.encode()))
        for name in ("t.csv", "z.csv.gz"):
            assert labels(read_corpus(audio / name)) == {"a.wav": {"label": "x"}}

    def test_paths_as_windows_writes_them(self, audio):
        write_audio(audio / "x" / "c.wav", 0.5)
        table = write_text(audio / "t.csv", "path,label", "x\\c.wav,x", ".\\a.wav,y")
        assert labels(read_corpus(table)) == {"x/c.wav": {"label": "x"}, "./a.wav": {"label": "y"}}

    def test_labels_of_paths_as_windows_writes_them(self, audio):
        for name in ("x/c.wav", "y/c.wav"):
            write_audio(audio / name, 0.5)
        rows = ["C:\\data\\clips\\x\\c.wav,1", "C:/data\\clips/y/c.wav,2", "a.wav,3", "D:\\b.wav,4"]
        corpus = read_corpus(audio, labels=write_text(audio / "l.csv", "path,label", *rows))
        assert {name: found["label"] for name, found in labels(corpus).items()} == {
            "x/c.wav": "1",
            "y/c.wav": "2",
            "a.wav": "3",
            "b.wav": "4",
        }
        corpus = read_corpus(audio, labels=write_text(audio / "l.csv", "id,label", "x\\c.wav,1"))
        assert labels(corpus) == {"x/c.wav": {"label": "1"}}

    def test_a_drive_of_windows_is_said_to_be_one(self, audio):
        table = write_text(audio / "t.csv", "path,label", "C:\\clips\\a.wav,x", "C:/clips\\b.wav,x")
        with pytest.raises(FileNotFoundError, match="it is a path with a drive, as Windows has them; write paths that"):
            read_corpus(table)

    def test_seconds_are_not_taken_for_samples(self, audio):
        table = write_text(audio / "t.csv", "path,start,stop", "a.wav,0,1", "b.wav,0.1,0.4")
        with pytest.raises(ValueError, match=r"row 2: .* counted in samples, .*rename the column 'stop' to 'end'"):
            read_corpus(table)
        write_text(table, "path,start,end", "a.wav,0,1", "b.wav,0.1,0.4")
        assert read_corpus(table).utterances[1].end == 0.4


class TestJson:
    def test_nan_is_what_is_missing(self, audio):
        """Pandas and json write it so."""
        nan = float("nan")
        one = {"audio_filepath": "a.wav", "offset": nan, "duration": nan, "speaker": nan, "text": nan, "emotion": nan}
        corpus = read_corpus(write_text(audio / "m.jsonl", json.dumps(one)))
        (found,) = corpus.utterances
        assert (found.id, found.start, found.speaker, found.text, found.labels) == ("a.wav", None, None, None, {})
        corpus = read_corpus(write_text(audio / "m.csv", "path,start,end", "a.wav,0,nan", "b.wav,,"))
        assert corpus.left_out == {"m.csv, row 1": "'nan' is no number of seconds"}

    def test_what_is_no_object_or_twice_or_without_a_path_is_named(self, audio):
        file = write_text(audio / "m.json", json.dumps([{"audio_filepath": "a.wav"}, 3, {"audio_filepath": None}]))
        left_out = read_corpus(file).left_out
        assert left_out == {"m.json, object 2": "it is no JSON object", "m.json, object 3": "it names no file of audio"}
        corpus = read_corpus(write_text(file, '{"u": {"wav": "a.wav"}, "u": {"wav": "b.wav"}}'))
        assert corpus.utterances[0].audio.name == "a.wav"
        assert corpus.left_out == {"m.json: u": "its id was there before"}

    def test_compressed_ones_are_refused_by_name_like_others(self, audio):
        file = audio / "m.jsonl.gz"
        whole = gzip.compress('{"audio_filepath": "a.wav", "text": "größer"}\n'.encode("cp1252"))
        file.write_bytes(whole)
        with pytest.raises(ValueError, match=r"m\.jsonl\.gz is not in UTF-8: .*gzip -dc .* \| iconv .*m\.utf8\.jsonl"):
            read_corpus(file)
        assert read_corpus(file, encoding="cp1252").utterances[0].text == "größer"
        file.write_bytes(whole[:-9])
        with pytest.raises(ValueError, match=r"m\.jsonl\.gz could not be decompressed"):
            read_corpus(file)
        with pytest.raises(ValueError, match="no encoding has this name"):
            read_corpus(write_text(audio / "m.jsonl", "{}"), encoding="utf-99")


def test_kaldi_lines_that_are_twice_or_lack_something_are_named_and_commands_never_run(audio):
    scp = ["u1 a.wav", "u1 b.wav", "u2", f"u3 touch {audio / 'run'} |", f"u4 | touch {audio / 'run'}", "u5 -"]
    write_text(audio / "wav.scp", *scp)
    write_text(audio / "text", "u1 so", "u1 it")
    write_text(audio / "utt2num_samples", "u1 4000")
    corpus = read_corpus(audio)
    (found,) = corpus.utterances
    assert (found.audio.name, found.text, found.labels) == ("a.wav", "so", {})
    reasons = {name: why.split(":")[0].split(" (")[0] for name, why in corpus.left_out.items()}
    pipe = "wav.scp has a command instead of a file"
    assert reasons == {
        "wav.scp: u1": "its id was there before",
        "text: u1": "its id was there before",
        "recording u2": "it names no file of audio",
        **dict.fromkeys(("recording u3", "recording u4", "recording u5"), pipe),
    }
    assert not (audio / "run").exists()
    write_text(audio / "segments", "s1 u1 0 0.2", "s2 u1 0", "s3 u1 0 x")
    left_out = read_corpus(audio).left_out
    assert left_out["segments: s2"] == "a line of segments is an utterance, a recording, a start and an end"
    assert left_out["segments: s3"] == "'x' is no number of seconds"


def test_an_empty_manifest_of_fairseqs_is_said_to_be_empty(audio):
    (audio / "t.tsv").touch()
    with pytest.raises(ValueError, match=r"t\.tsv: not one utterance can be used\. It is empty"):
        read_corpus(audio / "t.tsv", format="fairseq")
    with pytest.raises(ValueError, match=r"t\.tsv is empty"):
        read_corpus(audio / "t.tsv")


def test_a_manifest_of_fairseqs_with_paths_as_windows_writes_them(audio):
    write_audio(audio / "x" / "y" / "c.wav", 0.5)
    manifest = write_text(audio / "t.tsv", ".\\x", "y\\c.wav\t4000")
    corpus = read_corpus(manifest)
    assert [(one.id, one.audio.name) for one in corpus.utterances] == [("y/c.wav", "c.wav")]
    write_text(manifest, "C:\\data\\x", "y\\c.wav\t4000")
    with pytest.raises(FileNotFoundError, match=r"t\.tsv: its paths begin at the folder .*C:.*; root= says another"):
        read_corpus(manifest)
    assert read_corpus(manifest, root=audio / "x").utterances[0].seconds == 0.5
