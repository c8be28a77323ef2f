"""Run by test_sharded_state.py: loops in two processes, each of which has a part of the optimiser or of the weights."""

import contextlib
import os
import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from torch.distributed.checkpoint.state_dict import get_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel
from toys import Encoder, Noise, collate

from rankwatch import RowSampling, Watch

ROWS = RowSampling(n_utterances=24, brief_utterances=8, full_every=3)


def zero(model):
    """Each process has the optimiser's state of half of the weights."""
    model = DistributedDataParallel(model)
    return model, ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, lr=1e-3)


def sharded(model):
    """Each process has half of every weight, and of its state."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    fully_shard(model, mesh=mesh)
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3)


def train(rank, folder, make):
    torch.manual_seed(0)
    model, optimizer = make(Encoder(layer_drop=0.0))
    asked = {"every_n_steps": 2, "rows": ROWS, "strict": True, "max_overhead": None}
    items = Noise(96).items
    with Watch(model, folder / "run", optimizer=optimizer, **asked) as watch:
        for step in range(1, 7):
            batch = collate([items[(8 * step + 4 * rank + i) % 96] for i in range(4)])
            with watch.batch(batch):
                model(*batch).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            watch.step()
            if step % 2 == 0:
                save(model, optimizer, folder, step)
            dist.barrier()


def save(model, optimizer, folder, step):
    """As torch's own guides do: one file with the consolidated state; a folder of shards, with the optimiser's."""
    if isinstance(optimizer, ZeroRedundancyOptimizer):
        optimizer.consolidate_state_dict(to=0)
        if dist.get_rank() == 0:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            (folder / "file").mkdir(exist_ok=True)
            torch.save(state, folder / "file" / f"step={step}.pt")
        weights = {"model": model.module.state_dict()}
        dcp.save(weights, checkpoint_id=folder / "folder" / f"step={step}")
        return
    weights, state = get_state_dict(model, optimizer)
    dcp.save({"model": weights, "optim": state}, checkpoint_id=folder / "folder" / f"step={step}")
    dcp.save({"app": {"model": weights, "optim": state}}, checkpoint_id=folder / "nested" / f"step={step}")


def work(rank, folder, port):
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    try:
        with contextlib.redirect_stdout(None) if rank else contextlib.nullcontext():
            for make in (zero, sharded):
                train(rank, folder / make.__name__, make)
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(work, (Path(sys.argv[1]), sys.argv[2]), nprocs=2)
