"""Each token has one alarm: the one that was set last."""

import random
from collections.abc import Iterator

import pytest

from refresher.alarms import MOST_STALE, SPARE, Alarms


@pytest.fixture
def alarms() -> Alarms:
    return Alarms()


def test_a_new_alarm_replaces_the_former_one(alarms: Alarms) -> None:
    alarms.set("a", 10.0)
    alarms.set("a", 20.0)
    assert alarms.nearest() == 20.0
    assert list(alarms.due(15.0)) == []
    assert list(alarms.due(20.0)) == ["a"]
    assert alarms.nearest() == float("inf")


def test_a_cleared_alarm_wakes_nobody(alarms: Alarms) -> None:
    alarms.set("a", 10.0)
    alarms.clear("a")
    assert list(alarms.due(10.0)) == []


def test_the_alarms_that_were_set_last_are_due_in_order(alarms: Alarms) -> None:
    dice = random.Random(1)
    last: dict[str, float] = {}
    for _ in range(1000):
        name, at = f"token-{dice.randrange(100)}", dice.uniform(0.0, 100.0)
        alarms.set(name, at)
        last[name] = at
    for now in (25.0, 50.0, 75.0, 100.0):
        due = [name for name in sorted(last, key=lambda name: last[name]) if last[name] <= now]
        assert list(alarms.due(now)) == due
        last = {name: at for name, at in last.items() if at > now}


def test_the_caller_may_set_alarms_meanwhile(alarms: Alarms) -> None:
    def woken() -> Iterator[str]:
        for name in alarms.due(10.0):
            for number in range(2 * SPARE):
                alarms.set(name, 20.0 + number)
            yield name

    alarms.set("a", 1.0)
    alarms.set("b", 2.0)
    assert list(woken()) == ["a", "b"]
    assert alarms.nearest() == 20.0 + 2 * SPARE - 1


def test_replaced_alarms_take_little_memory(alarms: Alarms) -> None:
    for at in range(1000):
        for number in range(10):
            alarms.set(f"token-{number}", 1000.0 - at)
    assert len(alarms._heap) <= 10 * MOST_STALE + SPARE
