"""Run by test_sharded.py: Lightning's strategies for sharded models, ZeRO, passes that fail, in two processes each."""

import contextlib
import json
import os
import sys
import warnings
from pathlib import Path
from unittest import mock

import processes_run
import soundfile
import torch
import torch.distributed as dist
import torch.distributed.fsdp
import torch.distributed.optim
import torch.multiprocessing as mp
from toys import Block, Module, Noise, collate, pl, trainer

from rankwatch import AudioFolder, RankWatch, RowSampling, Watch
from rankwatch.runtime.plain_data import to_plain

COLLAPSE_AT, STEPS = 9, 20
PATIENCE = 200
"""Seconds until two processes are taken to wait for each other for ever."""


class OnTheCpu(torch.distributed.fsdp.FullyShardedDataParallel):
    """Lightning passes the index of a GPU."""

    def __init__(self, *args, device_id=None, **kwargs):
        super().__init__(*args, device_id=torch.device("cpu"), **kwargs)


class Fsdp(pl.strategies.FSDPStrategy):
    """Lightning refuses its own one without a GPU, and only that very class."""

    def _setup_model(self, model):
        with mock.patch.object(torch.distributed.fsdp, "FullyShardedDataParallel", OnTheCpu):
            return super()._setup_model(model)


class Sharded(Module):
    """Collapses from some step on, shards itself where the strategy leaves that to the module."""

    def __init__(self, kind, collapses):
        super().__init__(dropout=0.0, layer_drop=0.0)
        self.kind, self.collapses, self.sharded = kind, collapses, False

    def configure_model(self):
        if self.kind != "fsdp2" or self.sharded:
            return
        from torch.distributed.fsdp import fully_shard

        for module in (*self.encoder.layers, self.encoder, self.head):
            fully_shard(module, mesh=self.device_mesh["data_parallel"])
        self.sharded = True

    def training_step(self, batch, index):
        if self.collapses and self.trainer.global_step >= COLLAPSE_AT:
            for layer in self.encoder.layers:
                layer.collapse.kind = "line"
        return super().training_step(batch, index)

    def configure_optimizers(self):
        if self.kind == "zero":
            return torch.distributed.optim.ZeroRedundancyOptimizer(self.parameters(), torch.optim.Adam, lr=1e-3)
        return torch.optim.SGD(self.parameters(), 0.05)


class Weights(pl.Callback):
    def on_train_end(self, trainer, module):
        self.digest = processes_run.digest(trainer.strategy.model)


def strategy(kind, how):
    if kind == "fsdp":
        form = "sharded" if "collapse" in how else "full"
        return Fsdp(process_group_backend="gloo", auto_wrap_policy={Block}, state_dict_type=form)
    if kind == "fsdp2":
        parallel = {"data_parallel_size": 2, "tensor_parallel_size": 1}
        return pl.strategies.ModelParallelStrategy(**parallel, process_group_backend="gloo")
    return pl.strategies.DDPStrategy(process_group_backend="gloo")


def failing(rank):
    """The user's function fails on one process, before it calls the model."""

    def forward(module, batch):
        if rank == 1:
            raise OSError("no such thing")
        return module.encoder(*batch)

    return forward


def fit(kind, how, rank, folder):
    os.environ["LOCAL_RANK"] = str(rank)
    files = AudioFolder(str(folder.parent / "files"), forward=failing(rank) if "fails" in how else None)
    watch = RankWatch(
        every_n_steps=4,
        rows=RowSampling(n_utterances=16),
        on_collapse="stop",
        max_overhead=None,
        strict="fails" not in how,
        eval_sets={"inside": "first_batches", "files": files},
    )
    weights = Weights()
    saving = pl.callbacks.ModelCheckpoint(folder / "saved", every_n_train_steps=2, save_top_k=1)
    callbacks = [weights, saving] if "alone" in how else [watch, weights, saving]
    pl.seed_everything(0)
    module = Sharded(kind, "collapse" in how)
    steps = 60 if "collapse" in how else STEPS
    options = {"logger": False, "use_distributed_sampler": False, "max_steps": steps}
    run = trainer(folder, *callbacks, strategy=strategy(kind, how), devices=2, **options)
    run.fit(module, torch.utils.data.DataLoader(Noise(160).items[rank::2], 4, collate_fn=collate))
    preserved = folder / "rankwatch" / "RankWatch.last_healthy.ckpt"
    inside = sorted(path.name for path in preserved.iterdir()) if preserved.is_dir() else []
    return {
        "step": run.global_step,
        "weights": weights.digest,
        "readings": [to_plain(one) for one in watch.readings],
        "alarms": [to_plain(one) for one in watch.alarms],
        "preserved": [preserved.exists(), *inside],
    }


def loop(kind, how, rank, folder):
    """A plain loop, in whose evaluation passes a block fails: in all of them, or only on one process."""
    model = processes_run.shard(kind, processes_run.Model())
    block = [module for module in model.modules() if isinstance(module, Block)][1]

    def fail(module, args):
        if not module.training and (rank == 1 or "everywhere" in how):
            raise OSError("no such thing")

    block.inner.register_forward_pre_hook(fail)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    asked = {"every_n_steps": 4, "rows": RowSampling(n_utterances=16), "max_overhead": None}
    watch = Watch(model, folder, **asked) if "alone" not in how else None
    for batch in processes_run.batches(rank, 2):
        with watch.batch(batch) if watch is not None else contextlib.nullcontext():
            model(*batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if watch is not None:
            watch.step()
    if watch is not None:
        watch.close()
    readings = [to_plain(one) for one in watch.readings] if watch is not None else []
    return {"weights": processes_run.digest(model), "readings": readings}


def run(name, rank, folder):
    # Lightning wants to know an address; the processes meet by way of a file, as a free port may be taken meanwhile.
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29500", RANK=str(rank), WORLD_SIZE="2")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder.resolve()}/{name}.store", rank=rank, world_size=2)
    torch.manual_seed(0)
    where, kind, *how = name.split("+")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        there = folder / name if where == "lightning" else folder / f"{name}-{rank}"
        seen = {"lightning": fit, "loop": loop}[where](kind, how, rank, there)
    seen["told"] = [str(one.message) for one in caught if str(one.message).startswith("RankWatch")]
    (folder / f"{name}.{rank}.json").write_text(json.dumps(seen))
    dist.destroy_process_group()


if __name__ == "__main__":
    place = Path(sys.argv[1])
    (place / "files").mkdir()
    for index, samples in enumerate(Noise(16, shortest=2000, longest=4000, seed=2).items):
        soundfile.write(place / "files" / f"{index}.wav", 0.1 * samples.numpy(), 16000)
    context = mp.get_context("fork")
    for name in sys.argv[2:]:
        both = [context.Process(target=run, args=(name, rank, place)) for rank in range(2)]
        for process in both:
            process.start()
        for process in both:
            process.join(PATIENCE)
        ends = [process.exitcode for process in both]
        for process in both:
            process.kill()
        assert ends == [0, 0], (name, ends)  # None: it hung
