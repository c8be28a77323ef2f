"""Checks and losses from tables, and losses from a logger's files."""

import numpy as np
import pytest
from made_up_checks import made_up_series, write_losses, write_run

from rankwatch.correlation.inputs.check_tables import with_checks
from rankwatch.correlation.inputs.losses import with_losses

RUNS = [made_up_series(name, np.arange(4.0), np.arange(4.0) / 10, layers=("L01", "L02")) for name in ("a", "b")]


def table(tmp_path, text, name="checks.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def of(run, task):
    return [one for one in run.checks if one.name == task]


def test_checks_of_a_table_stand_beside_those_of_the_records(tmp_path):
    path = table(
        tmp_path, "Run;Step;Task;Value;Layer\na;2000;wer;30\na;1000;wer;40\nb;1000;phones;0.5;L02\n".replace(";", ";")
    )
    first, second = with_checks(RUNS, path, ["wer"])
    (wer,) = of(first, "wer")
    assert (wer.steps.tolist(), wer.values.tolist(), wer.direction, wer.layer) == ([1000, 2000], [40.0, 30.0], -1, "")
    (phones,) = of(second, "phones")
    assert (phones.layer, phones.direction) == ("L02", 1)
    assert len(first.checks) == 3
    assert not first.notes


def test_a_line_for_each_utterance_gives_means_errors_and_rows(tmp_path):
    lines = ["step\ttask\tvalue\tutterance"]
    lines += [
        f"{step}\tfound\t{value}\t{name}"
        for step, pair in ((1, (0, 1)), (2, (1, 1)))
        for name, value in zip("uv", pair, strict=True)
    ]
    (run,) = with_checks(RUNS[:1], table(tmp_path, "\n".join(lines)))
    (found,) = of(run, "found")
    assert found.values.tolist() == [0.5, 1.0]
    assert found.rows.tolist() == [[0.0, 1.0], [1.0, 1.0]]
    assert found.errors == pytest.approx([0.5, 0.0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step,task\n1,x\n", "no column 'value'; its columns are step, task"),
        ("run,step,task,value\n", "no line below"),
        ("run,step,task,value\nc,1,x,1\n", "line 2: there is no run 'c'; the runs are called 'a', 'b'"),
        ("step,task,value\n1,x,1\n", "there is no run ''"),
        ("run,step,task,value,layer\na,1,x,1,L09\n", "a has no layer 'L09'; its layers are L01, L02"),
        ("run,step,task,value,level\na,1,x,1,word\n", "level 'word'"),
        ("run,step,task,value\na,1,x,good\n", "'good' is no number"),
        ("run,step,task,value\na,1,x,nan\n", "no finite number"),
        ("run,step,task,value\na,1,x,1\na,1,x,2\n", "'x' has two values for step 1"),
        ("run,step,task,value\n\n\na,1,x\n", "line 4: '' is no number"),
        ("run,step,task,value\na,1.5,x,1\n", "'1.5' is no optimiser step"),
        ("run,step,task,value\na,-1,x,1\n", "'-1' is no optimiser step"),
        ("run,step,task,value\na,1,x, y,1\n", "line 2 has more cells than the header"),
        ("run,step,task,value\na,1,,1\n", "line 2 names no task"),
    ],
)
def test_what_a_table_has_wrong_is_said(tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        with_checks(RUNS, table(tmp_path, text))


def test_tables_in_another_encoding_are_named(tmp_path):
    (tmp_path / "checks.csv").write_bytes("run,step,task,value\na,1,wört,1\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"checks.csv can't be read as a table .*: save it as CSV in UTF-8"):
        with_checks(RUNS, tmp_path / "checks.csv")


def of_utterances(missing, steps=range(1000, 4001, 1000), names="stuv"):
    """Utterance t is right at every second step, the others always; those of some steps are missing."""
    lines = [
        f"{step},found,{0 if name == 't' and step % 2000 else 1},{name}"
        for step in steps
        for name in names
        if name not in missing.get(step, "")
    ]
    return "\n".join(["step,task,value,utterance", *lines])


def test_means_are_over_the_same_utterances_at_every_step(tmp_path):
    (run,) = with_checks(RUNS[:1], table(tmp_path, of_utterances({3000: "v"})))
    (found,) = of(run, "found")
    assert found.values == pytest.approx([2 / 3, 1, 2 / 3, 1])
    assert found.rows.shape == (4, 3)
    assert "1 of 4 utterances don't have a value at every step" in run.notes[0]
    with pytest.raises(ValueError, match=r"1 of 4 utterances alone.*step 3000 has the fewest \(1\)"):
        with_checks(RUNS[:1], table(tmp_path, of_utterances({3000: "stv"})))


def test_error_rates_are_asked_about_and_unknown_tasks_refused(tmp_path):
    path = table(tmp_path, "run,step,task,value\na,1,test-other WER,30\n")
    assert "--lower-is-better test-other WER" in with_checks(RUNS, path)[0].notes[0]
    with pytest.raises(ValueError, match="no task 'cer'; its tasks are test-other WER"):
        with_checks(RUNS, path, ["cer"])


def loss_of(run):
    return next(one for one in run.measures if one.name == "loss")


def test_a_checkpoints_loss_is_the_mean_since_the_one_before(tmp_path):
    lines = ["run,step,value", *(f"a,{step},{step / 1000}" for step in range(500, 4001, 500))]
    first, second = with_losses(RUNS, ["", ""], table(tmp_path, "\n".join(lines)))
    assert loss_of(first).values == pytest.approx([0.75, 1.75, 2.75, 3.75])
    assert loss_of(first).direction == -1
    assert second is RUNS[1]


def test_a_check_just_after_a_reading_has_no_loss_of_the_steps_between_alone(tmp_path):
    checks = table(tmp_path, "step,task,value\n1003,x,1\n2003,x,2\n3003,x,3\n")
    lines = ["step,value", *(f"{step},{step / 1000}" for step in range(1, 4001))]
    (run,) = with_losses(with_checks(RUNS[:1], checks), [""], table(tmp_path, "\n".join(lines), "loss.csv"))
    loss = dict(zip(loss_of(run).steps.tolist(), loss_of(run).values.tolist(), strict=True))
    assert [loss[step] for step in (2000, 2003, 3003)] == pytest.approx([1.5, 1.5, 2.5], abs=0.005)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step,value\ninf,3\n", "line 2: 'inf' is no finite number"),
        ("step,value\n1000\n", "line 2: '' is no number"),
        ("step,note\n1000,a\n", "no column 'value' or 'loss'"),
    ],
)
def test_what_a_table_of_losses_has_wrong_is_said(tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        with_losses(RUNS[:1], [""], table(tmp_path, text))


def test_the_loss_beside_the_records_is_found_by_itself_or_by_its_name(tmp_path):
    path = write_run(tmp_path / "rankwatch" / "RankWatch.jsonl", np.arange(4.0), np.arange(4.0) / 10)
    write_losses(tmp_path, [1000, 2000, 3000, 4000], [4.0, 3.0, 2.0, 1.0])
    run = RUNS[0]
    assert loss_of(with_losses([run], [str(path)])[0]).values.tolist() == [4.0, 3.0, 2.0, 1.0]
    assert loss_of(with_losses([run], [str(path)], tag="train_loss")[0]).values.tolist() == [4.0, 3.0, 2.0, 1.0]
    with pytest.raises(ValueError, match="no loss 'val_loss'"):
        with_losses([run], [str(path)], tag="val_loss")
    (alone,) = with_losses([run], [str(write_run(tmp_path / "b" / "run.jsonl", np.arange(4.0), np.arange(4.0)))])
    assert "no loss was found" in alone.notes[0]


def test_tensorboards_scalars_are_found_by_their_tag(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    path = write_run(tmp_path / "rankwatch" / "RankWatch.jsonl", np.arange(4.0), np.arange(4.0) / 10)
    with SummaryWriter(tmp_path) as writer:
        for step in (1000, 2000):
            writer.add_scalar("objective", step / 500, step)
            writer.add_scalar("train/loss", 1.0, step)
    assert loss_of(with_losses(RUNS[:1], [str(path)], tag="objective")[0]).values.tolist() == [2.0, 4.0]
    assert loss_of(with_losses(RUNS[:1], [str(path)])[0]).values.tolist() == [1.0, 1.0]
