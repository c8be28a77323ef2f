"""The callback in a real trainer: what a user sees."""

import json
import time
import warnings

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toys import Encoder, Manual, Module, Noise, collate, loader, pl, trainer

from rankwatch import RankWatch, RowSampling
from rankwatch.arguments.settings import WATCH
from rankwatch.reporting import read_jsonl
from rankwatch.reporting.tensorboard import TensorBoardReporter
from rankwatch.runtime.diagnostics import CollapseWarning

CSVLogger = pl.loggers.CSVLogger
EarlyStopping, ModelCheckpoint = pl.callbacks.EarlyStopping, pl.callbacks.ModelCheckpoint
LAYERS = ["encoder.feature_extractor", "encoder.layers.0", "encoder.layers.1", "encoder.layers.2"]


def watch(**arguments):
    return RankWatch(**{"every_n_steps": 5, "rows": RowSampling(n_utterances=24), "strict": True, **arguments})


def fit(folder, *callbacks, seed=0, data=None, model=None, ckpt_path=None, **arguments):
    pl.seed_everything(seed)
    module = model or Module()
    run = trainer(folder, *callbacks, **arguments)
    run.fit(module, data or loader(shuffle=True), ckpt_path=ckpt_path)
    return module, run


def test_training_is_bit_identical_with_and_without_us(tmp_path):
    plain, _ = fit(tmp_path / "plain")
    watched, _ = fit(tmp_path / "watched", watch(watch=WATCH))
    assert plain.losses == watched.losses
    for ours, theirs in zip(watched.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_readings_of_every_layer_at_both_levels(tmp_path):
    callback = watch(watch=WATCH)
    fit(tmp_path, callback)
    steps = sorted({r.step for r in callback.readings})
    assert steps == [3, 5, 10, 15, 20]  # as soon as 24 utterances are held back, then every fifth
    last = [r for r in callback.readings if r.step == 20]
    assert {(r.source, r.level, r.layer) for r in last} == {
        (source, level, layer)
        for source in ("first_batches", "train")
        for level in ("frame", "utterance")
        for layer in LAYERS
    }
    for reading in last:
        if reading.source == "first_batches":  # in the training pass layer drop skips some batches
            assert reading.n == (96 if reading.level == "frame" else 24)
        assert reading.d == 32
        assert 1 <= reading.effective_rank <= 32
        assert reading.protocol.mode == ("train" if reading.source == "train" else "eval")
    assert not callback.alarms


def test_the_last_reading_is_drawn_and_its_time_counted(tmp_path, monkeypatch):
    drawn = []

    def slow_settle(reporter, settle=TensorBoardReporter.settle):
        time.sleep(0.5)
        settle(reporter)
        drawn.append(reporter)

    monkeypatch.setattr(TensorBoardReporter, "settle", slow_settle)
    callback = watch()
    fit(tmp_path, callback)
    assert len(drawn) == 1
    events = EventAccumulator(str(tmp_path / "lightning_logs/version_0"), size_guidance={"images": 0}).Reload()
    assert events.Images("RankWatch/heatmap_frame")[-1].step == 20
    records = [json.loads(line) for line in next(tmp_path.rglob("RankWatch.jsonl")).read_text().splitlines()]
    (end,) = [record for record in records if record["record"] == "end"]
    assert end["seconds"] > 0.5


def test_the_rank_is_that_of_the_valid_frames_in_eval_mode(tmp_path):
    """An independent reading: every valid frame of the same utterances, one by one, plain float64 SVD."""
    data = loader(count=24)
    callback = watch(rows=RowSampling(n_utterances=24, frames_per_utterance=10_000))
    held = []

    class Keep(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            held.extend(w[:n].clone() for w, n in zip(*batch, strict=True))

    module, _ = fit(tmp_path, callback, Keep(), data=data, max_steps=3)
    module.eval()
    rows = []
    with torch.no_grad():
        for wave in held[:24]:
            rows.append(module.encoder(wave[None], torch.tensor([len(wave)]))[0])
    x = torch.cat(rows).double().numpy()
    sigma = np.linalg.svd(x, compute_uv=False)
    p = sigma / sigma.sum()
    expected = np.exp(-(p * np.log(p)).sum())
    reading = next(r for r in callback.readings if (r.step, r.level, r.layer) == (3, "frame", LAYERS[-1]))
    assert reading.n == len(x)
    assert reading.rankme == pytest.approx(expected, rel=1e-4)  # float32 forward passes, batched and alone


@pytest.mark.parametrize(("collapse", "kind"), [("constant", "complete_collapse"), ("line", "dimensional_collapse")])
def test_a_collapse_is_seen_through_dropout_and_stops_the_run(tmp_path, collapse, kind):
    callback = watch(on_collapse="stop")
    with pytest.warns(CollapseWarning, match=r"CRITICAL.*encoder\.layers"):
        _, run = fit(tmp_path, callback, model=Module(collapse=collapse, dropout=0.1), max_steps=200)
    assert run.global_step < 50
    critical = [alarm for alarm in callback.alarms if alarm.severity == "critical"]
    assert {alarm.layer for alarm in critical} == set(LAYERS[1:])
    assert {alarm.kind for alarm in critical} == {kind}
    assert {alarm.level for alarm in critical} == {"frame"}
    collapse_file = next(tmp_path.rglob("*collapse-step=*.ckpt"))
    assert torch.load(collapse_file, weights_only=True)["global_step"] == run.global_step


def test_the_last_healthy_checkpoint_outlives_the_trainers_clean_up(tmp_path):
    class Break(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            if trainer.global_step == 40:
                for layer in module.encoder.layers:
                    layer.collapse.kind = "line"

    keep = ModelCheckpoint(every_n_train_steps=2, save_top_k=1, monitor="step", mode="max", dirpath=str(tmp_path / "c"))
    callback = watch(on_collapse="stop")
    with pytest.warns(CollapseWarning, match=r"the last reading without an alarm was made, at step 40"):
        _, run = fit(tmp_path, Break(), callback, keep, max_steps=200)
    assert run.global_step == 48  # 45 and 47 are two readings in a row, the second sooner; it is told of a step later
    kept = next(tmp_path.rglob("RankWatch.last_healthy.ckpt"))
    assert torch.load(kept, weights_only=True)["global_step"] <= 40
    assert {alarm.since for alarm in callback.alarms if alarm.severity == "critical"} == {45}


def test_nan_is_an_alarm_and_no_crash(tmp_path):
    class Poison(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            if trainer.global_step == 3:  # just before the first reading
                with torch.no_grad():
                    module.encoder.layers[1].inner.linear2.bias[0] = float("nan")

    callback = watch()
    with pytest.warns(CollapseWarning, match="NaN"):
        fit(tmp_path, Poison(), callback, max_steps=3)
    assert {a.kind for a in callback.alarms if a.severity == "critical"} == {"non_finite"}
    assert {a.layer for a in callback.alarms} == set(LAYERS[2:])
    assert all(np.isnan(r.effective_rank) for r in callback.readings if r.layer in LAYERS[2:])


def test_event_files_hold_the_curves_and_jsonl_holds_everything(tmp_path):
    callback = watch()
    fit(tmp_path, callback)
    events = EventAccumulator(str(tmp_path / "lightning_logs/version_0"), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"RankWatch/health", "RankWatch/alarm_level", "RankWatch_frame/L00", "RankWatch_utterance/L03"} <= tags
    curve = {e.step: e.value for e in events.Scalars("RankWatch_frame/L03")}
    seen = {r.step: r.effective_rank for r in callback.readings if (r.level, r.layer) == ("frame", LAYERS[-1])}
    assert curve == pytest.approx(seen, rel=1e-6)
    records = next(tmp_path.rglob("RankWatch.jsonl"))
    assert [(r.step, r.layer, r.level) for r in read_jsonl(records)] == [
        (r.step, r.layer, r.level) for r in callback.readings
    ]
    kinds = {json.loads(line)["record"] for line in records.read_text().splitlines()}
    assert {"run", "protocol", "reading", "cost", "end"} <= kinds


def test_any_other_logger_gets_the_scalars_and_none_is_fine(tmp_path):
    fit(tmp_path / "csv", watch(), logger=CSVLogger(tmp_path / "csv"))
    header = next((tmp_path / "csv").rglob("metrics.csv")).read_text().splitlines()[0]
    assert "RankWatch_frame/L03" in header
    callback = watch()
    with pytest.warns(RuntimeWarning, match="no logger"):
        fit(tmp_path / "none", callback, logger=False)
    assert len(read_jsonl(next((tmp_path / "none").rglob("RankWatch.jsonl")))) == len(callback.readings)


def test_early_stopping_and_checkpoints_can_monitor_from_the_first_step(tmp_path):
    stop = EarlyStopping("RankWatch/health", mode="max", patience=100, check_on_train_epoch_end=True)
    keep = ModelCheckpoint(monitor="RankWatch/effective_rank_frame", mode="max", every_n_train_steps=1)
    data = loader(shuffle=True)
    pl.seed_everything(0)
    run = trainer(tmp_path, stop, keep, watch(), max_steps=20, val_check_interval=4)
    run.fit(Module(), data, loader(count=8))
    events = EventAccumulator(str(tmp_path / "lightning_logs/version_0"), size_guidance={"scalars": 0}).Reload()
    health = [event.value for event in events.Scalars("RankWatch/health")]
    ranks = [event.value for event in events.Scalars("RankWatch/effective_rank_frame")]
    assert len(health) == len(ranks) == 5  # a value for each reading
    assert run.callback_metrics["RankWatch/health"].item() == pytest.approx(health[-1])
    assert stop.best_score.item() == max(health) == 1.0  # there is nothing yet that the first reading could fall below
    assert keep.best_model_score.item() == pytest.approx(max(ranks[:-1]))  # the last one is known after the last step


def test_two_callbacks_do_not_meet(tmp_path):
    one, two = watch(), watch(name="Slow", every_n_steps=10, watch=["utterance"], layers=["encoder.layers.*"])
    fit(tmp_path, one, two)
    assert {r.layer for r in two.readings} == set(LAYERS[1:])
    assert {r.level for r in two.readings} == {"utterance"}
    assert {p.name for p in tmp_path.rglob("*.jsonl")} == {"RankWatch.jsonl", "Slow.jsonl"}
    ours = {(r.step, r.level, r.layer): r.effective_rank for r in one.readings}
    assert all(ours[r.step, r.level, r.layer] == r.effective_rank for r in two.readings)
    with pytest.raises(RuntimeError, match="state_key"):  # Lightning's own check
        fit(tmp_path, watch(), watch())


class SeedEachStep(pl.Callback):
    """Makes dropout and layer drop the same whenever a step is taken: Lightning doesn't restore generators."""

    def on_train_batch_start(self, trainer, module, batch, index):
        torch.manual_seed(trainer.global_step)


class OtherEachEpoch(pl.LightningDataModule):
    """Another order in every epoch, which a restarted run doesn't see again.

    What a step trains on depends on its number alone: after a restart at an epoch's end Lightning 2.4 gives the
    finished epoch one batch more, with or without us, where newer ones begin the next epoch.
    """

    def train_dataloader(self):
        return torch.utils.data.DataLoader(Noise(32).items, 8, sampler=self, collate_fn=collate)

    def __len__(self):
        return 32

    def __iter__(self):
        first = 8 * self.trainer.global_step
        for position in range(first, first + 32):
            epoch = torch.Generator().manual_seed(position // 32)
            yield int(torch.randperm(32, generator=epoch)[position % 32])


def test_resumed_equals_uninterrupted(tmp_path):
    """The interruption falls on an epoch's end; the evaluation set is 16 of 32 utterances, and must be the same 16."""
    whole = watch(rows=RowSampling(n_utterances=16))
    unbroken, _ = fit(tmp_path / "whole", SeedEachStep(), whole, data=OtherEachEpoch(), max_steps=24)
    first, second = watch(rows=RowSampling(n_utterances=16)), watch(rows=RowSampling(n_utterances=16))
    save = ModelCheckpoint(dirpath=str(tmp_path / "c"), every_n_train_steps=12, save_top_k=-1, save_last=True)
    fit(tmp_path / "cut", SeedEachStep(), first, save, data=OtherEachEpoch(), max_steps=12)
    checkpoint = tmp_path / "c/last.ckpt"
    assert torch.load(checkpoint, weights_only=True)["callbacks"]["RankWatch[RankWatch]"]["monitor"]["last_step"] == 10
    again = {"data": OtherEachEpoch(), "ckpt_path": checkpoint}
    gone_on, _ = fit(tmp_path / "cut2", SeedEachStep(), second, max_steps=24, **again)
    assert gone_on.losses == unbroken.losses[12:]

    def table(readings):
        return {(r.step, r.level, r.layer): (r.effective_rank, r.protocol.id) for r in readings}

    resumed = table(second.readings)
    assert {step for step, _, _ in resumed} == {15, 20, 24}
    assert all(table(whole.readings)[key] == value for key, value in resumed.items())


def test_fast_dev_run_reads_once_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    callback = watch()
    fit(tmp_path, callback, fast_dev_run=True)
    assert {r.step for r in callback.readings} == {1}
    assert not list(tmp_path.rglob("*"))


def test_bf16_mixed_probes_under_the_same_autocast(tmp_path):
    plain, _ = fit(tmp_path / "plain", precision="bf16-mixed", max_steps=6)
    try:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            plain.eval().encoder(*next(iter(loader())))
    except RuntimeError:  # torch 2.2 forgets the CPU's autocast in the fused layer that eval mode takes
        pytest.skip("this torch's own encoder layer fails in eval mode under the CPU's autocast")
    callback = watch()
    module, _ = fit(tmp_path, callback, precision="bf16-mixed", max_steps=6)
    assert {r.protocol.precision for r in callback.readings} == {"bf16-mixed"}
    assert all(np.isfinite(r.effective_rank) for r in callback.readings)
    assert plain.losses == module.losses


def test_steps_are_optimiser_steps(tmp_path):
    callback = watch()
    fit(tmp_path, callback, accumulate_grad_batches=2, max_steps=11)
    assert sorted({r.step for r in callback.readings}) == [2, 5, 10, 11]


class TwoOptimisers(Module):
    """The second one steps with every fourth batch."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        encoder, head = self.optimizers()
        encoder.zero_grad()
        head.zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx))
        encoder.step()
        if batch_idx % 4 == 0:
            head.step()

    def configure_optimizers(self):
        return torch.optim.SGD(self.encoder.parameters(), 1e-3), torch.optim.SGD(self.head.parameters(), 1e-3)


def test_with_several_optimisers_batches_that_step_are_counted(tmp_path):
    callback = watch()
    fit(tmp_path, callback, model=TwoOptimisers(), max_steps=-1, max_epochs=2)  # 16 batches, global_step 20
    assert sorted({r.step for r in callback.readings}) == [3, 5, 10, 15, 16]


def test_min_steps_holds_the_run_and_one_checkpoint_is_written(tmp_path):
    callback = watch(on_collapse="stop")
    with pytest.warns(RuntimeWarning, match="can't end the run before min_steps=40"):
        _, run = fit(tmp_path, callback, model=Module(collapse="line"), max_steps=100, min_steps=40)
    assert run.global_step == 40
    assert len(list(tmp_path.rglob("*collapse-step=*.ckpt"))) == 1


def test_a_full_disk_does_not_end_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(pl.Trainer, "save_checkpoint", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    callback = watch(on_collapse="stop", strict=False)
    with pytest.warns(RuntimeWarning, match="disk full"):
        _, run = fit(tmp_path, callback, model=Module(collapse="line"), max_steps=50, enable_checkpointing=False)
    assert run.global_step == 8


@pytest.mark.parametrize("form", [99, None])
def test_a_state_of_another_format_is_refused_once_and_clearly(tmp_path, form):
    """None is a state of before formats had a number of their own."""
    save = ModelCheckpoint(dirpath=str(tmp_path / "c"), save_last=True, every_n_train_steps=4)
    fit(tmp_path / "a", watch(), save, max_steps=4)
    content = torch.load(tmp_path / "c/last.ckpt", weights_only=True)
    state = content["callbacks"]["RankWatch[RankWatch]"]
    state.pop("format")
    state |= {"monitor": {"version": 4}} if form is None else {"format": form}
    torch.save(content, tmp_path / "c/foreign.ckpt")
    callback = watch(strict=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, run = fit(tmp_path / "b", callback, max_steps=8, ckpt_path=tmp_path / "c/foreign.ckpt")
    said = [str(one.message) for one in caught if str(one.message).startswith("RankWatch: ")]
    (refusal,) = [one for one in said if "state" in one]
    assert f"another format ({form or 'before 5'}; this version reads 5)" in refusal
    assert "Curves and alarms start again" in refusal
    assert "training itself is not affected" in refusal
    assert run.global_step == 8
    assert callback.readings


def test_validate_alone_does_nothing(tmp_path):
    callback = watch()
    trainer(tmp_path, callback).validate(Module(), loader(count=8), verbose=False)
    assert not callback.readings


def test_no_hook_is_left_behind_after_an_exception(tmp_path):
    class Stumble(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            if trainer.global_step == 7:
                raise ZeroDivisionError

    module = Module()
    callback = watch(watch=WATCH)
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, callback, Stumble(), model=module)
    assert callback.readings
    for part in module.modules():
        assert not part._forward_hooks
        assert not part._forward_pre_hooks
    assert json.loads(next(tmp_path.rglob("*.jsonl")).read_text().splitlines()[-1])["record"] == "end"


def test_our_own_failure_warns_once_and_the_run_goes_on(tmp_path, monkeypatch):
    def explode(*_, **__):
        raise FloatingPointError("made up")

    monkeypatch.setattr("rankwatch.readings.layer_readings.measure", explode)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, run = fit(tmp_path, watch(strict=False))
    ours = [str(w.message) for w in caught if "made up" in str(w.message)]
    assert run.global_step == 20
    assert len(ours) == len(set(ours)) == len(LAYERS)  # once for each layer
    with pytest.raises(FloatingPointError, match="made up"):
        fit(tmp_path, watch(strict=True))


def test_what_only_looks_like_an_optimiser_is_let_be(tmp_path):
    """Lightning asks for a protocol, not for a class: such a one may have no hooks."""

    class Wrapped:
        def __init__(self, inner):
            self.inner, self.param_groups, self.defaults, self.state = inner, inner.param_groups, {}, inner.state

        def state_dict(self):
            return self.inner.state_dict()

        def load_state_dict(self, state):
            self.inner.load_state_dict(state)

        def step(self, closure=None):
            return self.inner.step(closure)

        def zero_grad(self):
            self.inner.zero_grad()

    class Stepping(Manual):
        def configure_optimizers(self):
            return Wrapped(torch.optim.SGD(self.parameters(), 0.1))

    callback = watch()
    fit(tmp_path, callback, model=Stepping(), max_steps=6, enable_checkpointing=False)
    assert sorted({r.step for r in callback.readings}) == [3, 5, 6]


def test_what_a_forward_pass_logs_is_not_logged_by_probe_passes(tmp_path):
    class Logging(Module):
        """What its encoder is given is being trained, so its own forward pass is what is replayed."""

        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.ones(1))

        def forward(self, waveforms, lengths):
            features = self.encoder(self.gain * waveforms, lengths)
            self.log("energy", features.square().mean(), on_step=False, on_epoch=True, batch_size=1)
            return features

        def training_step(self, batch, index):
            return self(*batch).square().mean()

    def energy(folder, *callbacks):
        torch.manual_seed(0)
        module, run = fit(folder, *callbacks, model=Logging(), max_steps=8)
        assert "log" not in vars(module)
        return run.callback_metrics["energy"]

    callback = watch(every_n_steps=2)
    assert energy(tmp_path / "b", callback) == energy(tmp_path / "a")
    assert {r.step for r in callback.readings} == {3, 4, 6, 8}


def test_a_logger_that_comes_late_is_used(tmp_path):
    class Late(pl.Callback):
        def on_fit_start(self, trainer, module):
            trainer.logger = CSVLogger(tmp_path / "late")

    fit(tmp_path, watch(), Late(), logger=False)
    header = next((tmp_path / "late").rglob("metrics.csv")).read_text().splitlines()[0]
    assert "RankWatch_frame/L03" in header


def test_a_bad_pattern_is_told_as_what_it_is(tmp_path):
    """Lightning lets callbacks close their books first: that must not end in an error of our own."""
    with pytest.raises(ValueError, match=r"'nothing\.\*' matches no module"):
        fit(tmp_path, watch(layers=["nothing.*"]))


def test_layers_that_are_built_in_the_modules_own_setup(tmp_path):
    """Lightning calls it after the callbacks' own."""

    class Late(Module):
        def setup(self, stage):
            torch.manual_seed(0)
            self.encoder = Encoder()

    callback = watch()
    fit(tmp_path, callback, model=Late(), max_steps=5)
    assert {r.layer for r in callback.readings} == set(LAYERS)
