"""Runs by their records: what may be compared, what is said, and what to do where it may not."""

import argparse
import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from readings import reading
from recorded_runs import recorded, write_records

from rankwatch import compare
from rankwatch.cli import main
from rankwatch.commands.compare import _sources
from rankwatch.comparison.compare_runs import compare_runs
from rankwatch.comparison.differences.difference import ALL_LAYERS
from rankwatch.reporting.recorded.from_readings import run_from_readings


def made_up(name, ranks, *, steps=range(0, 200, 10), source="audio", half=1.0, seed=0, levels=("frame",)):
    """A run whose layers have these effective ranks, each a number or a function of the step."""
    made = [
        reading(
            step, rank(step) if callable(rank) else rank, layer=f"layers.{k}", level=level, source=source,
            half_width=half, seed=seed,
        )
        for step in steps
        for level in levels
        for k, rank in enumerate(ranks)
    ]  # fmt: skip
    return run_from_readings(made, name=name)


def of(found, layer, level="frame"):
    return next(d for d in found.differences if (d.place.layer, d.place.level) == (layer, level))


def test_a_large_difference_is_found_a_small_one_is_not_claimed():
    found = compare_runs([made_up("a", [60.0, 61.0]), made_up("b", [40.0, 60.0])])
    assert (of(found, "L00").verdict, of(found, "L00").differs) == ("higher", True)
    assert of(found, "L00").ratio == pytest.approx(1.5)
    assert (of(found, "L01").verdict, of(found, "L01").differs) == ("alike", False)
    assert of(found, ALL_LAYERS).ranks[0] == pytest.approx((60.0 * 61.0) ** 0.5)
    text = "\n".join(found.conclusions)
    assert "a has a higher effective rank than b by more than seeds alone give in 1 of 2 layers (L00 1.50 times" in text
    assert "not recipes" in text
    assert "--audio" in text
    assert not of(found, "L00").paired


def test_the_step_at_which_runs_part_is_said():
    def falling(step):
        return 60.0 if step < 100 else 20.0

    found = compare_runs([made_up("good", [60.0, 50.0]), made_up("bad", [falling, 50.0])])
    (parted,) = found.partings
    assert (parted.place.layer, parted.higher, parted.step, parted.alike_until, parted.apart_from) == (
        "L00", "good", 100, 90, 100,
    )  # fmt: skip
    assert any("for sure from step 100 on" in said and "after step 90" in said for said in found.conclusions)
    assert not compare_runs([made_up("good", [60.0]), made_up("bad", [falling])], step=50).differences[0].differs


def test_runs_of_unequal_length_are_compared_at_the_last_step_of_all():
    long = made_up("long", [lambda step: 60.0 if step <= 90 else 5.0])
    found = compare_runs([long, made_up("short", [60.0], steps=range(0, 100, 10))])
    assert found.differences[0].step == 90
    assert found.differences[0].verdict == "alike"
    assert not found.partings
    with pytest.raises(ValueError, match="no run has a reading at step 3 or before; the first is at step 10"):
        compare_runs([made_up("x", [60.0], steps=[10, 20]), made_up("y", [60.0], steps=[10, 20])], step=3)


def test_several_seeds_compare_recipes_and_the_order_of_three_is_given():
    runs = [made_up(f"a{k}", [60.0 + k], half=0.3) for k in range(3)]
    runs += [made_up(f"b{k}", [50.0 + k], half=0.3) for k in range(2)]
    found = compare_runs(runs, groups={"fast": ["a0", "a1", "a2"], "slow": ["b0", "b1"]})
    (one,) = found.differences
    assert (one.one, one.other, one.seeds, one.verdict) == ("fast", "slow", True, "higher")
    assert any("recipes" in said and "seeds" in said for said in found.conclusions)
    assert not any("not recipes" in said for said in found.conclusions)
    three = [made_up(name, [rank]) for name, rank in (("x", 60.0), ("y", 61.0), ("z", 50.0))]
    assert str(compare_runs(three).orders[0]) == "y = x > z"


def test_runs_of_the_same_seeds_are_told_apart_where_two_groups_are_not():
    ranks = {"new": [60.0, 72.0, 50.0], "old": [57.0, 68.0, 47.5]}
    runs = [made_up(f"{name}{k}", [rank], half=0.1) for name, found in ranks.items() for k, rank in enumerate(found)]
    groups = {name: [f"{name}{k}" for k in range(3)] for name in ranks}
    (apart,) = compare_runs(runs, groups).differences
    found = compare_runs(runs, groups, same_seeds=True)
    assert (apart.verdict, found.differences[0].verdict) == ("not known", "higher")
    assert any("Runs of the same seed were compared with each other" in said for said in found.conclusions)
    assert found.protocol["same_seeds"] is True


