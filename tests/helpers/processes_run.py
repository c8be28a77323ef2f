"""Run by test_processes.py: loops of plain torch in two processes each; writes down what each saw."""

import contextlib
import functools
import hashlib
import json
import os
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from toys import Encoder, Module, Noise, collate, pl, trainer

import rankwatch.runtime.reading_schedule
import rankwatch.runtime.stopwatch
from rankwatch import CollapseError, FirstBatches, RankWatch, RowSampling, Watch
from rankwatch.arguments.settings import Settings
from rankwatch.run.session import Session
from rankwatch.runtime.distributed import ProcessGroup
from rankwatch.runtime.plain_data import to_plain

STEPS = 12


class Model(torch.nn.Module):
    """Its own parameters, and those of the encoder's front end, are in the outermost unit."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder(dropout=0.0, layer_drop=0.0)
        self.gain = torch.nn.Parameter(torch.ones(32))

    def forward(self, waveforms, lengths):
        return self.gain * self.encoder(waveforms, lengths)


def shard(kind, model):
    """As FSDP1 or FSDP2 would be used: each block a unit, and the whole."""
    if kind == "ddp":
        return torch.nn.parallel.DistributedDataParallel(model)
    layers = model.encoder.layers
    if kind == "fsdp2":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        for module in (*layers, model):
            fully_shard(module, mesh=mesh)
        return model
    from torch.distributed.fsdp import FullyShardedDataParallel

    unit = functools.partial(
        FullyShardedDataParallel, device_id=torch.device("cpu"), use_orig_params=kind == "fsdp1-original"
    )
    for index, layer in enumerate(layers):
        layers[index] = unit(layer)
    return unit(model)


def batches(rank, world, steps=STEPS, size=4):
    items = Noise(96).items
    for step in range(steps):
        yield collate([items[((step * world + rank) * size + i) % 96] for i in range(size)])


def digest(model):
    whole = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
    return hashlib.sha256(b"".join(p.detach().contiguous().numpy().tobytes() for p in whole)).hexdigest()


def sharded(kind, rank, folder, *, watched, late):
    """A model in units, watched from before it was wrapped (as by Lightning's callback) or after."""
    model = Model()
    asked = {"every_n_steps": 4, "rows": RowSampling(n_utterances=16), "strict": True, "max_overhead": None}
    session = None
    if watched and late:
        world, group = rankwatch.runtime.distributed.processes()
        wrapped = []
        session = Session(Settings(**asked), folder=folder, world=world, group=group, outermost=lambda: wrapped[0])
        session.attach(model)
        wrapped.append(shard(kind, model))
        model = wrapped[0]
        session.begin()
    else:
        model = shard(kind, model)
    watch = Watch(model, folder, **asked) if watched and not late else None
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for step, batch in enumerate(batches(rank, 2)):
        if session is not None:
            session.batch_starts(batch, step)
        with watch.batch(batch) if watch is not None else contextlib.nullcontext():
            model(*batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if session is not None:
            session.batch_ends(batch)
            session.read_if_due(step + 1, lambda: ([], []))
        if watch is not None:
            watch.step()
    if session is not None:
        session.end(STEPS, lambda: ([], []))
        session.close()
    if watch is not None:
        watch.close()
    seen = session or watch
    return {"weights": digest(model), "readings": [to_plain(r) for r in seen.readings] if seen is not None else []}


class Clock:
    """Seconds of this process's own, whatever the machine's speed: steps and evaluation passes take some."""

    def __init__(self, step):
        self.now, self.step = 0.0, step

    def perf_counter(self):
        return self.now

    def advance(self):
        self.now += self.step

    def evaluate(self, module, batch):
        self.now += 1.0
        return module(*batch)


def loop(rank, folder, model, *, micro=lambda rank: 1, leaves=None, clock=None, steps=STEPS, state=(), **asked):
    """DDP with gradient accumulation; `micro(rank)` batches to a step, all but the last without synchronisation."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    settings = {"every_n_steps": 4, "rows": RowSampling(n_utterances=16), "max_overhead": None, **asked}
    stream = iter(batches(rank, 2, steps=100))
    with Watch(model, folder, **settings) as watch:
        if state != ():  # None: this process has lost it
            watch._session.load_state_dict(state)
        for step in range(steps):
            count = micro(rank)
            for index in range(count):
                alone = contextlib.nullcontext() if index == count - 1 or not hasattr(model, "no_sync") else None
                batch = next(stream)
                with watch.batch(batch), alone or model.no_sync():
                    model(*batch).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            watch.step()
            if clock is not None:
                clock.advance()
            if leaves == (rank, step):
                os._exit(0)
    return {"readings": [to_plain(r) for r in watch.readings], "steps": watch.steps}


def raising(rank, where=1):
    def probe(module, batch):
        if rank == where:
            raise OSError("no such thing")
        return module(*batch)

    return probe


def error(caught, folder):
    """Of a collapse, and what had been written when it was raised: this process leaves at once."""
    there = [path.name for path in folder.rglob("*") if path.is_file()]
    records = [line for path in folder.rglob("*.jsonl") for line in path.read_text().splitlines()]
    return {
        "error": [caught.step, caught.message, str(caught.checkpoint)],
        "files": sorted(there),
        "last": json.loads(records[-1]) if records else {},
    }


def loop_that_raises(rank, folder, model):
    """A collapse in a loop of plain torch; the healthy checkpoint is known to the first process alone."""
    with Watch(
        model, folder, every_n_steps=2, rows=RowSampling(n_utterances=16), on_collapse="raise", strict=True
    ) as watch:
        try:
            for step, batch in enumerate(batches(rank, 2, steps=60)):
                if step == 3:
                    torch.save({}, folder / "at3.pt")
                    watch.saved(folder / "at3.pt")
                if step == 6:
                    for layer in model.module.layers:
                        layer.collapse.kind = "line"
                with watch.batch(batch):
                    model(*batch)
                watch.step()
        except CollapseError as caught:
            return error(caught, folder)
    raise AssertionError("no collapse was seen")


def trainer_that_raises(rank, folder):
    """The same under Lightning, with gradient accumulation, in processes that somebody else has started."""
    os.environ["LOCAL_RANK"] = str(rank)
    watch = RankWatch(
        every_n_steps=2, rows=RowSampling(n_utterances=16), on_collapse="raise", strict=True, max_overhead=None
    )
    ddp = pl.strategies.DDPStrategy(process_group_backend="gloo", find_unused_parameters=True)
    settings = {"max_steps": 60, "min_steps": 50, "accumulate_grad_batches": 2, "use_distributed_sampler": False}
    run = trainer(folder, watch, strategy=ddp, devices=2, logger=False, enable_checkpointing=False, **settings)
    data = torch.utils.data.DataLoader(Noise(64).items[rank::2], 4, collate_fn=collate)
    try:
        run.fit(Module(collapse="line"), data)
    except CollapseError as caught:
        return {**error(caught, folder), "step": run.global_step, "batch": run.fit_loop.epoch_loop.batch_idx}
    raise AssertionError("no collapse was seen")


def job(name, rank, folder):
    if name.startswith(("fsdp", "ddp")):
        kind, *how = name.split("+")
        return sharded(kind, rank, folder, watched="alone" not in how, late="late" in how)
    if name == "collapse-trainer":
        return trainer_that_raises(rank, folder.with_name(name))
    model = torch.nn.parallel.DistributedDataParallel(Encoder(dropout=0.0, layer_drop=0.0))
    if name == "collapse":
        return loop_that_raises(rank, folder, model)
    if name == "uneven":
        return loop(rank, folder, model, micro=lambda rank: 2 + rank, strict=True)
    if name == "raising":
        return loop(rank, folder, model, eval_sets=FirstBatches(forward=raising(rank)))
    if name == "raising-first":
        return loop(rank, folder, model, eval_sets=FirstBatches(forward=raising(rank, 0)))
    if name == "brief":
        rows = RowSampling(n_utterances=32, frames_per_utterance=2, brief_utterances=8, full_every=4, projection=None)
        return loop(rank, folder, model, rows=rows, every_n_steps=2, steps=30, strict=True)
    if name == "lost":
        before = Watch(model, folder / "before", rows=RowSampling(n_utterances=16))
        state = before.state_dict() if rank else None
        before.close(RuntimeError("cut"))
        return loop(rank, folder, model, state=state, strict=True)
    if name == "stretched":
        rankwatch.runtime.reading_schedule._ALLOWANCE = 0.0
        clock = Clock(step=100.0 if rank else 1.0)
        rankwatch.runtime.stopwatch.time = SimpleNamespace(perf_counter=clock.perf_counter)
        asked = {"max_overhead": 0.5, "every_n_steps": 1, "eval_sets": FirstBatches(forward=clock.evaluate)}
        return loop(rank, folder, model, clock=clock, steps=60, strict=True, **asked)
    rankwatch.runtime.distributed.ProcessGroup = functools.partial(ProcessGroup, 60.0)
    if name == "gone":  # without DDP, which would have noticed itself
        return loop(rank, folder, Encoder(), leaves=(1, 6), every_n_steps=2)
    assert name == "apart"
    return loop(rank, folder, Encoder(), rows=RowSampling(n_utterances=500), steps=STEPS if rank else 4)


def run(name, rank, folder):
    # Lightning wants to know an address; the processes meet by way of a file, as a free port may be taken meanwhile.
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29500", RANK=str(rank), WORLD_SIZE="2")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder.resolve()}/{name}.store", rank=rank, world_size=2)
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        seen = job(name, rank, folder / f"{name}-{rank}")
    seen["told"] = [str(w.message) for w in caught if str(w.message).startswith("RankWatch")]
    (folder / f"{name}.{rank}.json").write_text(json.dumps(seen))
    if name not in ("gone", "apart"):
        dist.destroy_process_group()


if __name__ == "__main__":
    context = mp.get_context("fork")
    for name in sys.argv[2:]:
        both = [context.Process(target=run, args=(name, rank, Path(sys.argv[1]))) for rank in range(2)]
        for process in both:
            process.start()
        for process in both:
            process.join()  # whoever started this ends it, if it hangs
        assert [process.exitcode for process in both] == [0, 0], (name, [process.exitcode for process in both])
