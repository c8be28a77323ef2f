"""Checkpoints on the same utterances: paired, so that little differences are seen, and many of them not claimed."""

import dataclasses
import json

import clips
import numpy as np
import pytest
import torch
from torch import nn

from rankwatch import compare
from rankwatch.analysis.rows.row_tables import FRAME, UTTERANCE, LayerInfo, ModelRows, RowTable
from rankwatch.cli import main
from rankwatch.comparison.compare_checkpoints import compare_checkpoints
from rankwatch.comparison.differences.difference import ALL_LAYERS
from rankwatch.corpora import Utterance

UTTERANCES, FRAMES, WIDTH = 64, 4, 32
AT = {FRAME: np.repeat(np.arange(UTTERANCES), FRAMES), UTTERANCE: np.arange(UTTERANCES)}


def latent(seed):
    """What a recording holds at each frame, a third of it the same in all frames of an utterance."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((UTTERANCES, WIDTH)) * 0.57
    return {kind: shared[at] + 0.82 * rng.standard_normal((len(at), WIDTH)) for kind, at in AT.items()}


def model(name, exponents, *, seed=1, likeness=0.95, left_out=(), width=WIDTH):
    """Rows of a model whose layers see nearly the same of each frame, with these spectra."""
    infos = tuple(LayerInfo(f"L{k:02}", f"layers.{k}", "block", width, tap="norm") for k in range(len(exponents)))
    ids = [f"u{k}" for k in range(UTTERANCES) if k not in left_out]
    tables = {}
    for kind, at in AT.items():
        kept = np.flatnonzero(~np.isin(at, list(left_out)))
        seen = likeness * latent(0)[kind] + (1.0 - likeness**2) ** 0.5 * latent(seed)[kind]
        rows = {
            info.path: torch.from_numpy((seen * np.arange(1, WIDTH + 1) ** (-0.5 * e))[kept][:, :width]).float()
            for info, e in zip(infos, exponents, strict=True)
        }
        number = {k: i for i, k in enumerate(k for k in range(UTTERANCES) if k not in left_out)}
        keys = tuple((f"u{at[i]}", int(i)) for i in kept)
        tables[kind] = RowTable(rows, np.array([number[k] for k in at[kept]]), None, keys)
    utterances = tuple(Utterance(name_, None) for name_ in ids)
    return ModelRows(name, "f", infos, utterances, tuple(ids), tables, torch.zeros(len(AT[FRAME]), 1), {})


def of(found, layer, level="frame"):
    return next(d for d in found.differences if (d.place.layer, d.place.level) == (layer, level))


def test_differences_are_paired_and_similarities_are_given():
    found = compare_checkpoints([model("a", [1.0, 1.0], seed=1), model("b", [1.0, 1.6], seed=2)], "clips")
    assert all(d.paired and d.differs is not None for d in found.differences)
    assert of(found, "L01").verdict == "higher"
    assert of(found, "L00").verdict == "alike"
    assert of(found, ALL_LAYERS).ratio == pytest.approx((of(found, "L00").ratio * of(found, "L01").ratio) ** 0.5)
    value, low, high = of(found, "L00").similarity
    assert 0.5 < low < value < high < 1.0
    assert of(found, "L00", "utterance").similarity is None
    assert "similarity" in found.table().splitlines()[0]
    assert any("Layers of a and b have a similarity" in said for said in found.conclusions)


def test_a_model_and_itself_differ_by_nothing():
    a = model("a", [1.0])
    found = compare_checkpoints([a, dataclasses.replace(a, name="b")], "clips")
    assert all(d.ratio == 1.0 and d.verdict == "alike" and not d.differs for d in found.differences)
    assert all(d.high - d.low < 0.01 for d in found.differences)


def test_models_that_differ_by_chance_alone_are_told_apart_as_often_as_said():
    """Pairs with one population rank: all intervals hold together in 95 of 100 comparisons."""
    wrong = 0
    for seed in range(16):
        pair = [model(name, [1.0, 0.7], seed=50 + 2 * seed + k) for k, name in enumerate("ab")]
        wrong += any(d.differs for d in compare_checkpoints(pair, "clips").differences)
    assert wrong <= 3  # 0.8 expected; four or more in 1 of 100


def test_only_utterances_that_all_have_count():
    found = compare_checkpoints([model("a", [1.0], left_out=[3]), model("b", [1.2], seed=2, left_out=[5])], "clips")
    assert found.protocol["utterances"] == UTTERANCES - 2
    assert found.protocol["frames"] == (UTTERANCES - 2) * FRAMES
    assert of(found, "L00").differs is not None
    few = range(10, UTTERANCES)
    found = compare_checkpoints([model("a", [1.0], left_out=few), model("b", [1.2], seed=2, left_out=few)], "clips")
    assert (of(found, "L00").verdict, of(found, "L00").low) == ("not known", None)
    assert "too few groups" in of(found, "L00").status
    assert any("10 utterances are too few" in note for note in found.notes)
    with pytest.raises(ValueError, match="no utterance"):
        compare_checkpoints([model("a", [1.0], left_out=range(32)), model("b", [1.0], left_out=range(32, 64))], "clips")


def test_ranks_of_other_widths_arent_compared_but_likeness_is():
    found = compare_checkpoints([model("a", [1.0]), model("b", [1.0], width=16)], "clips")
    assert of(found, "L00").verdict == "not known"
    assert "different widths" in of(found, "L00").status
    assert of(found, "L00").similarity[0] > 0.5
    assert any("32 and 16 dimensions" in note for note in found.notes)


def test_rows_that_are_no_numbers_in_one_model_leave_it_open():
    a, b = model("a", [1.0]), model("b", [1.0], seed=2)
    b.tables[FRAME].rows["layers.0"][:FRAMES] = float("nan")
    found = compare_checkpoints([a, b], "clips")
    assert of(found, "L00").verdict == "not known"
    assert any("no numbers" in one for one in of(found, "L00").status)
    assert of(found, "L00", "utterance").differs is not None


def test_groups_of_seeds_are_narrower_than_needed_for_one():
    groups = {"x": ["x0", "x1", "x2"], "y": ["y0", "y1"]}
    models = [
        model(n, [1.0 + 0.4 * (g == "y")], seed=k) for k, (g, n) in enumerate((g, n) for g in groups for n in groups[g])
    ]
    found = compare_checkpoints(models, "clips", groups)
    assert (of(found, "L00").verdict, of(found, "L00").seeds) == ("higher", True)
    same = compare_checkpoints([model(n, [1.0], seed=k) for k, n in enumerate("abcd")], "clips", {"x": "ab", "y": "cd"})
    assert of(same, "L00").verdict != "higher"


class Encoder(nn.Module):
    """A strided convolution and two blocks that take waveforms."""

    def __init__(self, seed=0, blocks=2):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.front = nn.Conv1d(1, 16, 400, stride=320)
            block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.blocks = nn.TransformerEncoder(block, blocks, enable_nested_tensor=False)

    def forward(self, waveforms):
        return self.blocks(self.front(waveforms[:, None]).abs().transpose(1, 2))


def make_deeper():
    return Encoder(blocks=4)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    pytest.importorskip("soundfile")
    folder = tmp_path_factory.mktemp("checkpoints")
    clips.corpus(folder / "clips", speakers=4, each=8)
    for run, seed in (("first", 0), ("second", 1)):
        (folder / run).mkdir()
        torch.save({"model": Encoder(seed).state_dict()}, folder / run / "last.pt")
    return folder


def test_the_command_compares_checkpoints_that_are_called_alike(place, tmp_path, capsys):
    sources = [f"{__name__}:Encoder@{place / run / 'last.pt'}" for run in ("first", "second")]
    words = [
        "compare",
        *sources,
        "--audio",
        str(place / "clips" / "audio"),
        "--rows",
        "128",
        "-o",
        str(tmp_path / "out"),
    ]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split()[:4] == ["level", "layer", "first", "second"]
    protocol = json.loads((tmp_path / "out" / "comparison.jsonl").read_text().splitlines()[0])
    assert (protocol["utterances"], protocol["frames"]) == (32, 128)
    assert "not recipes" in printed


def test_models_of_other_depth_need_a_word(place):
    models = {"a": Encoder(), "b": make_deeper()}
    with pytest.raises(ValueError, match="--match depth"):
        compare(models, place / "clips" / "audio", rows=64)
    found = compare(models, place / "clips" / "audio", rows=64, match="depth")
    assert {d.place.layer for d in found.differences} == {"L00", "L01/L02", "L02/L04", ALL_LAYERS}
    with pytest.raises(ValueError, match="a step belongs to runs"):
        compare(models, place / "clips" / "audio", step=3)
