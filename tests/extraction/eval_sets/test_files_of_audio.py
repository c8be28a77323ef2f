"""Folders and manifests of audio as evaluation sets."""

import json
import warnings

import pytest
from tiny_audio import write_audio, write_text

from rankwatch import AudioFolder, LabelledSet
from rankwatch.corpora import read_corpus
from rankwatch.extraction.eval_sets.files_of_audio import read_chosen
from rankwatch.extraction.inputs.audio_files import find_audio
from rankwatch.runtime.distributed import World

ONE = World()


def listed(folder):
    return read_corpus(folder, open_audio=False)


def lengths(eval_set):
    return sorted(length for batch in eval_set.batches for length in batch.args[1].tolist())


def test_a_broken_file_is_named_and_skipped(tmp_path):
    write_audio(tmp_path / "good.wav", 0.5, rate=16_000)
    (tmp_path / "broken.wav").write_bytes(b"this is no audio")
    with pytest.warns(UserWarning, match=r"broken\.wav"):
        utterances = read_chosen(listed(tmp_path), count=10)
    assert [len(u) for u in utterances.values()] == [8000]
    (tmp_path / "good.wav").unlink()
    with pytest.raises(ValueError, match="not one audio file"), pytest.warns(UserWarning, match=r"broken\.wav"):
        read_chosen(listed(tmp_path), count=10)


def test_processes_share_the_same_choice(tmp_path):
    for i in range(12):
        write_audio(tmp_path / f"{i:02d}.wav", 0.1 + 0.01 * i, rate=16_000)
    corpus = listed(tmp_path)
    whole = {len(u) for u in read_chosen(corpus, count=7).values()}
    parts = [{len(u) for u in read_chosen(corpus, count=7, rank=r, world_size=2).values()} for r in range(2)]
    assert len(whole) == 7
    assert parts[0] | parts[1] == whole
    assert not parts[0] & parts[1]


def test_the_table_says_how_many_files_there_are_and_how_many_are_read(tmp_path):
    for i in range(3):
        write_audio(tmp_path / "disk" / f"{i}.wav", 0.5, seed=i)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "speaker").symlink_to(tmp_path / "disk")
    (tmp_path / "set" / "transcript.txt").touch()
    made = AudioFolder(tmp_path / "set").load("outside", count=2, seed=0, world=ONE)
    assert made.utterances == 2
    assert made.describe().endswith(f"; 2 of 3 audio files in {tmp_path / 'set'}, 1 others passed over (1 .txt)")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "0.sph").touch()
    with pytest.raises(ValueError, match=r"no audio in .*\.aif; 1 others passed over \(1 \.sph\)\)"):
        find_audio(tmp_path / "none")


def manifests(folder):
    """Four utterances of 0.1 to 0.4 s by two speakers, in each form."""
    for i in range(1, 5):
        write_audio(folder / "a" / f"{i}.wav", 0.1 * i, rate=16_000, seed=i)
    ids = range(1, 5)
    lines = [json.dumps({"audio_filepath": f"a/{i}.wav", "speaker": f"s{i % 2}", "label": f"l{i // 3}"}) for i in ids]
    entries = {str(i): {"wav": f"{{root}}/a/{i}.wav", "spk_id": f"s{i % 2}", "label": f"l{i // 3}"} for i in ids}
    write_text(folder / "kaldi" / "wav.scp", *(f"u{i} a/{i}.wav" for i in ids))
    write_text(folder / "kaldi" / "utt2spk", *(f"u{i} s{i % 2}" for i in ids))
    write_text(folder / "kaldi" / "utt2label", *(f"u{i} l{i // 3}" for i in ids))
    rows = [f"{i},a/{i}.wav,s{i % 2},l{i // 3}" for i in ids]
    return {
        "folder": folder / "a",
        "fairseq": write_text(folder / "f.tsv", str(folder), *(f"a/{i}.wav\t{1600 * i}" for i in ids)),
        "kaldi": folder / "kaldi",
        "nemo": write_text(folder / "n.json", *lines),
        "speechbrain": write_text(folder / "s.json", json.dumps(entries)),
        "table": write_text(folder / "t.csv", "ID,wav,spk_id,label", *rows),
    }


def test_a_manifest_of_any_form_is_the_same_set_as_its_folder(tmp_path):
    for path in manifests(tmp_path).values():
        made = AudioFolder(path).load("dev", count=8, seed=0, world=ONE)
        assert lengths(made) == [1600, 3200, 4800, 6400]
        assert f"4 of 4 audio files in {path}" in made.describe()


@pytest.mark.parametrize("form", ["kaldi", "nemo", "speechbrain", "table"])
def test_labels_and_speakers_of_a_manifest_are_those_of_the_set(tmp_path, form):
    made = LabelledSet(manifests(tmp_path)[form]).load("dev", count=8, seed=0, world=ONE)
    assert "2 labels, each of 2 speakers is left out in turn" in made.describe()
    found = {}
    for batch in made.batches:
        labels = made.labels.of_utterances(batch.keys[: batch.used])
        found |= dict(zip((batch.args[1] // 1600).tolist(), labels.tolist(), strict=True))
    assert found == {1: [0, 1], 2: [0, 0], 3: [1, 1], 4: [1, 0]}


def test_alignments_are_found_by_the_clips_names(tmp_path):
    table = manifests(tmp_path)["table"]
    ctm = write_text(tmp_path / "phones.ctm", *(f"{i} 1 0 0.05 {'ab'[i % 2]}" for i in range(1, 5)))
    made = LabelledSet(table, label=None, alignments=ctm).load("dev", count=8, seed=0, world=ONE)
    assert "2 labels of tier 'phone'" in made.describe()


def test_what_a_manifest_leaves_out_is_named_and_the_rest_is_read(tmp_path):
    write_audio(tmp_path / "a.wav", 0.1, rate=16_000)
    path = write_text(tmp_path / "m.tsv", str(tmp_path), "a.wav\t1600", "b.wav\t1600")
    with pytest.warns(UserWarning, match=r"left out of .*m\.tsv: there is no such file of audio: 1 .*b\.wav"):
        made = AudioFolder(path).load("dev", count=8, seed=0, world=ONE)
    assert lengths(made) == [1600]
    table = write_text(tmp_path / "t.csv", "path,label,speaker", "a.wav,x,s", "a.wav,y,t", "b.wav,z,s")
    with pytest.raises(FileNotFoundError, match=r"names 1 files that aren't there: .*b\.wav"):
        LabelledSet(table)


def test_a_table_in_a_folder_of_audio_does_not_choose_among_its_files(tmp_path):
    for name in ("a.wav", "b.wav"):
        write_audio(tmp_path / name, 0.1, rate=16_000)
    write_text(tmp_path / "manifest.csv", "path", "a.wav")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert AudioFolder(tmp_path).load("dev", count=8, seed=0, world=ONE).utterances == 2
