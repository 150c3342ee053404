"""The order in which tokens enter a lane."""

import pytest

from refresher.core.urgency import Urgency
from refresher.lane_queue import LaneQueue


@pytest.fixture
def queue():
    return LaneQueue()


def put(queue: LaneQueue, *tokens: str, failed: bool = False, rank: int = 2, until: float = 100.0) -> None:
    for token in tokens:
        queue.put(token, Urgency(failed, rank, until))


def taken(queue: LaneQueue) -> list[str]:
    return [queue.take() for _ in range(len(queue))]


def test_the_token_whose_consumers_have_least_time_goes_first(queue):
    for token, until in (("a", 300.0), ("b", 100.0), ("c", 200.0)):
        put(queue, token, until=until)
    assert taken(queue) == ["b", "c", "a"]


def test_the_lowest_rank_goes_first(queue):
    put(queue, "a", until=0.0)
    put(queue, "b", rank=0)
    put(queue, "c", rank=1)
    assert taken(queue) == ["b", "c", "a"]


def test_tokens_of_equal_urgency_go_in_the_order_in_which_they_came(queue):
    put(queue, "b", "a", "c")
    assert taken(queue) == ["b", "a", "c"]


def test_a_token_that_waits_keeps_its_place_but_may_become_more_urgent(queue):
    put(queue, "a", "b", "c")
    put(queue, "a", until=500.0)
    put(queue, "c", until=50.0)
    assert len(queue) == 3
    assert taken(queue) == ["c", "a", "b"]


def test_tokens_with_and_without_failures_take_turns(queue):
    put(queue, "x", "y", "z", failed=True, until=0.0)
    put(queue, "a", "b", until=3600.0)
    assert taken(queue) == ["a", "x", "b", "y", "z"]


def test_a_token_that_fails_while_it_waits_changes_its_line(queue):
    put(queue, "a", "b")
    put(queue, "a", failed=True)
    put(queue, "c", until=200.0)
    assert taken(queue) == ["b", "a", "c"]


def test_a_discarded_token_does_not_come(queue):
    put(queue, "a", "b")
    queue.discard("a")
    queue.discard("unknown")
    assert "a" not in queue
    assert taken(queue) == ["b"]


def test_an_empty_queue_has_no_next_token(queue):
    put(queue, "a")
    queue.discard("a")
    with pytest.raises(IndexError, match="no token"):
        queue.take()


def test_a_long_life_leaves_nothing_behind(queue):
    for number in range(1000):
        put(queue, f"t{number % 7}", until=1000.0 - number)
        put(queue, f"t{number % 7}", failed=True)
    assert len(taken(queue)) == 7
    assert not queue
