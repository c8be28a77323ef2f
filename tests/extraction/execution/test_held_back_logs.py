"""What a model logs in its forward pass is logged for training passes only."""

import threading

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from toys import Module, loader, pl, trainer

from rankwatch import RankWatch, RowSampling
from rankwatch.extraction.execution.held_back_logs import held_back_logs
from rankwatch.extraction.execution.preserved_model import preserved_model


def logged(folder, tag):
    events = EventAccumulator(str(folder)).Reload()
    return [event.value for event in events.Scalars(tag)] if tag in events.Tags()["scalars"] else []


class Writing(nn.Module):
    def __init__(self, writer):
        super().__init__()
        self.writer, self.calls = writer, 0

    def forward(self):
        self.calls += 1
        self.writer.add_scalar("calls", self.calls, self.calls)


def test_a_summary_writer_hears_nothing_of_this_thread_and_all_of_others(tmp_path):
    writer = SummaryWriter(str(tmp_path))
    model = Writing(writer)
    model()
    method = SummaryWriter.add_scalar
    with preserved_model(model):
        model()
        other = threading.Thread(target=lambda: writer.add_scalar("other", 1.0, 1))
        other.start()
        other.join()
    model()
    writer.close()
    assert SummaryWriter.add_scalar is method
    assert logged(tmp_path, "calls") == [1.0, 2.0]
    assert logged(tmp_path, "other") == [1.0]


def test_methods_are_back_after_an_exception(tmp_path):
    methods = SummaryWriter.add_scalar, pl.LightningModule.log
    with pytest.raises(KeyError), preserved_model(nn.Linear(1, 1)):
        raise KeyError
    assert methods == (SummaryWriter.add_scalar, pl.LightningModule.log)


def test_two_threads_may_be_within_at_once_and_leave_in_any_order(tmp_path):
    """Each hears nothing as long as it is within, whoever came first; then all is as it was."""
    writer, method = SummaryWriter(str(tmp_path)), SummaryWriter.add_scalar
    first_is_in, second_is_in = threading.Event(), threading.Event()

    def first():
        with held_back_logs():
            first_is_in.set()
            assert second_is_in.wait(9)
        writer.add_scalar("first", 1.0, 1)

    other = threading.Thread(target=first)
    other.start()
    assert first_is_in.wait(9)
    with held_back_logs(), held_back_logs():
        second_is_in.set()
        other.join()
        writer.add_scalar("second", 1.0, 1)
    writer.add_scalar("second", 2.0, 2)
    writer.close()
    assert SummaryWriter.add_scalar is method
    assert (logged(tmp_path, "first"), logged(tmp_path, "second")) == ([1.0], [2.0])


class Logging(Module):
    """Logs in its encoder's forward pass, as joint models do, through a hook of its own."""

    def __init__(self):
        super().__init__(layer_drop=0.0)
        self.encoder.register_forward_hook(self.tell)

    def tell(self, module, args, output):
        self.log(
            "loudness" if module.training else "loudness_in_eval", args[0].abs().mean(), on_step=True, on_epoch=True
        )


def test_what_is_logged_in_training_is_the_same_with_us(tmp_path):
    curves = []
    for watched in (False, True):
        torch.manual_seed(0)
        callback = RankWatch(every_n_steps=2, max_overhead=None, rows=RowSampling(n_utterances=16), strict=True)
        logger = pl.loggers.TensorBoardLogger(tmp_path / str(watched))
        fit = trainer(tmp_path, *[callback] * watched, max_steps=6, logger=logger, enable_checkpointing=False)
        fit.fit(Logging(), loader(32))
        curves.append([logged(logger.log_dir, tag) for tag in ("loudness_step", "loudness_in_eval_epoch")])
        assert bool(callback.readings) == watched
    assert [len(curve) for curve in curves[0]] == [6, 0]
    assert curves[0] == curves[1]