def test_a_collapsed_layer_has_the_rank_one_for_sure():
    dead = made_up("dead", [60.0, lambda step: 1.0])
    curves = {
        key: dataclasses.replace(curve, low=np.full_like(curve.low, np.nan), high=np.full_like(curve.high, np.nan))
        if key[2] == "layers.1" else curve
        for key, curve in dead.curves.items()
    }  # fmt: skip
    found = compare_runs([made_up("alive", [60.0, 55.0]), dataclasses.replace(dead, curves=curves)])
    assert of(found, "L01").verdict == "higher"
    unknown = {key: dataclasses.replace(c, low=c.low * np.nan) for key, c in made_up("x", [60.0]).curves.items()}
    found = compare_runs([made_up("a", [30.0]), dataclasses.replace(made_up("b", [60.0]), curves=unknown)])
    assert (found.differences[0].verdict, found.differences[0].low) == ("not known", None)
    assert "isn't known (there is no interval)" in found.conclusions[0]


def test_other_protocols_are_refused_with_what_to_do_and_sets_in_common_are_enough():
    a, b = made_up("a", [60.0], seed=0), made_up("b", [60.0], seed=1)
    with pytest.raises(ValueError, match=r"seed 0 against 1.*rankwatch replay MODULE:FACTORY --checkpoints"):
        compare_runs([a, b])
    both = [
        run_from_readings(
            [
                reading(step, 60.0, source=source, half_width=1.0, seed=seed if source == "first" else 0)
                for step in (0, 10)
                for source in ("first", "audio", "train")
            ],
            name=f"run{seed}",
        )
        for seed in (0, 1)
    ]
    found = compare_runs(both)
    assert {d.place.source for d in found.differences} == {"audio"}
    assert any("'first' is left out" in note and "seed 0 against 1" in note for note in found.notes)


