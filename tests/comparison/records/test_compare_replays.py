"""Two runs that nobody watched: their checkpoints replayed on the same audio, and compared by what that wrote."""

import math

import pytest
import torch
from toys import Encoder

from rankwatch import Loader, RowSampling, compare, replay
from rankwatch.comparison.differences.difference import ALL_LAYERS
from rankwatch.reporting import read_jsonl


def encoder(seed):
    torch.manual_seed(seed)
    return Encoder(width=16, depth=2)


def replayed(folder, model, steps):
    (folder / "run").mkdir(parents=True)
    for step in steps:
        torch.save({"model": model.state_dict(), "step": step}, folder / "run" / f"step={step}.pt")
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(8, 900, generator=generator), torch.full((8,), 900)) for _ in range(4)]
    audio = Loader(batches, forward=lambda module, batch: module(*batch))
    rows = RowSampling(n_utterances=32, brief_utterances=None)
    about = {"rows": rows, "watch": ["frame"], "device": "cpu", "say": lambda line: None}
    replay(encoder(9), folder / "run", audio, out=folder / "out", **about)
    return folder / "out"


def test_replays_of_two_runs_are_compared_by_their_records(tmp_path):
    broken = encoder(1)
    with torch.no_grad():  # two of sixteen channels are left of what the last block gives
        broken.layers[1].inner.norm2.weight[2:] = 0.0
    outs = {"first": replayed(tmp_path / "a", encoder(0), [10]), "second": replayed(tmp_path / "b", broken, [10, 20])}
    found = compare(outs, out=tmp_path / "comparison")
    ranks = {
        (name, one.layer, one.step): one.effective_rank
        for name, out in outs.items()
        for one in read_jsonl(out / "RankWatch.jsonl")
    }
    layers = [one for one in found.differences if one.place.layer != ALL_LAYERS]
    assert {(one.place.level, one.step) for one in layers} == {("frame", 10)}  # the last that both have reached
    names = dict(zip(("L00", "L01", "L02"), ("feature_extractor", "layers.0", "layers.1"), strict=True))
    for one in layers:
        own = [ranks[name, names[one.place.layer], 10] for name in outs]
        assert one.ranks == pytest.approx(own, rel=1e-6)
        assert math.isclose(one.ratio, own[0] / own[1], rel_tol=1e-6)
    verdicts = {one.place.layer: one.verdict for one in layers}
    assert verdicts["L02"] == "higher"
    assert verdicts["L00"] != "higher"
    assert (tmp_path / "comparison" / "comparison.csv").exists()
