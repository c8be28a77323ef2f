"""A run in which nothing could be read says so at its end, and not that there were no alarms."""

import pytest
import torch
from toys import Encoder

from rankwatch import FirstBatches, RowSampling, Watch


class NoPictures:
    """A logger that writes nothing."""

    def log_metrics(self, metrics, step):
        pass


def run(folder, caplog, call, error=None, **arguments):
    """Five steps of a loop; what was said to the person at the terminal."""
    torch.manual_seed(0)
    model = Encoder(width=16, depth=1)
    batch = torch.randn(8, 1200), torch.full((8,), 1200)
    settings = {"every_n_steps": 2, "rows": RowSampling(n_utterances=8), "writer": NoPictures(), **arguments}
    with caplog.at_level("INFO", logger="rankwatch"):
        watch = Watch(model, folder, **settings)
        for _ in range(5 if error is None else 0):
            with watch.batch(batch):
                call(model, batch)
            watch.step()
        watch.epoch()
        watch.close(error)
        watch.close()
    return caplog.text


def not_at_all(model, batch):
    """The loss comes from elsewhere."""


def broken(model, batch):
    """An evaluation forward pass that fails at every reading."""
    raise RuntimeError("no pass")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_where_no_source_can_be_read_the_end_says_so_and_why(tmp_path, caplog):
    said = run(tmp_path, caplog, not_at_all)
    assert said.count("nothing was read up to step 5, so this run was not watched") == 1
    assert "first_batches is not read: no module that contains all watched layers" in said
    assert "No alarms" not in said


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_where_every_reading_failed_it_says_so_as_well(tmp_path, caplog):
    said = run(tmp_path, caplog, lambda model, batch: model(*batch), eval_sets=FirstBatches(forward=broken))
    assert "nothing could be read up to step 5, so this run was not watched" in said
    assert "No alarms" not in said


def test_a_run_that_broke_off_before_its_first_reading_says_that(tmp_path, caplog):
    said = run(tmp_path, caplog, not_at_all, error=KeyboardInterrupt())
    assert "nothing was read up to step 0" in said
    assert "the run was interrupted by KeyboardInterrupt" in said


@pytest.mark.parametrize("every", [10**30, 6])
def test_a_run_that_is_shorter_than_the_interval_is_said_to_have_been_hardly_watched(every, tmp_path, caplog):
    said = run(tmp_path, caplog, lambda model, batch: model(*batch), every_n_steps=every)
    assert f"every_n_steps={every} is more than the run's 5 optimiser steps" in " ".join(said.split())


def test_a_run_that_was_read_says_that_there_were_no_alarms(tmp_path, caplog):
    said = run(tmp_path, caplog, lambda model, batch: model(*batch))
    assert "No alarms, but with 4 readings or fewer it can't be told whether a rank falls" in " ".join(said.split())
    assert "nothing" not in said
    assert "every_n_steps=2 is more" not in said


def test_a_folder_that_cannot_be_written_to_ends_no_run_and_nothing_is_said_to_be_there(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with pytest.warns(RuntimeWarning) as warned:
        said = run(tmp_path / "file" / "run", caplog, lambda model, batch: model(*batch), writer=None)
    for what in ("writing TensorBoard's event file failed", "JsonlReporter failed at start"):
        assert sum(what in str(one.message) for one in warned) == 1
    assert "4 readings up to step 5" in said
    assert "Everything in full" not in said
