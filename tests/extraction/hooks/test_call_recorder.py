"""Holding back the backbone's calls."""

import pytest
import torch
from torch import nn

from rankwatch.extraction.hooks.call_recorder import CallRecorder
from rankwatch.extraction.inputs.tensor_copies import Copies
from rankwatch.extraction.inputs.utterance_keys import fingerprint, primary_input, utterance_keys


class Inner(nn.Module):
    def forward(self, x, lengths=None):
        return x * 2


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()

    def forward(self, batch):
        return self.inner(batch[0], lengths=batch[1])


def _batch():
    return torch.randn(4, 50, generator=torch.Generator().manual_seed(0)), torch.tensor([50, 40, 30, 20])


def test_the_deepest_module_that_fires_is_the_backbone_and_only_its_hook_stays():
    model, batch = Outer(), _batch()
    recorder = CallRecorder([("inner", model.inner), ("", model)])
    recorder.install()
    recorder.arm()
    model(batch)
    held = recorder.take(batch)
    assert recorder.backbone[0] == "inner"
    assert torch.equal(held.args[0], batch[0])
    assert torch.equal(held.kwargs["lengths"], batch[1])
    assert not model._forward_pre_hooks
    assert model.inner._forward_pre_hooks
    recorder.remove()
    assert not model.inner._forward_pre_hooks


def test_what_is_held_is_a_copy_from_before_the_model_could_write_into_it():
    model, batch = Outer(), _batch()
    before = batch[0].clone()
    recorder = CallRecorder([("inner", model.inner)])
    recorder.install()
    recorder.arm()
    model(batch)
    batch[0].zero_()
    assert torch.equal(recorder.take(batch).args[0], before)


def test_nothing_is_recorded_unless_armed():
    model, batch = Outer(), _batch()
    recorder = CallRecorder([("inner", model.inner)])
    recorder.install()
    model(batch)
    assert recorder.take(batch) is None


def test_a_tensor_that_turns_up_twice_is_copied_once():
    x = torch.randn(3)
    one, (two,) = Copies("cpu")((x, [x]))
    assert one is two
    assert one is not x


def test_time_first_backbones_have_as_many_keys_as_utterances():
    x = torch.randn(4, 50, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(utterance_keys((x.transpose(0, 1),), (x, None)), fingerprint(x))


def test_the_audio_is_the_largest_floating_tensor_or_int16():
    wave, lengths = _batch()
    assert primary_input((lengths, {"audio": wave, "small": wave[:, :3]})) is wave
    samples = (1000 * wave).to(torch.int16)
    assert primary_input((lengths, samples)) is samples
    with pytest.raises(ValueError, match="audio or features"):
        primary_input((lengths, "text"))


@pytest.mark.parametrize("in_place", [False, True])
def test_no_hook_goes_inside_a_compiled_module(in_place):
    model = Outer()
    if in_place:
        model.inner.compile(fullgraph=True)
        candidates = [("inner", model.inner), ("", model)]
        expected = {id(model)}
    else:
        model.inner = torch.compile(model.inner, fullgraph=True)
        candidates = [("inner._orig_mod", model.inner._orig_mod), ("inner", model.inner), ("", model)]
        expected = {id(model.inner), id(model)}
    recorder = CallRecorder(candidates)
    recorder.install()
    hooked = {id(module) for module in model.modules() if module._forward_pre_hooks}
    assert hooked == expected
    recorder.remove()


class Trained(nn.Module):
    """Gives its inner module what a trainable layer has made of the batch."""

    def __init__(self):
        super().__init__()
        self.first, self.inner = nn.Linear(50, 50), Inner()

    def forward(self, batch):
        return self.inner(self.first(batch[0]), lengths=batch[1])


def test_a_call_with_what_is_being_trained_is_none_to_replay():
    model, batch = Trained(), _batch()
    recorder = CallRecorder([("inner", model.inner), ("", model)])
    recorder.install()
    recorder.arm()
    model(batch)
    assert torch.equal(recorder.take(batch).args[0][0], batch[0])
    assert recorder.backbone == ("", model)


class Stubborn(torch.Tensor):
    """A batch of somebody's that can't be copied."""

    def detach(self):
        raise MemoryError("no room")


def test_a_hook_that_fails_never_raises_in_the_users_forward_pass():
    model, (audio, lengths) = Outer(), _batch()
    recorder = CallRecorder([("inner", model.inner), ("", model)])
    recorder.install()
    recorder.arm()
    model((audio.as_subclass(Stubborn), lengths))
    with pytest.raises(MemoryError, match="no room"):
        recorder.take(None)
    recorder.arm()
    model((audio, lengths))
    assert torch.equal(recorder.take(None).args[0], audio)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_module_that_was_compiled_and_is_not_called_itself_hides_nothing(in_place):
    model, batch = Outer(), _batch()
    if in_place:
        model.compile(backend="eager")
    else:
        model.forward = torch.compile(model.forward, backend="eager")
    recorder = CallRecorder([("inner", model.inner), ("", model)])
    recorder.install()
    for _ in range(2):  # the first call shows that it isn't the model that is called
        recorder.arm()
        model.inner(*batch)
        held = recorder.take(batch)
    assert recorder.backbone == ("inner", model.inner)
    assert torch.equal(held.args[0], batch[0])
    recorder.remove()
