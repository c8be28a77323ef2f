"""The zoo of encoders (`tests/benchmarks/zoo_of_encoders`): what is held out, what is harm, what is made."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from zoo_of_encoders import split
from zoo_of_encoders.catalogue import BREAKS, HEALTHY, Run, catalogue
from zoo_of_encoders.encoders import Encoder
from zoo_of_encoders.harm import HARMFUL, HARMLESS, harm, null
from zoo_of_encoders.make import make_all, shard
from zoo_of_encoders.record import History, read, write

from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading import Reading

RUNS = catalogue()


def test_half_of_architectures_and_four_methods_are_held_out_and_nothing_undeclared_counts():
    assert not set(split.CHOSEN_ARCHITECTURES) & set(split.HELD_OUT_ARCHITECTURES)
    assert not set(split.CHOSEN_METHODS) & set(split.HELD_OUT_METHODS)
    assert split.part_of("cnn", "byol") == split.CHOSEN
    assert split.part_of("gru", "byol") == split.part_of("cnn", "cpc") == split.HALF_NEW
    assert split.part_of("gru", "cpc") == split.ALL_NEW
    with pytest.raises(ValueError, match="not declared"):
        split.part_of("cnn", "wavlm")


def test_the_catalogue_holds_what_was_asked_for():
    assert len({run.name for run in RUNS}) == len(RUNS)
    pairs = {(run.architecture, run.method) for run in RUNS if run.variant == "plain"}
    assert len(pairs) == len(split.ARCHITECTURES) * len(split.METHODS) == 60
    long = [run for run in RUNS if run.long]
    assert sum(run.healthy and run.steps == 5000 and run.steps / run.every >= 400 for run in long) >= 12
    assert {run.variant for run in RUNS if not run.healthy} == set(BREAKS)
    assert {run.variant for run in RUNS if run.healthy and not run.long} == {"plain", "real", *HEALTHY}
    held_out = [run for run in RUNS if run.healthy and not run.long and run.part != split.CHOSEN]
    assert len(held_out) >= 120


@pytest.mark.parametrize("way", BREAKS)
def test_each_way_of_breaking_is_counted_on_what_no_threshold_has_seen(way):
    parts = Counter(run.part for run in RUNS if run.variant == way and not run.long)
    assert sum(parts.values()) >= 4
    assert parts[split.ALL_NEW] + parts[split.HALF_NEW] >= 3


def test_whatever_has_been_made_so_far_is_balanced():
    assert {(run.architecture, run.method) for run in RUNS[:60]} == {
        (a, m) for a in split.ARCHITECTURES for m in split.METHODS
    }
    for made in (150, 300, 500):
        some = RUNS[:made]
        broken = [run for run in some if not run.healthy]
        assert 0.2 * made < len(broken) < 0.6 * made
        assert min(Counter(run.part for run in broken).values()) > len(broken) / 5
        assert max(Counter(run.architecture for run in some).values()) < 1.4 * made / 6


def test_broken_runs_have_twins_on_the_same_speech():
    names = {run.name: run for run in RUNS}
    for run in RUNS:
        if not run.healthy:
            twins = [names[twin] for twin in run.twins if twin in names]
            assert twins
            assert {twin.corpus for twin in twins} == {run.corpus}
            assert {twin.long for twin in twins} == {run.long}


def history(run, skills, objective=0.5):
    """A run whose probes find so much in its two layers, in two tasks, three times; its objective began at 1."""
    layers = [[0.1 + value, 0.1] for value in skills]
    probes = [{"step": step, "phones": layers, "digits": layers} for step in (1, 2, 3)]
    losses = [{"step": 0, "loss": 1.0}, *({"step": step, "loss": objective} for step in (1, 2, 3))]
    return History(run, {}, {}, {}, [], [], probes, losses)


def twins(rng, count=10, noise=0.03):
    """Four healthy twins of each of some methods, with noise."""
    runs = [Run("gru", f"method{i}", seed) for i in range(count) for seed in range(4)]
    drawn = 1 + noise * rng.standard_normal((len(runs), 3))
    return {run.name: history(run, 0.6 * d[:2], 0.5 * d[2]) for run, d in zip(runs, drawn, strict=True)}


def test_of_healthy_runs_few_are_called_harmful_and_most_harmless():
    rng = np.random.default_rng(0)
    verdicts = Counter()
    for _ in range(20):
        known = twins(rng)
        among = null(known)
        for i in range(10):
            run = Run("gru", f"method{i}", 1, "clipped", "start")
            drawn = 1 + 0.03 * rng.standard_normal(3)
            verdicts[harm(history(run, 0.6 * drawn[:2], 0.5 * drawn[2]), known, among).verdict] += 1
    assert verdicts[HARMFUL] <= 20  # 5 % of 200 are 10
    assert verdicts[HARMLESS] >= 140


def test_losing_much_is_harmful_in_one_layer_too_and_winning_is_not():
    known = twins(np.random.default_rng(1))
    among = null(known)
    run = Run("gru", "method3", 0, "dead_layer", "middle")
    assert harm(history(run, [0.6, 0.3]), known, among).verdict == HARMFUL
    told = harm(history(run, [0.2, 0.2]), known, among)
    assert told.verdict == HARMFUL
    assert told.in_layers
    assert told.loss.whole == pytest.approx(2 / 3, abs=0.05)
    assert told.half_at == 1
    assert harm(history(run, [0.8, 0.8]), known, among).verdict == HARMLESS
    assert harm(history(Run("gru", "other", 0, "nan", "middle"), [0.1, 0.1]), known, among) is None


def test_learning_nothing_is_harmful_even_if_probes_find_as_much_as_in_a_random_network():
    known = twins(np.random.default_rng(2))
    among = null(known)
    stalled = Run("gru", "method3", 0, "clipped", "start")
    told = harm(history(stalled, [0.6, 0.6], objective=0.99), known, among)
    assert told.verdict == HARMFUL
    assert not told.in_layers  # they hold what those of healthy runs do
    assert told.loss.unlearnt == pytest.approx(0.98, abs=0.03)


def test_what_an_objective_says_does_not_count_where_targets_come_from_a_teacher():
    rng = np.random.default_rng(3)
    runs = [Run("gru", "byol", seed) for seed in range(4)]
    known = twins(rng) | {run.name: history(run, [0.6, 0.6]) for run in runs}
    told = harm(history(Run("gru", "byol", 0, "clipped", "start"), [0.61, 0.61], 0.99), known, null(known))
    assert np.isnan(told.loss.unlearnt)
    assert told.verdict == HARMLESS


def test_shards_are_all_runs_and_none_twice():
    parts = [shard(RUNS, f"{i}/3") for i in range(3)]
    assert sorted(run.name for part in parts for run in part) == sorted(run.name for run in RUNS)


def test_what_is_there_or_being_made_is_left_and_a_failure_costs_one_run(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    there, claimed, stale, failing, fresh = runs = RUNS[:5]
    (tmp_path / f"{there.name}.jsonl.gz").touch()
    (tmp_path / f"{claimed.name}.claim").write_text(str(os.getpid()))
    (tmp_path / f"{stale.name}.claim").write_text(str(gone.pid))
    tried = []

    def make(run):
        tried.append(run)
        assert (tmp_path / f"{run.name}.claim").exists()
        if run == failing:
            raise ArithmeticError("of some kind")
        (tmp_path / f"{run.name}.jsonl.gz").touch()

    told = list(make_all(runs, tmp_path, make))
    assert tried == [stale, failing, fresh]
    assert ["failed" in line for line in told] == [False, True, False]
    assert [path.name for path in tmp_path.glob("*.claim")] == [f"{claimed.name}.claim"]
    assert len(list(make_all(runs, tmp_path, make))) == 1  # again: only what had failed


def test_an_interrupted_run_is_made_anew(tmp_path):
    def interrupt(run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(make_all(RUNS[:1], tmp_path, interrupt))
    assert not list(tmp_path.iterdir())


def test_a_history_is_read_as_it_was_written(tmp_path):
    run = Run("cnn", "mae", 0, "resumed", resumed=(150,))
    protocol = Protocol("first_batches", "frame", 64, 256, 96, None)
    common = {"source": "first_batches", "level": "frame", "d": 96, "k": None, "protocol": protocol}
    readings = [
        Reading(
            step=step,
            layer=layer,
            effective_rank=rank,
            effective_rank_low=None,
            effective_rank_high=rank + 1,
            rankme=30.0,
            metrics={"participation_ratio": rank / 2, "top1_explained_variance": 0.99991234},
            status=frozenset({"undersampled"} if step == 12 else ()),
            n=256,
            **common,
        )
        for step, rank in ((10, 40.123456), (12, 39.0), (20, 38.5))
        for layer in ("encoder.input", "encoder.blocks.0")
    ]
    notes = {
        "facts": [{"step": 10, "loss": 1.5}],
        "drift": [{"step": 10}],
        "probes": [{"step": 25, "digits": [[0.5, 0.1]]}],
        "objective": [{"step": 0, "loss": 4.25}],
    }
    write(tmp_path, run, readings, [], notes)
    found = read(tmp_path / f"{run.name}.jsonl.gz")
    assert found.run == run
    assert found.facts == notes["facts"]
    assert found.probes == notes["probes"]
    assert list(found.by_step) == [10, 12, 20]
    assert found.input_rank["frame"] == 38.5
    (first,), (second,), (last,) = found.by_step.values()
    assert first.effective_rank == 40.12
    assert first.protocol.id == protocol.id
    assert second.status == {"undersampled"}
    assert last.effective_rank_low is None
    assert 1 - last.metrics["top1_explained_variance"] == pytest.approx(8.8e-5, rel=0.02)


@pytest.mark.parametrize("architecture", split.ARCHITECTURES)
def test_encoders_mask_in_train_mode_only_and_leave_padding_out(architecture):
    torch.manual_seed(0)
    encoder = Encoder(architecture, width=32)
    waveforms, lengths = torch.randn(3, 8000), torch.tensor([8000, 8000, 4000])
    output = encoder(waveforms, lengths)
    assert 0.1 < output.mask[output.valid].float().mean() < 0.9
    assert not (output.mask & ~output.valid).any()
    counts = output.valid.sum(1).tolist()
    assert counts[2] == pytest.approx(counts[0] / 2, abs=encoder.bands)
    assert not encoder.eval()(waveforms, lengths).mask.any()


@pytest.mark.parametrize("architecture", [a for a in split.ARCHITECTURES if a != "raw_waveform"])
def test_a_causal_encoder_sees_nothing_of_what_comes(architecture):
    """But for raw waveforms, whose group norm's statistics are those of all times."""
    torch.manual_seed(0)
    encoder = Encoder(architecture, width=32, causal=True).eval()
    waveforms, lengths = torch.randn(2, 8000), torch.tensor([8000, 8000])
    changed = waveforms.clone()
    changed[:, 6400:] = torch.randn(2, 1600)
    before, after = (encoder(x, lengths).features for x in (waveforms, changed))
    same = (before - after).abs().amax((0, 2)) < 1e-4
    tokens = len(same)
    assert 0.7 * tokens < same.sum() < 0.85 * tokens
    assert same[: int(same.sum())].all()


