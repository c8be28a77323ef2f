"""What an alarm sets off: an error instead of a stop, a call of the user's, and neither while it is muted."""

import json
import pickle
import threading
import time
import warnings
from types import SimpleNamespace

import pytest
import torch
from toys import Encoder, Module, loader, pl, trainer

from rankwatch import AlarmEvent, CollapseError, RankWatch, RowSampling, Watch
from rankwatch.arguments.settings import Settings
from rankwatch.readings.alarm import Alarm
from rankwatch.run.alarm_actions import AlarmActions
from rankwatch.runtime.diagnostics import Diagnostics

SETTINGS = {
    "every_n_steps": 1,
    "watch": ["frame"],
    "rows": RowSampling(n_utterances=8),
    "strict": True,
    "max_overhead": None,
}


def fit(folder, callback, model=None, **arguments):
    """A run that collapses from the start; whatever it warns of is given back, too."""
    pl.seed_everything(0)
    run = trainer(folder, callback, **{"max_steps": 100, **arguments})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            run.fit(model or Module(collapse="line"), loader())
        except CollapseError as error:
            return run, error, [str(one.message) for one in caught]
    return run, None, [str(one.message) for one in caught]


class Loop:
    """Steps of a model that doesn't learn, with a reading after each; its two blocks collapse and recover on demand.

    Three readings in a row begin an alarm and three end it; what came of one is told a step later.
    """

    def __init__(self, folder, state=None, **settings):
        torch.manual_seed(0)
        self.model, self.data = Encoder(depth=2), list(loader(16))
        self.watch = Watch(self.model, folder, **{**SETTINGS, **settings})
        if state is not None:
            self.watch.load_state_dict(state)
        self.warned = []

    def run(self, steps, kind="none", blocks=(0, 1)):
        """Step at which the watch asked for a stop, or None."""
        for block, layer in enumerate(self.model.layers):
            layer.collapse.kind = kind if block in blocks else "none"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                return self._steps(steps)
            finally:
                self.warned += [str(one.message) for one in caught if str(one.message).startswith("RankWatch")]

    def _steps(self, steps):
        for _ in range(steps):
            batch = self.data[self.watch.steps % 2]
            with self.watch.batch(batch):
                self.model(*batch)
            if self.watch.step():
                return self.watch.steps
        return None


def records(folder):
    return [json.loads(line) for line in next(folder.rglob("*.jsonl")).read_text().splitlines()]


# -- an error ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strict", [True, False])
def test_a_collapse_ends_the_run_with_an_error_when_all_is_written(tmp_path, strict):
    module = Module(collapse="line")
    callback = RankWatch(**{**SETTINGS, "every_n_steps": 5, "strict": strict}, on_collapse="raise")
    run, error, told = fit(tmp_path, callback, module, min_steps=60)
    assert error.step == run.global_step == 6  # min_steps holds up a stop, not an error
    assert "CRITICAL at step 5: dimensional collapse" in str(error)  # two readings sooner confirm it
    assert str(error) == error.message
    assert not any("can't end the run" in one for one in told)
    (saved,) = tmp_path.rglob("*collapse-step=6.ckpt")
    assert torch.load(saved, weights_only=True)["global_step"] == 6
    end = records(tmp_path)[-1]
    assert (end["record"], end["stopped"], end["notes"]) == ("end", True, [])
    assert [record["record"] for record in records(tmp_path)].count("end") == 1
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert callback.alarms


@pytest.mark.parametrize("on_collapse", ["stop", "raise"])
def test_under_gradient_accumulation_it_ends_in_the_middle_of_an_epoch_at_the_step_told(tmp_path, on_collapse):
    callback = RankWatch(**{**SETTINGS, "every_n_steps": 5}, on_collapse=on_collapse)
    run, error, told = fit(tmp_path, callback, accumulate_grad_batches=3)
    assert run.global_step == 5
    assert run.fit_loop.epoch_loop.total_batch_idx + 1 == 8 + 6  # an epoch's 8 batches are 3 steps
    assert (error is not None) == (on_collapse == "raise")
    assert len(list(tmp_path.rglob("*collapse-step=5.ckpt"))) == 1
    assert any("CRITICAL at step 4" in one for one in told)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        pytest.param({"min_steps": 20, "min_epochs": 0}, "before min_steps=20", marks=pytest.mark.slow),
        pytest.param({"min_epochs": 3}, "before min_epochs=3", marks=pytest.mark.slow),
        ({"min_steps": 20, "min_epochs": 3}, "before min_steps=20 and min_epochs=3"),
    ],
)
def test_what_holds_up_a_stop_is_told_at_the_start_and_does(tmp_path, bounds, words):
    run, _, told = fit(tmp_path, RankWatch(**SETTINGS, on_collapse="stop"), **bounds)
    assert any(one.endswith(f"on_collapse='stop' can't end the run {words} is reached") for one in told)
    assert run.global_step == (24 if "min_epochs=3" in words else 20)
    _, _, unbound = fit(tmp_path / "b", RankWatch(on_collapse="stop"), max_steps=1)
    assert not any("can't end the run" in one for one in unbound)


