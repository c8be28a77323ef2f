"""wav2vec 2.0 with Hugging Face's own model, loss and Trainer, watched by `rankwatch.huggingface`.

Baevski et al. 2020, "wav2vec 2.0: A framework for self-supervised learning of speech representations". The model is
built from a small config without weights.

    python examples/huggingface_trainer.py                      # synthesised speech, 300 steps, about a minute
    python examples/huggingface_trainer.py --folder PATH --steps 5000
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from audio_data import AudioDataModule, collate
from torch import Tensor
from transformers import Trainer, TrainingArguments, Wav2Vec2Config, Wav2Vec2ForPreTraining
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices, _sample_negative_indices

from rankwatch import RowSampling
from rankwatch.huggingface import RankWatchCallback

SMALL: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "conv_dim": (64,) * 7,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "num_conv_pos_embeddings": 25,
    "num_conv_pos_embedding_groups": 16,
    "layerdrop": 0.05,
    "codevector_dim": 64,
    "proj_codevector_dim": 64,
    "num_codevectors_per_group": 64,
    "num_negatives": 20,
    "diversity_loss_weight": 0.1,
}


class Collator:
    """Pads, and draws time masks and negatives for the contrastive loss.

    Args:
        model: Tells how many frames come out.
        mask_share: Probability that a frame begins a masked span, times the span's length.
        mask_span: Frames of a masked span.
    """

    def __init__(self, model: Wav2Vec2ForPreTraining, mask_share: float = 0.5, mask_span: int = 6) -> None:
        self.model = model
        self.mask_share = mask_share
        self.mask_span = mask_span

    def __call__(self, waveforms: Sequence[Tensor]) -> dict[str, Tensor]:
        """A dict for the model."""
        batch = collate(waveforms)
        attention: Any = (torch.arange(batch.waveforms.shape[1]) < batch.lengths[:, None]).long()
        frames = int(self.model._get_feat_extract_output_lengths(batch.waveforms.shape[1]))
        valid = self.model._get_feature_vector_attention_mask(frames, attention)
        shape = (len(waveforms), frames)
        masks = _compute_mask_indices(shape, self.mask_share, self.mask_span, attention_mask=valid, min_masks=2)
        negatives = _sample_negative_indices(shape, self.model.config.num_negatives, mask_time_indices=masks)
        return {
            "input_values": batch.waveforms,
            "attention_mask": attention,
            "mask_time_indices": torch.from_numpy(masks),
            "sampled_negative_indices": torch.from_numpy(negatives),
        }


def pretrain(folder: Path | None, steps: int, runs: Path, batch_size: int = 16) -> RankWatchCallback:
    """Train, and come back with what was seen."""
    torch.manual_seed(0)
    data = AudioDataModule(folder, batch_size, max_seconds=1.0, min_seconds=0.4)
    data.prepare_data()
    data.setup("fit")
    model = Wav2Vec2ForPreTraining(Wav2Vec2Config(**SMALL))
    callback = RankWatchCallback(
        every_n_steps=30, rows=RowSampling(n_utterances=32, frames_per_utterance=10), on_collapse="stop"
    )
    arguments = TrainingArguments(
        str(runs),
        max_steps=steps,
        per_device_train_batch_size=batch_size,
        learning_rate=3e-4,
        warmup_steps=steps // 3,
        logging_steps=25,
        save_steps=100,
        save_total_limit=2,
        report_to=[],
        disable_tqdm=True,
        dataloader_drop_last=True,
        dataloader_pin_memory=False,
    )
    trainer = Trainer(
        model, arguments, data_collator=Collator(model), train_dataset=data.train_set, callbacks=[callback]
    )
    trainer.train()
    return callback


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("rankwatch").setLevel(logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="audio to train on; by default speech is synthesised")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--runs", type=Path, default=Path("runs/huggingface"))
    options = parser.parse_args()
    pretrain(options.folder, options.steps, options.runs)
