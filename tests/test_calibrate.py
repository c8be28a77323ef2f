"""The command `rankwatch calibrate`, and a run under thresholds that it wrote."""

import pytest
import torch
from toys import Encoder

from rankwatch import RowSampling, Watch
from rankwatch.alarms.detectors.calibration import Calibration
from rankwatch.calibrate import calibrate
from rankwatch.cli import main


def record(folder, seed=0, steps=13, **settings):
    """A short run of a toy; gives its records and its watch."""
    torch.manual_seed(seed)
    model = Encoder(width=16, depth=1)
    arguments = {
        "every_n_steps": 1,
        "watch": ["frame"],
        "rows": RowSampling(n_utterances=8),
        "max_overhead": None,
        **settings,
    }
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Watch(model, folder, **arguments) as watch:
        for _ in range(steps):
            batch = torch.randn(4, 800), torch.full((4,), 800)
            with watch.batch(batch):
                model(*batch).square().mean().backward()
            optimizer.step()
            watch.step()
    return folder / "RankWatch.jsonl", watch


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Records of two healthy runs."""
    return [record(tmp_path_factory.mktemp("runs") / str(seed), seed)[0] for seed in range(2)]


def test_healthy_runs_make_thresholds_that_none_of_them_crosses(runs, tmp_path, capsys):
    out = tmp_path / "team.yaml"
    assert main(["calibrate", *map(str, runs), "--out", str(out)]) == 0
    assert "0 of 2 healthy runs" in capsys.readouterr().out
    calibration = Calibration.load(out)
    assert calibration.false_alarms == 0
    assert 0.1 <= calibration.thresholds["frame"] <= 0.9
    _, watch = record(tmp_path / "next", 0, sensitivity=str(out))
    assert not [alarm for alarm in watch.alarms if alarm.kind in ("dimensional_collapse", "sudden_rank_drop")]


def test_readings_under_another_protocol_are_refused(runs, tmp_path, capsys):
    other = record(tmp_path / "b", rows=RowSampling(n_utterances=12), steps=15)[0]
    assert main(["calibrate", str(runs[0]), str(other), "--out", str(tmp_path / "no.yaml")]) == 2
    assert "utterances 8 there, 12 here" in capsys.readouterr().err
    assert not (tmp_path / "no.yaml").exists()
    calibrate(runs).save(tmp_path / "team.yaml")
    with pytest.warns(RuntimeWarning, match=r"utterances 8 there, 12 here\), so the default thresholds"):
        record(tmp_path / "c", rows=RowSampling(n_utterances=12), steps=5, sensitivity=str(tmp_path / "team.yaml"))


def test_too_short_runs_and_those_with_alarms_are_refused(runs, tmp_path):
    lines = runs[0].read_text().splitlines()
    short = tmp_path / "short.jsonl"
    short.write_text("\n".join(line for line in lines if '"step": 1' not in line))
    with pytest.raises(ValueError, match="at least 12"):
        calibrate([short])
    alarmed = tmp_path / "alarmed.jsonl"
    alarm = '{"record": "alarm", "kind": "constant", "severity": "critical", "step": 9}'
    alarmed.write_text("\n".join([*lines, alarm]))
    with pytest.raises(ValueError, match="constant at step 9"):
        calibrate([alarmed])
    assert calibrate([alarmed], with_alarms=True).thresholds
    with pytest.raises(ValueError, match="passed twice"):
        calibrate([runs[0], runs[0]])
    headless = tmp_path / "headless.jsonl"
    headless.write_text("\n".join(line for line in lines if '"record": "run"' not in line))
    with pytest.raises(ValueError, match="no header"):
        calibrate([headless])
    with pytest.raises(ValueError, match="too few"):
        calibrate(runs, allowed=2)


def test_a_folder_is_searched_for_runs_and_they_are_named(runs, tmp_path, capsys):
    folder = runs[0].parent.parent
    (folder / "data").mkdir()
    (folder / "data" / "manifest.jsonl").write_text('{"audio": "a.wav"}\n')
    (folder / "data" / "empty.jsonl").touch()
    (folder / "data" / "list.jsonl").write_text("[1, 2]\n")
    ours = [run for run in runs if run.parent.parent == folder]
    assert main(["calibrate", str(folder), *map(str, runs[1:]), "--out", str(tmp_path / "team.yaml")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 runs:\n")
    assert all(f"  {run}\n" in out for run in ours)
    assert "manifest" not in out
    assert main(["calibrate", str(folder / "data"), "--out", str(tmp_path / "no.yaml")]) == 2
    assert f"{folder / 'data'} holds no records of rankwatch's" in capsys.readouterr().err
    assert not (tmp_path / "no.yaml").exists()
