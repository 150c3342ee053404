"""The log and the status give the same facts about a failure: since when, how often, what to do."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from refresher.core.effects import Inspect
from refresher.core.events import (
    Event,
    HookEnded,
    InspectFailed,
    KeyUnreadable,
    MintFailed,
    Stalled,
    Started,
    WriteFailed,
)
from refresher.core.model import Declined, Outcome
from refresher.core.rfc3339 import to_second
from refresher.core.status import status_of
from tests.core.builders import KEY, Driver, output, policy, token
from tests.logs.captured import Log


def driver() -> Driver:
    """A token that was just written; its hook is owed."""
    started = Driver(policy(output()._replace(has_hook=True)))
    started.begin()
    started.perform(started.minted(token(1)))
    return started


def facts(entry: dict[str, Any]) -> tuple[Any, ...]:
    """Without `failures` they are not counted."""
    return entry["since"], entry.get("failures"), entry["advice"]


def logged(log: Log, of: Driver) -> Iterator[dict[str, Any]]:
    for notification in of.complete:
        log.observer.on_notification("studio", notification, of.now)
    yield from (json.loads(line) for line in log.lines())


EVENTS: list[tuple[str, Event]] = [
    *(
        (outcome.value, MintFailed(KEY, Declined(outcome, f"it says {outcome}"), roll=1.0))
        for outcome in Outcome
    ),
    ("key_unreadable", KeyUnreadable("/k: gone")),
    ("not_written", WriteFailed("file", "no space", roll=1.0)),
    ("not_read", InspectFailed("file", "denied")),
    ("not_read", InspectFailed("file", "no route", out_of_sight=True)),
    ("hook_failed", HookEnded("file", 1, None, "no such process", roll=1.0)),
]


@pytest.mark.parametrize(
    ("code", "event"), EVENTS, ids=[f"{code}-{type(event).__name__}" for code, event in EVENTS]
)
def test_each_failure_has_the_same_facts_in_the_log_and_in_the_status(code: str, event: Event) -> None:
    log, failing = Log(), driver()
    for times in (1, 2):
        failing.observe(event)
        entries = list(logged(log, failing))
        (problem,) = status_of(failing.state, failing.policy, failing.now).problems
        assert problem.code == ("same_token" if code == "ok" else code)
        assert entries or times == 2
        for entry in entries:
            assert facts(entry) == (to_second(problem.since or 0.0), problem.failures, problem.advice)
            assert problem.advice in entry["message"]
        failing.passes(20.0)


def test_a_failure_after_a_success_begins_anew_in_both() -> None:
    """The inspection between the failures succeeds without a line in the log."""
    log, failing = Log(), driver()
    failing.observe(InspectFailed("file", "no route", out_of_sight=True))
    first = [facts(entry) for entry in logged(log, failing)]
    failing.passes(30.0)
    failing.perform(failing.steps())
    failing.passes(330.0)
    failing.observe(InspectFailed("file", "no route", out_of_sight=True))
    (entry,) = logged(log, failing)
    (problem,) = status_of(failing.state, failing.policy, failing.now).problems
    assert facts(entry) == (to_second(failing.now.wall), 1, problem.advice) != first[0]
    assert problem.since == pytest.approx(failing.now.wall)


def test_an_output_that_hangs_does_so_since_its_effect_began() -> None:
    log, failing = Log(), driver()
    failing.observe(Started(Inspect("file")))
    failing.passes(11.0)
    failing.observe(Stalled("file", 11.0, writing=False))
    (entry,) = logged(log, failing)
    (problem,) = status_of(failing.state, failing.policy, failing.now).problems
    assert problem.code == "hangs"
    assert (entry["since"], entry["advice"]) == (to_second(problem.since or 0.0), problem.advice)