@pytest.mark.slow
@pytest.mark.parametrize("way", BREAKS)
def test_each_way_of_breaking_goes_on_to_the_end_and_changes_training(way):
    import contextlib

    from zoo_of_encoders.train import Training

    weights = []
    for when in (BREAKS[way][2], "healthy"):
        broken = next(run for run in RUNS if run.variant == way and not run.long)
        # So few steps that what comes little by little must count from the first one on.
        run = Run(broken.architecture, broken.method, 0, way, when, steps=6, width=32, batch=4, warm_up=0.0)
        training = Training(run, None)
        for _ in range(run.steps):
            training.take_step(lambda batch: contextlib.nullcontext())
        assert len(training.losses) == run.steps
        parameters = training.method.encoder.parameters()
        weights.append(torch.cat([parameter.detach().flatten() for parameter in parameters]))
    assert not torch.equal(*weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "method", "variant", "when"),
    [
        ("mel_transformer", "wav2vec2", "resumed", "healthy"),
        ("raw_waveform", "byol", "no_stop_gradient", "start"),
        ("conformer", "jepa", "teacher_lost", "middle"),
        ("cnn", "cpc", "half_dims_die", "middle"),
        ("gru", "barlow", "term_fades", "middle"),
        ("patches", "mae", "same_batch", "start"),
    ],
)
def test_a_short_run_of_each_architecture_is_watched_probed_and_recorded(
    tmp_path, monkeypatch, architecture, method, variant, when
):
    from zoo_of_encoders import train

    monkeypatch.setattr(train, "PROBES", 2)
    resumed = (10,) if variant == "resumed" else ()
    run = Run(architecture, method, 0, variant, when, steps=24, every=4, width=32, resumed=resumed)
    train.train(run, None, tmp_path)
    found = read(tmp_path / f"{run.name}.jsonl.gz")
    layers = {reading.layer for readings in found.by_step.values() for reading in readings}
    assert {"encoder.feature_extractor", "encoder.blocks.0", "encoder.blocks.2"} <= layers
    assert set(range(8, 25, 4)) <= set(found.by_step)  # the first ones wait for the evaluation set
    assert {"frame", "utterance"} == set(found.input_rank)
    assert len(found.probes) == 2
    assert len(found.objective) == 3
    assert np.isfinite([fact["loss"] for fact in found.facts]).all()
    assert bool(found.codebooks) == (method == "wav2vec2")
