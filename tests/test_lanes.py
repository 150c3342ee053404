"""Admission to lanes: room, queues, and stuck lanes."""

import math
from itertools import pairwise

import pytest

from refresher.core.effects import Inspect, Mint
from refresher.core.model import Reason, SecretStr
from refresher.core.urgency import Urgency
from refresher.executor import LIMITS
from refresher.lanes import COUNTS_FOR, WEDGED, Lanes, Limit, Work, pool_of

INSPECT, MINT = Inspect("file"), Mint(SecretStr("key"), Reason.FIRST)
A, B = "file:/a", "file:/b"
SILENT = 10.0
CALM = Urgency(has_failed=False, rank=2, valid_until=3600.0)
NOW = 0.0


@pytest.fixture
def lanes():
    """Lanes with room for two effects each, and three in all lanes of the pool."""
    return Lanes({"file": Limit(2, pool=3), "issuer": Limit(1, pool=2)})


@pytest.fixture
def roomy():
    return Lanes({"file": Limit(9, pool=99), "issuer": Limit(9, pool=99)})


def begun(lanes: Lanes, lane: str, *tokens: str, at: float = 0.0) -> list[Work]:
    return [lanes.begin(token, INSPECT, lane, at) for token in tokens]


@pytest.mark.parametrize(("lane", "pool"), [("issuer", "issuer"), ("file:/run:1/x", "file")])
def test_the_pool_of_a_lane_is_its_name_up_to_the_colon(lane, pool):
    assert pool_of(lane) == pool


def test_a_lane_has_room_up_to_its_limit(lanes):
    first, _ = begun(lanes, A, "x", "y")
    assert not lanes.has_room(A, NOW)
    assert lanes.has_room(B, NOW)
    lanes.end(first)
    assert lanes.has_room(A, NOW)


def test_all_lanes_of_a_pool_together_have_room_up_to_the_limit_of_the_pool(lanes):
    begun(lanes, A, "x", "y")
    (last,) = begun(lanes, B, "z")
    assert not lanes.has_room(B, NOW)
    assert lanes.has_room("issuer", NOW)
    lanes.end(last)
    assert lanes.has_room(B, NOW)


@pytest.fixture
def full():
    """Lanes whose pool is full of given-up effects. Each lane has two reserved."""
    full = Lanes({"issuer": Limit(3, pool=4, reserved=2)})
    for lane in ("issuer:a", "issuer:b"):
        for work in [full.begin("x", MINT, lane, NOW) for _ in range(2)]:
            full.give_up(work, NOW)
    return full


def test_a_lane_has_its_reserved_room_while_others_fill_the_pool(full):
    assert not full.has_room("issuer:a", NOW)
    assert full.has_room("issuer:c", NOW)
    first = full.begin("y", MINT, "issuer:c", NOW)
    full.begin("z", MINT, "issuer:c", NOW)
    assert not full.has_room("issuer:c", NOW)
    full.end(first)
    assert full.has_room("issuer:c", NOW)


def test_a_lane_with_given_up_effects_of_its_own_has_no_reserved_room_for_them(full):
    full.give_up(full.begin("y", MINT, "issuer:c", NOW), NOW)
    full.begin("y", MINT, "issuer:c", NOW)
    assert not full.has_room("issuer:c", NOW)


def test_only_a_pool_without_reserved_room_limits_its_threads(full):
    assert Limit(3, pool=4).threads == 4
    assert Limit(3, pool=4, reserved=2).threads == math.inf


@pytest.mark.parametrize("pool", ["issuer", "verify"])
def test_every_issuer_mints_however_many_others_hang_for_ever(pool):
    lanes, now = Lanes(LIMITS), NOW
    for number in range(100):
        for _ in range(100):
            if lanes.has_room(f"{pool}:{number}", now):
                lanes.give_up(lanes.begin(f"{number}", MINT, f"{pool}:{number}", now), now)
    assert lanes.has_room(f"{pool}:good", now)


def test_a_given_up_effect_makes_room_but_keeps_its_thread(lanes):
    (first,) = begun(lanes, "issuer", "x")
    lanes.give_up(first, NOW)
    assert lanes.of("x") == ()
    assert lanes.has_room("issuer", NOW)
    (second,) = begun(lanes, "issuer", "x")
    lanes.give_up(second, NOW)
    assert not lanes.has_room("issuer", NOW)  # two threads hang, so no third may begin
    lanes.end(first)
    assert lanes.has_room("issuer", NOW)


