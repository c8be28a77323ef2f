"""A training loop of one's own: the same readings as under the trainer, the same promises."""

import json
import re

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toys import Encoder, Module, Noise, collate, loader, trainer

from rankwatch import RankWatch, RowSampling, Watch
from rankwatch.arguments.settings import WATCH
from rankwatch.runtime.diagnostics import CollapseWarning

LAYERS = ["feature_extractor", "layers.0", "layers.1", "layers.2"]
SETTINGS = {"every_n_steps": 5, "rows": RowSampling(n_utterances=24), "strict": True}


def train(folder, steps=20, watched=True, model=None, accumulate=1, state=None, **settings):
    """Returns the losses, the model and the watch."""
    torch.manual_seed(0)
    model = Encoder() if model is None else model() if isinstance(model, type) else model
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    losses = []
    watch = Watch(model, folder, **{**SETTINGS, **settings}) if watched else None
    if state is not None:
        watch.load_state_dict(state)
    data = torch.utils.data.DataLoader(Noise(), 8, collate_fn=collate)
    batches = iter([batch for _ in range(steps * accumulate // 8 + 1) for batch in data])
    for _ in range(steps):
        for _ in range(accumulate):
            batch = next(batches)
            if watch is None:
                loss = model(*batch).square().mean()
                loss.backward()
            else:
                with watch.batch(batch):
                    loss = model(*batch).square().mean()
                    watch.before_backward()
                    loss.backward()
            losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
        if watch is not None and watch.step():
            break
    if watch is not None:
        watch.close()
    return losses, model, watch


def test_training_is_bit_identical(tmp_path):
    plain, theirs, _ = train(tmp_path / "a", watched=False)
    watched, ours, _ = train(tmp_path / "b", watch=WATCH)
    assert watched == plain
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in ours.modules())


@pytest.mark.parametrize("accumulate", [1, 3])
def test_readings_come_by_optimiser_steps(tmp_path, accumulate):
    _, _, watch = train(tmp_path, accumulate=accumulate)
    first = 3 if accumulate == 1 else 1
    assert sorted({r.step for r in watch.readings}) == [first, 5, 10, 15, 20]
    assert {r.layer for r in watch.readings} == set(LAYERS)
    assert watch.steps == 20
    assert watch.metrics["RankWatch/alarm_level"] == 0


def test_the_first_reading_is_the_trainers(tmp_path):
    """Same model, same utterances, before anything was learnt (a learning rate of nought)."""

    class Still(Module):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.0)

    torch.manual_seed(0)
    module = Still()
    callback = RankWatch(**SETTINGS)
    data = torch.utils.data.DataLoader(Noise().items, 8, collate_fn=collate)
    trainer(tmp_path / "a", callback, max_steps=3, logger=False).fit(module, data)
    with Watch(module.encoder, tmp_path / "b", **SETTINGS) as watch:
        for batch in list(data)[:3]:
            with watch.batch(batch):
                module.encoder(*batch)
            watch.step()

    def values(readings):
        return {(r.step, r.level, r.layer.removeprefix("encoder.")): r.effective_rank for r in readings}

    assert values(watch.readings) == values(callback.readings)


def test_files_and_pictures(tmp_path):
    train(tmp_path)
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert {"RankWatch/health", "RankWatch_frame/L00", "RankWatch_utterance/L03"} <= set(events.Tags()["scalars"])
    assert "RankWatch/heatmap_frame" in events.Tags()["images"]
    records = [json.loads(line) for line in (tmp_path / "RankWatch.jsonl").read_text().splitlines()]
    assert {"run", "protocol", "reading", "cost", "end"} <= {record["record"] for record in records}


def test_a_writer_of_ones_own_stays_open(tmp_path):
    writer = torch.utils.tensorboard.SummaryWriter(str(tmp_path / "mine"))
    train(tmp_path / "ours", writer=writer)
    writer.add_scalar("after", 1.0)
    writer.close()
    events = EventAccumulator(str(tmp_path / "mine")).Reload()
    assert {"after", "RankWatch/health"} <= set(events.Tags()["scalars"])
    assert not list((tmp_path / "ours").glob("events*"))


def collapse(folder):
    """Breaks after 12 steps; the one checkpoint is deleted then. Returns the steps at which a stop was asked for."""
    torch.manual_seed(0)
    model, data, stops = Encoder(), list(loader()), []
    with Watch(model, folder, on_collapse="stop", **SETTINGS) as watch:
        for step in range(1, 41):
            with watch.batch(data[step % 8]):
                model(*data[step % 8])
            if step == 10:
                torch.save({"step": 10}, folder / "at10.pt")
                watch.saved(folder / "at10.pt")
            if step == 12:
                (folder / "at10.pt").unlink()
                for layer in model.layers:
                    layer.collapse.kind = "line"
            if watch.step():
                stops.append(step)
    return stops


def test_a_collapse_asks_for_a_stop_once_and_the_checkpoint_before_it_is_kept(tmp_path):
    with pytest.warns(CollapseWarning, match=r"CRITICAL.*Last healthy checkpoint"):
        stops = collapse(tmp_path)
    assert stops == [20]  # 15, 17 and 19 are three readings in a row; what came of the last is told a step later
    assert torch.load(tmp_path / "RankWatch.last_healthy.ckpt", weights_only=True) == {"step": 10}


def break_off(model, folder):
    with Watch(model, folder, **{**SETTINGS, "every_n_steps": 1}) as watch:
        for batch in loader():
            with watch.batch(batch):
                model(*batch)
            watch.step()
        raise KeyError


def test_an_exception_closes_the_books(tmp_path):
    model = Encoder()
    with pytest.raises(KeyError):
        break_off(model, tmp_path)
    end = json.loads((tmp_path / "RankWatch.jsonl").read_text().splitlines()[-1])
    assert end["record"] == "end"
    assert "KeyError" in json.dumps(end)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_fewer_utterances_than_asked_for_are_read_after_the_epoch(tmp_path):
    model = Encoder()
    with Watch(model, tmp_path, every_n_steps=5, rows=RowSampling(n_utterances=500)) as watch:
        for batch in loader():
            with watch.batch(batch):
                model(*batch)
            watch.step()
        watch.epoch()
        with watch.batch(batch):
            model(*batch)
        watch.step()
        assert not watch.readings  # they are being worked on
    assert {r.step for r in watch.readings} == {9}
    assert {r.n for r in watch.readings if r.level == "utterance"} == {64}


def test_resumed_it_goes_on_with_the_same_probe_set(tmp_path):
    _, model, first = train(tmp_path, steps=10)
    state = first.state_dict()
    torch.save(state, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    _, _, second = train(tmp_path, steps=10, model=model, state=state)
    assert sorted({r.step for r in second.readings}) == [15, 20]
    assert {r.protocol.eval_set for r in second.readings} == {r.protocol.eval_set for r in first.readings}


def test_each_layer_says_where_it_was_tapped_after_a_restart_as_before(tmp_path):
    _, model, first = train(tmp_path, steps=10)
    _, _, second = train(tmp_path, steps=10, model=model, state=first.state_dict())
    taps = dict.fromkeys(LAYERS, "norm") | {"feature_extractor": "activation"}
    for watch in (first, second):
        assert {(r.layer, r.protocol.tap) for r in watch.readings} == set(taps.items())
    ids = [{(r.level, r.layer): r.protocol.id for r in watch.readings} for watch in (first, second)]
    assert ids[0] == ids[1]
    records = [json.loads(line) for line in (tmp_path / "RankWatch.jsonl").read_text().splitlines()]
    assert {row["layer"]: row["tap"] for row in records[0]["layers"]} == taps
    assert {r["tap"] for r in records if r["record"] == "protocol"} == {"norm", "activation"}


def test_a_typo_is_named(tmp_path):
    with pytest.raises(TypeError, match=re.escape("no argument 'every_n_stepps'. Did you mean every_n_steps? Besides")):
        Watch(Encoder(), tmp_path, every_n_stepps=3)


def test_a_loop_without_batches_is_told_so(tmp_path):
    watch = Watch(Encoder(), tmp_path)
    with pytest.warns(RuntimeWarning, match=r"step\(\) without a batch: put `with watch.batch\(batch\):` around"):
        watch.step()
    watch.close()


def test_utterances_that_come_again_are_not_held_back_twice(tmp_path):
    model, batches = Encoder(), list(torch.utils.data.DataLoader(Noise(16).items, 8, collate_fn=collate))
    with Watch(model, tmp_path, rows=RowSampling(n_utterances=64), every_n_steps=5) as watch:
        for index in range(10):
            with watch.batch(batches[index % 2]):
                model(*batches[index % 2])
            watch.step()
    assert {r.n for r in watch.readings if r.level == "utterance"} == {16}
    assert {r.step for r in watch.readings} == {6, 10}


def test_a_clip_that_comes_twice_does_not_end_the_probe_set(tmp_path):
    model, clips = Encoder(), Noise(10).items
    order = [0, 1, 0, 1, 2, 2, 3, 4, 5, 6, 7]
    with Watch(model, tmp_path, rows=RowSampling(n_utterances=8), every_n_steps=100) as watch:
        for index in order:
            batch = collate([clips[index]])
            with watch.batch(batch):
                model(*batch)
            watch.step()
    assert {r.n for r in watch.readings if r.level == "utterance"} == {8}


class Moving(Encoder):
    """Moves a frozen copy along in each forward pass, in eval mode too."""

    def __init__(self):
        super().__init__()
        self.teacher = torch.nn.Linear(3, 3).requires_grad_(False)

    def forward(self, waveforms, lengths):
        with torch.no_grad():
            self.teacher.weight.mul_(0.9)
        return super().forward(waveforms, lengths)


def test_a_forward_pass_that_moves_parameters_is_refused_and_training_untouched(tmp_path):
    plain, theirs, _ = train(tmp_path / "a", watched=False, model=Moving)
    with pytest.warns(RuntimeWarning, match=r"changes parameters \(teacher.weight, 1 in all\)"):
        watched, ours, watch = train(tmp_path / "b", model=Moving, strict=False)
    assert not watch.readings
    assert watched == plain
    assert torch.equal(ours.teacher.weight, theirs.teacher.weight)


class Scripted(Encoder):
    """With a scripted part beside, as a voice activity detector is."""

    def __init__(self):
        super().__init__()
        self.vad = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(4, 1), torch.nn.BatchNorm1d(1)))


