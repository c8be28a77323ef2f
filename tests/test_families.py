"""One line on the models that people use: `RankWatch()` inside a real trainer, real classes without weights.

The readings are compared with an independent pass: each utterance alone, unmasked, in eval mode.
"""

import numpy as np
import pytest
import speech_models
import torch
from toys import Noise, collate, pl, trainer

from rankwatch import RankWatch, RowSampling


class TorchaudioHubert(pl.LightningModule):
    """As the torchaudio recipe calls it: `wav2vec2` is bypassed, and the masks are drawn in eval mode too."""

    def __init__(self):
        super().__init__()
        self.model = speech_models.torchaudio_hubert().train()

    def training_step(self, batch, index):
        waveforms, lengths = batch
        frames = self.alone(waveforms[:1])[-1].shape[1]
        labels = torch.zeros(len(waveforms), frames, dtype=torch.long)
        masked, unmasked, _ = self.model(waveforms, labels, lengths)
        return masked.square().mean() + unmasked.square().mean()

    def alone(self, waveform):
        training = self.model.training
        with torch.no_grad(), torch.random.fork_rng():
            layers = self.model.eval().wav2vec2.extract_features(waveform)[0]
        self.model.train(training)
        return layers

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3)


class HuggingFace(pl.LightningModule):
    """A base model given a sample-level attention mask and time masks, as in pretraining."""

    def __init__(self, model):
        super().__init__()
        self.model = model.train()

    def training_step(self, batch, index):
        waveforms, lengths = batch
        attention_mask = (torch.arange(waveforms.shape[1]) < lengths[:, None]).long()
        frames = int(self.model._get_feat_extract_output_lengths(waveforms.shape[1]))
        time_mask = torch.rand(len(waveforms), frames) < 0.4
        out = self.model(waveforms, attention_mask=attention_mask, mask_time_indices=time_mask)
        return out.last_hidden_state.square().mean()

    def alone(self, waveform):
        training = self.model.training
        with torch.no_grad(), torch.random.fork_rng():
            states = self.model.eval()(waveform, output_hidden_states=True).hidden_states
        self.model.train(training)
        return states[1:]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3)


def _hugging_face(family):
    # Group norm over time, the default, sees the padding: then a batch isn't what its utterances are alone.
    return speech_models.hugging_face(f"{family}Config", f"{family}Model", feat_extract_norm="layer", layerdrop=0.0)


FAMILIES = {
    "torchaudio_hubert": TorchaudioHubert,
    "hf_wav2vec2": lambda: HuggingFace(_hugging_face("Wav2Vec2")),
    "hf_hubert": lambda: HuggingFace(_hugging_face("Hubert")),
    "hf_wavlm": lambda: HuggingFace(_hugging_face("WavLM")),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_one_line_reads_the_right_frames_unmasked(tmp_path, family):
    held = []

    class Keep(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            held.extend(w[None, :n].clone() for w, n in zip(*batch, strict=True))

    pl.seed_everything(0)
    module = FAMILIES[family]()
    callback = RankWatch(rows=RowSampling(n_utterances=16, frames_per_utterance=10_000), strict=True)
    data = torch.utils.data.DataLoader(Noise(16, shortest=600, longest=2000).items, 8, collate_fn=collate)
    trainer(tmp_path, callback, Keep(), max_steps=2, logger=False).fit(module, data)
    readings = {(r.step, r.level, r.layer): r for r in callback.readings}
    frontend, *blocks = sorted({r.layer for r in callback.readings}, key=lambda name: ("layers" in name, name))
    assert "feature_extractor" in frontend
    assert len(blocks) == 3
    layers = [module.alone(wave) for wave in held[:16]]
    for depth in (0, 1):  # Hugging Face puts a norm behind the last block's output
        rows = torch.cat([layer[depth][0] for layer in layers]).double().numpy()
        sigma = np.linalg.svd(rows, compute_uv=False)
        p = sigma / sigma.sum()
        reading = readings[2, "frame", blocks[depth]]
        assert reading.n == len(rows)
        assert reading.protocol.input == "clean"
        assert reading.rankme == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-3)
