"""Hooks of ours on a model that is copied: no copy has them, and each is what it would be without us."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rankwatch.extraction.hooks.hook_handles import HookHandles


def _double(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    return 2 * output


class Model(nn.Module):
    """Has a hook of the user's own, and holds its handle."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Linear(3, 3)
        self.handle = self.block.register_forward_hook(_double)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class HasGetstate(Model):
    """Gives its attributes as they are, in a state of its own making."""

    def __getstate__(self) -> Any:
        return self.__dict__, "more"

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state[0])


class HasDeepcopy(Model):
    """Copies itself by hand, as many do."""

    def __deepcopy__(self, memo: dict[int, Any]) -> HasDeepcopy:
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        new.__dict__ = copy.deepcopy(self.__dict__, memo)
        return new


class HasReduce(Model):
    def __reduce__(self) -> Any:
        return HasReduce, (), self.__dict__


def _torch_saved(model: nn.Module) -> Any:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


def _pure_python(model: nn.Module) -> Any:
    buffer = io.BytesIO()
    pickle._Pickler(buffer).dump(model)  # type: ignore[attr-defined]
    return pickle.loads(buffer.getvalue())


COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "old protocol": lambda model: pickle.loads(pickle.dumps(model, 2)),
    "pure python": _pure_python,
    "torch.save": _torch_saved,
    "to a worker": lambda model: pickle.loads(ForkingPickler.dumps(model)),
    "averaged": lambda model: torch.optim.swa_utils.AveragedModel(model).module,
}


@pytest.fixture(params=[Model, HasGetstate, HasDeepcopy, HasReduce])
def model(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A model, hooked by two owners; the second one's hooks are removed again."""
    model = request.param()
    handles, others = HookHandles(), HookHandles()
    for module in model.modules():
        handles.before_call(module, lambda *_: model.fired.append("before"))
        handles.after_call(module, lambda *_: model.fired.append("after"))
        others.after_call(module, lambda *_: model.fired.append("another's"))
    others.remove()
    object.__setattr__(model, "fired", [])
    yield model
    handles.remove()


def _hooks(module: nn.Module) -> list[Any]:
    return [
        *module._forward_hooks.values(),
        *module._forward_pre_hooks.values(),
        *module._forward_hooks_with_kwargs,
        *module._forward_pre_hooks_with_kwargs,
    ]


@pytest.mark.parametrize("how", COPIES)
def test_no_hook_of_ours_is_in_a_copy_and_the_users_own_are(model: Any, how: str) -> None:
    x = torch.ones(2, 3)
    copied = COPIES[how](model)
    assert [_hooks(module) for module in copied.modules()] == [[], [_double]]
    assert all(not vars(module._forward_hooks) for module in copied.modules())
    assert torch.equal(copied(x), model(x))
    assert model.fired == ["before", "before", "after", "after"]
    again = COPIES[how](copied)
    assert torch.equal(again(x), model(x))
    copied.handle.remove()  # the user's handle belongs to the copy's own registry
    assert not _hooks(copied.block)
    assert torch.equal(2 * copied(x), model(x))


def test_a_model_is_afterwards_as_it_was() -> None:
    model, handles = Model(), HookHandles()
    before = [(vars(module).keys(), _hooks(module)) for module in model.modules()]
    saved = pickle.dumps(model)
    for module in model.modules():
        handles.before_call(module, print)
        handles.after_call(module, print)
    assert len(pickle.dumps(model)) == len(saved)
    assert b"rankwatch" not in pickle.dumps(model)
    handles.remove()
    assert [(vars(module).keys(), _hooks(module)) for module in model.modules()] == before
    assert not any(vars(module._forward_hooks) or vars(module._forward_pre_hooks) for module in model.modules())
    assert pickle.dumps(model) == saved


def test_a_shallow_copy_shares_its_hooks_as_ever_until_they_are_removed() -> None:
    model, handles = nn.Linear(2, 2), HookHandles()
    handles.after_call(model, print)
    shallow = copy.copy(model)
    assert shallow._forward_hooks is model._forward_hooks
    handles.remove()
    assert not shallow._forward_hooks


def test_a_module_whose_class_torch_has_changed_is_copied_as_without_us() -> None:
    normed, handles = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)), HookHandles()
    handles.after_call(normed, lambda *_: None)
    copied = copy.deepcopy(normed)
    assert not _hooks(copied)
    assert torch.equal(copied(torch.ones(3)), normed(torch.ones(3)))
    handles.remove()


@pytest.mark.slow
def test_a_saved_model_is_loaded_where_rankwatch_is_not_installed(tmp_path: Any) -> None:
    model, handles = nn.Sequential(nn.Linear(2, 2)), HookHandles()
    for module in model.modules():
        handles.after_call(module, lambda *_: None)
    torch.save(model, tmp_path / "model.pt")
    code = (
        "import sys; sys.modules['rankwatch'] = None; import torch; "
        f"model = torch.load({str(tmp_path / 'model.pt')!r}, weights_only=False); print(len(model[0]._forward_hooks))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "0\n"
