"""Every precision of the trainer: training is untouched, and readings are those of float32 but for its rounding."""

import contextlib
import threading

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from toys import Encoder, Module, Noise, collate, pl, trainer

from rankwatch import AudioFolder, Loader, RankWatch, RowSampling, Watch
from rankwatch.arguments.settings import WATCH
from rankwatch.monitor.evaluator import Evaluator
from rankwatch.numerics import Sample
from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading_from_sample import measure

soundfile = pytest.importorskip("soundfile")

pytestmark = pytest.mark.filterwarnings("ignore:RankWatch. the trainer has no logger")

SETTINGS = {"every_n_steps": 5, "rows": RowSampling(n_utterances=24), "strict": True}

NEAR = {"32-true": 0.0, "64-true": 1e-6, "bf16-mixed": 5e-3, "bf16-true": 5e-3}
"""Largest relative difference to 32-true of the same frames under the same weights. Measured over all layers: 4e-8 in
64-true; 3e-4 at frame and 1.4e-3 at utterance level in bf16-mixed and bf16-true."""


class Still(Module):
    """Learns nothing, so its weights are the same in every precision but for their rounding."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)


def fit(folder, precision, *callbacks, module=None, data=None, **arguments):
    pl.seed_everything(0, workers=True)
    module = Module() if module is None else module()
    whole = {"logger": False, "enable_checkpointing": False, "max_steps": 7, **arguments}
    run = trainer(folder, *callbacks, precision=precision, **whole)
    run.fit(module, data or DataLoader(Noise(64).items, 8, collate_fn=collate))
    return module, run


def cropped_in_workers():
    return DataLoader(Noise(64), 8, shuffle=True, collate_fn=collate, num_workers=2)


def ranks(readings):
    return {(r.step, r.source, r.level, r.layer): r.effective_rank for r in readings}


SELDOM = [pytest.param(precision, marks=pytest.mark.slow) for precision in ("32-true", "16-mixed", "64-true")]


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", *SELDOM])
def test_training_is_bit_identical_in_every_precision(tmp_path, precision):
    """With dropout, layer drop, and crops drawn in the loader's processes.

    On the CPU Lightning makes 16-mixed bf16-mixed; the protocol says what was really used.
    """
    plain, _ = fit(tmp_path / "a", precision, data=cropped_in_workers())
    callback = RankWatch(watch=WATCH, **SETTINGS)
    watched, run = fit(tmp_path / "b", precision, callback, data=cropped_in_workers())
    assert watched.losses == plain.losses
    for (name, ours), theirs in zip(watched.state_dict().items(), plain.state_dict().values(), strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs), name
    assert {r.step for r in callback.readings} == {3, 5, 7}
    assert {r.protocol.precision for r in callback.readings} == {str(run.precision)}
    assert all(np.isfinite(r.effective_rank) for r in callback.readings)
    assert torch.get_default_dtype() == torch.float32


@pytest.fixture(scope="module")
def in_32_bits(tmp_path_factory):
    return _still(tmp_path_factory.mktemp("32"), "32-true")


def _still(folder, precision):
    """All frames, since which ones are drawn hangs on the audio's bits."""
    rows = RowSampling(n_utterances=24, frames_per_utterance=1000)
    callback = RankWatch(**{**SETTINGS, "rows": rows})
    fit(folder, precision, callback, module=Still, max_steps=3)
    return ranks(callback.readings)


@pytest.mark.parametrize("precision", NEAR)
def test_readings_are_near_those_of_32_true(tmp_path, precision, in_32_bits):
    seen = _still(tmp_path, precision)
    assert seen == pytest.approx(in_32_bits, rel=NEAR[precision], abs=0.0)
    assert len(seen) == 8


