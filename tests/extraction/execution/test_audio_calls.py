"""Lengths reach a model as it takes them: numbers of samples, or shares of the longest."""

import pytest
import torch
from torch import nn

from rankwatch.extraction.execution.audio_calls import audio_calls
from rankwatch.extraction.model.layers import find_layers


class TakesLengths(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.Linear(4, 4)

    def forward(self, wavs, wav_lens=None):
        self.lengths = wav_lens
        return self.block(wavs.reshape(len(wavs), -1, 4))


class OfSpeechBrain(nn.Linear):
    """Stands for any layer of SpeechBrain's."""


OfSpeechBrain.__module__ = "speechbrain.nnet.linear"


@pytest.mark.parametrize(("part", "expected"), [(nn.Linear, [16.0, 8.0]), (OfSpeechBrain, [1.0, 0.5])])
def test_lengths_are_samples_and_of_speechbrains_models_shares(part, expected):
    model = TakesLengths()
    model.block = part(4, 4)
    call = audio_calls(model, find_layers(model, ["block"]))[0]
    assert call.takes_lengths
    call.run(torch.zeros(2, 16), torch.tensor([16, 8]))
    assert model.lengths.tolist() == expected
