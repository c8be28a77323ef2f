"""Run by test_ddp.py in a process of its own: fits with one or two processes, and writes down what each saw."""

import hashlib
import json
import sys
from pathlib import Path

import soundfile
import torch
from toys import Encoder, Module, Noise, collate, pl, trainer

from rankwatch import RankWatch, RowSampling
from rankwatch.runtime.plain_data import to_plain


class Write(pl.Callback):
    """What this process saw, as JSON."""

    def __init__(self, path):
        self.path = Path(path)

    def on_train_end(self, trainer, module):
        watch = next((cb for cb in trainer.callbacks if isinstance(cb, RankWatch)), None)
        seen = {
            "step": trainer.global_step,
            "losses": module.losses,
            "weights": hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in module.parameters())).hexdigest(),
            "readings": [to_plain(r) for r in watch.readings] if watch else [],
            "alarms": [to_plain(a) for a in watch.alarms] if watch else [],
        }
        self.path.with_suffix(f".{trainer.global_rank}.json").write_text(json.dumps(seen))


class Strided(pl.LightningDataModule):
    """Each process gets every so-many-th utterance, in order."""

    def __init__(self, batch_size):
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self):
        items = Noise(64).items[self.trainer.global_rank :: self.trainer.world_size]
        return torch.utils.data.DataLoader(items, self.batch_size, collate_fn=collate)


class Still(Module):
    """Doesn't learn, so that every reading is of the same weights."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)


class TalkingEncoder(Encoder):
    """Agrees with the other processes on the longest input in each forward pass, as NeMo's encoder does."""

    def forward(self, waveforms, lengths):
        longest = torch.tensor(waveforms.shape[1])
        torch.distributed.all_reduce(longest, torch.distributed.ReduceOp.MAX)
        return super().forward(waveforms, lengths)


class Talking(Still):
    def __init__(self):
        super().__init__()
        self.encoder = TalkingEncoder()


def audio_files(folder):
    """33 of them: one process has two batches to run, the other has one."""
    folder.mkdir(exist_ok=True)
    for index, samples in enumerate(Noise(33, shortest=2000, longest=4000, seed=2).items):
        soundfile.write(folder / f"{index}.wav", 0.1 * samples.numpy(), 16000)
    return {"inside": "first_batches", "files": str(folder)}


def fit(kind, folder, processes):
    made = {"still": Still, "train": Module, "collapse": lambda: Module(collapse="line"), "talking": Talking}
    asked = (
        {"rows": RowSampling(n_utterances=33), "eval_sets": audio_files(folder / "files")} if kind == "talking" else {}
    )
    watch = RankWatch(
        **{"every_n_steps": 4, "rows": RowSampling(n_utterances=32), "on_collapse": "stop", "strict": True, **asked}
    )
    callbacks = [Write(folder / f"{kind}-{processes}")] + ([watch] if kind != "train-alone" else [])
    pl.seed_everything(0)
    module = made["train" if kind == "train-alone" else kind]()
    # Layer drop leaves parameters unused.
    ddp = pl.strategies.DDPStrategy(start_method="fork", find_unused_parameters=True)
    strategy = {"strategy": ddp, "devices": processes} if processes > 1 else {"devices": 1}
    options = {"logger": False, "enable_checkpointing": False, "use_distributed_sampler": False}
    run = trainer(folder / kind, *callbacks, max_steps=40 if kind == "collapse" else 8, **options, **strategy)
    run.fit(module, datamodule=Strided(16 // processes))


if __name__ == "__main__":
    for job in sys.argv[2:]:
        name, count = job.split(":")
        fit(name, Path(sys.argv[1]), int(count))
