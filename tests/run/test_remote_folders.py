"""Run folders that only fsspec reaches: everything goes there, and nothing into the working directory."""

import warnings

import pytest
import torch
from object_store import objects  # noqa: F401
from toys import Encoder, Module, Noise, collate, loader, pl, trainer

from rankwatch import CollapseError, RankWatch, RowSampling, Watch
from rankwatch.reporting import read_jsonl

SETTINGS = {"every_n_steps": 4, "rows": RowSampling(n_utterances=16), "max_overhead": None}


class Breaks(Module):
    """Its weights become NaN after 9 steps."""

    def on_train_batch_start(self, batch, index):
        if self.global_step == 9:
            torch.nn.init.constant_(self.encoder.layers[1].inner.linear1.weight, torch.nan)


@pytest.fixture
def cwd(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fit(folder, callback, module, **arguments):
    pl.seed_everything(0)
    saves = pl.callbacks.ModelCheckpoint(every_n_train_steps=3, save_top_k=-1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = trainer(folder, callback, saves, **{"max_steps": 16, "logger": False, **arguments})
        run.fit(module, loader())
    return run, [str(one.message) for one in caught if "RankWatch" in str(one.message)]


@pytest.mark.parametrize("protocol", ["memory", "objects"])
def test_a_run_in_a_store_has_all_of_its_files_there(cwd, objects, protocol):  # noqa: F811
    place = f"{protocol}://{cwd.name}/run"
    callback = RankWatch(**SETTINGS, on_collapse="stop")
    run, said = fit(place, callback, Breaks())
    assert run.should_stop
    folder = f"{place}/rankwatch"
    steps = sorted({reading.step for reading in callback.readings})
    assert sorted({reading.step for reading in read_jsonl(f"{folder}/RankWatch.jsonl")}) == steps
    import fsspec

    store, inside = fsspec.core.url_to_fs(folder)
    names = sorted(name.removeprefix(inside + "/") for name in store.find(inside))
    assert names == [
        f"RankWatch-collapse-step={run.global_step}.ckpt",
        "RankWatch.eval_set.rank0.pt",
        "RankWatch.jsonl",
        "RankWatch.last_healthy.ckpt",
    ]
    alarm = next(one for one in said if "CRITICAL" in one)
    assert f"Last healthy checkpoint: {folder}/RankWatch.last_healthy.ckpt" in alarm
    with fsspec.open(f"{folder}/RankWatch.last_healthy.ckpt") as file:
        kept = torch.load(file, weights_only=False)
    assert kept["global_step"] in (3, 6)
    assert not torch.isnan(kept["state_dict"]["encoder.layers.1.inner.linear1.weight"]).any()
    assert any("local folder" in one and folder in one for one in said)
    assert not [path for path in cwd.rglob("*") if path.is_file()]


def test_a_restart_goes_on_from_the_store(cwd, objects):  # noqa: F811
    place = f"objects://{cwd.name}/run"
    fit(place, RankWatch(**SETTINGS), Module(), max_steps=9)
    second = RankWatch(**SETTINGS)
    last = f"{place}/checkpoints/epoch=1-step=9.ckpt"
    pl.seed_everything(0)
    trainer(place, second, max_steps=16, logger=False, enable_checkpointing=False).fit(
        Module(), loader(), ckpt_path=last
    )
    records = read_jsonl(f"{place}/rankwatch/RankWatch.jsonl")
    assert sorted({reading.step for reading in records}) == [2, 4, 8, 9, 12, 16]
    curves = {reading.key for reading in records}
    assert len({(reading.key, reading.protocol.id) for reading in records}) == len(curves)  # none starts again
    shown = objects.text(f"/{cwd.name}/run/rankwatch/RankWatch.jsonl")
    assert shown.count('"record": "run"') == 2
    assert shown.count('"record": "end"') == 2


def train_until_it_breaks(watch, model, checkpoint):
    data = torch.utils.data.DataLoader(Noise(), 8, collate_fn=collate)
    with watch:
        for step, batch in enumerate([*data, *data, *data]):
            if step == 8:
                torch.nn.init.constant_(model.layers[1].inner.linear1.weight, torch.nan)
            with watch.batch(batch):
                model(*batch)
            if step == 3:
                torch.save({}, checkpoint)
                watch.saved(checkpoint)
            watch.step()


@pytest.mark.filterwarnings("ignore::rankwatch.runtime.diagnostics.CollapseWarning")
def test_a_loop_of_ones_own_writes_there_too_event_files_as_well(cwd, objects):  # noqa: F811
    torch.manual_seed(0)
    model = Encoder()
    with pytest.warns(RuntimeWarning, match="objects://bucket/mine is not on this machine's disks"):
        watch = Watch(model, "objects://bucket/mine", on_collapse="raise", **SETTINGS)
    with pytest.raises(CollapseError) as caught:
        train_until_it_breaks(watch, model, cwd / "mine.ckpt")
    assert sorted({r.step for r in read_jsonl("objects://bucket/mine/RankWatch.jsonl")})[:3] == [2, 4, 8]
    assert [name for name in objects.store if "tfevents" in name]
    # Checkpoints that are on this machine are kept here: nothing is uploaded at each reading.
    assert caught.value.checkpoint == cwd / "rankwatch" / "RankWatch.last_healthy.ckpt"
    assert {path.name for path in cwd.rglob("*") if path.is_file()} == {"RankWatch.last_healthy.ckpt", "mine.ckpt"}


def test_a_store_that_refuses_costs_one_warning_and_no_reading(cwd, objects, caplog):  # noqa: F811
    objects.refuses = True
    caplog.set_level("INFO", "rankwatch")
    callback = RankWatch(**SETTINGS)
    pl.seed_everything(0)
    run = trainer(f"objects://{cwd.name}/run", callback, max_steps=12, logger=False, enable_checkpointing=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit(Module(), loader())
    assert sorted({reading.step for reading in callback.readings}) == [2, 4, 8, 12]
    said = [str(one.message) for one in caught if "no right to write" in str(one.message)]
    assert sum("UploadReporter" in one for one in said) == 1
    kept = next(one for one in said if "UploadReporter" in one).split("it is in ")[1].split(")")[0]
    assert sorted({reading.step for reading in read_jsonl(kept)}) == [2, 4, 8, 12]
    assert f"Everything in full: {kept}" in caplog.text