def test_effects_in_flight_are_listed_by_token(lanes):
    first, second = begun(lanes, A, "x", "x")
    assert lanes.of("x") == (first, second)
    lanes.end(first)
    assert lanes.of("x") == (second,)
    lanes.end(second)
    assert lanes.of("x") == ()


def test_waiting_tokens_are_admitted_in_order_while_there_is_room(lanes):
    first, second = begun(lanes, A, "x", "y")
    for token in ("1", "2", "1", "3"):
        lanes.wait(token, A, CALM)
    assert list(lanes.admitted(NOW)) == []
    assert lanes.is_waiting("2")
    lanes.end(first)
    turns = []
    for token in lanes.admitted(NOW):
        turns.append(token)
        begun(lanes, A, token)
    assert turns == ["1"]
    lanes.end(second)
    assert list(lanes.admitted(NOW)) == ["2", "3"]  # they have begun nothing, so there is still room
    assert not lanes.is_waiting("3")


def test_a_lane_without_progress_is_stuck_and_its_queue_is_returned(lanes):
    begun(lanes, A, "x", at=0.0)
    begun(lanes, A, "y", at=5.0)
    lanes.wait("1", A, CALM)
    lanes.wait("2", A, CALM)
    assert list(lanes.stuck(SILENT + 4.9, SILENT)) == []
    assert list(lanes.stuck(SILENT + 5.0, SILENT)) == [(A, ("1", "2"))]
    assert not lanes.is_waiting("1")


def test_a_lane_with_room_is_not_stuck(lanes):
    begun(lanes, A, "x")
    lanes.wait("1", A, CALM)
    assert list(lanes.stuck(1000.0, SILENT)) == []


def test_a_lane_is_not_stuck_while_its_full_pool_makes_progress(lanes):
    begun(lanes, A, "x", "y", at=995.0)
    begun(lanes, "file:/c", "z", at=0.0)
    lanes.wait("1", B, CALM)
    assert list(lanes.stuck(1000.0, SILENT)) == []
    assert list(lanes.stuck(1010.0, SILENT)) == [(B, ("1",))]


def test_an_output_with_hanging_effects_is_wedged_and_leaves_room_for_others(roomy):
    hanging = []
    for _ in range(WEDGED):
        assert not roomy.is_wedged("x", INSPECT, A, NOW)
        (work,) = begun(roomy, A, "x")
        roomy.give_up(work, NOW)
        hanging.append(work)
    assert roomy.is_wedged("x", INSPECT, A, NOW)
    assert not roomy.is_wedged("y", INSPECT, A, NOW)
    roomy.end(hanging[0])
    assert not roomy.is_wedged("x", INSPECT, A, NOW)


def test_an_issuer_is_never_wedged(roomy):
    for _ in range(WEDGED):
        roomy.give_up(roomy.begin("x", MINT, "issuer", 0.0), NOW)
    assert not roomy.is_wedged("x", MINT, "issuer", NOW)


def test_an_output_that_hangs_for_ever_is_retried_and_costs_few_threads(roomy):
    tries = []
    now, a_day = NOW, NOW + 86400.0
    while now < a_day:
        if not roomy.is_wedged("x", INSPECT, A, now):
            (work,) = begun(roomy, A, "x", at=now)
            roomy.give_up(work, now)
            tries.append(now)
        now += 10.0
    assert len(tries) < 16
    later = [after - before for before, after in pairwise(tries[WEDGED:])]
    assert later == sorted(later)  # the intervals grow
    assert tries[-1] > a_day / 3


def test_a_lane_full_of_hanging_effects_gets_room_again_and_costs_few_threads():
    lanes = Lanes({"file": Limit(8, pool=1000)})
    begun_at = []
    for now in map(float, range(0, 86400, 10)):
        if lanes.has_room(A, now):
            (work,) = begun(lanes, A, f"token {len(begun_at)}", at=now)
            lanes.give_up(work, now)
            begun_at.append(now)
    assert 2 * 8 < len(begun_at) < 5 * 8
    assert begun_at[-1] > 86400 / 3


def test_a_given_up_effect_that_has_ended_no_longer_counts(roomy):
    hanging = [work for _ in range(WEDGED) for work in begun(roomy, A, "x")]
    for work in hanging:
        roomy.give_up(work, NOW)
    assert roomy.is_wedged("x", INSPECT, A, NOW)
    for work in hanging:
        roomy.end(work)
    (again,) = begun(roomy, A, "x")
    roomy.give_up(again, NOW)
    assert again.counts_until == NOW + COUNTS_FOR  # like the first one


