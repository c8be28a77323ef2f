"""Valid frames from the module, the call, the batch or the shapes, and refusals where they can't be known."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from lengths_of import resolve_lengths
from padded_batch import FRAMES, FRONT_END, LAYER, LENGTHS, STACK, WAVEFORMS, resolve
from torch import Tensor, nn

from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.extraction.valid_frames.length_candidates import input_candidates
from rankwatch.extraction.valid_frames.observed_outputs import Observed
from rankwatch.extraction.valid_frames.valid_lengths import AmbiguousLengths

Batch = namedtuple("Batch", "inputs input_lengths targets target_lengths")


@dataclass
class NoisyBatch:
    audio: Tensor
    audio_len: Tensor
    noise: Tensor
    noise_len: Tensor
    noisy_audio: Tensor
    noisy_audio_len: Tensor


class TestBatches:
    @pytest.mark.parametrize(
        ("batch", "path"),
        [
            ((WAVEFORMS, LENGTHS), "1"),
            ([WAVEFORMS, torch.zeros(4, 79, dtype=torch.int64), LENGTHS], "2"),
            ({"net_input": {"source": WAVEFORMS, "lengths": LENGTHS.int()}, "id": LENGTHS - 1}, "net_input.lengths"),
            ({"wav": (WAVEFORMS, LENGTHS.tolist())}, "wav.1"),
            ({"wav": WAVEFORMS, "n": LENGTHS.numpy()}, "n"),
            (Batch(WAVEFORMS, LENGTHS, [torch.zeros(79)], LENGTHS // 20), "input_lengths"),
            ((WAVEFORMS, LENGTHS, torch.tensor([3, 78, 7, 12])), "1"),
            ((WAVEFORMS, LENGTHS[:, None]), "1"),
            ((WAVEFORMS, LENGTHS.float() / 1600, torch.tensor([5, 6, 7, 77])), "1"),
        ],
    )
    def test_found_by_form_and_name(self, batch: Any, path: str) -> None:
        valid = resolve(batch)
        assert valid.frames.tolist() == FRAMES
        assert repr(path) in valid.source
        assert "through 3 convolutions" in valid.source

    def test_lengths_of_the_mixture_not_of_the_noise(self) -> None:
        """Where the batch is ambiguous, the backbone's own arguments aren't."""
        batch = NoisyBatch(WAVEFORMS, LENGTHS, WAVEFORMS, LENGTHS.flip(0), WAVEFORMS + 1, LENGTHS)
        assert "audio_len" in resolve(batch).source
        batch.audio_len = LENGTHS.roll(1)
        with pytest.raises(AmbiguousLengths, match=r"'audio_len'.*'noisy_audio_len'.*lengths=\"audio_len\""):
            resolve(batch)
        valid = resolve(batch, kwargs={"input_signal": WAVEFORMS, "input_signal_length": LENGTHS})
        assert valid.frames.tolist() == FRAMES
        assert "argument 'input_signal_length'" in valid.source

    def test_positional_arguments_are_named_by_the_forward_pass(self) -> None:
        def forward(x: Tensor, wav_lens: Tensor, speaker_id: Tensor) -> None: ...

        others = torch.tensor([1600, 3, 2, 1])
        assert "'wav_lens'" in resolve(None, args=(WAVEFORMS, LENGTHS, others), forward=forward).source
        with pytest.raises(AmbiguousLengths, match=r"'1'.*'2'"):
            resolve(None, args=(WAVEFORMS, LENGTHS, others))

    @pytest.mark.parametrize("name", ["target_lengths", "label_len", "mask_indices", "ids", "speaker_id", "textLen"])
    def test_foreign_names_are_no_candidates(self, name: str) -> None:
        assert input_candidates((), {name: LENGTHS}, {"x": {name: LENGTHS, "wav": WAVEFORMS}}) == []
        full = torch.ones_like(WAVEFORMS)
        assert resolve({"wav": full, name: LENGTHS}).source == "every frame (no lengths found)"

    def test_speaker_numbers_without_a_name(self) -> None:
        valid = resolve((torch.ones(4, 1600), torch.tensor([4, 1, 70, 3])))
        assert valid.source == "every frame (no lengths found)"
        assert valid.frames.tolist() == [79] * 4

    def test_padded_further_than_the_longest_if_it_is_silent_there(self) -> None:
        """A batch of very short files, padded to what the front end needs; also where samples are like frames."""
        waveforms = torch.zeros(4, 1600)
        for row, n in zip(waveforms, [200, 37, 60, 0], strict=True):
            row[:n] = 0.5
        valid = resolve(None, args=(waveforms,), kwargs={"lengths": torch.tensor([200, 37, 60, 0])})
        assert valid.frames.tolist() == [9, 1, 2, 0]
        assert "samples, through 3 convolutions" in valid.source
        waveforms[:, 60:] = 0
        assert resolve((waveforms, {"len": torch.tensor([60, 37, 60, 0])})).frames.tolist() == [2, 1, 2, 0]
        with pytest.raises(AmbiguousLengths, match="doesn't fit"):
            resolve((waveforms + 1, {"len": torch.tensor([60, 37, 60, 0])}))

    def test_a_batch_that_holds_itself(self) -> None:
        batch: dict[str, Any] = {"wav": WAVEFORMS, "lengths": LENGTHS}
        batch["self"] = batch
        assert resolve(batch).frames.tolist() == FRAMES


class TestOwnLengths:
    def own(self, lengths: list[int], frames: int = 79, batch: Any = None, more: tuple[int, ...] = ()) -> Any:
        given = Observed(LAYER, torch.zeros(4, frames, 8), torch.tensor(lengths))
        others = [
            Observed(WatchedLayer(f"b{i}", nn.LayerNorm(8), "block", "student", "L"), torch.zeros(4, t, 8))
            for i, t in enumerate(more)
        ]
        return resolve_lengths([given, *others], args=(), kwargs={}, batch=batch)

    def test_win_over_the_batch_and_serve_other_layers(self) -> None:
        valid = self.own([79, 40, 3, 0], batch=(WAVEFORMS, LENGTHS), more=(79, 78, 40, 81, 80))
        assert valid["front"].source == "lengths given by front"
        assert valid["b0"].frames.tolist() == [79, 40, 3, 0]
        assert valid["b0"].source == "lengths given by front"
        assert valid["b1"].frames.tolist() == [78, 40, 3, 0]
        assert valid["b2"].frames.tolist() == [40, 21, 2, 0]
        assert valid["b3"].frames.tolist() == [81, 42, 4, 0]
        assert valid["b4"].frames.tolist() == [79, 40, 3, 0]
        assert valid["b4"].source == "lengths given by front, 1 added inside"

    @pytest.mark.parametrize("other", [[80, 40, 3, 0], [79, -1, 3, 0]])
    def test_integers_that_are_no_lengths(self, other: list[int]) -> None:
        assert self.own(other, batch=(WAVEFORMS, LENGTHS))["front"].frames.tolist() == FRAMES

    def test_padded_further_than_the_longest(self) -> None:
        """Far below T: believed of a front end; of a block (expert numbers?) if the batch says the same."""
        lengths, frames = torch.tensor([900, 800, 700, 600]), [44, 39, 34, 29]
        assert self.own(frames)["front"].frames.tolist() == frames
        block = WatchedLayer("b", nn.LayerNorm(8), "block", "student", "L01")
        given = Observed(block, torch.zeros(4, 79, 8), torch.tensor(frames))
        full = {"args": (torch.ones(4, 1600),), "kwargs": {}, "root": nn.ModuleDict({"c": FRONT_END, "layers": STACK})}
        assert resolve_lengths([given], batch=None, **full)["b"].frames.tolist() == [79] * 4
        assert resolve_lengths([given], batch={"lengths": lengths}, **full)["b"].frames.tolist() == frames

    def test_of_another_axis_serve_only_where_nothing_better_is_known(self) -> None:
        """Blocks that crop the padding away (nested tensors) say nothing about the front end's axis."""
        front = Observed(LAYER, torch.zeros(4, 79, 8))
        block = WatchedLayer("b", nn.LayerNorm(8), "block", "student", "L01")
        nested = Observed(block, torch.zeros(4, 44, 8), torch.tensor([44, 39, 34, 29]))
        lengths = torch.tensor([900, 800, 700, 600])
        mask = torch.arange(1600) < lengths[:, None]
        kwargs = {"audio": torch.ones(4, 1600), "attention_mask": mask}
        valid = resolve_lengths([front, nested], args=(), kwargs=kwargs, batch=None)
        assert [v.frames.tolist() for v in valid.values()] == [[44, 39, 34, 29]] * 2


