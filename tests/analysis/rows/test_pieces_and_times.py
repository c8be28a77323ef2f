"""What is drawn hangs on names and a seed alone, is nested, and lies where it says."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rankwatch.analysis.models.frame_times import FrameTimes
from rankwatch.analysis.rows.log_mels import log_mels
from rankwatch.analysis.rows.pieces import choose_pieces
from rankwatch.analysis.rows.utterance_rows import Draws, drawn_times, utterance_rows
from rankwatch.corpora import Corpus, Span, Utterance


def corpus(count, seconds=3.0, spans=()):
    return Corpus("c", tuple(
        Utterance(f"u{k}", Path("x.wav"), seconds=seconds, spans={"phone": tuple(spans)}) for k in range(count)
    ))  # fmt: skip


def test_a_larger_choice_holds_a_smaller_one_and_order_does_not_matter():
    whole = corpus(50)
    ten = [piece.utterance.id for piece in choose_pieces(whole, 10, 5.0)]
    twenty = [piece.utterance.id for piece in choose_pieces(Corpus("c", whole.utterances[::-1]), 20, 5.0)]
    assert twenty[:10] == ten
    assert len(set(twenty)) == 20
    assert [piece.utterance.id for piece in choose_pieces(whole, 10, 5.0, seed=1)] != ten


def test_pieces_of_long_recordings_come_after_one_of_each_and_bring_their_own_spans():
    spans = [Span(0.5, 1.0, "a"), Span(1.9, 2.1, "cut"), Span(2.25, 2.5, "b")]
    pieces = choose_pieces(corpus(3, seconds=5.0, spans=spans), 7, 2.0)
    assert len({piece.recording for piece in pieces[:3]}) == 3
    assert len({piece.utterance.id for piece in pieces}) == 7
    for piece in pieces:
        one = piece.utterance
        labels = {span.label: (round(span.start, 6), round(span.end, 6)) for span in one.spans["phone"]}
        expected = {0.0: {"a": (0.5, 1.0)}, 2.0: {"b": (0.25, 0.5)}, 4.0: {}}[one.start]
        assert labels == expected
        assert one.end - one.start == one.seconds


def test_times_lie_in_the_utterance_apart_from_each_other():
    times = drawn_times("u", 1.0, 20, seed=0)
    assert len(times) == 20
    assert times[0] > 0.0
    assert times[-1] < 1.0
    assert np.diff(times).min() > 0.019
    assert len(drawn_times("u", 0.05, 20, seed=0)) == 2


def test_rows_are_the_frames_at_the_drawn_times_and_the_means_of_spans():
    """Frames that are their own time, in two layers with other steps."""
    frames = {"fine": torch.arange(100.0)[:, None] * 0.01 + 0.005, "coarse": torch.arange(25.0)[:, None] * 0.04 + 0.02}
    times = {"fine": FrameTimes(0.01, 0.005), "coarse": FrameTimes(0.04, 0.02)}
    spans = (Span(0.10, 0.20, "a"), Span(0.43, 0.44, "too short for the coarse one"), Span(0.60, 0.68, "b"))
    utterance = Utterance("u", Path("x.wav"), seconds=1.0, spans={"phone": spans})
    found = utterance_rows(utterance, torch.zeros(16_000), 16_000, frames, times, Draws(8, {"phone": 9}, {}), {})
    drawn = torch.tensor(drawn_times("u", 1.0, 8, 0))
    for name, step in (("fine", 0.01), ("coarse", 0.04)):
        assert (found.frames[name][:, 0] - drawn).abs().max() <= step / 2 + 1e-6
        assert found.mean[name].item() == pytest.approx(0.5)
    assert found.spans["phone"].labels == ["a", "b"]
    assert found.spans["phone"].places == [0, 2]
    assert found.spans["phone"].rows["fine"][:, 0].tolist() == pytest.approx([0.15, 0.64])
    assert found.spans["phone"].rows["coarse"][:, 0].tolist() == pytest.approx([0.14, 0.64], abs=0.021)


def test_log_mels_say_where_a_tone_is():
    time = torch.arange(16_000) / 16_000
    tone = 0.1 * torch.sin(2 * torch.pi * 1000.0 * time) * (time > 0.5)
    spectra = log_mels(tone, 16_000, [0.25, 0.75])
    assert spectra.shape == (2, 80)
    assert spectra[0].max() < -15.0
    centres = np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + 8000 / 700), 82)[1:-1]
    assert spectra[1].argmax() == np.abs(centres - 2595 * np.log10(1 + 1000 / 700)).argmin()