def forward(module, batch):
    module.encoder(*batch)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_audio_that_never_went_through_the_trainer_fits_the_weights(tmp_path, precision):
    """Files and a loader's batches are float32: the trainer converts what it trains on, and nobody these."""
    torch.manual_seed(0)
    for index in range(24):
        soundfile.write(tmp_path / f"{index}.wav", 0.1 * torch.randn(700 + 20 * index).numpy(), 16_000)
    loader = DataLoader(Noise(24).items, 8, collate_fn=collate)
    sets = {"files": AudioFolder(tmp_path, forward=forward), "loader": Loader(loader, forward=forward)}
    callback = RankWatch(eval_sets=sets, **SETTINGS)
    fit(tmp_path / "run", precision, callback, max_steps=1)
    assert {r.source for r in callback.readings} == set(sets)
    assert all(np.isfinite(r.effective_rank) for r in callback.readings)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_what_is_measured_hangs_on_no_default_dtype(dtype):
    """Lightning sets it during a forward pass, for all threads: also for the one in which a reading is worked on."""
    torch.manual_seed(0)
    rows, groups = torch.randn(256, 40) @ torch.randn(40, 40), torch.arange(256) // 4
    protocol = Protocol(source="a", level="frame", utterances=64, frames_per_utterance=4, d=0, k=None)

    def everything():
        samples = [Sample.from_rows(x, groups, k) for x in (rows, rows.half(), rows.bfloat16()) for k in (None, 20)]
        return [measure(sample, step=1, layer="a", protocol=protocol) for sample in samples]

    usual = everything()
    torch.set_default_dtype(dtype)
    try:
        assert repr(everything()) == repr(usual)
    finally:
        torch.set_default_dtype(torch.float32)


class Meeting:
    """Holds a reading's work back until the training's forward pass runs, and that until the work is done."""

    def __init__(self):
        self.started, self.inside, self.done = threading.Event(), threading.Event(), threading.Event()
        self.default_dtypes = []

    def evaluate(self, evaluator, gathered, work=Evaluator.evaluate):
        self.started.set()
        self.inside.wait(300)
        self.default_dtypes.append(torch.get_default_dtype())
        try:
            return work(evaluator, gathered)
        finally:
            self.done.set()

    def within_forward(self, step):
        if step == 3:  # after the first reading's rows were drawn
            assert self.started.wait(300)
            self.inside.set()
            assert self.done.wait(300)


def test_a_reading_that_is_worked_on_during_a_forward_pass_in_bf16_true(tmp_path, monkeypatch):
    """Its numbers are those of a reading that is worked on between two steps, and no weight is another."""
    alone = RankWatch(**SETTINGS)
    plain, _ = fit(tmp_path / "a", "bf16-true", alone, max_steps=5)
    meeting = Meeting()

    class Meets(Module):
        def training_step(self, batch, batch_idx):
            meeting.within_forward(self.trainer.global_step)
            return super().training_step(batch, batch_idx)

    monkeypatch.setattr(Evaluator, "evaluate", lambda evaluator, gathered: meeting.evaluate(evaluator, gathered))
    callback = RankWatch(**SETTINGS)
    watched, _ = fit(tmp_path / "b", "bf16-true", callback, module=Meets, max_steps=5)
    assert meeting.default_dtypes[0] == torch.bfloat16
    assert ranks(callback.readings) == ranks(alone.readings)
    assert watched.losses == plain.losses


def loop(folder, watched):
    """float16 under autocast with a gradient scaler that begins far too high: its first steps are skipped."""
    torch.manual_seed(0)
    model = Encoder()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=3)
    watch = None
    if watched:
        halves = {"precision": "16-mixed", "autocast": lambda: torch.autocast("cpu", torch.float16)}
        watch = Watch(model, folder, watch=WATCH, **halves, **SETTINGS)
    scales, losses = [], []
    for batch in [*DataLoader(Noise(64), 8, collate_fn=collate)] * 4:
        with watch.batch(batch) if watch is not None else contextlib.nullcontext():
            with torch.autocast("cpu", torch.float16):
                loss = model(*batch).square().mean()
            scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        if watch is not None:
            watch.step()
        scales.append(scaler.get_scale())
        losses.append(loss.item())
    if watch is not None:
        watch.close()
    return model, losses, scales, watch


def test_steps_that_a_gradient_scaler_skips_are_skipped_alike(tmp_path):
    plain, losses, scales, _ = loop(tmp_path / "a", watched=False)
    watched, ours, seen, watch = loop(tmp_path / "b", watched=True)
    assert scales[0] < 2.0**40  # the first step was skipped
    assert scales[-1] > min(scales)  # later ones were taken
    assert (ours, seen) == (losses, scales)
    for a, b in zip(watched.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert {r.protocol.precision for r in watch.readings} == {"16-mixed"}
    assert all(np.isfinite(r.effective_rank) for r in watch.readings)