def test_a_loop_of_ones_own_gets_the_error_with_the_last_healthy_checkpoint(tmp_path):
    loop = Loop(tmp_path, on_collapse="raise")
    loop.run(1)
    torch.save({}, tmp_path / "at1.pt")
    loop.watch.saved(tmp_path / "at1.pt")
    loop.run(1)
    with pytest.raises(CollapseError, match=r"CRITICAL at step 5.*Last healthy checkpoint") as caught:
        loop.run(20, "line")
    error = caught.value
    assert (error.step, error.checkpoint) == (6, tmp_path / "RankWatch.last_healthy.ckpt")
    assert error.checkpoint.exists()
    assert records(tmp_path)[-1]["record"] == "end"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.step, again.checkpoint, again.exit_status) == (str(error), 6, error.checkpoint, 65)
    loop.watch.close(error)
    assert [record["record"] for record in records(tmp_path)].count("end") == 1


# -- a call -----------------------------------------------------------------------------------------------


def test_the_users_function_hears_of_an_episodes_beginning_and_end(tmp_path):
    heard = []
    loop = Loop(tmp_path, on_alarm=lambda event: heard.append((event, threading.current_thread())))
    loop.run(2)
    loop.run(4, "line", blocks=[1])
    loop.run(4)
    loop.watch.close()
    (begun, thread), (ended, _) = heard
    assert (begun.name, begun.severity, begun.step, begun.checkpoint) == ("RankWatch", "critical", 5, None)
    assert begun.message.startswith("CRITICAL at step 5: dimensional collapse")
    assert f"RankWatch: {begun.message}" in loop.warned
    assert {alarm.layer for alarm in begun.alarms} == {"layers.1"}
    assert begun.records == tmp_path / "RankWatch.jsonl"
    assert (ended.severity, ended.alarms) == ("ended", ())
    assert ended.message == (
        "ENDED at step 9: critical dimensional collapse (embeddings span few dimensions) in layers.1, since step 3."
    )
    assert thread is not threading.main_thread()
    assert len(loop.warned) == 1


def test_a_function_that_hangs_holds_up_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("rankwatch.run.alarm_actions._PATIENCE", 0.3)
    release, heard = threading.Event(), []

    def hang(event):
        heard.append(event.severity)
        release.wait(600)

    loop = Loop(tmp_path, on_alarm=hang)
    loop.run(2)
    loop.run(4, "line")
    loop.run(4)
    with pytest.warns(RuntimeWarning, match="on_alarm did not return within 0.3 s"):
        loop.watch.close()
    assert loop.watch.steps == 10
    deadline = time.monotonic() + 60
    while len(heard) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert heard == ["critical", "ended"]  # the second one doesn't wait for the first one either
    assert records(tmp_path)[-1]["record"] == "end"
    release.set()


def test_a_function_that_raises_is_told_of_once_and_ends_nothing(tmp_path):
    heard = []

    def fail(event):
        heard.append(event.severity)
        raise OSError("no route to host")

    loop = Loop(tmp_path, on_alarm=fail)
    loop.run(2)
    loop.run(4, "line")
    loop.run(4)
    loop.watch.close()
    assert heard == ["critical", "ended"]
    assert loop.watch.steps == 10
    assert len([one for one in loop.warned if "on_alarm failed: OSError: no route to host" in one]) == 1


def test_the_function_is_no_part_of_a_checkpoint(tmp_path):
    heard = []
    run, _, _ = fit(tmp_path, RankWatch(**SETTINGS, on_alarm=lambda event: heard.append(event)), max_steps=8)
    run.save_checkpoint(tmp_path / "all.ckpt")
    torch.load(tmp_path / "all.ckpt", weights_only=True)
    assert isinstance(heard[0], AlarmEvent)


