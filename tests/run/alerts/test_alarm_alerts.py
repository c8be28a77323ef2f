"""Alarms as alerts, through `on_alarm`: fakes have the signatures of wandb 0.31 and trackio 0.43."""

from __future__ import annotations

import contextvars
import enum
import sys
import types
from typing import Any

import pytest

from rankwatch import trackio_alert, wandb_alert
from rankwatch.arguments.settings import Settings
from rankwatch.run.alarm_actions import AlarmActions, AlarmEvent
from rankwatch.runtime.diagnostics import Diagnostics

AlertLevel = enum.Enum("AlertLevel", {"INFO": "INFO", "WARN": "WARN", "ERROR": "ERROR"})


def event(severity: str = "critical", name: str = "RankWatch", records: Any = "run/RankWatch.jsonl") -> AlarmEvent:
    return AlarmEvent(name, severity, 360, "CRITICAL at step 360: rank is lost.", (), records, None)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []

    def fake_wandb(title: str, text: str, level: Any = None, wait_duration: Any = None) -> None:
        assert len(title) < 64
        found.append((title, text, level.name))

    def fake_trackio(title: str, text: str | None = None, level: Any = None, webhook_url: str | None = None) -> None:
        if current.get() is None:
            raise RuntimeError("Call trackio.init() before trackio.alert().")
        found.append((title, text, level.name))

    current: contextvars.ContextVar[Any] = contextvars.ContextVar("current", default=None)
    wandb = types.SimpleNamespace(run=object(), alert=fake_wandb, AlertLevel=AlertLevel)
    trackio = types.SimpleNamespace(current=current, alert=fake_trackio, AlertLevel=AlertLevel)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "trackio", trackio)
    return found


@pytest.mark.parametrize(("severity", "level"), [("warning", "WARN"), ("critical", "ERROR"), ("ended", "INFO")])
def test_an_alert_has_the_message_and_where_everything_is(
    sent: list[tuple[Any, ...]], severity: str, level: str
) -> None:
    sys.modules["trackio"].current.set(object())
    for send in (wandb_alert, trackio_alert):
        send(event(severity))
    text = "CRITICAL at step 360: rank is lost.\n\nRecords: run/RankWatch.jsonl"
    assert sent == [(f"RankWatch: {severity} at step 360", text, level)] * 2


def test_a_title_is_as_short_as_wandb_wants_it(sent: list[tuple[Any, ...]]) -> None:
    wandb_alert(event(name="x" * 100, records=None))
    assert sent[0][0].endswith(": critical at step 360")
    assert sent[0][1] == "CRITICAL at step 360: rank is lost."


def test_without_a_run_it_is_said_what_to_do(sent: list[tuple[Any, ...]]) -> None:
    sys.modules["wandb"].run = None
    with pytest.raises(RuntimeError, match=r"call wandb.init\(\)"):
        wandb_alert(event())


def test_a_run_that_stands_in_a_context_variable_is_found_from_on_alarms_own_thread(
    sent: list[tuple[Any, ...]],
) -> None:
    """Trackio's current run stands in one."""
    settings = Settings.of("RankWatch", {"on_alarm": "rankwatch.trackio_alert"})
    actions = AlarmActions(settings, None, Diagnostics("RankWatch"))
    context = contextvars.copy_context()
    context.run(sys.modules["trackio"].current.set, object())
    context.run(actions._start, event())
    actions.settle()
    assert actions._errors == []
    assert [title for title, _, _ in sent] == ["RankWatch: critical at step 360"]
