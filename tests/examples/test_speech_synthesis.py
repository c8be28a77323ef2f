"""Synthesised speech is the same everywhere, labelled, and made once."""

import csv
import subprocess

import numpy as np
import pytest
import soundfile
import speech_synthesis
from speech_synthesis import LANGUAGES, VARIANTS, script, synthetic_speech


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """The same small corpus, made twice by fresh processes."""
    folders = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("one", "two"):
            patch.setenv("RANKWATCH_CACHE", str(tmp_path_factory.mktemp(name)))
            folders.append(synthetic_speech(n_utterances=72, seed=0))
    return folders


def rows_of(folder):
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_fresh_processes_make_the_same_corpus_bit_for_bit(corpora):
    names = [sorted(p.name for p in folder.iterdir()) for folder in corpora]
    assert names[0] == names[1]
    assert len(names[0]) == 73
    differing = [n for n in names[0] if (corpora[0] / n).read_bytes() != (corpora[1] / n).read_bytes()]
    assert differing == []


def test_every_voice_speaks(corpora):
    for row in rows_of(corpora[0]):
        samples, rate = soundfile.read(corpora[0] / row["path"])
        assert rate == 22_050
        assert 0.1 < len(samples) / rate < 6.0
        assert np.abs(samples).max() > 0.05, row


def test_the_manifest_labels_speaker_and_word(corpora):
    rows = rows_of(corpora[0])
    assert len({row["speaker"] for row in rows}) == len(LANGUAGES) * len(VARIANTS)
    assert all(row["word"] in row["transcript"] for row in rows)
    words = {row["word"] for row in rows if row["language"] == "de"}
    assert len(words) > 3


def test_what_is_in_the_cache_is_not_made_again(corpora, monkeypatch):
    monkeypatch.setenv("RANKWATCH_CACHE", str(corpora[0].parent))
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("synthesised again"))
    assert synthetic_speech(n_utterances=72, seed=0) == corpora[0]


def test_the_script_hangs_on_its_seed():
    assert list(script(30, seed=1)) == list(script(30, seed=1))
    assert list(script(30, seed=1)) != list(script(30, seed=2))


def test_a_failing_synthesis_says_why_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("RANKWATCH_CACHE", str(tmp_path))
    script_of_old = tmp_path / "broken.py"
    script_of_old.write_text("raise SystemExit('no voices here')")
    monkeypatch.setattr(speech_synthesis, "__file__", str(script_of_old))
    with pytest.raises(RuntimeError, match=r"(?s)--data\.folder.*no voices here"):
        synthetic_speech(n_utterances=5)
    assert [p.name for p in tmp_path.iterdir()] == ["broken.py"]
