"""Alarms as alerts of Weights & Biases and trackio: functions for ``on_alarm``, off unless one is named there.

``RankWatch(on_alarm=rankwatch.wandb_alert)``, or in YAML ``on_alarm: rankwatch.wandb_alert``. An episode's beginning,
its growing worse and its end are one alert each.
"""

from __future__ import annotations

from rankwatch.run.alarm_actions import AlarmEvent

_LEVELS = {"warning": "WARN", "critical": "ERROR"}
_LONGEST_TITLE = 63  # of wandb's


def wandb_alert(event: AlarmEvent) -> None:
    """Send an alarm to the run of Weights & Biases that goes on, by ``wandb.alert``.

    Args:
        event: What `on_alarm` is called with.

    Raises:
        RuntimeError: If there is no run.
    """
    import wandb

    if wandb.run is None:
        raise RuntimeError("wandb has no run that goes on: call wandb.init(), or give the trainer a WandbLogger")
    wandb.alert(title=_title(event), text=_text(event), level=getattr(wandb.AlertLevel, _level(event)))


def trackio_alert(event: AlarmEvent) -> None:
    """Send an alarm to trackio's current run, by ``trackio.alert``.

    Args:
        event: What `on_alarm` is called with. Without a run trackio raises RuntimeError.
    """
    import trackio

    trackio.alert(title=_title(event), text=_text(event), level=getattr(trackio.AlertLevel, _level(event)))


def _level(event: AlarmEvent) -> str:
    """Of wandb's and trackio's three levels; an end is information."""
    return _LEVELS.get(event.severity, "INFO")


def _title(event: AlarmEvent) -> str:
    """Another one for each step: wandb holds back further alerts of one title for a minute."""
    end = f": {event.severity} at step {event.step}"
    return event.name[: _LONGEST_TITLE - len(end)] + end


def _text(event: AlarmEvent) -> str:
    """The message, which names the last healthy checkpoint, and where everything is in full."""
    return event.message + (f"\n\nRecords: {event.records}" if event.records is not None else "")
