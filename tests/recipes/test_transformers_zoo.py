"""Audio models of transformers, and its vision models on spectrograms, from tiny configs: read, or refused with advice.

Which layers there are, how wide they are and how many frames of each utterance count is written down from the
configurations. The rows are compared with what hooks of our own see, in the batch and, where a model is the same then,
of each utterance alone and without padding. Where something isn't read the test follows the advice of the message.
"""

import ast
import importlib
import pkgutil
import re
import warnings
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo import Entry, Inputs
from zoo_encoders import ENCODERS
from zoo_images import IMAGES
from zoo_patches import PATCHES
from zoo_spectrograms import SPECTROGRAMS
from zoo_waveforms import WAVEFORMS

import rankwatch
from rankwatch import RowSampling
from rankwatch.extraction.rows.row_extraction import RowExtractor
from rankwatch.extraction.rows.row_sampling import SampledRows

transformers = pytest.importorskip("transformers")

ZOO: list[Entry] = [*WAVEFORMS, *SPECTROGRAMS, *ENCODERS, *PATCHES, *IMAGES]


def _find(name: str) -> Any:
    """A class of transformers, also one that isn't exported; a version that has none skips the test."""
    found = getattr(transformers, name, None)
    if found is None:
        for module in pkgutil.iter_modules(transformers.models.__path__):
            if name.lower().startswith(module.name.replace("_", "")):
                for kind in ("modeling", "configuration"):
                    path = f"transformers.models.{module.name}.{kind}_{module.name}"
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        found = found or getattr(importlib.import_module(path), name, None)
    return found or pytest.skip(f"this version of transformers has no {name}")


def _build(entry: Entry) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = _find(entry.model)(_find(entry.config)(**entry.arguments)).eval()
    return model.get_submodule(entry.part) if entry.part else model


@pytest.mark.parametrize(
    "entry", [pytest.param(entry, marks=() if entry.few else pytest.mark.slow, id=entry.name) for entry in ZOO]
)
def test_is_read_or_refused_with_advice_that_works(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    model, expected = _build(entry), entry.each_layer()
    rows: dict[str, SampledRows] = {}
    layouts = _read_with_advice(entry, model, rows, monkeypatch)
    assert set(rows) == set(expected)
    in_batch = _outputs(model, entry.inputs, list(expected))
    for layer, (what, frames) in expected.items():
        assert rows[layer].frame_rows.shape[1] == what[1], layer
        wanted = [
            _rows(in_batch[layer], what, b)[: None if frames is None else _per(what) * frames[b]] for b in range(4)
        ]
        _same(rows[layer], wanted, layer)
        assert layouts[layer] == what[0]
    if entry.alone is not None:
        one_by_one = [_outputs(model, entry.alone(entry.inputs, b), list(expected)) for b in range(4)]
        for layer, (what, _) in expected.items():
            _same(rows[layer], [_rows(one[layer], what, 0) for one in one_by_one], f"{layer} alone")


def _read_with_advice(
    entry: Entry, model: nn.Module, rows: dict[str, SampledRows], monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The layouts as the table has them, once there is no problem any more; `rows` has what was drawn then."""
    extract, found_layouts = RowExtractor.rows, {}

    def spy(self: RowExtractor, *args: Any, **kwargs: Any) -> Any:
        drawn, failures = extract(self, *args, **kwargs)
        rows.clear()
        rows.update(drawn)
        found_layouts.update({layer: facts.layout for layer, facts in self.facts.items()})
        return drawn, failures

    said: dict[str, Any] = {}
    layers: Any = "auto"
    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(RowExtractor, "rows", spy)
        for _ in range(4):  # one piece of advice may come after the other
            sampling = RowSampling(frames_per_utterance=9000, projection=None, **said)
            found = rankwatch.inspect(model, dict(entry.inputs), rows=sampling, layers=layers)
            problems = [
                one for one in found.problems if not any(f"layer {name} did not" in one for name in entry.silent)
            ]
            if not problems:
                return found_layouts
            advice = " ".join(problems)
            layouts = re.findall(r"layouts=\{('[^']+': '[^']+')\}", advice)
            said["layouts"] = {**said.get("layouts", {}), **ast.literal_eval(f"{{{', '.join(layouts)}}}")}
            if 'lengths="none"' in advice:
                said["lengths"] = "none"
            refused = re.findall(r"layer '([^']+)': output of shape [^)]*\) fits no known .*? none of its axes", advice)
            assert set(refused) <= set(entry.refused), advice
            if refused:
                layers = list(entry.each_layer())
    raise AssertionError(advice)


def _outputs(model: nn.Module, inputs: Inputs, layers: Sequence[str]) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}

    def listen(layer: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            seen.setdefault(layer, _hidden(output))

        return model.get_submodule(layer).register_forward_hook(hook)

    handles = [listen(layer) for layer in layers]
    with torch.no_grad():
        model(**inputs)
    for handle in handles:
        handle.remove()
    return seen


def _hidden(output: Any) -> Tensor:
    if isinstance(output, Tensor):
        return output.clone()
    if isinstance(output, dict):
        output = list(output.values())
    return _hidden(output[0])


def _rows(hidden: Tensor, what: Sequence[Any], utterance: int) -> Tensor:
    """All positions of one utterance, in the order of time."""
    layout = what[0]
    if layout == "(T, B, C)":
        return hidden[:, utterance]
    one = hidden[utterance]
    if layout == "(B, C, T)":
        return one.T
    if hidden.ndim == 4:
        names = layout[4:-1].split(", ")
        return one.movedim(names.index("T"), 0).flatten(1)
    before, behind = re.search(r"\(B, (\d+) \+ ", layout), re.search(r" \+ (\d+), C", layout)
    one = one[int(before[1]) if before else 0 : len(one) - (int(behind[1]) if behind else 0)]
    return one.unflatten(0, (what[2], -1)).transpose(0, 1).flatten(0, 1) if "FT" in layout else one


def _per(what: Sequence[Any]) -> int:
    return what[2] if len(what) > 2 else 1


def _same(drawn: SampledRows, wanted: Sequence[Tensor], layer: str) -> None:
    """The same rows of each utterance, whatever the order of their columns, and the same means."""
    keys = drawn.utterance_keys
    assert [int((drawn.frame_keys == key).sum()) for key in keys] == [len(one) for one in wanted], layer
    for key, one in zip(keys, wanted, strict=True):
        _alike(drawn.frame_rows[drawn.frame_keys == key], one, layer)
    _alike(drawn.utterance_rows, torch.stack([one.mean(0) for one in wanted]), layer)


def _alike(ours: Tensor, theirs: Tensor, layer: str) -> None:
    scale = theirs.abs().max().clamp(min=1e-30)
    ours, theirs = (ours / scale).double(), (theirs / scale).double()
    products, wanted = ours @ ours.T, theirs @ theirs.T
    off = float((products - wanted).abs().max() / wanted.abs().max().clamp(min=1e-30))
    assert off < 1e-4, layer
