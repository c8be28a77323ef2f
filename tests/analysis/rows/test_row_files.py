"""Rows that are kept are those of this audio with these spans, and of no other."""

import os
from dataclasses import replace

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


def test_what_is_kept_is_found_again_and_a_damaged_file_counts_as_not_there(tmp_path):
    x = torch.arange(6.0).reshape(2, 3)
    spans = {"phone": SpanRows({"l": x}, ["x", "y"], [0, 1])}
    rows = UtteranceRows("a", 1.0, {"l": x}, {"l": x[0]}, spans, x, {"": 0.1})
    files = RowFiles(tmp_path, "my/model", {"seed": 0})
    files.add("key", rows)
    files.flush()
    again = RowFiles(tmp_path, "my/model", {"seed": 0}).load()
    assert list(again) == ["key"]
    assert torch.equal(again["key"].frames["l"], x)
    assert again["key"].spans["phone"].labels == ["x", "y"]
    assert RowFiles(tmp_path, "my/model", {"seed": 1}).load() == {}
    next(tmp_path.glob("*/rows-*.pt")).write_bytes(b"damaged")
    assert RowFiles(tmp_path, "my/model", {"seed": 0}).load() == {}
