"""One message for one event: when it begins, grows worse, and ends."""

from rankwatch.alarms.alarm_message import episode_message, full_message
from rankwatch.alarms.episodes import Episodes
from rankwatch.readings.alarm import Alarm, level_of


def alarm(
    severity="critical", layer="layers.1", since=10, kind="dimensional_collapse", level="frame", source="first_batches"
):
    return Alarm(since + 20, kind, severity, layer, level, source, "effective rank 3 of 128", since)


LAYERS = ["layers.0", "layers.1", "layers.2"]


def update(episodes, step, opened, raised=None):
    summary = episode_message(step, opened, [], LAYERS)
    return episodes.update(step, opened if raised is None else raised, opened, summary)


def test_a_beginning_a_worsening_and_an_end_are_each_told_once():
    episodes, told = Episodes(), []
    warning, critical = alarm("warning", "layers.2", 10), alarm("critical", "layers.1", 50)
    for step, opened, raised in [
        (30, [warning], [warning]),
        (40, [warning], []),
        (70, [critical, warning], [critical]),
        (80, [critical, warning], []),
        (90, [], []),
        (100, [], []),
    ]:
        told.append(update(episodes, step, opened, raised).split(":")[0])
    assert told == ["WARNING at step 30", "", "CRITICAL at step 70", "", "ENDED at step 90", ""]


def test_the_end_names_what_has_ended_and_since_when_it_held():
    episodes = Episodes()
    update(episodes, 30, [alarm(since=10)])
    title = "critical dimensional collapse (embeddings span few dimensions) in layers.1"
    assert update(episodes, 90, [], []) == f"ENDED at step 90: {title}, since step 10."


def test_the_message_names_extent_what_falls_too_meaning_and_remedy():
    opened = [
        alarm(),
        alarm("warning", "layers.1", level="utterance"),
        alarm("warning", "layers.1", kind="temporal_collapse"),
    ]
    found = [("first_batches", "frame", "layers.2"), ("first_batches", "frame", "layers.1")]
    message = episode_message(30, opened, found, LAYERS, "Labels agree: so they do.")
    assert message.startswith(
        "CRITICAL at step 30: dimensional collapse (embeddings span few dimensions) in layers.1 (1 of 3 layers), "
        "frame level of evaluation set 'first_batches', since step 10. "
        "Evidence in layers.1: effective rank 3 of 128. Also seen in layers.2, not yet confirmed. "
        "Further alarms: temporal collapse (the frames of an utterance are alike). "
        "Also at: utterance level of evaluation set 'first_batches'. Labels agree: so they do. Likely causes: "
    )
    assert "What to do: go back to the last healthy checkpoint" in message
    assert message.endswith("(The frame level carries phone-like content.)")


def test_a_critical_message_lists_only_layers_of_its_own_event():
    """A layer that was narrow for long, and a warning of another kind, are said apart from it."""
    opened = [
        alarm(layer="layers.1", since=500),
        alarm(layer="layers.2", since=510, kind="sudden_rank_drop"),
        alarm("warning", "layers.0", since=100, kind="dimensional_collapse"),
        alarm("warning", "layers.3", since=505, kind="temporal_collapse"),
        alarm("warning", "layers.4", since=120, kind="growing_anisotropy"),
    ]
    found = [("first_batches", "frame", f"layers.{i}") for i in (0, 1, 4, 5)]
    message = episode_message(530, opened, found, [f"layers.{i}" for i in range(6)])
    assert message.startswith(
        "CRITICAL at step 530: dimensional collapse (embeddings span few dimensions) in layers.1, layers.2 (2 of 6"
    )
    assert "Also seen in layers.5, not yet confirmed." in message
    assert "temporal collapse (the frames of an utterance are alike) in layers.3." in message
    assert "Apart from this, since long before: " in message
    assert "in layers.4 (since step 120)" in message
    before, _, apart = message.partition("Apart from this")
    assert "layers.0" not in before
    assert "layers.0 (since step 100)" in apart


def test_the_training_pass_is_no_evaluation_set():
    message = episode_message(30, [alarm("warning", source="train")], [], LAYERS)
    assert "frame level of the training pass, since step 10" in message


def test_information_is_no_episode():
    information = alarm("info")
    assert level_of([information]) == 0
    assert episode_message(30, [information], [], LAYERS) == ""
    assert update(Episodes(), 30, [information]) == ""


def test_nothing_is_told_again_after_a_restart():
    episodes = Episodes()
    update(episodes, 30, [alarm()])
    again = Episodes()
    again.load_state_dict(episodes.state_dict(), level=2)
    assert update(again, 40, [alarm()], []) == ""
    assert update(again, 50, [], []).startswith("ENDED")


def test_the_summary_stands_in_where_the_user_is_to_be_notified_without_a_message():
    """So it is when a mute file is removed: the episode began before."""
    assert full_message("began", "as it is now", notify=True, checkpoint="Saved.") == "began Saved."
    assert full_message("", "as it is now", notify=True, checkpoint="Saved.") == "as it is now Saved."
    assert full_message("", "as it is now", notify=False, checkpoint="Saved.") == ""
