"""Never two leaders, and a successor soon after the leader goes. Several candidates run on virtual time, with
one simulated Lease whose server is slow, loses answers, hangs and reports conflicts."""

import heapq
import itertools
import random
from collections.abc import Callable

import pytest

from refresher.core.election import NOBODY, Election, LeaseRecord, LeaseTiming, Pause, ReadLease, WriteLease

TIMING = LeaseTiming(lease_duration=15.0, renew_deadline=10.0, retry_period=1.0)
HELD = LeaseRecord("other", 15.0, 4, "7")
FREE = LeaseRecord(NOBODY, 1.0, 4, "7")


def candidate(**known: object) -> Election:
    return Election("me", TIMING)._replace(**known)


# --- The next step


@pytest.mark.parametrize(
    ("known", "now", "step", "because"),
    [
        ({}, 100.0, ReadLease(), "nothing is known yet"),
        ({"asked_at": 99.5}, 100.0, Pause(100.5), "the last request was half a second ago"),
        (
            {"seen": HELD, "seen_at": 90.0, "asked_at": 99.5},
            100.0,
            Pause(100.5),
            "another process holds it: read it again soon",
        ),
        ({"seen": HELD, "seen_at": 90.0, "asked_at": 99.0}, 100.0, ReadLease(), "it may be released by now"),
        (
            {"seen": HELD, "seen_at": 90.0, "asked_at": 104.5},
            104.6,
            Pause(105.0),
            "it expires before the next reading is due",
        ),
        (
            {"seen": HELD, "seen_at": 90.0, "asked_at": 104.5},
            105.0,
            WriteLease(LeaseRecord("me", 15.0, 5, "7")),
            "it has not changed for its whole duration",
        ),
        (
            {"seen": HELD._replace(duration=2.0**31 - 1), "seen_at": 40.0, "asked_at": 98.5},
            99.9,
            ReadLease(),
            "its duration is longer than any configuration allows, and counts as a minute",
        ),
        (
            {"seen": HELD._replace(duration=2.0**31 - 1), "seen_at": 40.0, "asked_at": 99.5},
            100.0,
            WriteLease(LeaseRecord("me", 15.0, 5, "7")),
            "it claims 68 years, and has not changed for a minute",
        ),
        (
            {"seen": FREE, "seen_at": 100.0, "asked_at": 100.0},
            100.0,
            WriteLease(LeaseRecord("me", 15.0, 5, "7")),
            "it was released",
        ),
        (
            {"seen": FREE, "seen_at": 90.0, "asked_at": 99.5, "rest_until": 100.5},
            100.0,
            Pause(100.5),
            "it is free, but half a second ago a request failed",
        ),
        (
            {"seen": LeaseRecord("me", 15.0, 5, "8"), "asked_at": 100.0, "leading_until": 110.0},
            101.0,
            WriteLease(LeaseRecord("me", 15.0, 5, "8")),
            "it is ours, and due for renewal",
        ),
        (
            {"seen": LeaseRecord("me", 15.0, 5, "8"), "asked_at": 100.0, "leading_until": 110.0},
            100.5,
            Pause(101.0),
            "it is ours, and was just renewed",
        ),
        (
            {"seen": LeaseRecord("me", 15.0, 5, "8"), "asked_at": 109.8, "leading_until": 110.0},
            109.9,
            Pause(110.0),
            "our own deadline comes first",
        ),
    ],
)
def test_the_next_step(known, now, step, because):
    assert candidate(**known).next_step(now) == step, because


def test_a_missing_lease_is_created():
    found = candidate().observed(None, began=100.0, now=100.1)
    assert found.next_step(100.1) == WriteLease(LeaseRecord("me", 15.0, 0, ""))


def test_the_deadline_counts_from_before_the_request():
    taken = candidate().acquired(LeaseRecord("me", 15.0, 0, "1"), began=100.0, now=103.0)
    assert taken.leads(109.9)
    assert not taken.leads(110.0)


def test_an_unchanged_lease_expires_by_the_time_it_was_first_seen():
    once = candidate().observed(HELD, began=100.0, now=100.1)
    again = once.observed(HELD, began=101.0, now=101.1)
    assert again.seen_at == 100.1
    assert again.observed(HELD._replace(version="8"), began=102.0, now=102.1).seen_at == 102.1


