"""Who leads: the rules of holding a Lease (coordination.k8s.io/v1) among several, without I/O.

No clock but ours is ever compared with ours: a Lease has run out when it has not changed for its whole
duration since *we* first saw it as it is, whatever times stand in it. And we lead only until a deadline that
is counted from before our last successful request, and that ends before anybody else may take the Lease. All
times are boot seconds (`Instant.boot`), all durations seconds.
"""

from typing import NamedTuple, Self

from refresher.core.schedule import RETRY_ROOM
from refresher.core.values import distinct

LONGEST = RETRY_ROOM  # seconds; no refresher is configured with more, so a Lease that says more is mistaken
NEVER = float("-inf")
NOBODY = ""
MOST_TRANSITIONS = 2**31 - 1  # the field is an int32


@distinct
class LeaseTiming(NamedTuple):
    """The timing of a Lease in seconds, in the words of client-go.

    `lease_duration`: how long the others wait for a renewal. `renew_deadline`: how long a leader that cannot
    renew still leads. It is shorter by as much as clocks may drift apart. `retry_period`: between two
    requests.
    """

    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 1.0


def timing_of(duration: float) -> LeaseTiming:
    """The timing for a Lease of this `duration`. A third of it is left for clocks that drift apart."""
    return LeaseTiming(duration, renew_deadline=duration * 2 / 3, retry_period=min(1.0, duration / 15))


@distinct
class LeaseRecord(NamedTuple):
    """What a Lease says. `holder` is NOBODY for a released one; `version`: its resourceVersion, "" for one
    that does not exist yet; `transitions`: how often it went from one holder to another."""

    holder: str
    duration: float
    transitions: int
    version: str

    @property
    def believed(self) -> float:
        """For how long an unchanged Lease counts as held: its `duration`, but at most `LONGEST`."""
        return min(self.duration, LONGEST)


@distinct
class ReadLease(NamedTuple):
    """Read the Lease."""


@distinct
class WriteLease(NamedTuple):
    """Write this into the Lease, if it is still of the version that was seen."""

    record: LeaseRecord


@distinct
class Pause(NamedTuple):
    """Nothing to do before `until`."""

    until: float


@distinct
class Election(NamedTuple):
    """What one candidate knows.

    `seen`: the Lease as last seen, None until it was looked at or when that has become doubtful. `seen_at`:
    since when it has been as it is, as far as we know. `asked_at`: when the last request began. `rest_until`:
    the last one came to nothing, and what is free is not asked for before then.
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
        """What is to be done at `now`."""
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
        runs_out = self.seen_at + self.seen.believed
        return ReadLease() if now >= min(again, runs_out) else Pause(min(again, runs_out))

    def observed(self, found: LeaseRecord | None, began: float, now: float) -> Self:
        """The Lease was read: it says `found`; None when there is none.

        Where somebody has deleted it, its holder leads on until its own deadline: that is waited for.
        """
        record = found or LeaseRecord(NOBODY, 0.0, -1, "")
        if found is None and self.seen is not None and self.seen.holder not in (NOBODY, self.identity):
            record = self.seen._replace(version="")
        unchanged = self.seen is not None and self.seen.version == record.version
        return self._replace(seen=record, seen_at=self.seen_at if unchanged else now, asked_at=began)

    def acquired(self, written: LeaseRecord, began: float, now: float) -> Self:
        """The Lease is ours as `written`, by a request that began at `began`."""
        return self._replace(
            seen=written, seen_at=now, asked_at=began, leading_until=began + self.timing.renew_deadline
        )

    def conflicted(self, began: float) -> Self:
        """The Lease was written since we saw it: look again, at once, but try again no sooner than usual.
        Perhaps by ourselves, in a request whose answer was lost; as long as that is not known, we do not
        lead."""
        return self._replace(
            seen=None, asked_at=NEVER, leading_until=NEVER, rest_until=began + self.timing.retry_period
        )

    def failed(self, began: float) -> Self:
        """A request came to nothing. What we hold we hold until its deadline."""
        return self._replace(asked_at=began, rest_until=began + self.timing.retry_period)

    def release(self) -> LeaseRecord | None:
        """What to write in order to let go; None when we hold nothing. Then others need not wait."""
        if self.seen is None or self.seen.holder != self.identity:
            return None
        return LeaseRecord(NOBODY, 1.0, self.seen.transitions, self.seen.version)

    def patience(self, now: float) -> float:
        """How long a request that begins now may take: a leader is not to hang past its own deadline."""
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
