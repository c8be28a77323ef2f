"""The encoder: lengths, padding, masks, modes."""

import pytest
import torch
from encoder import FeatureExtractor, SpeechEncoder


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return SpeechEncoder(channels=32, width=32, depth=2, layer_drop=0.0)


@pytest.mark.parametrize("n", [1600, 1759, 1760, 1919, 1920, 16_000, 16_321])
def test_lengths_are_the_frames_there_are(n):
    x, lengths = FeatureExtractor(16)(torch.randn(1, n), torch.tensor([n]))
    assert x.shape == (1, int(lengths[0]), 16)


def test_eval_mode_neither_masks_nor_draws(encoder):
    waveforms, lengths = torch.randn(3, 8000), torch.tensor([8000, 5000, 1600])
    encoder.eval()
    before = torch.get_rng_state()
    with torch.no_grad():
        first, second = encoder(waveforms, lengths), encoder(waveforms, lengths)
    assert first.mask is None
    assert torch.equal(first.features, second.features)
    assert torch.equal(torch.get_rng_state(), before)


@torch.no_grad()
def test_valid_frames_do_not_feel_the_padding(encoder):
    encoder.eval()
    wave = torch.randn(6400)
    short, long = torch.zeros(1, 8000), torch.zeros(1, 16_000)
    short[0, :6400] = long[0, :6400] = wave
    lengths = torch.tensor([6400])
    a, b = encoder(short, lengths), encoder(long, lengths)
    frames = int(a.lengths[0])
    assert frames == int(b.lengths[0]) == 21
    torch.testing.assert_close(a.features[:, :frames], b.features[:, :frames], rtol=1e-4, atol=1e-4)


def test_masked_frames_are_hidden_from_the_student(encoder):
    encoder.train()
    torch.manual_seed(1)
    waveforms, lengths = torch.randn(4, 16_000), torch.full((4,), 16_000)
    seen = []
    hook = encoder.positions.register_forward_pre_hook(lambda module, args: seen.append(args[0].transpose(1, 2)))
    mask = encoder(waveforms, lengths).mask
    hook.remove()
    assert torch.allclose(seen[0][mask], encoder.mask_embedding.expand(int(mask.sum()), -1))
    assert not torch.isclose(seen[0][~mask], encoder.mask_embedding).all(dim=1).any()


def test_masks_are_spans_of_the_expected_share_inside_the_utterance(encoder):
    torch.manual_seed(0)
    valid = torch.arange(400) < torch.tensor([400, 200, 3] * 200).unsqueeze(1)
    mask = encoder.draw_mask(valid)
    assert not (mask & ~valid).any()
    assert mask.any(dim=1).all()
    # One start is forced, which adds at most 8 of 400 frames.
    share = float(mask[0::3].float().mean())
    assert 0.49 < share < 0.53
    # Between two masked runs every run is at least a span long, save at the end.
    runs = "".join("x" if m else " " for m in mask[0].tolist()).rstrip("x").split()
    assert min(len(run) for run in runs) >= encoder.mask_span


def test_layer_drop_skips_layers_in_train_mode_only():
    encoder = SpeechEncoder(channels=16, width=16, depth=3, layer_drop=1.0, dropout=0.0)
    waveforms, lengths = torch.randn(2, 4000), torch.tensor([4000, 4000])
    hidden = encoder.train()(waveforms, lengths).hidden
    assert torch.equal(hidden[0], hidden[2])
    hidden = encoder.eval()(waveforms, lengths).hidden
    assert not torch.equal(hidden[0], hidden[2])


@pytest.mark.parametrize("bad", [{"mask_share": 0.0}, {"mask_share": 1.0}, {"mask_span": 0}])
def test_impossible_masks_are_errors(bad):
    with pytest.raises(ValueError, match="mask_share"):
        SpeechEncoder(**bad)
