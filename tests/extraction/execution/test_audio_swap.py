"""Other audio in a captured call."""

from __future__ import annotations

from collections import UserDict
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from speech_models import WIDTH, FairseqLike, audio, torchaudio_hubert
from torch import Tensor

from rankwatch.extraction.execution.audio_swap import substitute

WAVEFORMS, LENGTHS = audio((1600, 900, 1234))


class Pair(NamedTuple):
    audio: Tensor
    share: Tensor


class TestSubstitute:
    NEW, NEW_LENGTHS = audio((50, 90), seed=1)

    def test_positional_counts(self) -> None:
        args, kwargs = substitute((WAVEFORMS, LENGTHS.int()), {"mask": False}, self.NEW, self.NEW_LENGTHS, None)
        assert torch.equal(args[0], self.NEW)
        assert args[1].dtype == torch.int32
        assert args[1].tolist() == [50, 90]
        assert kwargs == {"mask": False}

    def test_without_lengths_all_samples_count(self) -> None:
        args, _ = substitute((WAVEFORMS, LENGTHS), {}, self.NEW, None, None)
        assert args[1].tolist() == [90, 90]

    @pytest.mark.parametrize("padding", [True, False])
    @pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
    def test_masks_keep_dtype_and_polarity(self, padding: bool, dtype: torch.dtype) -> None:
        def mask(lengths: Tensor, axis: int) -> Tensor:
            return ((torch.arange(axis) >= lengths[:, None]) == padding).to(dtype)

        kwargs = {"source": WAVEFORMS, "padding_mask": mask(LENGTHS, 1600)}
        _, new = substitute((), kwargs, self.NEW, self.NEW_LENGTHS, FairseqLike().forward)
        assert torch.equal(new["padding_mask"], mask(self.NEW_LENGTHS, 90))
        assert new["padding_mask"].dtype == dtype

    def test_fractions_in_a_named_tuple_and_mono_channel(self) -> None:
        call = (Pair(WAVEFORMS[:, None], LENGTHS / 1600),)
        (pair,), _ = substitute(call, {}, self.NEW, self.NEW_LENGTHS, None)
        assert isinstance(pair, Pair)
        assert pair.audio.shape == (2, 1, 90)
        torch.testing.assert_close(pair.share, torch.tensor([50 / 90, 1.0]))

    def test_the_substituted_call_runs(self) -> None:
        model = FairseqLike()
        mask = torch.arange(1600) >= LENGTHS[:, None]
        _, kwargs = substitute((), {"source": WAVEFORMS, "padding_mask": mask}, self.NEW, self.NEW_LENGTHS)
        assert model(**kwargs).shape == (2, 7, WIDTH)

    def test_further_batch_sized_tensors_are_named(self) -> None:
        call = {"waveforms": WAVEFORMS, "labels": torch.zeros(3, 79, dtype=torch.int64), "speaker": torch.arange(3)}
        with pytest.raises(ValueError, match=r"labels \(3, 79\), speaker \(3,\).*forward=f"):
            substitute((), call, self.NEW, self.NEW_LENGTHS, None)
        args = (WAVEFORMS, torch.zeros(3, 79, dtype=torch.int64))
        with pytest.raises(ValueError, match=r"labels \(3, 79\)"):
            substitute(args, {}, self.NEW, self.NEW_LENGTHS, torchaudio_hubert().forward)

    def test_no_waveforms_or_several(self) -> None:
        with pytest.raises(ValueError, match="found: none"):
            substitute((torch.zeros(3, 80, 200),), {}, self.NEW, None, None)
        with pytest.raises(ValueError, match=r"a \(3, 1600\), b \(3, 1600\)"):
            substitute((), {"a": WAVEFORMS, "b": WAVEFORMS + 1}, self.NEW, None, None)


@dataclass(frozen=True)
class Inputs:
    audio: Tensor
    lengths: Tensor


class Slots:
    """Audio where nobody finds it again."""

    def __init__(self, audio: Tensor) -> None:
        self.audio = audio

    def __copy__(self) -> Slots:
        raise TypeError


def test_audio_in_dataclasses_and_mappings_is_exchanged() -> None:
    call = Inputs(torch.zeros(2, 800), torch.tensor([800, 500]))
    ((made,), _) = substitute((call,), {}, torch.ones(3, 90), torch.tensor([90, 80, 70]))
    assert torch.equal(made.audio, torch.ones(3, 90))
    assert made.lengths.tolist() == [90, 80, 70]
    ((features,), _) = substitute((UserDict(x=torch.zeros(2, 800)),), {}, torch.ones(3, 90), None)
    assert torch.equal(features["x"], torch.ones(3, 90))


def test_audio_that_can_not_be_exchanged_is_refused() -> None:
    with pytest.raises(ValueError, match="lies where it can't be exchanged"):
        substitute((Slots(torch.zeros(2, 800)),), {}, torch.ones(3, 90), None)
