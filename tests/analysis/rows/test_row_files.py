"""Rows that are kept are those of this audio with these spans, and of no other."""

import os
from dataclasses import replace

import pytest
import torch

from rankwatch.analysis.rows.row_files import RowFiles, fingerprint_of_audio
from rankwatch.analysis.rows.utterance_rows import SpanRows, UtteranceRows
from rankwatch.corpora import Span, Utterance


def test_other_audio_and_other_spans_have_other_fingerprints(tmp_path):
    file = tmp_path / "a.wav"
    file.write_bytes(b"1234")
    one = Utterance("a", file, spans={"phone": (Span(0.0, 0.1, "x"),)})
    first = fingerprint_of_audio(one)
    assert fingerprint_of_audio(replace(one, labels={"emotion": "anger"}, speaker="s")) == first
    assert fingerprint_of_audio(replace(one, spans={"phone": (Span(0.0, 0.1, "y"),)})) != first
    assert fingerprint_of_audio(replace(one, end=1.0)) != first
    (tmp_path / "b.wav").write_bytes(b"1234")
    assert fingerprint_of_audio(replace(one, audio=tmp_path / "b.wav")) != first
    os.utime(file, ns=(0, 1))
    assert fingerprint_of_audio(one) != first
    file.unlink()
    assert fingerprint_of_audio(one) != first


X = torch.arange(6.0).reshape(2, 3)


def rows_of(name):
    return UtteranceRows(
        name, 1.0, {"l": X}, {"l": X[0]}, {"phone": SpanRows({"l": X}, ["x", "y"], [0, 1])}, X, {"": 0.1}
    )


def files_in(folder, said, seed=0):
    return RowFiles(folder, "my/model", {"seed": seed}, said.append)


@pytest.fixture
def stored(tmp_path):
    """A file of sixteen utterances and one of four."""
    files = files_in(tmp_path, [])
    for k in range(20):
        files.add(f"key {k}", rows_of(f"u{k}"))
    files.flush()
    return sorted(tmp_path.glob("*/rows-*.pt"))


def test_what_is_kept_is_found_again(stored, tmp_path):
    assert len(stored) == 2
    files = files_in(tmp_path, said := [])
    found = [files.get(f"key {k}") for k in range(20)]
    assert [one.id for one in found] == [f"u{k}" for k in range(20)]
    assert torch.equal(found[3].frames["l"], X)
    assert found[3].spans["phone"].labels == ["x", "y"]
    assert files.get("key 20") is None
    assert files_in(tmp_path, [], seed=1).get("key 0") is None
    assert not said
    files.add("key 20", rows_of("u20"))  # goes into a new file
    files.flush()
    assert files.get("key 20").id == "u20"
    assert files_in(tmp_path, []).get("key 19").id == "u19"


@pytest.mark.parametrize("cut", [0, 30, 700, -40], ids=["empty", "head", "middle", "end"])
def test_half_written_files_are_said_and_their_utterances_run_again(cut, stored, tmp_path):
    stored[0].write_bytes(stored[0].read_bytes()[:cut])
    files = files_in(tmp_path, said := [])
    assert [files.get(f"key {k}") is None for k in range(20)] == [True] * 16 + [False] * 4
    assert len(said) == 1
    assert said[0].startswith(f"{stored[0]} is damaged or half-written, and its utterances are run again (")


def test_bytes_that_are_something_else_are_said_too(stored, tmp_path):
    stored[1].write_bytes(b"damaged")
    assert files_in(tmp_path, said := []).get("key 19") is None
    assert "rows-00001.pt is damaged" in said[0]


@pytest.mark.parametrize("content", [[{"other": 1}], {"a": torch.zeros(1)}, 3, [{"audio": "k", "spans": {}, "new": 1}]])
def test_other_content_is_an_error_that_names_the_file(content, stored, tmp_path):
    torch.save(content, stored[0])
    with pytest.raises(ValueError, match=r"rows-00000.pt holds something else than rows of utterances .* move it away"):
        files_in(tmp_path, [])


def test_a_file_that_may_not_be_read_is_an_error_that_names_it(stored, tmp_path):
    stored[0].unlink()
    stored[0].mkdir()  # also for root, who may read everything else
    with pytest.raises(OSError, match=r"rows-00000.pt holds rows of an earlier analysis and can't be read \(.*make it"):
        files_in(tmp_path, [])


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed")])
def test_a_full_disk_is_an_error_that_names_the_file(error, tmp_path, monkeypatch):
    def full(content, file):
        raise error

    files = files_in(tmp_path, [])
    files.add("key", rows_of("u"))
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"rows could not be written to .*rows-00000.pt \(.*place on the disk"):
        files.flush()


def test_too_little_memory_is_no_damage(stored, tmp_path, monkeypatch):
    def load(*arguments, **options):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(
        MemoryError, match=r"rows-00000.pt, .* can't be read into memory .*start the same analysis again"
    ):
        files_in(tmp_path, [])
