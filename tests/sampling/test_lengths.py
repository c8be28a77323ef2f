"""Valid frames: from the module, the call, the batch or the shapes, and refusals where they can't be known."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from speech_models import (
    HUGGING_FACE,
    SAMPLES,
    WIDTH,
    FairseqLike,
    Fires,
    audio,
    hugging_face,
    torchaudio_hubert,
    torchaudio_wav2vec2,
    torchaudio_wavlm,
)
from torch import Tensor, nn

from rankwatch.sampling.adapters import unmasked_call
from rankwatch.sampling.discovery import WatchedLayer, find_layers
from rankwatch.sampling.lengths import AmbiguousLengths, Observed, Valid, input_candidates, resolve_lengths
from rankwatch.sampling.outputs import to_btc, unpack

WAVEFORMS, LENGTHS = audio()


def observe(model: nn.Module, call: Any, batch_size: int = len(SAMPLES)) -> list[Observed]:
    layers = find_layers(model)
    with Fires(layers) as fires, torch.no_grad():
        call()
    observed = []
    for layer in layers:
        hidden, own = unpack(fires.outputs[layer.name])
        observed.append(Observed(layer, to_btc(hidden, batch_size=batch_size, layer=layer)[0], own))
    return observed


def alone(model: nn.Module, run: Any, waveforms: Tensor, lengths: Tensor) -> list[int]:
    """Frames of the last block when each utterance is run by itself; 0 where the model refuses."""
    frames = []
    for waveform, length in zip(waveforms, lengths.tolist(), strict=True):
        try:
            observed = observe(model, partial(run, waveform[None, :length]), batch_size=1)
            frames.append(observed[-1].hidden.shape[1])
        except RuntimeError:
            frames.append(0)
    return frames


class TestRealModels:
    """A padded batch gives the frames that each utterance has when it is run alone."""

    def check(self, model: nn.Module, call: Any, run: Any, source: str, **seen: Any) -> dict[str, Valid]:
        valid = resolve_lengths(observe(model, call), **{"args": (), "kwargs": {}, "batch": None, **seen}, root=model)
        expected = alone(model, run, WAVEFORMS, LENGTHS)
        assert expected[0] == 79
        assert expected[-1] < 3
        for entry in valid.values():
            assert entry.frames.tolist() == expected
            assert entry.frames.dtype == torch.int64
            assert source in entry.source
        return valid

    def test_torchaudio_front_end_says_itself(self) -> None:
        model = torchaudio_wav2vec2()
        self.check(model, lambda: model(WAVEFORMS, LENGTHS), lambda x: model(x), "lengths given by feature_extractor")

    def test_torchaudio_hubert_tuple_batch(self) -> None:
        model = torchaudio_hubert()
        adapter = unmasked_call(model, model)
        assert adapter is not None
        labels = torch.zeros(len(SAMPLES), 79, dtype=torch.int64)
        call = lambda: model(WAVEFORMS, labels, LENGTHS)  # noqa: E731
        batch = (WAVEFORMS, labels, LENGTHS)
        self.check(model, call, lambda x: adapter.run(x, None), "given by wav2vec2.feature_ex", batch=batch)

    def test_torchaudio_wavlm_is_given_none(self) -> None:
        model = torchaudio_wavlm()
        batch = {"audio": WAVEFORMS, "audio_len": LENGTHS, "speaker_id": torch.tensor([79, 3, 1, 0])}
        words = "field 'audio_len' of the batch (samples, through 3 convolutions)"
        self.check(model, lambda: model(WAVEFORMS), lambda x: model(x), words, args=(WAVEFORMS,), batch=batch)

    @pytest.mark.parametrize(("config", "name"), HUGGING_FACE)
    def test_hugging_face_attention_mask(self, config: str, name: str) -> None:
        model = hugging_face(config, name)
        mask = (torch.arange(1600) < LENGTHS[:, None]).long()
        kwargs = {"input_values": WAVEFORMS, "attention_mask": mask}
        words = "argument 'attention_mask' (mask, through 3 convolutions)"
        base = model.base_model
        self.check(
            model, lambda: base(**kwargs), lambda x: base(x), words, kwargs={**kwargs, "mask_time_indices": None}
        )

    def test_hugging_face_formula_where_the_front_end_is_not_watched(self) -> None:
        model = hugging_face("HubertConfig", "HubertModel")
        mask = (torch.arange(1600) < LENGTHS[:, None]).long()
        observed = observe(model, lambda: model(WAVEFORMS, attention_mask=mask))[1:]
        valid = resolve_lengths(
            observed, args=(WAVEFORMS, mask), kwargs={}, batch=None, root=model, forward=model.forward
        )
        assert next(iter(valid.values())).frames.tolist() == alone(model, model, WAVEFORMS, LENGTHS)
        assert "argument 'attention_mask'" in next(iter(valid.values())).source

    @pytest.mark.parametrize("padding", [True, False])
    def test_fairseq_like_padding_mask_of_either_polarity(self, padding: bool) -> None:
        model = FairseqLike()
        mask = (torch.arange(1600) >= LENGTHS[:, None]) == padding
        kwargs = {"source": WAVEFORMS, "padding_mask": mask}
        valid = resolve_lengths(observe(model, lambda: model(**kwargs)), args=(), kwargs=kwargs, batch=None, root=model)
        expected = alone(model, lambda x: model(source=x), WAVEFORMS, LENGTHS)
        assert [entry.frames.tolist() for entry in valid.values()] == [expected] * 3
        assert "mask, through 2 convolutions" in valid["blocks.0"].source

    def test_targets_trim_behind_the_convolutions(self) -> None:
        model = FairseqLike()
        kwargs = {"source": WAVEFORMS}
        observed = observe(model, lambda: model(**kwargs, trim=1))
        valid = resolve_lengths(observed, args=(), kwargs=kwargs, batch={"net_input": {"lengths": LENGTHS}}, root=model)
        whole, trimmed = valid["feature_extractor"].frames, valid["blocks.1"].frames
        assert trimmed.tolist() == whole.clamp(max=int(whole.max()) - 1).tolist()
        assert "1 cut off" in valid["blocks.1"].source

    def test_conformer_over_features(self) -> None:
        from torchaudio.models import Conformer

        model = Conformer(WIDTH, 2, 32, 2, 5).eval()
        x, lengths = torch.randn(3, 20, WIDTH), torch.tensor([20, 7, 13])
        observed = observe(model, lambda: model(x, lengths), batch_size=3)
        valid = resolve_lengths(observed, args=(x, lengths), kwargs={}, batch=None, root=model, forward=model.forward)
        assert [entry.frames.tolist() for entry in valid.values()] == [[20, 7, 13]] * 2
        assert valid["conformer_layers.0"].source == "argument 'lengths' (frames)"


# The rest on a stand-in: 4 utterances of up to 1600 samples, a front end of 79 frames.
FRONT_END = nn.Sequential(nn.Conv1d(1, 8, 10, 5), nn.Conv1d(8, 8, 3, 2), nn.Conv1d(8, 8, 2, 2))
LAYER = WatchedLayer("front", FRONT_END, "frontend", "student", "L00")
FRAMES = [79, 44, 61, 1]
STACK = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 8)])


def resolve(batch: Any, frames: int = 79, layer: WatchedLayer = LAYER, **options: Any) -> Valid:
    hidden = torch.zeros(len(SAMPLES), frames, 8)
    options = {"args": (), "kwargs": {}, **options}
    return resolve_lengths([Observed(layer, hidden)], batch=batch, **options)["front"]


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
        assert valid == Valid(valid.frames, "every frame (no lengths found)")
        assert valid.frames.tolist() == [79] * 4

    def test_a_batch_that_holds_itself(self) -> None:
        batch: dict[str, Any] = {"wav": WAVEFORMS, "lengths": LENGTHS}
        batch["self"] = batch
        assert resolve(batch).frames.tolist() == FRAMES


class TestMapping:
    OTHER = WatchedLayer("front", nn.LayerNorm(8), "block", "student", "L01")

    def test_fractions_without_convolutions_in_proportion(self) -> None:
        valid = resolve((WAVEFORMS, LENGTHS / 1600), layer=self.OTHER)
        assert valid.frames.tolist() == [79, 45, 61, 2]
        assert "fractions, in proportion (to within a frame)" in valid.source

    @pytest.mark.parametrize("frames", [79, 160, 10])
    def test_samples_without_convolutions_in_proportion(self, frames: int) -> None:
        valid = resolve((WAVEFORMS, LENGTHS), layer=self.OTHER, frames=frames)
        assert valid.frames.tolist() == [-(-n * frames // 1600) for n in SAMPLES]

    def test_further_downsampling_behind_the_front_end(self) -> None:
        valid = resolve((WAVEFORMS, LENGTHS), frames=40)
        assert valid.frames.tolist() == [-(-n * 40 // 79) for n in FRAMES]
        assert "through 3 convolutions, then in proportion" in valid.source

    def test_frames_that_the_downsampling_contradicts_are_refused(self) -> None:
        with pytest.raises(AmbiguousLengths, match=r"60 frames.*doesn't fit.*'lengths'"):
            resolve({"wav": WAVEFORMS, "lengths": LENGTHS}, frames=60)

    def test_padding_and_dilation_in_the_formula(self) -> None:
        front_end = nn.Sequential(nn.Conv1d(1, 8, 5, 3, padding=2, dilation=2), nn.Conv1d(8, 8, 3, 2, padding=1))
        layer = WatchedLayer("front", front_end, "frontend", "student", "L00")
        frames = [front_end(torch.zeros(1, 1, n)).shape[2] for n in SAMPLES]
        assert resolve((WAVEFORMS, LENGTHS), layer=layer, frames=frames[0]).frames.tolist() == frames

    def test_two_dimensional_front_end(self) -> None:
        front_end = nn.Sequential(nn.Conv2d(1, 4, (3, 5), (1, 2)), nn.Conv2d(4, 4, (3, 3), (2, 2), (0, 1)))
        layer = WatchedLayer("front", front_end, "frontend", "student", "L00")
        features, lengths = torch.randn(4, 40, 90), torch.tensor([90, 50, 33, 8])
        frames = [front_end(torch.zeros(1, 1, 40, n)).shape[3] for n in lengths.tolist()]
        assert resolve((features, lengths), layer=layer, frames=frames[0]).frames.tolist() == frames

    @pytest.mark.parametrize("center", [True, False])
    @pytest.mark.parametrize("convolve", [True, False])
    def test_spectrogram_inside_the_model(self, center: bool, convolve: bool) -> None:
        from torchaudio.transforms import MelSpectrogram

        mel = MelSpectrogram(16000, n_fft=64, hop_length=20, n_mels=8, center=center)
        conv = nn.Conv1d(8, 8, 3, 2)
        layer = WatchedLayer("front", conv, "frontend", "student", "L00") if convolve else self.OTHER

        def frames(n: int) -> int:
            spectrum = mel(torch.zeros(1, n))
            return int((conv(spectrum) if convolve else spectrum).shape[2])

        waveforms, lengths = audio((1600, 905, 1239, 333))
        root = nn.ModuleDict({"mel": mel, "front": layer.module})
        valid = resolve((waveforms, lengths), layer=layer, frames=frames(1600), root=root)
        assert valid.frames.tolist() == [frames(n) for n in lengths.tolist()]
        assert "through a spectrogram" in valid.source

    def test_no_frames_at_all(self) -> None:
        short, lengths = audio((20, 12, 3, 0))
        hidden = torch.zeros(4, 0, 8)
        valid = resolve_lengths([Observed(LAYER, hidden)], args=(), kwargs={}, batch=(short, lengths))
        assert valid["front"].frames.tolist() == [0, 0, 0, 0]

    def test_empty_utterances_have_no_frames(self) -> None:
        padded = WatchedLayer("front", nn.Conv1d(1, 8, 3, 2, padding=2), "frontend", "student", "L00")
        lengths = torch.tensor([9, 4, 0, 0])
        assert resolve((torch.randn(4, 9), lengths), layer=padded, frames=6).frames.tolist() == [6, 3, 0, 0]


class TestOwnLengths:
    def own(self, lengths: list[int], frames: int = 79, batch: Any = None, more: tuple[int, ...] = ()) -> Any:
        given = Observed(LAYER, torch.zeros(4, frames, 8), torch.tensor(lengths))
        others = [
            Observed(WatchedLayer(f"b{i}", nn.LayerNorm(8), "block", "student", "L"), torch.zeros(4, t, 8))
            for i, t in enumerate(more)
        ]
        return resolve_lengths([given, *others], args=(), kwargs={}, batch=batch)

    def test_win_over_the_batch_and_serve_other_layers(self) -> None:
        valid = self.own([79, 40, 3, 0], batch=(WAVEFORMS, LENGTHS), more=(79, 78, 40, 80))
        assert valid["front"] == Valid(valid["front"].frames, "lengths given by front")
        assert valid["b0"].frames.tolist() == [79, 40, 3, 0]
        assert valid["b0"].source == "lengths given by front"
        assert valid["b1"].frames.tolist() == [78, 40, 3, 0]
        assert valid["b2"].frames.tolist() == [40, 21, 2, 0]
        assert valid["b3"].frames.tolist() == [80, 41, 4, 0]

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
        with pytest.raises(AmbiguousLengths, match="end in zeros"):
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
            ("length", r"lengths='length': the batch has no 'length'; it has: wav, n"),
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
