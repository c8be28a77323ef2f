"""From records to tables, files, figures and sentences in which nobody can read more than the data say."""

import csv
import dataclasses
import json
import re

import numpy as np
import pytest
from made_up_checks import autoregressive, made_up_series, records_of, write_losses, write_run

import rankwatch
from rankwatch.cli import main
from rankwatch.correlation.correlate_series import correlate_series
from rankwatch.correlation.evidence.findings import AGAINST, NO, NOT_KNOWN, YES
from rankwatch.correlation.output.correlation_figure import correlation_figure

N = 20
AT = np.arange(1, N + 1) / N
RISING = 1 - np.exp(-AT / 0.3)


def made_up(rho, seed=0, runs=3, **options):
    generator = np.random.default_rng(seed)
    pairs = [autoregressive(generator, N, 0.3, rho) for _ in range(runs)]
    return [
        made_up_series(f"seed{i}", 50 * RISING + 2 * x, 0.1 + 0.3 * RISING + 0.01 * y, **options)
        for i, (x, y) in enumerate(pairs)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three runs of three layers, whose losses stand beside them; the last layer's rank follows its check."""
    generator = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("runs")
    for number in range(3):
        x, y = autoregressive(generator, N, 0.3, 0.9, 3)
        x[:2] = autoregressive(generator, N, 0.3, 0.0, 2)[0]
        ranks = 20 + 60 * RISING + 2 * x
        accuracies = 0.1 + 0.3 * RISING + 0.01 * y + 0.05 * np.arange(3)[:, None]
        place = root / f"seed{number}"
        write_run(place / "rankwatch" / "RankWatch.jsonl", ranks, accuracies)
        write_losses(place, np.arange(100, 20_001, 100), 3 - np.arange(200) / 100)
    return root


@pytest.fixture(scope="module")
def found(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return rankwatch.correlate(folder, out=out), out


def test_the_sentence_says_what_choosing_loses_and_whether_rank_follows(found):
    (text,) = found[0].sentences
    assert text.startswith(
        "On these 3 runs, taking the checkpoint of highest effective rank (frame level, 'clips') in layer L03"
    )
    for part in (
        r"would have lost \d+\.\d points of probe accuracy on 'labelled' at frame level \(0\.0 to \d+\.\d\)",
        r"taking the last one \d+\.\d, the one of lowest loss \d+\.\d, one at random \d+\.\d",
        r"Rank follows .* beyond the mere passage of training: yes \(correlation of changes \+0\.",
        r"Of all 3 layers: yes in \d",
        r"Choosing by rank is better than taking one at random\.",
        r"3 runs are too few to say whether rank orders runs",
    ):
        assert re.search(part, text), part


def test_files_hold_everything_and_tables_agree(found):
    result, out = found
    lines = records_of(out / "correlation.jsonl")
    kinds = [line["kind"] for line in lines]
    assert kinds.count("association") == len(result.associations)
    assert kinds.count("choice") == len(result.choices)
    assert lines[0]["runs"] == ["seed0", "seed1", "seed2"]
    with (out / "correlation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.associations)
    expected = next(line for line in lines if line["kind"] == "association")
    assert float(rows[0]["value"]) == expected["value"]
    assert json.loads((out / "correlation.jsonl").read_text().splitlines()[-1])["text"] == result.sentences[-1]
    assert result.sentences[0] in (out / "sentences.txt").read_text()
    assert "Rank follows" in (out / "correlation.html").read_text()


def test_the_table_has_every_measure_and_the_figure_every_panel(found):
    result, _ = found
    table = result.table().splitlines()
    assert [line.split()[0] for line in table[2:5]] == ["effective_rank", "rankme", "stable_rank"]
    assert any(line.startswith("loss") for line in table)
    assert table[-1].startswith("chance")
    figure = result.figure()
    assert len({trace.xaxis for trace in figure.data}) == 4
    assert len(figure.layout.annotations) == 4


def test_pandas_tables_have_a_row_for_each(found):
    pytest.importorskip("pandas")
    result, _ = found
    assert len(result.to_pandas()) == len(result.associations)
    assert set(result.to_pandas("choices")["what"]) == {"checkpoint", "layer", "run"}
    with pytest.raises(ValueError, match="no 'runs'"):
        result.to_pandas("runs")


def test_the_command_prints_the_table_and_the_sentence(folder, tmp_path, capsys):
    names = ["--names", "a", "b", "c", "--groups", "one", "one", "two", "--measures", "stable_rank"]
    assert main(["correlate", str(folder), "-o", str(tmp_path / "out"), *names]) == 0
    said = capsys.readouterr().out
    assert "beyond the step" in said
    assert "On these 3 runs" in said
    assert (tmp_path / "out" / "choices.csv").exists()
    for wrong, why in ((["--groups", "one"], "1 groups for 3 runs"), (["--layer", "L9"], "no layer 'L9'")):
        assert main(["correlate", str(folder), "-o", str(tmp_path / "out"), *wrong]) == 2
        assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"names": ["a"]}, "1 names for 3 runs"),
        ({"names": ["a", "a", "b"]}, "two runs have one name: a"),
        ({"groups": {"seed9": "x"}}, "groups name runs that aren't there: seed9"),
        ({"measures": ["entropy"]}, "no measure entropy; it has effective_rank"),
        ({"loss_tag": "val_loss"}, "no loss 'val_loss'"),
    ],
)
def test_what_does_not_fit_is_said(folder, wrong, why):
    with pytest.raises(ValueError, match=why):
        rankwatch.correlate(folder, **wrong)