def test_layers_of_other_widths_are_refused_with_another_way():
    a = made_up("a", [60.0])
    wide = {id_: dataclasses.replace(p, d=256) for id_, p in a.protocols.items()}
    with pytest.raises(ValueError, match=r"d 128 against 256.*different width can't be compared.*MODULE:CLASS@A.ckpt"):
        compare_runs([a, dataclasses.replace(a, name="b", protocols=wide)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    for name, collapse in (("good", False), ("bad", True), ("good2", False), ("bad2", True)):
        (place / name).mkdir()
        write_records(place / name / "RankWatch.jsonl", layers=3, readings=30, collapse=collapse)
    return place


def test_the_command_reads_folders_and_writes_everything(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["compare", str(folder / "good"), str(folder / "bad"), "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "good" in printed
    assert "bad" in printed
    lines = [json.loads(line) for line in (out / "comparison.jsonl").read_text().splitlines()]
    kinds = [line["kind"] for line in lines]
    assert kinds[0] == "protocol"
    assert {"difference", "order", "parting"} <= set(kinds)
    table = (out / "comparison.csv").read_text().splitlines()
    assert len(table) == 1 + kinds.count("difference")
    assert (out / "conclusions.txt").read_text().startswith("set")
    pytest.importorskip("plotly")
    page = (out / "index.html").read_text()
    assert "Ratios of effective ranks" in page
    assert "Steps at which runs part" in page


def test_groups_and_names_on_the_command_line(folder, tmp_path, capsys):
    files = [str(folder / name / "RankWatch.jsonl") for name in ("good", "bad")]
    more = [str(folder / name / "RankWatch.jsonl") for name in ("good2", "bad2")]
    twice = ["--group", f"fast={files[0]},{more[0]}", "--group", f"{files[1]},{more[1]}"]
    assert main(["compare", *twice, "-o", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "fast" in printed
    assert "group 2" in printed
    assert main(["compare", *twice, "--same-seeds", "-o", str(tmp_path)]) == 0
    assert "Runs of the same seed" in capsys.readouterr().out
    assert main(["compare", *files, "--names", "x", "y", "-o", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[0].split()[3:5] == ["x", "y"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "at least two"),
        (["--group", "a,b", "c"], "not both"),
        (["a.jsonl", "b.jsonl", "--names", "x"], "1 names for 2"),
        (["nothing_here", "nor_here"], "nothing_here"),
        (["m:make@a.ckpt", "m:make@b.ckpt"], "is a model.*--audio"),
        (["a", "b", "--at-least", "-1"], "^rankwatch compare: compare.at_least"),
        (["m:make@a.ckpt", "m:make@b.ckpt"], "^rankwatch compare: m:make@a.ckpt is a model"),
        (["a", "b", "c", "--names", "x", "x", "y"], "two runs or models can't both be called 'x'"),
        (["--group", "x=a,b", "--group", "x=c,d"], "two groups can't both be called 'x'"),
        (["--group", "a,b", "--group", "c,a"], "'a' is in the groups twice"),
    ],
)
def test_the_command_says_what_is_wrong(words, said, tmp_path, capsys):
    assert main(["compare", *words, "-o", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("rankwatch compare: ")
    assert re.search(said, error), error


def test_paths_of_a_group_may_hold_an_equals_sign(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for rate, names in (("0.1", ("good", "good2")), ("0.2", ("bad", "bad2"))):
        for seed, name in enumerate(names):
            shutil.copytree(folder / name, tmp_path / f"lr={rate}" / f"seed={seed}")
    paths = [f"lr={rate}/seed=0,lr={rate}/seed=1" for rate in ("0.1", "0.2")]
    assert main(["compare", "--group", paths[0], "--group", f"fast={paths[1]}"]) == 0
    assert re.search("group 1 +fast", capsys.readouterr().out.splitlines()[0])
    options = argparse.Namespace(group=["m:make@e=1.ckpt", "y=m:make@e=2.ckpt"], sources=[], names=[], audio="clips")
    assert _sources(options)[0] == {"group 1, 1": "m:make@e=1.ckpt", "y, 1": "m:make@e=2.ckpt"}


def test_readings_of_other_steps_are_said():
    ours = made_up("ours", [20.0, 30.0], steps=[0, 1000])
    theirs = made_up("theirs", [20.0, 30.0], steps=[0, 300, 999])
    (note,) = compare_runs([ours, theirs]).notes
    assert note == (
        "The newest readings up to step 999 aren't of one step: ours of step 0, theirs of step 999; the last one that "
        "was read in all is 0 (--step)."
    )
    twin = dataclasses.replace(ours, name="twin")
    assert compare_runs([ours, twin], step=5000).notes == ("The newest readings up to step 5000 are of step 1000.",)
    assert compare_runs([ours, twin]).notes == ()


def test_a_run_alone_is_refused(tmp_path):
    recorded(tmp_path, layers=1, readings=4)
    with pytest.raises(ValueError, match="at least two"):
        compare([tmp_path / "run.jsonl"])


def test_readings_under_an_earlier_protocol_do_not_count():
    before, after = (
        [reading(step, rank, source="audio", half_width=1.0, seed=seed) for step in steps]
        for rank, seed, steps in ((20.0, 1, range(0, 100, 10)), (60.0, 0, range(100, 200, 10)))
    )
    changed = run_from_readings([*before, *after], name="changed")
    found = compare_runs([changed, made_up("b", [60.0])])
    assert any("changed was read under another protocol before step 100" in note for note in found.notes)
    assert not found.partings
    assert found.differences[0].verdict == "alike"
    with pytest.raises(ValueError, match="the first is at step"):  # before the change there is nothing to compare
        compare_runs([changed, made_up("b", [60.0], steps=range(100, 200, 10))], step=50)


def test_another_learning_rate_is_said():
    def at_rate(name, rate):
        run = made_up(name, [60.0])
        return dataclasses.replace(run, learning_rate=np.array([rate(step) for step in run.steps], np.float32))

    runs = [at_rate("a", lambda step: 1e-3), at_rate("b", lambda step: 1e-3 if step < 100 else 5e-4)]
    assert compare_runs(runs).notes == ("The learning rate of b is 0.5 times that of a between steps 100 and 190.",)
    assert not compare_runs(runs, step=90).notes
    falling = at_rate("c", lambda step: 1e-3 * (1.0 - step / 400))
    assert "is 0.525 to 0.975 times that of a between steps 10 and 190" in compare_runs([runs[0], falling]).notes[0]
    assert not compare_runs([runs[0], at_rate("replay", lambda step: float("nan"))]).notes


def test_a_run_is_in_one_group_and_once():
    runs = [made_up(name, [60.0]) for name in ("a", "b", "c")]
    for groups in ({"x": ["a", "b"], "y": ["b", "c"]}, {"x": ["a", "a"], "y": ["b"]}):
        with pytest.raises(ValueError, match="is named twice"):
            compare_runs(runs, groups)
