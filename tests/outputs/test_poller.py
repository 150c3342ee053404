"""The poller compares outputs with their last inspection, and passes on requests."""

import threading
from collections.abc import Iterator

import pytest

from refresher.core.events import RefreshPlaced, WatchEnded
from refresher.core.machine import STALLED
from refresher.core.process_notifications import Crashed
from refresher.outputs.poller import MOST_AT_ONCE, MOST_HANGING, PARTS, OutputPoller
from refresher.ports import Message
from tests.simulation.site import Site

AT = 1_793_872_860.5
NOW = 1000.0  # boot seconds


def poller_of(site: Site) -> OutputPoller:
    return OutputPoller(site.managed_tokens.values())


def polled(poller: OutputPoller, now: float = NOW) -> list[Message]:
    return list(poller.poll(now))


def test_each_request_is_reported_once_and_so_is_its_withdrawal():
    site = Site("a", "b")
    poller = poller_of(site)
    assert polled(poller) == []
    for requested in (AT, AT + 1, None):
        site.outputs["b"].requested = requested
        assert polled(poller) == [Message("b", RefreshPlaced("output of b", requested))]
        assert polled(poller) == []


def test_a_change_is_reported_at_each_poll_until_an_inspection_has_seen_it():
    """An inspection that began before the change may overtake the first report."""
    site = Site("a", "b")
    poller = poller_of(site)
    site.outputs["b"].altered = True
    assert polled(poller) == polled(poller) == [Message("b", WatchEnded("output of b"))]
    site.outputs["b"].altered = False
    assert polled(poller) == []


@pytest.mark.parametrize("count", [MOST_AT_ONCE, PARTS * MOST_AT_ONCE, PARTS * MOST_AT_ONCE + 1])
def test_every_output_is_compared_within_a_few_polls(count):
    site = Site(*map(str, range(count)))
    for output in site.outputs.values():
        output.altered = True
    poller = poller_of(site)
    parts = [polled(poller) for _ in range(PARTS if count > MOST_AT_ONCE else 1)]
    assert {message.token for part in parts for message in part} == site.outputs.keys()
    assert max(map(len, parts)) <= MOST_AT_ONCE + 1


def test_a_bug_with_one_output_is_reported_and_ends_only_its_watch():
    site = Site("a", "b")
    site.outputs["a"].has_changed = lambda: 1 / 0
    site.outputs["b"].altered = True
    crashed, other = polled(poller_of(site))
    assert (crashed.token, crashed.event) == ("a", WatchEnded("output of a"))
    assert isinstance(crashed.notifications[0], Crashed)
    assert other == Message("b", WatchEnded("output of b"))


class Gate:
    """Comparisons of an output hang here, each in a poll of its own thread."""

    def __init__(self, poller: OutputPoller) -> None:
        self._poller = poller
        self._open = threading.Event()
        self._threads: list[threading.Thread] = []

    def hang(self, entered: threading.Event) -> bool:
        assert not entered.is_set(), "another thread enters it"
        entered.set()
        self._open.wait(15.0)
        return False

    def wait_for_poll(self, entered: threading.Event) -> None:
        thread = threading.Thread(target=polled, args=(self._poller,))
        self._threads.append(thread)
        thread.start()
        assert entered.wait(15.0)

    def close(self) -> None:
        self._open.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def site() -> Site:
    return Site(*map(str, range(MOST_HANGING + 1)))


@pytest.fixture
def hang(site) -> Iterator:
    """A function that makes the comparison of one more output hang, and returns a poller."""
    poller = poller_of(site)
    gate = Gate(poller)

    def another(name: str) -> OutputPoller:
        entered = threading.Event()
        site.outputs[name].has_changed = lambda: gate.hang(entered)
        gate.wait_for_poll(entered)
        return poller

    yield another
    gate.close()


def test_a_directory_that_hangs_does_not_delay_the_others(site, hang):
    poller = hang("0")
    site.outputs["1"].requested = AT
    assert polled(poller) == [Message("1", RefreshPlaced("output of 1", AT))]


def test_the_outputs_of_a_directory_that_hangs_are_inspected_so_that_this_is_reported(hang):
    poller = hang("0")
    assert polled(poller, NOW + STALLED - 0.1) == []
    assert polled(poller, NOW + STALLED) == [Message("0", WatchEnded("output of 0"))]


def test_outputs_that_cannot_be_compared_because_too_much_hangs_are_inspected(hang):
    for number in range(MOST_HANGING):
        poller = hang(str(number))
    assert polled(poller, NOW + 1) == [Message(str(MOST_HANGING), WatchEnded(f"output of {MOST_HANGING}"))]
