"""``rankwatch report``: from files and folders to a page, as runs go on, and what it refuses."""

from __future__ import annotations

import builtins
import dataclasses
import sys
from pathlib import Path

import pytest
from recorded_runs import write_records

from rankwatch.cli import main
from rankwatch.report import ReportOptions, find_records, open_run, report, run_names

plotly = pytest.mark.skipif(not __import__("importlib.util").util.find_spec("plotly"), reason="plotly isn't installed")


def records(folder: Path, name: str, **options: object) -> Path:
    """As Lightning's logger and the callback lay them down."""
    run = folder / name / "version_0"
    (run / "rankwatch").mkdir(parents=True)
    (run / "hparams.yaml").write_text(f"teacher: {name}\nwidth: 64\n")
    (run / "metrics.csv").write_text("epoch,step,train/loss,val_loss\n0,5,1.5,\n0,10,1.25,9\n")
    return write_records(run / "rankwatch" / "RankWatch.jsonl", 3, 12, **options)


def test_loss_and_hyperparameters_come_from_the_loggers_files(tmp_path: Path) -> None:
    run = open_run(records(tmp_path, "a"))
    assert run.loss is not None
    assert (run.loss.name, run.loss.steps.tolist(), run.loss.values.tolist()) == ("train/loss", [5, 10], [1.5, 1.25])
    assert run.hyperparameters == {"teacher": "a", "width": "64"}


def test_records_alone_are_enough(tmp_path: Path) -> None:
    run = open_run(write_records(tmp_path / "RankWatch.jsonl", 2, 4))
    assert run.loss is None
    assert run.hyperparameters == {}
    assert run.problems == []