class TestRefusals:
    @pytest.mark.parametrize(
        ("values", "why"),
        [
            (LENGTHS + 400, r"\[2000, 1300, 1634, 437\]"),
            (LENGTHS // 3, r"\[533, 300, 411, 12\]"),
            (LENGTHS / 800, r"fractions outside"),
            (-LENGTHS, r"negative"),
            (LENGTHS / 4000, r"\[0\.4, 0\.225"),
        ],
    )
    def test_named_lengths_that_do_not_fit(self, values: Tensor, why: str) -> None:
        with pytest.raises(AmbiguousLengths, match=rf"(?s)'wav_len'.*{why}.*lengths=\"wav_len\""):
            resolve({"wav": WAVEFORMS, "wav_len": values})

    def test_padding_on_the_left(self) -> None:
        mask = (torch.arange(1600) < LENGTHS[:, None]).flip(1).long()
        with pytest.raises(AmbiguousLengths, match="padded on the left"):
            resolve(None, kwargs={"input_values": WAVEFORMS, "attention_mask": mask})

    def test_a_mask_with_holes(self) -> None:
        mask = torch.rand(4, 1600, generator=torch.Generator().manual_seed(0)) < 0.5
        with pytest.raises(AmbiguousLengths, match="not one valid prefix"):
            resolve(None, kwargs={"input_values": WAVEFORMS, "attention_mask": mask})
        assert resolve(None, kwargs={"x": WAVEFORMS + 1, "mask_time_indices": mask}).frames.tolist() == [79] * 4

    def test_visible_padding_without_lengths(self) -> None:
        with pytest.raises(AmbiguousLengths, match=r"end in zeros of different lengths.*lengths=\"none\""):
            resolve((WAVEFORMS,))
        # Without a batch (Hugging Face's Trainer shows none) no field of it is advised.
        with pytest.raises(
            AmbiguousLengths, match=r"end in zeros of different lengths\. Call the model with an attention"
        ):
            resolve(None, args=((torch.arange(100) < LENGTHS[:, None] // 16)[:, :, None].float() * torch.ones(80),))

    def test_equal_tails_and_rare_ones_are_audio(self) -> None:
        same = torch.full((4, 1600), 0.5)
        same[:, 1000:] = 0
        one = torch.full((4, 1600), 0.5)
        one[0, 500:] = 0
        silence = torch.zeros(4, 1600)
        for wave in (same, one, silence):
            assert resolve((wave,)).frames.tolist() == [79] * 4

    def test_all_equal_lengths(self) -> None:
        valid = resolve((torch.ones(4, 1600), torch.full((4,), 1600)))
        assert valid.frames.tolist() == [79] * 4


class TestSpec:
    def test_none_is_every_frame(self) -> None:
        assert resolve((WAVEFORMS, LENGTHS), spec="none").frames.tolist() == [79] * 4

    @pytest.mark.parametrize(
        ("batch", "spec"),
        [
            ((WAVEFORMS, LENGTHS), "1"),
            ({"net_input": {"wav": WAVEFORMS, "target_lengths": LENGTHS}}, "net_input.target_lengths"),
            ({"wav": WAVEFORMS, "who": [LENGTHS.tolist()]}, "who.0"),
            (Batch(WAVEFORMS, LENGTHS, None, None), "input_lengths"),
            ({"wav": WAVEFORMS, 3: LENGTHS}, "3"),
            ((WAVEFORMS, LENGTHS), lambda batch: batch[1]),
            ((WAVEFORMS, LENGTHS), lambda batch: batch[1] / 1600),
            ((WAVEFORMS, LENGTHS), lambda batch: torch.arange(1600) < batch[1][:, None]),
            ((WAVEFORMS, LENGTHS), lambda batch: torch.tensor(FRAMES)),
        ],
    )
    def test_path_or_function(self, batch: Any, spec: Any) -> None:
        assert resolve(batch, spec=spec).frames.tolist() == FRAMES

    def test_asked_for_lengths_may_lie_below_a_padded_axis(self) -> None:
        batch = {"wav": torch.zeros(4, 4000), "n": LENGTHS}
        assert resolve(batch, spec="n", frames=199).frames.tolist() == FRAMES

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("length", r"lengths='length'\): the batch has no 'length'; it has: wav, n"),
            ("n.lengths", r"the batch at 'n' has no 'lengths'"),
            ("wav", r"lengths='wav'.*batch of 4.*shape \(4, 1600\)"),
            (lambda batch: torch.tensor([1, 2]), r"shape \(2,\)"),
            (lambda batch: None, r"a NoneType"),
            (lambda batch: batch["n"] * 2, r"fits neither"),
            (lambda batch: -batch["n"], r"negative"),
        ],
    )
    def test_bad_spec(self, spec: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            resolve({"wav": WAVEFORMS, "n": LENGTHS}, spec=spec)


def test_no_utterances() -> None:
    observed = Observed(LAYER, torch.zeros(0, 79, 8), torch.zeros(0, dtype=torch.int64))
    assert resolve_lengths([observed], args=(), kwargs={}, batch=None)["front"].frames.shape == (0,)


def test_nothing_observed() -> None:
    assert resolve_lengths([], args=(), kwargs={}, batch=None) == {}
