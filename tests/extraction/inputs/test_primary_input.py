"""The audio of a batch is what its utterances are told by, whatever else is larger."""

import pytest
import torch

from rankwatch.extraction.inputs.utterance_keys import primary_input


@pytest.mark.parametrize("shape", [(8, 60, 60), (4, 1, 60, 60), (4, 2, 60, 60), (60, 60)])
@pytest.mark.parametrize("masked", [float("-inf"), -1e9, 1.0])
def test_a_mask_of_attention_is_no_audio_however_large(shape, masked):
    audio, mask = torch.randn(4, 80), torch.zeros(shape).expand(shape).clone()
    mask[..., 50:] = masked
    assert primary_input(((audio, mask), {}), None) is audio


def test_a_square_spectrogram_is_audio_and_so_is_the_only_tensor_there_is():
    spectrogram, constant = torch.randn(4, 60, 60), torch.zeros(4, 60, 60)
    assert primary_input((torch.randn(4, 80), spectrogram)) is spectrogram
    assert primary_input((constant,)) is constant
