"""Leader election by a Lease (coordination.k8s.io/v1), as rules without I/O.

Our clock is never compared with another machine's. A Lease has expired when we have seen it unchanged for
its whole duration; the times in it do not count. A leader stops at its own deadline. The deadline is counted
from the start of the last successful request, so it passes before another process may take the Lease. All
times are boot seconds (`Instant.boot`), all durations seconds.
"""

from typing import NamedTuple, Self

from refresher.core.schedule import RETRY_ROOM
from refresher.core.values import distinct

LONGEST = RETRY_ROOM  # seconds; the configuration allows no more, so a Lease with more is wrong
NEVER = float("-inf")
NOBODY = ""
MOST_TRANSITIONS = 2**31 - 1  # the field is an int32


@distinct
class LeaseTiming(NamedTuple):
    """The timing of a Lease in seconds, with client-go's names.

    `lease_duration`: how long the others wait for a renewal. `renew_deadline`: how long a leader still leads
    without renewing; the difference allows for clock drift. `retry_period`: between two requests.
    """

    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 1.0


def timing_of(duration: float) -> LeaseTiming:
    """The timing for a Lease of this `duration`. A third of it allows for clock drift."""
    return LeaseTiming(duration, renew_deadline=duration * 2 / 3, retry_period=min(1.0, duration / 15))


@distinct
class LeaseRecord(NamedTuple):
    """The content of a Lease. `holder`: NOBODY if it was released. `transitions`: how often the holder
    changed. `version`: its resourceVersion; empty if the Lease does not exist yet."""

    holder: str
    duration: float
    transitions: int
    version: str

    @property
    def believed(self) -> float:
        """How long an unchanged Lease counts as held: its `duration`, but at most `LONGEST`."""
        return min(self.duration, LONGEST)


@distinct
class ReadLease(NamedTuple):
    """Read the Lease."""


@distinct
class WriteLease(NamedTuple):
    """Write this into the Lease, unless its version has changed."""

    record: LeaseRecord


@distinct
class Pause(NamedTuple):
    """Nothing to do before `until`."""

    until: float


@distinct
class Election(NamedTuple):
    """The knowledge of one candidate.

    `seen`: the Lease as last read; None before the first reading and after a conflict. `seen_at`: when this
    version was first seen. `asked_at`: when the last request began. `leading_until`: the own deadline as
    leader. `rest_until`: after a failed request, a free Lease is not requested before then.
    """

    identity: str
    timing: LeaseTiming
    seen: LeaseRecord | None = None
    seen_at: float = NEVER
    asked_at: float = NEVER
    leading_until: float = NEVER
    rest_until: float = NEVER

    def leads(self, now: float) -> bool:
        return now < self.leading_until

    def next_step(self, now: float) -> ReadLease | WriteLease | Pause:
        """What to do at `now`."""
        again = self.asked_at + self.timing.retry_period
        if self.seen is None:
            return ReadLease() if now >= again else Pause(again)
        if self.seen.holder == self.identity:
            if now < again:
                return Pause(min(again, self.leading_until) if self.leads(now) else again)
            return WriteLease(self._claim(self.seen.transitions))
        if self._is_free(now):
            if now < self.rest_until:
                return Pause(self.rest_until)
            return WriteLease(self._claim(self.seen.transitions + 1))
        expires = self.seen_at + self.seen.believed
        return ReadLease() if now >= min(again, expires) else Pause(min(again, expires))

    def observed(self, found: LeaseRecord | None, began: float, now: float) -> Self:
        """After reading the Lease: `found`; None if it does not exist.

        If it was deleted, its holder leads until the holder's own deadline, so wait for that.
        """
        record = found or LeaseRecord(NOBODY, 0.0, -1, "")
        if found is None and self.seen is not None and self.seen.holder not in (NOBODY, self.identity):
            record = self.seen._replace(version="")
        unchanged = self.seen is not None and self.seen.version == record.version
        return self._replace(seen=record, seen_at=self.seen_at if unchanged else now, asked_at=began)

    def acquired(self, written: LeaseRecord, began: float, now: float) -> Self:
        """After writing the Lease as `written`, by a request that began at `began`."""
        return self._replace(
            seen=written, seen_at=now, asked_at=began, leading_until=began + self.timing.renew_deadline
        )

    def conflicted(self, began: float) -> Self:
        """After a conflict: the Lease has changed since we read it. Read it again at once, but write it no
        sooner than usual. The change may be our own, by a request whose answer was lost; until the Lease was
        read, we do not lead."""
        return self._replace(
            seen=None, asked_at=NEVER, leading_until=NEVER, rest_until=began + self.timing.retry_period
        )

    def failed(self, began: float) -> Self:
        """After a failed request. A leader still leads until its deadline."""
        return self._replace(asked_at=began, rest_until=began + self.timing.retry_period)

    def release(self) -> LeaseRecord | None:
        """What to write to release the Lease, so that others need not wait; None if we do not hold it."""
        if self.seen is None or self.seen.holder != self.identity:
            return None
        return LeaseRecord(NOBODY, 1.0, self.seen.transitions, self.seen.version)

    def patience(self, now: float) -> float:
        """Seconds that a request may take from now on. A leader must not wait past its own deadline."""
        left = self.leading_until - now
        return min(self.timing.renew_deadline / 2, left) if left > 0 else self.timing.renew_deadline / 2

    def _is_free(self, now: float) -> bool:
        return self.seen is not None and (
            self.seen.holder == NOBODY or now >= self.seen_at + self.seen.believed
        )

    def _claim(self, transitions: int) -> LeaseRecord:
        version = self.seen.version if self.seen else ""
        most = min(transitions, MOST_TRANSITIONS)
        return LeaseRecord(self.identity, self.timing.lease_duration, most, version)