def test_a_lane_with_only_given_up_effects_is_stuck(lanes):
    for _ in range(2):
        (work,) = begun(lanes, "issuer", "x")
        lanes.give_up(work, NOW)
    lanes.wait("1", "issuer", CALM)
    assert list(lanes.stuck(0.0, SILENT)) == [("issuer", ("1",))]


# --- What is slow


@pytest.fixture
def hurried():
    """Lanes with room for two effects each, and for two more while effects take more than 3 s."""
    return Lanes({"issuer": Limit(2, pool=99, slow_after=3.0), "file": Limit(2, pool=99)})


def test_slow_effects_make_room_for_as_many_again(hurried):
    first, _ = begun(hurried, "issuer", "a", "b", at=10.0)
    assert not hurried.has_room("issuer", 12.9)
    assert hurried.has_room("issuer", 13.0)
    begun(hurried, "issuer", "c", "d", at=13.0)
    assert not hurried.has_room("issuer", 99.0)
    hurried.end(first)
    assert hurried.has_room("issuer", 99.0)


def test_slow_effects_and_given_up_ones_make_room_once(hurried):
    first, second = begun(hurried, "issuer", "a", "b", at=10.0)
    hurried.give_up(first, 10.0)
    begun(hurried, "issuer", "c", at=10.0)
    assert hurried.has_room("issuer", 13.0)
    begun(hurried, "issuer", "d", at=13.0)
    assert not hurried.has_room("issuer", 14.0)
    hurried.end(second)
    assert hurried.has_room("issuer", 14.0)


def test_a_slow_output_makes_no_room(hurried):
    begun(hurried, A, "a", "b", at=10.0)
    assert not hurried.has_room(A, 99.0)


def test_a_lane_announces_when_its_effects_become_slow_only_while_a_token_waits(hurried):
    begun(hurried, "issuer", "a", at=9.0)
    begun(hurried, "issuer", "b", at=10.0)
    assert hurried.next_opening(11.0) == math.inf
    hurried.wait("c", "issuer", CALM)
    assert hurried.next_opening(11.0) == 12.0
    assert hurried.next_opening(12.0) == 13.0
    assert hurried.next_opening(13.0) == math.inf  # only their end makes room now
    assert list(hurried.admitted(11.9)) == []
    assert list(hurried.admitted(12.0)) == ["c"]


# --- The pace


def test_a_paced_lane_opens_an_interval_after_each_beginning(roomy):
    roomy.pace({"issuer": 2.0})
    assert roomy.has_room("issuer", 10.0)
    begun(roomy, "issuer", "x", at=10.0)
    assert not roomy.has_room("issuer", 11.9)
    assert roomy.has_room("issuer", 12.0)
    assert roomy.has_room(A, 10.0)


def test_a_paced_lane_announces_when_it_opens_only_while_a_token_waits(roomy):
    roomy.pace({"issuer": 2.0})
    begun(roomy, "issuer", "x", at=10.0)
    assert roomy.next_opening(10.0) == math.inf
    roomy.wait("y", "issuer", CALM)
    assert roomy.next_opening(10.0) == 12.0
    assert list(roomy.admitted(11.9)) == []
    assert list(roomy.admitted(12.0)) == ["y"]


def test_a_lane_that_waits_for_its_pace_is_not_stuck(roomy):
    roomy.pace({"issuer": 60.0})
    roomy.end(*begun(roomy, "issuer", "x", at=10.0))
    roomy.wait("y", "issuer", CALM)
    assert list(roomy.stuck(69.0, SILENT)) == []


def test_a_lane_without_a_pace_any_more_is_open_at_once(roomy):
    roomy.pace({"issuer": 60.0})
    begun(roomy, "issuer", "x", at=10.0)
    roomy.pace({})
    assert roomy.has_room("issuer", 10.0)


def test_a_token_does_not_overtake_those_that_wait(lanes):
    (first, _) = begun(lanes, A, "x", "y")
    lanes.wait("1", A, CALM)
    lanes.end(first)
    assert not lanes.is_open_to("2", A, NOW)
    for token in lanes.admitted(NOW):
        assert lanes.is_open_to(token, A, NOW)
    assert lanes.is_open_to("2", A, NOW)
