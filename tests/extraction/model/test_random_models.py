"""Random models, of which it is known by construction what has to be read: layers, layouts, frames and rows."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import rankwatch
from rankwatch import RowSampling
from rankwatch.extraction.model.layers import find_layers
from rankwatch.extraction.rows.row_extraction import RowExtractor

WIDTH, SAMPLES = 8, torch.tensor([400, 300, 350])
FRAMES = [((n - 10) // 5 + 1 - 4) // 2 + 1 for n in SAMPLES.tolist()]


@dataclass
class Output:
    hidden_states: Tensor
    attention: Tensor | None = None


FORMS: dict[str, Any] = {
    "tensor": lambda x: x,
    "pair": lambda x: (x, None),
    "list": lambda x: [x, torch.zeros(2)],
    "dict": lambda x: {"hidden_states": x, "loss": x.sum()},
    "dataclass": Output,
}
LAYOUTS = {"(B, T, C)": (0, 1, 2), "(B, C, T)": (0, 2, 1), "(T, B, C)": (1, 0, 2)}
"""How (B, T, C) has to be permuted; the same way back."""


def hidden_of(output: Any) -> Tensor:
    if isinstance(output, Output):
        output = output.hidden_states
    elif isinstance(output, dict):
        output = output["hidden_states"]
    elif isinstance(output, (tuple, list)):
        output = output[0]
    found: Tensor = output
    return found


class Front(nn.Module):
    """(B, samples) to frames of its layout."""

    def __init__(self, layout: str, form: str, normed: bool) -> None:
        super().__init__()
        self.layout, self.form = layout, form
        first = nn.Conv1d(1, WIDTH, 10, 5)
        if normed:
            first = nn.utils.parametrizations.weight_norm(first)
        self.convs = nn.Sequential(first, nn.GELU(), nn.Conv1d(WIDTH, WIDTH, 4, 2))

    def forward(self, waveforms: Tensor) -> Any:
        return FORMS[self.form](self.convs(waveforms[:, None]).mT.permute(LAYOUTS[self.layout]))


class Block(nn.Module):
    """Attention and a feed-forward part, on frames of its layout."""

    def __init__(self, layout: str, form: str) -> None:
        super().__init__()
        self.layout, self.form = layout, form
        self.attn = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.up, self.down, self.norm = nn.Linear(WIDTH, 12), nn.Linear(12, WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor, padding: Tensor) -> Any:
        x = x.permute(LAYOUTS[self.layout])
        x = x + self.attn(x, x, x, key_padding_mask=padding, need_weights=False)[0]
        x = self.norm(x + self.down(torch.relu(self.up(x))))
        return FORMS[self.form](x.permute(LAYOUTS[self.layout]))


class Encoder(nn.Module):
    """Holds blocks below itself; is iterated over."""

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.dropout, self.layers = nn.Dropout(0.0), nn.ModuleList(blocks)


CONTAINERS: dict[str, tuple[Any, str]] = {
    "list": (nn.ModuleList, "{}"),
    "dict": (lambda blocks: nn.ModuleDict({f"block_{i}": block for i, block in enumerate(blocks)}), "block_{}"),
    "sequential": (lambda blocks: nn.Sequential(*blocks), "{}"),
    "encoder": (Encoder, "layers.{}"),
    "encoder in a list": (lambda blocks: nn.ModuleList([Encoder(blocks)]), "0.layers.{}"),
    "compiled": (lambda blocks: nn.ModuleList(_compiled(blocks)), "{}"),
}


def _compiled(blocks: list[nn.Module]) -> list[Any]:
    wrapped: dict[nn.Module, Any] = {block: torch.compile(block, backend="eager") for block in blocks}
    return [wrapped[block] for block in blocks]


def in_order(holder: nn.Module) -> list[nn.Module]:
    """What a container's forward pass calls: also what it holds twice."""
    if isinstance(holder, Encoder):
        return list(holder.layers)
    children = list(holder._modules.values())
    if len(children) == 1 and isinstance(children[0], Encoder):
        return in_order(children[0])
    return [child for child in children if child is not None]


class Model(nn.Module):
    """A front end, a student and perhaps a teacher that share it, built in any order."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        front = Front(plan.front_layout, plan.front_form, plan.normed)
        blocks: list[nn.Module] = [Block(plan.layout, plan.form) for _ in range(plan.depth)]
        if plan.twice:
            blocks.append(blocks[-1])
        student = CONTAINERS[plan.container][0](blocks)
        parts = {"front": front, "student": student, "heads": nn.Linear(WIDTH, 3)}
        self.names = {"teacher": plan.teacher}
        if plan.teacher:
            twin = CONTAINERS["list"][0]([copy.deepcopy(block) for block in blocks[: plan.depth]])
            parts[plan.teacher] = twin.requires_grad_(False)
        for name in plan.order:
            name = plan.teacher if name == "teacher" else name
            if name:
                setattr(self, name, parts[name])

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        frames = hidden_of(self.front(waveforms)).permute(LAYOUTS[self.front.layout])
        counts = ((lengths - 10) // 5 + 1 - 4) // 2 + 1
        padding = torch.arange(frames.shape[1]) >= counts[:, None]
        out = self._through(self.student, frames, padding)
        if self.names["teacher"]:
            with torch.no_grad():
                self._through(getattr(self, self.names["teacher"]), frames, padding)
        heads: Tensor = self.heads(out)
        return heads

    def _through(self, holder: nn.Module, frames: Tensor, padding: Tensor) -> Tensor:
        blocks = in_order(holder)
        layout: str = blocks[0].layout  # type: ignore[assignment]
        x = frames.permute(LAYOUTS[layout])
        for block in blocks:
            x = hidden_of(block(x, padding))
        return x.permute(LAYOUTS[layout])


@dataclass
class Plan:
    """What a model is made of."""

    front_layout: str
    front_form: str
    normed: bool
    layout: str
    form: str
    depth: int
    twice: bool
    container: str
    teacher: str
    order: list[str]

    def expected(self) -> dict[str, str]:
        """Layouts by layer; without the teacher's."""
        path = f"student.{CONTAINERS[self.container][1]}"
        blocks = {path.format(i): self.layout for i in range(self.depth)}
        return {"front": self.front_layout, **blocks}


