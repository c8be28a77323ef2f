"""data2vec: its targets, its loss, its teacher, and where gradients flow."""

import types

import lightning.pytorch as pl
import pytest
import torch
from audio_data import AudioBatch
from data2vec import Data2Vec, instance_norm
from torch.utils.data import DataLoader


def ragged(seed=0, n=4):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([8000, 6000, 4000, 1600][:n])
    waveforms = torch.randn(n, 8000, generator=generator)
    return AudioBatch(waveforms * (torch.arange(8000) < lengths.unsqueeze(1)), lengths)


def small(**changes):
    torch.manual_seed(0)
    module = Data2Vec(**{"depth": 2, "width": 32, "average_top_k": 2, "layer_drop": 0.0, **changes})
    module.log = lambda *args, **kwargs: None
    return module.train()


def test_instance_norm_is_per_utterance_and_channel_over_valid_frames():
    x = torch.randn(2, 50, 3) * torch.tensor([1.0, 10.0, 0.5]) + 7
    valid = (torch.arange(50) < torch.tensor([50, 20]).unsqueeze(1)).unsqueeze(2).float()
    y = instance_norm(x, valid)
    for utterance, n in enumerate((50, 20)):
        rows = y[utterance, :n]
        torch.testing.assert_close(rows.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
        torch.testing.assert_close(rows.std(0, correction=0), torch.ones(3), atol=1e-3, rtol=0)
    assert not y[1, 20:].any()
    # Scale and offset of a channel, and whatever stands in the padding, don't matter.
    other = torch.where(valid.bool(), 3 * x - 2, torch.randn(2, 50, 3))
    torch.testing.assert_close(instance_norm(other, valid), y, atol=1e-4, rtol=1e-4)


def test_first_loss_is_the_power_of_the_targets():
    module, batch = small(), ragged()
    masks = []
    module.encoder.register_forward_hook(lambda m, args, output: masks.append(output.mask))
    loss = module.training_step(batch, 0)
    assert loss.item() == pytest.approx(float(module.targets(batch)[masks[0]].square().mean()), rel=1e-5)


@pytest.mark.parametrize("teacher", ["ema", "student"])
def test_targets_are_unmasked_and_without_dropout(teacher):
    module, batch = small(teacher=teacher), ragged()
    assert torch.equal(module.targets(batch), module.targets(batch))
    assert module.encoder.training


def test_only_the_broken_teacher_passes_gradients():
    assert not small(teacher="ema").targets(ragged()).requires_grad
    assert small(teacher="student").targets(ragged()).requires_grad


def test_the_teacher_is_no_part_of_what_is_trained():
    module = small()
    module.trainer = types.SimpleNamespace(estimated_stepping_batches=10)
    groups = module.configure_optimizers()["optimizer"].param_groups
    trained = [id(p) for group in groups for p in group["params"]]
    assert sorted(trained) == sorted(id(p) for m in (module.encoder, module.predictor) for p in m.parameters())
    assert groups[1]["lr"] == pytest.approx(0.1 * groups[0]["lr"])


def fit(module, tmp_path, **settings):
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, **settings,
    )  # fmt: skip
    trainer.fit(module, DataLoader([ragged(seed) for seed in range(4)], batch_size=None))
    return module


def test_the_teacher_follows_each_optimiser_step(tmp_path):
    torch.manual_seed(0)
    module = Data2Vec(depth=1, width=32, average_top_k=1, ema_start=0.9, ema_end=0.9)
    before = {name: p.clone() for name, p in module.teacher.named_parameters()}
    # Two batches per optimiser step: one step in all.
    fit(module, tmp_path, max_steps=1, accumulate_grad_batches=2)
    student = dict(module.encoder.named_parameters())
    for name, slow in module.teacher.named_parameters():
        torch.testing.assert_close(slow, 0.9 * before[name] + 0.1 * student[name].detach())
    assert any(not torch.equal(slow, before[name]) for name, slow in module.teacher.named_parameters())


def test_a_run_is_reproducible(tmp_path):
    weights = []
    for _ in range(2):
        pl.seed_everything(5, verbose=False)
        module = fit(Data2Vec(depth=2, width=32, average_top_k=1), tmp_path, max_steps=3)
        weights.append(torch.cat([p.detach().flatten() for p in module.parameters()]))
    assert torch.equal(*weights)


@pytest.mark.parametrize("bad", [{"ema_start": 1.5}, {"ema_end": -0.1}, {"average_top_k": 9}, {"average_top_k": 0}])
def test_impossible_settings_are_errors(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Data2Vec(**bad)


@pytest.mark.slow
def test_a_teacher_that_is_the_student_collapses_and_its_loss_looks_better(tmp_path):
    """Frames of the last layer on noise of three colours: the healthy run keeps its dimensions."""
    batches = [ragged(seed) for seed in range(8)]
    rank, loss = {}, {}
    for teacher in ("ema", "student"):
        pl.seed_everything(0)
        module = Data2Vec(teacher=teacher, depth=2, width=32, average_top_k=2, learning_rate=1e-3, warm_up=0.1)
        losses = []
        module.log = lambda name, value, losses=losses, **k: name == "train/loss" and losses.append(float(value))
        fit(module, tmp_path, max_steps=150)
        with torch.no_grad():
            rows = torch.cat([module.encoder.eval()(*batch).features[0] for batch in batches])
        p = torch.linalg.svdvals((rows - rows.mean(0)).double())
        p = p / p.sum()
        rank[teacher], loss[teacher] = float(torch.exp(torch.special.entr(p).sum())), losses[-1]
    assert rank["student"] < 0.6 * rank["ema"]
    assert loss["student"] < loss["ema"]
