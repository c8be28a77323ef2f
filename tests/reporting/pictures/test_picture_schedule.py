"""When pictures are drawn: rarely, for little of the time, and whenever an episode asks for them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from rankwatch.reporting.pictures.picture_schedule import PictureSchedule


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def drawn(readings: int, seconds: float, cost: float, asked_for: Sequence[int] = ()) -> list[int]:
    """Readings at which pictures are drawn, each of which takes `cost` seconds."""
    clock = Clock()
    schedule = PictureSchedule(clock)
    schedule.start()
    found = []
    for reading in range(1, readings + 1):
        clock.now += seconds
        if schedule.due(reading in asked_for):
            found.append(reading)
            with schedule.timed():
                clock.now += cost
    return found


def test_the_first_come_soon_and_later_ones_every_tenth_reading() -> None:
    assert drawn(45, 1_000.0, 0.3) == [3, 12, 22, 32, 42]


def test_in_a_short_run_they_take_half_a_per_cent_of_its_time_at_most() -> None:
    readings, seconds, cost = 300, 10.0, 2.0
    times = drawn(readings, seconds, cost)
    assert times[0] == 12  # 0.6 s, as long as none was timed
    assert cost * len(times) <= 0.005 * (readings * seconds) * 1.01
    assert len(times) >= 6


def test_an_episode_is_drawn_at_once_and_the_next_ones_are_counted_from_there() -> None:
    assert drawn(25, 1_000.0, 0.3, asked_for=[1, 14]) == [1, 4, 14, 24]


def test_the_time_of_a_picture_that_failed_counts() -> None:
    clock = Clock()
    schedule = PictureSchedule(clock)
    clock.now = 200.0
    with contextlib.suppress(OSError), schedule.timed():
        clock.now += 5.0
        raise OSError("no space left")
    assert not any(schedule.due(False) for _ in range(20))
