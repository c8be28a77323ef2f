"""The manifests of fairseq, NeMo, SpeechBrain and Kaldi, as their own tools write them."""

import gzip
import json

import pytest
from tiny_audio import write_audio, write_text

from rankwatch.corpora import Span, read_corpus


@pytest.fixture
def audio(tmp_path):
    """Two files of one and two seconds, in a folder beside the manifests."""
    for i, name in enumerate(("a", "b"), 1):
        write_audio(tmp_path / "data" / "x" / f"{name}.wav", float(i))
    return tmp_path


def test_fairseq_and_its_label_files(audio):
    manifest = write_text(audio / "valid.tsv", str(audio / "data"), "x/a.wav\t8000", "x/b.wav\t16000")
    write_text(audio / "valid.wrd", "so it is", "yes")
    write_text(audio / "valid.ltr", "S O | I T |", "Y E S |")
    write_text(audio / "valid.phn", "s o", "j e s")
    write_text(audio / "valid.da", "ask,greet", "")
    write_text(audio / "valid.km", " ".join(["7"] * 20 + ["3"] * 29), " ".join(["1"] * 99))
    first, second = read_corpus(manifest).utterances
    assert (first.id, first.text, first.seconds) == ("x/a.wav", "so it is", 1.0)
    assert first.labels == {"phn": "s o", "da": frozenset({"ask", "greet"})}
    assert first.spans == {"km": (Span(0.0, 0.4, "7"), Span(0.4, 0.98, "3"))}
    assert second.labels == {"phn": "j e s"}
    (audio / "valid.wrd").unlink()
    assert read_corpus(manifest).utterances[0].text == "SO IT"
    write_text(audio / "valid.ltr", "S O")
    with pytest.raises(ValueError, match=r"valid\.ltr has 1 lines and .*valid\.tsv 2 utterances"):
        read_corpus(manifest)


@pytest.mark.parametrize("name", ["m.json", "m.jsonl", "m.jsonl.gz"])
def test_nemos_manifests(audio, name):
    lines = [
        {"audio_filepath": "data/x/a.wav", "duration": 1.0, "text": "so", "speaker": 7, "lang": "en"},
        {"audio_filepath": "data/x/b.wav", "offset": 0.5, "duration": 0.75, "text": "it", "intents": ["ask", "greet"]},
        {"audio_filepath": "data/x/gone.wav", "duration": 1.0, "text": "is"},
    ]
    text = "\n".join([*map(json.dumps, lines), "{half"])
    (audio / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    corpus = read_corpus(audio / name)
    first, second = corpus.utterances
    assert (first.speaker, first.text, first.labels, first.seconds) == ("7", "so", {"lang": "en"}, 1.0)
    assert (second.id, second.start, second.end) == ("data/x/b.wav:0.5-1.25", 0.5, 1.25)
    assert second.labels == {"intents": frozenset({"ask", "greet"})}
    assert sorted(corpus.left_out.values()) == ["a line that is no JSON object", "there is no such file of audio"]


def test_speechbrains_csv_with_its_placeholder_options_and_samples(audio):
    header = "ID, duration, wav, wav_format, wav_opts, start, stop, spk_id, wrd"
    rows = [
        "u1, 1.0, $data_root/x/a.wav, wav, , , , s1, SO IT",
        "u2, 2.0, $data_root/x/b.wav, wav, , 4000, 12000, s2, IS",
    ]
    first, second = read_corpus(write_text(audio / "t.csv", header, *rows), root=audio / "data").utterances
    assert (first.id, first.speaker, first.text, first.labels) == ("u1", "s1", "SO IT", {})
    assert (first.start, first.end, second.start, second.end) == (None, None, 0.5, 1.5)


def test_speechbrains_json(audio):
    whole = {
        "u1": {"wav": "{data_root}/x/a.wav", "length": 1.0, "spk_id": "s1", "words": "so", "emo": "n"},
        "u2": {"wav": {"file": "{data_root}/x/b.wav", "start": 4000, "stop": 12000}, "length": 2.0, "emo": "h"},
    }
    (audio / "t.json").write_text(json.dumps(whole, indent=2))
    first, second = read_corpus(audio / "t.json", root=audio / "data").utterances
    assert (first.id, first.speaker, first.text, first.labels) == ("u1", "s1", "so", {"emo": "n"})
    assert (second.start, second.end, second.labels) == (0.5, 1.5, {"emo": "h"})


def test_a_kaldi_directory_whose_paths_begin_where_the_recipe_runs(audio):
    folder = audio / "exp" / "data" / "train"
    (audio / "exp").mkdir()
    (audio / "exp" / "corpus").symlink_to(audio / "data" / "x")
    write_text(folder / "wav.scp", "r1 corpus/a.wav", "r2 corpus/b.wav", "r3 sox c.wav -t wav - |", "r4 raw.ark:15")
    write_text(folder / "segments", "u1 r1 0 -1", "u2 r2 0.5 1.5", "u3 r3 0 1", "u4 r4 0 1", "u5 r5 0 1", "u6 r2 1 0.5")
    write_text(folder / "utt2spk", "u1 s1", "u2 s2")
    write_text(folder / "text", "u1 so it is", "u2", "u9 nobody")
    write_text(folder / "utt2lang", "u1 en", "u2 de")
    write_text(folder / "spk2gender", "s1 f", "s2 m")
    write_text(folder / "spk2utt", "s1 u1", "s2 u2")
    corpus = read_corpus(folder)
    first, second = corpus.utterances
    assert (first.id, first.speaker, first.text, first.start, first.end) == ("u1", "s1", "so it is", 0.0, None)
    assert first.labels == {"lang": "en", "gender": "f"}
    assert (second.text, second.start, second.end, second.seconds) == (None, 0.5, 1.5, 1.0)
    assert corpus.left_out.keys() == {"recording r3", "recording r4", "u5", "segments: u6", "text of u9"}
    assert "a pipe" in corpus.left_out["recording r3"]
    (folder / "segments").unlink()
    assert [one.id for one in read_corpus(folder / "wav.scp").utterances] == ["r1", "r2"]


def test_a_kaldi_directory_of_pipes_alone_is_refused_by_its_reason(tmp_path):
    write_text(tmp_path / "wav.scp", "r1 flac -c -d -s a.flac |")
    with pytest.raises(ValueError, match="a command instead of a file"):
        read_corpus(tmp_path)


def test_an_unknown_form_is_refused_and_can_be_said(audio):
    table = write_text(audio / "t.list", "path,label", "data/x/a.wav,1")
    with pytest.raises(ValueError, match=r"no form of a corpus is known that ends in '\.list'"):
        read_corpus(table)
    assert read_corpus(table, format="table").utterances[0].labels == {"label": "1"}
    with pytest.raises(ValueError, match="format must be one of 'folder'"):
        read_corpus(table, format="list")
