"""Ways to train that call a layer twice or not at all: training untouched, readings those of the plain way."""

import pytest
import torch
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    CheckpointImpl,
    apply_activation_checkpointing,
    checkpoint_wrapper,
)
from torch.utils.checkpoint import checkpoint
from toys import Block, Encoder, Module, loader, pl, trainer

from rankwatch import RankWatch, RowSampling, Watch
from rankwatch.arguments.settings import WATCH

SETTINGS = {"every_n_steps": 3, "rows": RowSampling(n_utterances=16), "strict": True, "max_overhead": None}
LAYERS = {"feature_extractor", "layers.0", "layers.1", "layers.2"}


class Around(Encoder):
    """Checkpoints around the call of each block, as most training code does."""

    def __init__(self, reentrant, **arguments):
        super().__init__(**arguments)
        self.reentrant = reentrant

    def forward(self, waveforms, lengths):
        x = self.feature_extractor(waveforms.unsqueeze(1)).transpose(1, 2)
        padding = torch.arange(x.shape[1]) >= self.frames(lengths).clamp(min=1).unsqueeze(1)
        for layer in self.layers:
            torch.rand(())  # layer drop draws, also where nothing is dropped
            x = checkpoint(layer, x, padding, use_reentrant=self.reentrant)
        return x


class Inside(Block):
    """Checkpoints within its own forward pass."""

    reentrant = False

    def forward(self, x, padding):
        def inner(x):
            return super(Inside, self).forward(x, padding)

        return checkpoint(inner, x, use_reentrant=self.reentrant)


def around(reentrant):
    return lambda: Around(reentrant, layer_drop=0.0)


def inside(reentrant):
    def make():
        model = Encoder(layer_drop=0.0)
        for layer in model.layers:
            layer.__class__ = Inside
            layer.reentrant = reentrant
        return model

    return make


def wrapped(implementation):
    def make():
        model = Encoder(layer_drop=0.0)

        def wrapper(module):
            return checkpoint_wrapper(module, checkpoint_impl=implementation)

        apply_activation_checkpointing(
            model, checkpoint_wrapper_fn=wrapper, check_fn=lambda part: isinstance(part, Block)
        )
        return model

    return make


class Twice(Encoder):
    """One block is used in two places."""

    def __init__(self):
        super().__init__(layer_drop=0.0)
        self.layers[2] = self.layers[0]


def train(folder, make, watched, *, accumulate=1, steps=7, early=True, **settings):
    torch.manual_seed(0)
    model = make()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    data, losses = list(loader()), []
    watch = Watch(model, folder, **{**SETTINGS, **settings}) if watched else None
    for step in range(steps):
        for part in range(accumulate):
            batch = data[(step * accumulate + part) % len(data)]
            batch = (batch[0].requires_grad_(), batch[1])  # reentrant checkpoints want an input with a gradient
            if watch is None:
                loss = model(*batch).square().mean()
                loss.backward()
            else:
                with watch.batch(batch):
                    loss = model(*batch).square().mean()
                    if early:
                        watch.before_backward()
                    loss.backward()
            losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
        if watch is not None:
            watch.step()
    if watch is not None:
        watch.close()
    return losses, model, watch


def ranks(watch):
    return {(r.step, r.source, r.level, r.layer): r.effective_rank for r in watch.readings}


def untouched(folder, make, **arguments):
    """Trains with and without us, the training pass watched as well, and sees that nothing differs."""
    losses, model, _ = train(folder / "a", make, watched=False, **arguments)
    ours, same, watch = train(folder / "b", make, watched=True, watch=WATCH, **arguments)
    assert ours == losses
    for a, b in zip(same.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    return watch, losses


WAYS = {
    "around": around(False),
    "around, reentrant": around(True),
    "around, reentrant, drawn late": around(True),
    "inside": inside(False),
    "inside, reentrant": inside(True),
    "checkpoint_wrapper": wrapped(CheckpointImpl.NO_REENTRANT),
    "checkpoint_wrapper, reentrant": wrapped(CheckpointImpl.REENTRANT),
}


@pytest.fixture(scope="module")
def plainly(tmp_path_factory):
    """Losses and readings of the same model without checkpoints, which change neither."""
    losses, _, watch = train(tmp_path_factory.mktemp("plain"), lambda: Encoder(layer_drop=0.0), True, watch=WATCH)
    return losses, ranks(watch)


SELDOM = ("around", "around, reentrant", "inside, reentrant", "checkpoint_wrapper, reentrant")


@pytest.mark.parametrize("way", [pytest.param(way, marks=pytest.mark.slow if way in SELDOM else ()) for way in WAYS])
def test_activation_checkpointing(tmp_path, plainly, way):
    """A block fires again within backward: that is no second firing.

    A reentrant checkpoint around a block runs it without gradients, as a teacher is run, and is read all the same.
    """
    watch, losses = untouched(tmp_path, WAYS[way], early="late" not in way)
    assert losses == plainly[0]
    assert ranks(watch) == plainly[1]


def test_a_block_that_is_used_twice_is_read_where_it_is_used_first(tmp_path):
    """In the training pass as in evaluation passes, and it is one layer."""
    watch, _ = untouched(tmp_path, Twice)
    assert {r.layer for r in watch.readings if r.source == "first_batches"} == LAYERS - {"layers.2"}
    assert {r.layer for r in watch.readings if r.source == "train"} == LAYERS - {"layers.2"}
    once, _ = untouched(tmp_path / "once", Twice, layers=["layers.0"])
    same = {key: value for key, value in ranks(watch).items() if key[3] == "layers.0"}
    assert ranks(once) == same


def test_half_of_the_layers_dropped_in_training_are_all_there_in_probe_passes(tmp_path):
    watch, _ = untouched(tmp_path, lambda: Encoder(layer_drop=0.5))
    for step in (2, 3, 6, 7):
        assert {r.layer for r in watch.readings if (r.step, r.source) == (step, "first_batches")} == LAYERS


def test_accumulated_gradients(tmp_path):
    watch, _ = untouched(tmp_path, Encoder, accumulate=3)
    assert {r.step for r in watch.readings if r.source == "first_batches"} == {1, 3, 6, 7}


class TwoOptimisers(Module):
    """By hand, two of them; the second one steps with every other batch."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        encoder, head = self.optimizers()
        self.toggle_optimizer(encoder)
        self.manual_backward(super().training_step(batch, batch_idx))
        encoder.step()
        encoder.zero_grad()
        self.untoggle_optimizer(encoder)
        if batch_idx % 2 == 0:
            self.manual_backward(super().training_step(batch, batch_idx))
            head.step()
            head.zero_grad()

    def configure_optimizers(self):
        return torch.optim.SGD(self.encoder.parameters(), 1e-2), torch.optim.SGD(self.head.parameters(), 1e-2)


@pytest.mark.filterwarnings("ignore:RankWatch. the trainer has no logger")
def test_several_optimisers_by_hand_and_two_passes_in_a_step(tmp_path):
    def fit(folder, *callbacks):
        pl.seed_everything(0)
        module = TwoOptimisers()
        trainer(folder, *callbacks, max_epochs=1, max_steps=-1, logger=False, enable_checkpointing=False).fit(
            module, loader(shuffle=True)
        )
        return module

    callback = RankWatch(watch=WATCH, **SETTINGS)
    plain, watched = fit(tmp_path / "a"), fit(tmp_path / "b", callback)
    assert watched.losses == plain.losses
    for a, b in zip(watched.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert {r.step for r in callback.readings if r.source == "first_batches"} == {2, 3, 6, 8}
    assert {r.source for r in callback.readings} == {"first_batches", "train"}