def test_the_loss_of_tensorboard_event_files_is_found(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    path = records(tmp_path, "a")
    (path.parents[1] / "metrics.csv").unlink()
    with SummaryWriter(str(path.parents[1])) as writer:
        for step in range(3):
            writer.add_scalar("val_loss", 9.0, step)
            writer.add_scalar("train_loss", 1.0 / (step + 1), step)
    run = open_run(path)
    assert run.loss is not None
    assert run.loss.name == "train_loss"
    assert run.loss.values.tolist() == pytest.approx([1, 0.5, 1 / 3])


def test_files_of_loggers_that_cannot_be_read_are_said_and_passed_over(tmp_path: Path) -> None:
    path = records(tmp_path, "a")
    (path.parents[1] / "metrics.csv").write_text("step,loss\n1,abc\n")
    (path.parents[1] / "hparams.yaml").write_text("a: !!python/object:os.system {}\n")
    run = open_run(path)
    assert run.loss is None
    assert run.hyperparameters == {}
    assert any("can't be read for the loss" in problem for problem in run.problems)


def test_folders_are_searched_and_other_files_passed_over(tmp_path: Path) -> None:
    first, second = records(tmp_path, "a"), records(tmp_path, "b")
    (tmp_path / "other.jsonl").write_text('{"text": "a corpus"}\n')
    assert find_records([tmp_path]) == [str(first), str(second)]
    assert find_records([second, tmp_path]) == [str(second), str(first)]
    with pytest.raises(ValueError, match=r"holds 2 runs"):
        open_run(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no records"):
        find_records([tmp_path / "empty"])


def test_runs_are_called_by_what_tells_them_apart() -> None:
    files = ["logs/a/version_0/rankwatch/RankWatch.jsonl", "logs/b/version_3/rankwatch/RankWatch.jsonl"]
    assert run_names(files) == ["a/version_0", "b/version_3"]
    assert run_names(["x/run1.jsonl", "x/run2.jsonl"]) == ["run1", "run2"]
    assert run_names(["logs/a/version_0/rankwatch/RankWatch.jsonl"]) == ["a/version_0"]
    assert run_names(["a/RankWatch.jsonl", "a/b/RankWatch.jsonl"]) == ["a", "a/b"]


@plotly
def test_the_command_writes_a_page_and_says_what_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records(tmp_path, "a", collapse=False)
    out = tmp_path / "new" / "report.html"
    assert main(["report", str(tmp_path), "-o", str(out)]) == 0
    said = capsys.readouterr().err
    assert "no alarm" in said
    assert "written to" in said
    assert out.read_text().startswith("<!doctype html>")


@plotly
def test_a_page_is_written_anew_until_the_run_has_ended(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.jsonl", 2, 12)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    out, sizes = tmp_path / "report.html", []

    def wait(seconds: float) -> None:
        sizes.append((len(out.read_text()), '"refresh":5' in out.read_text(), seconds))
        if len(sizes) == 2:  # after a look at which nothing had come
            path.write_bytes(whole)
        assert len(sizes) < 4

    report(ReportOptions([str(path)], out, watch=5.0), lambda line: None, wait)
    assert [size[1:] for size in sizes] == [(True, 5.0), (True, 5.0)]
    assert '"refresh":0' in out.read_text()
    assert len(out.read_text()) > sizes[0][0]


@plotly
def test_a_file_that_is_away_for_a_moment_does_not_end_the_watch(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.jsonl", 2, 4, finished=False)
    away, looks = tmp_path / "away", []

    def wait(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 1:
            path.rename(away)
        if len(looks) == 2:
            away.rename(path)
            write_records(path, 2, 4)
        assert len(looks) < 4

    report(ReportOptions([str(path)], tmp_path / "r.html", watch=5.0), lambda line: None, wait)
    assert '"ended":true' in (tmp_path / "r.html").read_text()


@plotly
def test_what_cannot_be_read_is_said_in_the_terminal_and_on_the_page(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.jsonl", 2, 6)
    with path.open("a") as file:
        file.write("broken\n")
    said: list[str] = []
    report(ReportOptions([str(path)], tmp_path / "r.html"), said.append)
    assert any("cut off or broken" in line for line in said)
    assert "cut off or broken" in (tmp_path / "r.html").read_text()


@plotly
def test_pictures_without_kaleido_are_those_of_matplotlib(tmp_path: Path) -> None:
    from rankwatch.reporting.page.picture import write_picture

    run = open_run(write_records(tmp_path / "a.jsonl", 3, 6))
    for name in ("heatmap", "spectra"):
        write_picture(tmp_path / f"{name}.png", [run], name, kaleido=False)
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="needs kaleido"):
        write_picture(tmp_path / "ranks.svg", [run], "ranks", kaleido=False)
    with pytest.raises(ValueError, match="no figure 'rank'"):
        write_picture(tmp_path / "ranks.png", [run], "rank")
    with pytest.raises(ValueError, match=r"a page ends in \.html"):
        write_picture(tmp_path / "ranks.txt", [run], "ranks")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere.jsonl"], "No such file"),
        (["a.jsonl", "--names", "x", "y"], "2 names for 1 runs"),
        (["--figure", "ranks", "a.jsonl", "-o", "x.txt"], "a page ends in .html"),
        ([*(f"{i}.jsonl" for i in range(9))], "too many to tell apart"),
    ],
)
@plotly
def test_what_cannot_be_done_is_refused_in_a_sentence(
    arguments: list[str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_records(tmp_path / "a.jsonl", 2, 3)
    assert main(["report", *arguments]) == 2
    assert reason in capsys.readouterr().err


def test_without_plotly_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_records(tmp_path / "a.jsonl", 2, 3)
    real = builtins.__import__

    def without(name: str, *arguments: object, **words: object) -> object:
        if name.startswith("plotly"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *arguments, **words)

    for name in [name for name in sys.modules if name.startswith(("plotly", "rankwatch.reporting.figures"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "rankwatch.reporting.page.page_data", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["report", str(path), "-o", str(tmp_path / "r.html")]) == 2
    assert "pip install 'rankwatch[report]'" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()
    import rankwatch

    with pytest.raises(ModuleNotFoundError, match="rankwatch\\[report\\]"):
        rankwatch.figures.ranks(path)


@plotly
def test_figures_take_paths_runs_and_readings(tmp_path: Path) -> None:
    import rankwatch
    from rankwatch.reporting import read_jsonl

    path = write_records(tmp_path / "a.jsonl", 3, 8)
    run = rankwatch.figures.open_run(path)
    shown = rankwatch.figures.ranks(path)
    assert len(shown.data) == len(rankwatch.figures.ranks(run).data)
    made = rankwatch.figures.run_from_readings(read_jsonl(path), alarms=run.alarms)
    for key, curve in made.curves.items():
        assert curve.values.tolist() == run.curves[key].values.tolist()
    assert len(rankwatch.figures.heatmap(made).data) == 2
    with pytest.raises(ValueError, match="nothing to draw for 'codebooks'"):
        rankwatch.figures.codebooks(run)
    protocols = {id_: dataclasses.replace(one, seed=1) for id_, one in run.protocols.items()}
    other = dataclasses.replace(run, name="b", protocols=protocols)
    with pytest.raises(ValueError, match="can't be compared"):
        rankwatch.figures.ranks([run, other])
