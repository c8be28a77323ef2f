"""HuBERT: its units, its lengths, and its masks."""

import pytest
import torch
from audio_data import AudioBatch
from hubert import Hubert, Units


def tones(hertz, n=16_000):
    return torch.sin(2 * torch.pi * hertz * torch.arange(n) / 16_000)


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    module = Hubert(depth=2, width=32, channels=32, n_units=8, layer_drop=0.0)
    module.units.fit([torch.randn(32_000, generator=torch.Generator().manual_seed(1))], seed=0)
    module.log = lambda *args, **kwargs: None
    return module


def test_units_tell_sounds_apart():
    waves = [tones(300.0), tones(1200.0), tones(4000.0)]
    units = Units(8)
    noise = torch.Generator().manual_seed(0)
    units.fit([wave + 1e-3 * torch.randn(16_000, generator=noise) for wave in waves], seed=0)
    # Away from the edges, where the differences are large.
    inner = [set(units(wave.unsqueeze(0), 50)[0, 5:45].tolist()) for wave in waves]
    assert not inner[0] & (inner[1] | inner[2])
    assert not inner[1] & inner[2]


def test_units_fit_the_model_s_frames(module):
    for n in (1600, 8000, 15_999, 16_000, 16_200):
        n_frames = module.n_frames(n)
        units = module.units(torch.randn(2, n), n_frames)
        features, _ = module.model.wav2vec2.feature_extractor(torch.randn(2, n), None)
        assert units.shape == (2, n_frames) == features.shape[:2]
        assert 0 <= int(units.min()) <= int(units.max()) < 8


def test_too_little_audio_for_the_units_is_an_error():
    with pytest.raises(ValueError, match="11 frames are too few for 64 units"):
        Units(64).fit([torch.randn(3200)], seed=0)


def test_loss_is_about_chance_before_training(module):
    torch.manual_seed(0)
    batch = AudioBatch(torch.randn(4, 16_000), torch.tensor([16_000, 9000, 3000, 1600]))
    loss = module.train().training_step(batch, 0)
    assert torch.isfinite(loss)
    # Cosine logits over a temperature of 0.1: near log(8), surely not beyond twice that.
    assert 0.5 < float(loss) < 4.2


def test_masks_are_for_training_only(module):
    waveforms, lengths = torch.randn(2, 8000), torch.tensor([8000, 8000])
    labels = module.units(waveforms, module.n_frames(8000))
    seen = []
    hook = module.model.wav2vec2.encoder.transformer.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    with torch.no_grad():
        for mode in (False, False, True):
            module.train(mode).model(waveforms, labels, lengths)
    hook.remove()
    assert torch.equal(seen[0], seen[1])
    masked = (seen[2] == module.model.mask_generator.generator.mask_embedding).all(2)
    clean = (seen[0] == module.model.mask_generator.generator.mask_embedding).all(2)
    assert 0.2 < float(masked.float().mean()) < 0.9
    assert not clean.any()