def test_a_scripted_part_beside_the_encoder(tmp_path):
    plain, _, _ = train(tmp_path / "a", watched=False, model=Scripted)
    watched, _, watch = train(tmp_path / "b", model=Scripted)
    assert watched == plain
    assert watch.readings


IN_PLACE = [
    pytest.param(f"{part} in place", marks=pytest.mark.slow) for part in ("whole", "block")
]  # as in test_compile


@pytest.mark.parametrize("part", ["whole", *IN_PLACE])
def test_compiled_models(tmp_path, part):
    """The eager backend: what matters is which modules are called, and that nothing is broken up."""

    def make():
        model = Encoder(layer_drop=0.0)
        if part == "whole":
            return torch.compile(model, backend="eager")
        (model.layers[1] if part == "block in place" else model).compile(backend="eager")
        return model

    seen = {}
    for watched in (False, True):
        torch.compiler.reset()
        torch.manual_seed(0)
        seen[watched] = train(tmp_path / str(watched), steps=8, watched=watched, model=make())
    assert seen[True][0] == seen[False][0]
    readings = seen[True][2].readings
    assert {r.layer for r in readings} == set(LAYERS)
    assert {r.step for r in readings} == {3, 5, 8}


def test_another_default_device(tmp_path):
    """As after `torch.set_default_device("cuda")`; the meta device stands in: no number of ours survives on it."""

    class Positions(Encoder):
        """Makes a tensor on the default device in its forward pass, as models do under that setting."""

        devices = ()

        def forward(self, waveforms, lengths):
            self.devices = {*self.devices, torch.zeros(1).device.type}
            return super().forward(waveforms, lengths)

    torch.manual_seed(0)
    model, batches = Positions(layer_drop=0.0, dropout=0.0), list(loader())
    model.eval()  # layer drop draws on the default device
    with torch.device("meta"), Watch(model, tmp_path, **SETTINGS) as watch:
        for batch in batches:
            with watch.batch(batch):
                model(*batch)
            watch.step()
    assert model.devices == {"meta"}
    assert {r.layer for r in watch.readings} == set(LAYERS)
    assert all(r.ok for r in watch.readings)
    assert {r.step for r in watch.readings} == {3, 5, 8}