def test_after_a_conflict_a_leader_stops_leading_and_reads_the_lease_at_once():
    leader = candidate(seen=LeaseRecord("me", 15.0, 5, "8"), asked_at=100.0, leading_until=110.0)
    conflicted = leader.conflicted(began=100.9)
    assert not conflicted.leads(101.0)
    assert conflicted.next_step(101.0) == ReadLease()


def test_a_free_lease_that_rejects_writes_is_retried_with_pauses():
    """For example, an admission webhook always responds 409: after each reading there is a pause."""
    refused = candidate().conflicted(began=100.0).observed(FREE, began=100.01, now=100.02)
    assert refused.next_step(100.02) == Pause(101.0)
    assert isinstance(refused.next_step(101.0), WriteLease)


def test_the_number_of_transitions_never_exceeds_its_field():
    full = candidate(seen=FREE._replace(transitions=2**31 - 1), seen_at=100.0, asked_at=100.0)
    assert full.next_step(100.0).record.transitions == 2**31 - 1


def test_a_free_lease_is_requested_with_pauses_while_the_api_server_fails():
    election, now, asked = candidate(seen=FREE, seen_at=90.0), 100.0, 0
    while now < 110.0:
        step = election.next_step(now)
        if isinstance(step, Pause):
            now = step.until
        else:
            election, asked = election.failed(began=now), asked + 1
            assert asked <= 11, "requests without a pause"
    assert asked == 10


def test_a_deleted_lease_stays_held_until_the_deadline_of_its_holder():
    """Its holder does not know yet, and leads until its own deadline."""
    watching = candidate(seen=HELD, seen_at=90.0, asked_at=99.0).observed(None, began=100.0, now=100.0)
    assert watching.next_step(100.0) == Pause(101.0)
    watching = watching.observed(None, began=101.0, now=101.0)
    assert watching.next_step(114.9) == ReadLease()
    assert watching.next_step(115.0) == WriteLease(
        LeaseRecord("me", 15.0, 5, "")
    )  # 15 s after it was first found missing


@pytest.mark.parametrize(
    "seen", [None, FREE, LeaseRecord("me", 15.0, 4, "7")], ids=["never seen", "free", "ours"]
)
def test_a_missing_lease_that_no_other_process_held_is_created_at_once(seen):
    watching = candidate(seen=seen, seen_at=90.0, asked_at=99.0).observed(None, began=100.0, now=100.0)
    assert isinstance(watching.next_step(100.0), WriteLease)


def test_only_a_held_lease_is_released():
    assert candidate(seen=HELD).release() is None
    assert candidate().release() is None
    assert candidate(seen=LeaseRecord("me", 15.0, 5, "8")).release() == LeaseRecord(NOBODY, 1.0, 5, "8")


def test_a_leaders_request_ends_before_its_leadership():
    leader = candidate(seen=LeaseRecord("me", 15.0, 5, "8"), leading_until=110.0)
    assert leader.patience(100.0) == 5.0
    assert leader.patience(108.0) == 2.0
    assert leader.patience(111.0) == 5.0


# --- Several candidates