def test_without_any_check_it_says_what_to_do(folder, tmp_path):
    run = made_up(0.0, runs=1)[0]
    with pytest.raises(ValueError, match=r"watch a LabelledSet, or name a table of checks \(--checks"):
        correlate_series([dataclasses.replace(run, checks=[])])
    with pytest.raises(ValueError, match="holds no records of rankwatch's"):
        rankwatch.correlate(tmp_path)


def test_a_table_of_error_rates_is_a_check(folder, tmp_path):
    lines = ["run,step,task,value"]
    lines += [f"seed{i},{step},wer,{40 - step / 1000}" for i in range(3) for step in range(1000, 20_001, 1000)]
    (tmp_path / "checks.csv").write_text("\n".join(lines))
    found = rankwatch.correlate(folder, checks=tmp_path / "checks.csv", lower_is_better=["wer"])
    finding = found.findings[-1]
    assert (finding.check, finding.layer) == ("wer", "L03")
    assert finding.lost["last"].lost == 0.0
    assert finding.over_time.value > 0.9
    assert re.search(r"would have lost \S+ in wer( \(.*\))? against the best one", found.sentences[-1])


@pytest.mark.parametrize(("rho", "runs", "expected"), [(0.9, 3, YES), (-0.9, 3, AGAINST), (0.9, 1, YES), (0.0, 6, NO)])
def test_verdicts_are_those_of_known_correlations(rho, runs, expected):
    (finding,) = correlate_series(made_up(rho, runs=runs)).findings
    assert finding.follows == expected


def test_pure_trend_is_called_that_later_is_better():
    found = correlate_series(made_up(0.0, seed=1, runs=1))
    assert found.findings[0].follows == NOT_KNOWN
    assert "beyond the mere passage of training: not known" in found.sentences[0]
    assert "it says no more than that later is better" in found.sentences[0]
    assert "isn't known from so few runs" in found.sentences[0]


def test_few_checkpoints_are_called_too_few():
    run = made_up(0.9, runs=1)[0]
    few = dataclasses.replace(
        run,
        measures=[dataclasses.replace(one, steps=one.steps[:6], values=one.values[:6]) for one in run.measures],
        checks=[dataclasses.replace(one, steps=one.steps[:6], values=one.values[:6]) for one in run.checks],
    )
    found = correlate_series([few])
    assert found.findings[0].follows == NOT_KNOWN
    assert "6 checkpoints are too few to tell it from the passage of training, eleven are needed" in found.sentences[0]
    alone = dataclasses.replace(
        few, checks=[dataclasses.replace(one, steps=one.steps[:1], values=one.values[:1]) for one in few.checks]
    )
    (text,) = correlate_series([alone]).sentences
    assert "too few checkpoints with both the check and effective rank to choose among" in text


def test_a_check_that_finds_nothing_says_nothing_about_rank():
    runs = made_up(0.9, errors=np.full(N, 0.2), floor=0.3)
    (text,) = correlate_series(runs).sentences
    assert text.startswith("Probe accuracy on 'labelled' at frame level: the check has found nothing")
    assert correlate_series(runs).findings[0].follows == NOT_KNOWN


def test_runs_that_all_lose_nothing_have_no_interval_of_nothing():
    runs = [made_up_series(f"r{i}", AT * (1 + 0.01 * i), AT + 0.01 * i) for i in range(3)]
    (text,) = correlate_series(runs).sentences
    assert "would have lost 0.0 points of probe accuracy on 'labelled' at frame level against the best one" in text
    assert "Here it has come to the same as taking the last one." in text


def test_runs_of_other_layers_and_steps_are_taken_as_far_as_they_go():
    first, second, third = made_up(0.9, layers=("L01", "L02"))
    other = made_up_series("short", RISING[:9], RISING[:9], steps=np.arange(9) * 7, layers=("L02", "L07"))
    found = correlate_series([first, second, third, other], layer="L02")
    (finding,) = found.findings
    assert (finding.runs, finding.beyond.units, finding.lost["last"].runs) == (4, 3, 4)
    assert set(finding.follows_by_layer) == {"L01", "L02", "L07"}
    assert correlation_figure(found.runs, found.associations, found.choices, finding).data


def test_one_run_that_is_there_twice_is_not_two():
    runs = made_up(0.5)
    cut = dataclasses.replace(
        runs[0],
        name="its replay",
        measures=[dataclasses.replace(one, steps=one.steps[::4], values=one.values[::4]) for one in runs[0].measures],
    )
    with pytest.raises(ValueError, match=r"seed0 and its replay have the same effective ranks.*count as two"):
        correlate_series([*runs, cut])
    groups = {run.name: run.name for run in runs} | {"its replay": "seed0"}
    assert correlate_series([*runs, cut], groups=groups).findings


def test_a_step_from_which_on_there_is_no_check_is_refused():
    with pytest.raises(ValueError, match="no labelled check from step 20001 on; the last is at step 20000"):
        correlate_series(made_up(0.5), from_step=20_001)
    (text,) = correlate_series(made_up(0.5), from_step=20_000).sentences
    assert ": 1 checkpoint is too few to tell it" in text
