"""One message for one event: when it begins, grows worse, and ends."""

from rankwatch.alarms.episodes import Episodes, message_about
from rankwatch.readings.alarm import Alarm, level_of


def alarm(
    severity="critical", layer="layers.1", since=10, kind="dimensional_collapse", level="frame", source="first_batches"
):
    return Alarm(since + 20, kind, severity, layer, level, source, "effective rank 3 of 128", since)


def tell(episodes, step, opened, raised=None, findings=()):
    keys = dict.fromkeys(findings)
    return episodes.tell(step, opened if raised is None else raised, opened, keys, ["layers.0", "layers.1", "layers.2"])


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
        told.append(tell(episodes, step, opened, raised)[0].split(":")[0])
    assert told == ["WARNING at step 30", "", "CRITICAL at step 70", "", "ENDED at step 90", ""]


def test_the_end_names_what_has_ended_and_since_when_it_held():
    episodes = Episodes()
    tell(episodes, 30, [alarm(since=10)])
    message, summary = tell(episodes, 90, [], [])
    assert message == "ENDED at step 90: critical dimensional collapse in layers.1 that held since step 10."
    assert summary == ""


def test_the_message_names_extent_what_falls_too_meaning_and_remedy():
    opened = [
        alarm(),
        alarm("warning", "layers.1", level="utterance"),
        alarm("warning", "layers.1", kind="temporal_collapse"),
    ]
    message, _ = tell(Episodes(), 30, opened, findings=[("first_batches", "frame", "layers.2")])
    assert "in layers.1 (1 of 3 layers); seen in layers.2 too." in message
    assert "What may help: " in message
    assert "With it: temporal collapse." in message
    assert "Also at: utterance level of first_batches." in message
    assert "(The frame level carries phone-like content.)" in message


def test_a_notice_is_no_episode():
    notice = alarm("notice")
    assert level_of([notice]) == 0
    assert tell(Episodes(), 30, [notice]) == ("", "")


def test_nothing_is_told_again_after_a_restart():
    episodes = Episodes()
    tell(episodes, 30, [alarm()])
    again = Episodes()
    again.load_state_dict(episodes.state_dict(), level=2)
    assert tell(again, 40, [alarm()], [])[0] == ""
    assert tell(again, 50, [], [])[0].startswith("ENDED")


def test_what_is_muted_is_not_in_the_message():
    loud = alarm("warning", "layers.2")
    message = message_about(30, [loud], {}, ["layers.1", "layers.2"])
    assert message.startswith("WARNING at step 30")
    assert "layers.1" not in message
    assert message_about(30, [], {}, ["layers.1"]) == ""
