"""Lazy layers get their shapes from the first batch: they are watched from then on, and training is as without us."""

import warnings

import pytest
import torch
from torch import nn
from toys import Encoder, Module, Noise, collate, loader, pl, trainer

from rankwatch import RankWatch, RowSampling, Watch

SETTINGS = {"every_n_steps": 4, "rows": RowSampling(n_utterances=16), "max_overhead": None, "strict": True}


def lazy(encoder):
    for block in encoder.layers:
        block.inner.linear1 = nn.LazyLinear(64)
    return encoder


class Lazy(Module):
    """Its blocks are built by the first batch."""

    def __init__(self):
        super().__init__()
        lazy(self.encoder)


class Tried(Lazy):
    """Likewise, but by a batch that is tried before the optimiser is made, as Lightning advises."""

    def configure_optimizers(self):
        with torch.no_grad():
            self.encoder(torch.zeros(2, 800), torch.tensor([800, 800]))
        return super().configure_optimizers()


class Unused(Module):
    """Some lazy layers stay without shape: no batch gets to them."""

    def __init__(self):
        super().__init__()
        self.later = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d())


def fit(folder, module, *callbacks, ckpt_path=None, **arguments):
    pl.seed_everything(0)
    model = module()
    trainer(folder, *callbacks, **{"max_steps": 12, "logger": False, "enable_checkpointing": False, **arguments}).fit(
        model, loader(), ckpt_path=ckpt_path
    )
    return model


@pytest.mark.parametrize(("module", "first"), [(Lazy, 3), (Tried, 2), (Unused, 3)])
def test_a_lightning_module_is_watched_as_soon_as_it_is_built(tmp_path, module, first):
    callback = RankWatch(**SETTINGS)
    ours = fit(tmp_path / "a", module, callback)
    plain = fit(tmp_path / "b", module)
    assert ours.losses == plain.losses
    assert sorted({reading.step for reading in callback.readings}) == [first, 4, 8, 12]
    assert len({reading.layer for reading in callback.readings}) == 4
    assert all(reading.ok for reading in callback.readings)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in ours.encoder.modules())


def test_a_restart_finds_its_curves_again(tmp_path):
    saves = pl.callbacks.ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=8, save_top_k=-1)
    fit(tmp_path, Tried, RankWatch(**SETTINGS), saves, max_steps=8, enable_checkpointing=True)
    callback = RankWatch(**SETTINGS)
    fit(tmp_path, Lazy, callback, ckpt_path=tmp_path / "step=8.ckpt")
    assert sorted({reading.step for reading in callback.readings}) == [8, 12]  # what was pending, and then
    assert len({reading.layer for reading in callback.readings}) == 4


def loop(folder, steps=8, state=None):
    torch.manual_seed(0)
    model = lazy(Encoder())
    watch = Watch(model, folder, **SETTINGS)
    if state is not None:
        watch.load_state_dict(state)
    states = [watch.state_dict()]
    data = torch.utils.data.DataLoader(Noise(), 8, collate_fn=collate)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    with watch:
        for _, batch in zip(range(steps), [*data, *data], strict=False):
            with watch.batch(batch):
                model(*batch).square().mean().backward()
            optimizer.step()
            watch.step()
        states.append(watch.state_dict())
    return watch, states


def test_a_loop_of_ones_own_is_watched_after_its_first_batch(tmp_path):
    watch, (early, late) = loop(tmp_path / "a")
    assert sorted({reading.step for reading in watch.readings}) == [3, 4, 8]
    again, _ = loop(tmp_path / "b", steps=4, state=late)
    assert sorted({reading.step for reading in again.readings}) == [8, 12]
    anew, _ = loop(tmp_path / "c", steps=4, state=early)  # saved before there was anything to go on from
    assert sorted({reading.step for reading in anew.readings}) == [3, 4]


def test_a_model_whose_layers_cannot_be_found_then_costs_one_warning(tmp_path):
    """Before training it would be an error; in the middle of it nothing of ours is."""
    model = nn.Sequential(nn.LazyLinear(4))
    watch = Watch(model, tmp_path, **{**SETTINGS, "strict": False})

    def step():
        with watch.batch(torch.randn(2, 3)):
            model(torch.randn(2, 3))
        return watch.step()

    with pytest.warns(RuntimeWarning, match="finding the layers to watch failed: ValueError"):
        assert not step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not step()
        watch.close()
    assert watch.readings == []
