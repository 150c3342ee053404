"""Virtual time: an agenda of what is going to happen, and strands of work that wait in it.

A strand is a greenlet: the program runs in it as it is, blocking calls and all, and where it would wait
another strand's turn comes. Nothing runs at the same time, so the same seed always tells the same story.
"""

import heapq
import itertools
import random
from collections.abc import Callable

from greenlet import getcurrent, greenlet

Happening = Callable[[], None]


class KilledError(BaseException):
    """kill -9: not an Exception, so that nothing of the program can catch it."""


class Entry:
    """One line of the agenda."""

    __slots__ = ("at", "happening")

    def __init__(self, at: float, happening: Happening | None) -> None:
        self.at, self.happening = at, happening

    def cancel(self) -> None:
        self.happening = None


class Strand(greenlet):
    """A line of execution. `alarm`: when it goes on; `doomed`: it ends with `KilledError` instead; `hung`:
    seconds that it spent in calls that should have returned at once."""

    doomed = False
    hung = 0.0
    alarm: Entry | None = None


class World:
    """True time (`now`, in seconds), the dice, and the agenda."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = 1000.0
        self.disturbed_at = self.now  # since when nothing was done to the world from outside
        self._agenda: list[tuple[float, int, Entry]] = []  # the order breaks ties
        self._planned: list[float] = []
        self._order = itertools.count()
        self._hub = getcurrent()
        self._strands: dict[Strand, None] = {}

    def run(self, until: float) -> None:
        """Let time pass. What a strand or a happening raises, this raises."""
        while self._agenda and self._agenda[0][0] <= until:
            at, _, entry = heapq.heappop(self._agenda)
            if entry.happening is not None:
                self.now = at
                entry.happening()
        self.now = max(self.now, until)

    def run_until_ended(self, strand: Strand) -> None:
        """Let time pass until the strand has ended."""
        while not strand.dead:
            next_at, _, _ = self._agenda[0]
            assert next_at < float("inf"), "the strand waits for ever"
            self.run(next_at)

    def at(self, when: float, happening: Happening) -> Entry:
        entry = Entry(max(when, self.now), happening)
        heapq.heappush(self._agenda, (entry.at, next(self._order), entry))
        return entry

    def after(self, seconds: float, happening: Happening) -> Entry:
        return self.at(self.now + seconds, happening)

    def plan(self, when: float, happening: Happening) -> None:
        """As `at`, for what is done to the world from outside: no lull goes on beyond it."""
        when = max(when, self.now)
        heapq.heappush(self._planned, when)

        def planned() -> None:
            heapq.heappop(self._planned)  # this one: they come in order
            happening()

        self.at(when, planned)

    @property
    def next_planned(self) -> float:
        return self._planned[0] if self._planned else self.now

    def disturb(self) -> None:
        self.disturbed_at = self.now

    # --- Strands.

    def spawn(self, work: Happening) -> Strand:
        """Have `work` done by a strand of its own, from now on."""

        def whole_life() -> None:
            try:
                if not strand.doomed:
                    work()
            except KilledError:
                pass
            finally:
                self._strands.pop(strand, None)

        strand = Strand(whole_life, self._hub)
        self._strands[strand] = None
        strand.alarm = self.at(self.now, strand.switch)
        return strand

    @property
    def strand(self) -> Strand | None:
        """The one that runs; None while something of the agenda happens."""
        running = getcurrent()
        return running if isinstance(running, Strand) else None

    def sleep(self, seconds: float) -> None:
        """Let the strand that runs wait; `wake` ends that early. Raises KilledError when it is doomed."""
        strand = self.strand
        assert strand is not None, "only strands wait"
        strand.alarm = self.after(seconds, strand.switch)
        self._hub.switch()
        if strand.doomed:
            raise KilledError

    def hang(self, until: float) -> None:
        """Let the strand that runs wait in a call that should return at once."""
        strand = self.strand
        assert strand is not None, "only strands wait"
        began = self.now
        self.sleep(max(0.0, until - began))
        strand.hung += self.now - began

    def wake(self, strand: Strand) -> None:
        """It is the strand's turn as soon as whoever runs now waits."""
        self._set_alarm(strand, self.now)

    def postpone(self, strand: Strand, seconds: float) -> None:
        """The strand sleeps that much longer."""
        if strand.alarm is not None:
            self._set_alarm(strand, strand.alarm.at + seconds)

    def _set_alarm(self, strand: Strand, when: float) -> None:
        if strand.alarm is not None and strand is not self.strand and not strand.dead:
            strand.alarm.cancel()
            strand.alarm = self.at(when, strand.switch)

    def doom(self, strand: Strand) -> None:
        strand.doomed = True
        self.wake(strand)

    def close(self) -> None:
        """End every strand."""
        for strand in tuple(self._strands):
            self.doom(strand)
        while self._strands:
            self.run(self.now + 1.0)
