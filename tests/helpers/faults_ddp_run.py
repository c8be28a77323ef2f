"""Run by test_faults_ddp.py in a process of its own: two processes, of which the second has the trouble."""

import sys
from pathlib import Path

import torch
from ddp_run import Still, Strided, Write
from toys import pl, trainer

from rankwatch import FirstBatches, RankWatch, RowSampling

DDPStrategy = pl.strategies.DDPStrategy


class Poisoned(Strided):
    """NaN in one utterance of the second process."""

    def train_dataloader(self):
        loader = super().train_dataloader()
        if self.trainer.global_rank == 1:
            loader.dataset[3] = torch.full_like(loader.dataset[3], torch.nan)
        return loader


class Careful(Still):
    """Looks at the audio as it is, and learns from it without NaN."""

    def training_step(self, batch, index):
        waveforms, lengths = batch
        with torch.no_grad():
            self.encoder(waveforms, lengths)
        return super().training_step((waveforms.nan_to_num(), lengths), index)


def raises_on_the_second(module, batch):
    if torch.distributed.get_rank() == 1:
        raise ValueError("made up")
    module.encoder(*batch)


def fit(kind, folder):
    own = {"eval_sets": FirstBatches(forward=raises_on_the_second)} if kind == "raises" else {}
    watch = RankWatch(every_n_steps=4, rows=RowSampling(n_utterances=32), on_collapse="stop", **own)
    pl.seed_everything(0)
    ddp = DDPStrategy(start_method="fork", find_unused_parameters=True)  # layer drop leaves parameters unused
    options = {"logger": False, "enable_checkpointing": False, "use_distributed_sampler": False}
    run = trainer(folder / kind, watch, Write(folder / kind), max_steps=8, strategy=ddp, devices=2, **options)
    run.fit(Careful(), datamodule=(Poisoned if kind == "nan" else Strided)(8))


if __name__ == "__main__":
    for job in sys.argv[2:]:
        fit(job, Path(sys.argv[1]))
