"""The file that mutes: what its lines mean, and what can't be read."""

import pytest

from rankwatch.alarms.mute_file import MuteFile, loud
from rankwatch.readings.alarm import Alarm

KNOWN = ["encoder.layers.1", "encoder.layers.11", "dimensional_collapse", "slow_rank_decline"]


def alarm(kind="dimensional_collapse", layer="encoder.layers.1"):
    return Alarm(10, kind, "critical", layer, "frame", "first_batches", "", 5)


@pytest.mark.parametrize(
    ("lines", "globs"),
    [
        ("", ("*",)),
        ("\n  \n", ("*",)),
        ("slow_rank_decline", ("slow_rank_decline",)),
        (" encoder.layers.1 \r\n\ndimensional_collapse\n", ("encoder.layers.1", "dimensional_collapse")),
    ],
)
def test_lines_are_globs_and_none_is_everything(tmp_path, lines, globs):
    (tmp_path / "mute").write_text(lines)
    assert MuteFile(tmp_path / "mute").read(KNOWN).globs == globs
    assert not MuteFile(tmp_path / "mute").read(KNOWN).notes


def test_without_a_file_or_a_folder_nothing_is_muted(tmp_path):
    assert MuteFile(tmp_path / "nowhere/mute").read(KNOWN).globs == MuteFile(None).read(KNOWN).globs == ()


@pytest.mark.parametrize(
    ("glob", "quiet"),
    [
        ("encoder.layers.1", {"encoder.layers.1"}),
        ("encoder.*", {"encoder.layers.1", "encoder.layers.11"}),
        ("dimensional_collapse", {"encoder.layers.1", "encoder.layers.11"}),
        ("slow_*", set()),
    ],
)
def test_a_layer_or_a_kind_is_muted_whole(glob, quiet):
    alarms = [alarm(layer=layer) for layer in KNOWN[:2]]
    assert {one.layer for one in alarms} - {one.layer for one in loud(alarms, [glob])} == quiet


def test_a_line_that_names_nothing_is_told(tmp_path):
    (tmp_path / "mute").write_text("L03\nslow_rank_decline\n")
    (note,) = MuteFile(tmp_path / "mute").read(KNOWN).notes.values()
    assert "'L03' is neither a watched layer nor a kind of alarm" in note


def test_what_cannot_be_read_mutes_nothing_and_is_told(tmp_path):
    muted = MuteFile(tmp_path).read(KNOWN)
    assert muted.globs == ()
    assert "mutes nothing" in muted.notes["mute"]