plans = st.builds(
    Plan,
    front_layout=st.sampled_from(["(B, T, C)", "(B, C, T)"]),
    front_form=st.sampled_from(list(FORMS)),
    normed=st.booleans(),
    layout=st.sampled_from(list(LAYOUTS)),
    form=st.sampled_from(list(FORMS)),
    depth=st.integers(1, 3),
    twice=st.booleans(),
    container=st.sampled_from(list(CONTAINERS)),
    teacher=st.sampled_from(["", "teacher", "ema", "twin"]),
    order=st.permutations(["front", "student", "teacher", "heads"]),
)


@settings(max_examples=40)
@given(plans)
def test_the_layers_are_the_front_end_and_the_students_blocks(plan: Plan) -> None:
    found = {layer.name: (layer.kind, layer.branch) for layer in find_layers(Model(plan))}
    kinds = {name: ("frontend" if name == "front" else "block", "student") for name in plan.expected()}
    assert found == kinds


@settings(max_examples=15)
@given(plans)
def test_they_are_read_in_their_layouts_and_frames(plan: Plan) -> None:
    torch.manual_seed(0)
    model = Model(plan).eval()
    waveforms = torch.randn(3, 400) * (torch.arange(400) < SAMPLES[:, None])
    sampling = RowSampling(frames_per_utterance=100, projection=None)
    read: dict[str, Any] = {}
    extract = RowExtractor.rows

    def spy(self: RowExtractor, *args: Any, **kwargs: Any) -> Any:
        drawn, failures = extract(self, *args, **kwargs)
        read.update({name: (rows, self.facts[name].layout) for name, rows in drawn.items()})
        return drawn, failures

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), torch.compiler.set_stance("force_eager"):
        warnings.simplefilter("ignore")
        patch.setattr(RowExtractor, "rows", spy)
        found = rankwatch.inspect(model, (waveforms, SAMPLES), rows=sampling)
    assert found.problems == ()
    assert {name: layout for name, (_, layout) in read.items()} == plan.expected()
    with torch.no_grad():
        frames = hidden_of(model.front(waveforms)).permute(LAYOUTS[plan.front_layout])
    rows, _ = read["front"]
    wanted = torch.cat([one[:n] for one, n in zip(frames, FRAMES, strict=True)])
    torch.testing.assert_close(rows.frame_rows, wanted)
    for name, (rows, _) in read.items():
        assert [int((rows.frame_keys == key).sum()) for key in rows.utterance_keys] == FRAMES, name


class Image(nn.Module):
    """One block of a network on spectrograms, which gives its image in some layout."""

    def __init__(self, channels: int, last: bool) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(channels, 12, 3, padding=1), nn.Conv2d(12, channels, 3, padding=1)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(-1, 1) if self.last else x
        x = x + self.two(torch.relu(self.one(x)))
        return x.movedim(1, -1) if self.last else x


class Images(nn.Module):
    """(B, 1, bands, times) or (B, 1, times, bands), in stages that halve both."""

    def __init__(self, stages: int, depth: int, last: bool) -> None:
        super().__init__()
        self.last = last
        self.stem = nn.Conv2d(1, 7, 2, 2)
        self.stages = nn.ModuleList(nn.ModuleList(Image(7, last) for _ in range(depth)) for _ in range(stages))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for place, stage in enumerate(self.stages):
            x = nn.functional.avg_pool2d(x, 2) if place else x
            for block in stage:  # type: ignore[attr-defined]
                y = block(x.movedim(1, -1) if self.last else x)
                x = y.movedim(-1, 1) if self.last else y
        return x


@settings(max_examples=10)
@given(st.integers(1, 3), st.integers(2, 3), st.booleans(), st.booleans())
def test_images_are_read_along_time(stages: int, depth: int, last: bool, time_first: bool) -> None:
    torch.manual_seed(0)
    model, images = Images(stages, depth, last).eval(), torch.randn(3, 1, *((96, 40) if time_first else (40, 96)))
    widths: dict[str, tuple[int, int]] = {}
    extract = RowExtractor.rows

    def spy(self: RowExtractor, *args: Any, **kwargs: Any) -> Any:
        drawn, failures = extract(self, *args, **kwargs)
        widths.update({name: (len(rows.frame_rows), rows.frame_rows.shape[1]) for name, rows in drawn.items()})
        return drawn, failures

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(RowExtractor, "rows", spy)
        found = rankwatch.inspect(model, images, rows=RowSampling(frames_per_utterance=100, projection=None))
    assert found.problems == ()
    expected = {"stem": (3 * 48, 7 * 20)}
    for stage in range(stages):
        for block in range(depth):
            expected[f"stages.{stage}.{block}"] = (3 * (48 >> stage), 7 * (20 >> stage))
    assert widths == expected