# -- silence ----------------------------------------------------------------------------------------------


def test_while_it_is_muted_all_is_written_and_nothing_else_done(tmp_path, caplog):
    heard = []
    loop = Loop(tmp_path, on_collapse="stop", on_alarm=heard.append)
    loop.run(2)
    mute = tmp_path / "RankWatch.mute"
    mute.touch()
    with caplog.at_level("INFO", logger="rankwatch"):
        assert loop.run(5, "line") is None
        assert not heard
        assert not loop.warned
        assert loop.watch.metrics["RankWatch/alarm_level"] == 2
        loop.watch.state_dict()  # waits for the reading of step 7, which is still muted
        mute.unlink()
        assert loop.run(8, "line") == 9  # the reading of step 8 is the first one without the file
    assert [(event.severity, event.step) for event in heard] == [("critical", 8)]
    assert len(loop.warned) == 1
    assert [record.message.partition(" at step")[0] for record in caplog.records if "muted" in record.message] == [
        "RankWatch: alarms are muted: there are no warnings, calls or stops.",
        "RankWatch (muted): CRITICAL",
        "RankWatch: alarms are no longer muted.",
    ]
    loop.watch.close()
    episodes = [record["step"] for record in records(tmp_path) if record["record"] == "episode"]
    assert episodes == [5, 8]
    assert {r["step"] for r in records(tmp_path) if r["record"] == "alarm" and r["severity"] == "critical"} == {5}


def test_a_run_that_was_muted_and_resumed_tells_what_still_holds(tmp_path):
    heard = []
    (tmp_path / "RankWatch.mute").touch()
    first = Loop(tmp_path, on_alarm=heard.append)
    first.run(2)
    first.run(4, "line")
    state = first.watch.state_dict()
    first.watch.close(KeyboardInterrupt())
    muted = Loop(tmp_path, state=state, on_alarm=heard.append)
    muted.run(2, "line")
    state = muted.watch.state_dict()
    muted.watch.close(KeyboardInterrupt())
    assert not heard
    (tmp_path / "RankWatch.mute").unlink()
    loud = Loop(tmp_path, state=state, on_alarm=heard.append)
    loud.run(2, "line")
    state = loud.watch.state_dict()
    loud.watch.close(KeyboardInterrupt())
    assert [event.severity for event in heard] == ["critical"]
    again = Loop(tmp_path, state=state, on_alarm=heard.append)
    again.run(2, "line")
    again.run(4)
    again.watch.close()
    assert [event.severity for event in heard] == ["critical", "ended"]
    assert not any(loop.warned for loop in (first, muted, again))


def outcome(*severities, muted=False, message=""):
    """With an open alarm for each severity, which begins at this step where there is a message."""
    alarms = tuple(
        Alarm(1, "dimensional_collapse", severity, f"layers.{index}", "frame", "first_batches", "", 1)
        for index, severity in enumerate(severities)
    )
    report = SimpleNamespace(open_alarms=alarms, message=message, step=1 if message else 2)
    return SimpleNamespace(report=report, muted=muted)


def judged(*outcomes, state=None):
    actions = AlarmActions(Settings(), None, Diagnostics("RankWatch"))
    if state is not None:
        actions.load_state_dict(state)
    return [actions.update(one, stop=False) for one in outcomes], actions.state_dict()


W, C = "warning", "critical"


@pytest.mark.parametrize(
    ("outcomes", "told"),
    [
        ([outcome(), outcome(W, message="m"), outcome(W), outcome(C, message="m"), outcome()], ["", W, "", C, "ended"]),
        ([outcome(C, message="m"), outcome(W), outcome(C, message="m")], [C, "", C]),
        ([outcome(C, muted=True, message="m"), outcome(muted=True), outcome()], ["", "", ""]),  # nobody heard of it
        ([outcome(C, message="m"), outcome(C, muted=True), outcome()], [C, "", ""]),  # nor of its end
        ([outcome(C, message="m"), outcome(muted=True)], [C, ""]),
        ([outcome(C, muted=True, message="m"), outcome(C)], ["", C]),
        ([outcome(W, message="m"), outcome(W, muted=True), outcome(W)], [W, "", W]),
    ],
)
def test_what_is_told_aloud(outcomes, told):
    assert judged(*outcomes)[0] == told
    for cut in range(len(outcomes)):  # and across a restart
        before, state = judged(*outcomes[:cut])
        after, _ = judged(*outcomes[cut:], state=state)
        assert before + after == told