class Server:
    """A Lease and its candidates. Messages take time. `lossy`: the share of answers lost."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = 1000.0
        self.lease: LeaseRecord | None = None
        self.version = 0
        self.hangs_until = 0.0
        self.lossy = 0.0
        self.people: dict[str, Election] = {}
        self.dead: set[str] = set()
        self.busy: set[str] = set()
        self.led: list[tuple[float, str]] = []  # when each leader began to lead
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()

    def at(self, when: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (when, next(self._number), happens))

    def joins(self, name: str) -> None:
        self.people[name] = Election(name, TIMING)
        self.at(self.now + self.dice.uniform(0, 1), lambda: self.turn(name))

    def dies(self, name: str) -> None:
        self.dead.add(name)

    def turn(self, name: str) -> None:
        """One step of a candidate, as the elector performs it."""
        if name in self.dead:
            return
        election = self.people[name]
        step = election.next_step(self.now)
        if isinstance(step, Pause):
            self.at(max(step.until, self.now + 0.001), lambda: self.turn(name))
            return
        began, by = self.now, self.now + election.patience(self.now)
        arrives = max(self.now + self.dice.expovariate(20), self.hangs_until)
        is_open = [True]
        self.busy.add(name)

        def end(outcome: Callable[[Election], Election]) -> None:
            if is_open:
                is_open.clear()
                self.busy.discard(name)
                self.people[name] = outcome(self.people[name])
                self.turn(name)

        def arrive() -> None:
            outcome = self.meaning(step, self.serve(step), began)
            if self.dice.random() >= self.lossy:
                self.at(self.now + self.dice.expovariate(20), lambda: end(outcome))

        self.at(arrives, arrive)
        self.at(by, lambda: end(lambda known: known.failed(began)))

    def meaning(
        self, asked: ReadLease | WriteLease, answer: LeaseRecord | str | None, began: float
    ) -> Callable[[Election], Election]:
        """How an answer changes the knowledge of a candidate, as in the elector."""
        if answer == "conflict":
            return lambda known: known.conflicted(began)
        if isinstance(asked, ReadLease):
            return lambda known: known.observed(answer, began, self.now)
        return lambda known: known.acquired(answer, began, self.now)

    def serve(self, asked: ReadLease | WriteLease) -> LeaseRecord | str | None:
        if isinstance(asked, ReadLease):
            return self.lease
        if asked.record.version != (self.lease.version if self.lease else ""):
            return "conflict"
        self.version += 1
        self.lease = asked.record._replace(version=str(self.version))
        return self.lease

    def runs(self, seconds: float) -> None:
        until = self.now + seconds
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, happens = heapq.heappop(self._agenda)
            happens()
            leaders = self.leaders()
            assert len(leaders) <= 1, f"{leaders} lead at {self.now}"
            if leaders and (not self.led or self.led[-1][1] != leaders[0]):
                self.led.append((self.now, leaders[0]))
        self.now = until

    def leaders(self) -> list[str]:
        """The leaders, including killed ones: such a process may be only stopped, and continue."""
        return [name for name, election in self.people.items() if election.leads(self.now)]


@pytest.mark.parametrize("seed", range(40))
def test_there_are_never_two_leaders(seed):
    server = Server(seed)
    server.lossy = server.dice.choice((0.0, 0.05, 0.3))
    for name in "abc":
        server.joins(name)
    for number in range(30):
        server.runs(server.dice.uniform(1, 40))
        fault = server.dice.choice(("hang", "kill", "calm"))
        if fault == "hang":
            server.hangs_until = server.now + server.dice.uniform(0.5, 40)
        elif fault == "kill" and server.leaders():
            server.dies(server.leaders()[0])
            server.joins(f"{server.leaders()[0]}{number}")
    assert server.led


@pytest.mark.parametrize("seed", range(20))
def test_after_the_leader_is_killed_another_leads_within_the_duration_and_a_second(seed):
    server = Server(seed)
    for name in "ab":
        server.joins(name)
    server.runs(60 + server.dice.uniform(0, 5))
    (leader,) = server.leaders()
    killed = server.now
    server.dies(leader)
    server.runs(60)
    when, successor = server.led[-1]
    assert successor != leader
    assert when - killed <= TIMING.lease_duration + 1.0


@pytest.mark.parametrize("seed", range(20))
def test_after_the_leader_releases_the_lease_another_leads_within_two_seconds(seed):
    server = Server(seed)
    for name in "ab":
        server.joins(name)
    server.runs(60 + server.dice.uniform(0, 5))
    (leader,) = server.leaders()
    while leader in server.busy:
        server.runs(0.01)
    server.dies(leader)
    farewell = server.people[leader].release()
    server.people[leader] = Election(leader, TIMING)
    server.serve(WriteLease(farewell))
    released = server.now
    server.runs(10)
    when, successor = server.led[-1]
    assert successor != leader
    assert when - released < 2.0


@pytest.mark.parametrize("seed", range(5))
def test_an_undisturbed_leader_keeps_leading(seed):
    server = Server(seed)
    for name in "abc":
        server.joins(name)
    server.runs(3600)
    assert len(server.led) == 1
