"""What broke, since when and what to do, for somebody who has never heard of effective rank."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from recorded_runs import recorded

from rankwatch.alarms.alarm_message import episode_message, full_message
from rankwatch.alarms.detectors.explanations import EXPLANATIONS
from rankwatch.readings.alarm import Alarm
from rankwatch.reporting.page.page_words import ranks_caption, words_table
from rankwatch.reporting.page.verdict import message_parts, verdict_of
from rankwatch.reporting.recorded.recorded_run import RecordedRun


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:
    return recorded(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("kind", EXPLANATIONS)
def test_a_message_of_any_kind_is_taken_apart_where_it_was_put_together(kind: str) -> None:
    alarm = Alarm(500, kind, "critical", "layers.3", "frame", "inside", "effective rank 3 of 768", 400)
    message = episode_message(500, [alarm], [], ["layers.2", "layers.3"])
    parts = message_parts(
        full_message(message, "", notify=True, checkpoint="Last healthy checkpoint: a.ckpt (step 3).")
    )
    about = EXPLANATIONS[kind]
    assert parts["evidence"] == "layers.3: effective rank 3 of 768."
    assert parts.get("causes", "") == (f"{about.causes}." if about.causes else "")
    assert parts.get("remedies", "") == (f"{about.remedies}." if about.remedies else "")
    assert parts["checkpoint"] == "a.ckpt (step 3)."
    assert about.title in parts["head"]


def test_a_broken_run_says_what_since_when_and_what_to_do(broken: RecordedRun) -> None:
    verdict = verdict_of(broken)
    facts = dict(verdict.facts)
    first = min(alarm.since for alarm in broken.alarms)
    assert verdict.level == "critical"
    assert verdict.title.startswith("Dimensional collapse (embeddings span few dimensions) in L0")
    assert f"since step {first:,}" in verdict.lead
    assert "the alarm stopped the run" in verdict.lead
    assert facts["What broke"].startswith("a: effective rank 25.4")
    assert facts["Likely causes"] == "A teacher that is the student."
    assert facts["What to do"] == "Lower the learning rate. Last healthy checkpoint: run/last_healthy.ckpt."


def test_without_a_message_the_alarms_themselves_speak(broken: RecordedRun) -> None:
    verdict = verdict_of(dataclasses.replace(broken, episodes=[]))
    assert verdict.title.startswith("Dimensional collapse in L0")
    assert "12% of its usual" in dict(verdict.facts)["What broke"]


def test_a_healthy_run_is_said_to_have_no_alarm(tmp_path: Path) -> None:
    verdict = verdict_of(recorded(tmp_path, collapse=False, readings=6))
    assert (verdict.level, verdict.word) == ("healthy", "no alarm")
    assert "ended at step 1,500" in verdict.lead


def test_an_alarm_that_has_ended_is_told_as_past(broken: RecordedRun) -> None:
    levels = broken.alarm_level.copy()
    levels[-3:] = 0
    verdict = verdict_of(dataclasses.replace(broken, alarm_level=levels))
    assert (verdict.level, verdict.word) == ("healthy", "no alarm now")
    assert f"to {int(broken.steps[-3]):,}" in verdict.facts[0][1]


def test_a_run_without_an_end_goes_on_or_was_killed(tmp_path: Path) -> None:
    verdict = verdict_of(recorded(tmp_path, collapse=False, readings=4, finished=False))
    assert "goes on, or was killed; last reading at step 1,000" in verdict.lead


def test_a_run_in_which_nothing_was_read_is_not_called_healthy(broken: RecordedRun) -> None:
    empty = dataclasses.replace(broken, curves={}, steps=np.empty(0, np.int64), alarms=[], alarm_level=np.empty(0))
    assert verdict_of(empty).level == "unread"


def test_a_layer_that_is_named_by_its_path_has_its_short_name_behind_it(broken: RecordedRun) -> None:
    rows = [dataclasses.replace(row, layer=f"layers.{i}") for i, row in enumerate(broken.layers)]
    rows.append(dataclasses.replace(rows[-1], layer="layers.10", label="L11"))
    evidence = "layers.1: rank 3. layers.10 and old.layers.1 and layers.1.norm."
    broken = dataclasses.replace(broken, curves={})
    said = f"WARNING at step 9: x in a. Evidence in {evidence} What to do: y."
    episodes = [dataclasses.replace(one, message=said) for one in broken.episodes]
    run = dataclasses.replace(broken, header=dataclasses.replace(broken.header, layers=rows), episodes=episodes)
    facts = dict(verdict_of(run).facts)
    assert facts["What broke"] == "layers.1 (L01): rank 3. layers.10 (L11) and old.layers.1 and layers.1.norm."


def test_the_beginning_of_a_fall_is_named_where_it_was_before_the_alarm(broken: RecordedRun) -> None:
    """It had lost a third at the reading before the alarm's first: since when isn't when it was last whole."""
    first = min(alarm.since for alarm in broken.alarms)
    at = int(np.searchsorted(broken.steps, first))
    values = np.full(len(broken.steps), 200.0, np.float32)
    values[at - 1], values[at:] = 130.0, 40.0
    curves = {key: dataclasses.replace(curve, values=values) for key, curve in broken.curves.items()}
    said = dict(verdict_of(dataclasses.replace(broken, curves=curves)).facts)["What broke"]
    assert f"At step {broken.steps[at - 2]:,} " in said
    assert "was still 200.0; checkpoints from then or before" in said
    flat = {key: dataclasses.replace(curve, values=np.full_like(values, 200.0)) for key, curve in broken.curves.items()}
    said = dict(verdict_of(dataclasses.replace(broken, curves=flat)).facts)["What broke"]
    assert "was still" not in said


def test_words_that_stand_on_the_page_are_explained_and_no_others(broken: RecordedRun) -> None:
    words = {row[0] for row in words_table([broken]).rows}
    assert {"effective rank", "first_batches", "frame level", "utterance level", "health", "usual"} <= words
    assert "L00 ... L04" in words
    header = dataclasses.replace(broken.header, sources=["clips"], levels=["frame"])
    kept = {("clips", *key[1:]): c for key, c in broken.curves.items() if key[:2] == ("first_batches", "frame")}
    words = {row[0] for row in words_table([dataclasses.replace(broken, header=header, curves=kept)]).rows}
    assert not {"first_batches", "utterance level", "train"} & words


def test_bands_and_colours_are_explained_where_there_are_any(broken: RecordedRun) -> None:
    assert "90 %" in ranks_caption([broken])
    assert "from L00" in ranks_caption([broken])
    assert "from L00" not in ranks_caption([broken, broken])  # there, colour tells the run
    bare = {key: dataclasses.replace(c, low=np.full_like(c.low, np.nan)) for key, c in broken.curves.items()}
    assert "90 %" not in ranks_caption([dataclasses.replace(broken, curves=bare)])
