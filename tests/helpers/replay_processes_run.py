"""Run by test_replay_processes.py: a loop in two processes under watch, and the replay of its checkpoints on two."""

import contextlib
import os
import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from toys import Encoder, Noise, collate

from rankwatch import AudioFolder, RowSampling, Watch, replay

ROWS = RowSampling(n_utterances=24, brief_utterances=8, full_every=3)


def on_audio(model, batch):
    return model(*batch)


def quietly(_):
    """Say nothing."""


def train(rank, folder):
    torch.manual_seed(0)
    model = torch.nn.parallel.DistributedDataParallel(Encoder(layer_drop=0.0))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    sets = {"first_batches": "first_batches", "folder": AudioFolder(folder / "audio", 8_000, forward=on_audio)}
    asked = {"every_n_steps": 2, "rows": ROWS, "strict": True, "max_overhead": None, "eval_sets": sets}
    items = Noise(96).items
    with Watch(model, folder / "run", optimizer=optimizer, **asked) as watch:
        for step in range(1, 11):
            batch = collate([items[(8 * step + 4 * rank + i) % 96] for i in range(4)])
            with watch.batch(batch):
                model(*batch).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            watch.step()
            if step % 2 == 0 and rank == 0:
                torch.save({"model": model.state_dict(), "step": step}, folder / f"step={step}.pt")
            dist.barrier()


def work(rank, folder):
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": sys.argv[2]}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    try:
        with contextlib.redirect_stdout(None) if rank else contextlib.nullcontext():
            train(rank, folder)
            found = replay(
                "toys:Encoder",
                str(folder / "*.pt"),
                like=folder / "run",
                out=folder / "on_two",
                device="cpu",
                say=quietly,
                forward=on_audio,
            )
        assert found.steps == [2, 4, 6, 8, 10], found
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(work, (Path(sys.argv[1]),), nprocs=2)
