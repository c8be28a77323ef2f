"""Which checkpoint comes next while a run writes them; time is the test's own."""

import math

import pytest
import torch

from rankwatch.checkpoints.listing import Checkpoint
from rankwatch.replays.checkpoint_queue import HALF_WRITTEN, CheckpointQueue
from rankwatch.replays.checkpoint_readings import on_all, waiting_with
from rankwatch.replays.replay_state import ReplayState

safetensors = pytest.importorskip("safetensors.torch")
WEIGHTS = {"w": torch.zeros(64)}


class Following:
    """Follows a folder; each look costs a poll of its own clock, and what is to happen then happens."""

    def __init__(self, folder, happens=None, done=(), **options):
        self.now, self.lines, self.given, self.tries = 0.0, [], [], 0
        self._happens = dict(happens or {})
        self.state = ReplayState(folder / "state.pt", {}, {step: str(folder / f"step={step}.pt") for step in done})
        options = {"follow": True, "poll": 5.0, **options}
        self.queue = CheckpointQueue(
            folder, self.state, say=self.lines.append, clock=lambda: self.now, sleep=self.sleep, **options
        )

    def sleep(self, seconds):
        self.now += seconds
        assert self.now < 1000, "it waits for ever"
        for at in [at for at in self._happens if at <= self.now]:
            self._happens.pop(at)()

    def run(self):
        for one in self.queue:
            self.tries += 1
            assert self.tries < 100, "it tries without waiting"
            try:
                safetensors.load_file(one.path) if one.path.suffix == ".safetensors" else torch.load(one.path)
            except Exception as error:
                self.queue.put_back(one, f"{one.path}: {error}")
                continue
            self.state.take(one, {})
            self.given.append(one.step)
        return self


def halved(path, write):
    """A file of which half is there; returns what writes the whole."""
    write(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return lambda: path.write_bytes(content)


def plain(path):
    torch.save({"model": WEIGHTS, "step": int(path.stem.rpartition("=")[2])}, path)


def tensors(path):
    safetensors.save_file(WEIGHTS, path)


@pytest.mark.parametrize(("write", "suffix"), [(plain, "pt"), (tensors, "safetensors")])
def test_the_last_one_is_waited_for_while_it_is_half_written(write, suffix, tmp_path):
    write(tmp_path / f"step=10.{suffix}")
    finish = halved(tmp_path / f"step=20.{suffix}", write)
    found = Following(tmp_path, {12.0: finish}, until_step=20).run()
    assert found.given == [10, 20]
    assert not found.state.failed
    assert found.tries <= 2 + 3  # no more than one try a look


def test_later_ones_wait_until_an_earlier_one_is_whole_or_given_up(tmp_path):
    plain(tmp_path / "step=30.pt")
    finish = halved(tmp_path / "step=20.pt", plain)
    assert Following(tmp_path, {12.0: finish}, until_step=30).run().given == [20, 30]
    halved(tmp_path / "step=20.pt", plain)
    found = Following(tmp_path, until_step=30).run()
    assert found.given == [30]
    assert HALF_WRITTEN <= found.now + 5 <= HALF_WRITTEN + 10
    assert "left out" in found.lines[-1]


@pytest.mark.parametrize(("write", "suffix"), [(plain, "pt"), (tensors, "safetensors")])
def test_one_that_is_still_growing_or_grows_again_is_read_in_the_end(write, suffix, tmp_path):
    path = tmp_path / f"step=20.{suffix}"
    finish = halved(path, write)
    whole = path.read_bytes()
    grow = {at: lambda at=at: path.write_bytes(whole[: int(at) // 4]) for at in (40.0, 80.0, 120.0, 160.0)}
    found = Following(tmp_path, {**grow, 200.0: finish}, until_step=20).run()
    assert found.given == [20]
    assert not found.lines or "left out" not in found.lines[-1]
    halved(path, write)
    found = Following(tmp_path, {100.0: finish}, idle_seconds=150.0).run()
    assert found.given == [20]  # it was given up before
    assert any("left out" in line for line in found.lines)
    assert not found.state.failed


def test_it_ends_where_the_last_step_was_read_before_or_is_passed_over(tmp_path):
    for step in (10, 20):
        plain(tmp_path / f"step={step}.pt")
    assert Following(tmp_path, done=(10, 20), until_step=20).run().now == 0.0
    assert Following(tmp_path, until_step=15).run().given == [10]


def test_what_is_unfinished_at_the_end_is_named(tmp_path):
    plain(tmp_path / "step=10.pt")
    for write, name in ((plain, "step=20.pt"), (tensors, "step=30.safetensors")):
        halved(tmp_path / name, write)
        found = Following(tmp_path, idle_seconds=20.0).run()
        assert found.given == [10]
        assert found.now == 20.0
        assert [name in line for line in found.lines if "left out" in line] == [True]
        (tmp_path / name).unlink()


def test_it_waits_no_longer_than_it_was_asked_to(tmp_path):
    plain(tmp_path / "step=10.pt")
    assert Following(tmp_path, idle_seconds=7.0).run().now == 7.0  # between two looks, which are 5 s apart


def test_steps_that_were_read_from_other_files_are_named(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for step in (10, 20):
            plain(tmp_path / folder / f"step={step}.pt")
    state = ReplayState(tmp_path / "x", {}, {step: str(tmp_path / "a" / f"step={step}.pt") for step in (10, 20)})
    for folder, expected in (("a", 0), ("b", 1)):
        lines = []
        assert list(CheckpointQueue(tmp_path / folder, state, say=lines.append)) == []
        assert len(lines) == expected
    assert "2 steps were read before from other files" in lines[0]
    assert "replay them into another folder" in lines[0]


class Sent:
    """What the first process sends, for the others to receive."""

    def __init__(self):
        self.payloads, self.first = [], True

    def broadcast_from_rank0(self, payload):
        if self.first:
            self.payloads.append(payload)
            return payload
        return self.payloads.pop(0)


def test_other_processes_hear_of_each_wait_so_none_takes_the_first_for_dead(tmp_path):
    plain(tmp_path / "step=10.pt")
    group, now = Sent(), [0.0]

    def wait(seconds):
        now[0] += seconds
        waiting_with(group)(0.0)

    state = ReplayState(tmp_path / "state", {})
    queue = CheckpointQueue(
        tmp_path / "*.pt", state, follow=True, idle_seconds=30.0, say=str, poll=5.0, clock=lambda: now[0], sleep=wait
    )
    first = []
    for one in on_all(queue, group):
        first.append(one)
        state.take(one, {})
    assert len(group.payloads) == 1 + 6 + 1  # the checkpoint, six looks, the end
    group.first = False
    assert list(on_all(None, group)) == first == [Checkpoint(tmp_path / "step=10.pt", 10)]
    assert not group.payloads
    assert math.isclose(now[0], 30.0)
