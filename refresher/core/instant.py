"""Time as one value with two readings, because either clock alone can be wrong."""

from typing import NamedTuple

from refresher.core.values import distinct


@distinct
class Instant(NamedTuple):
    """One moment, read from both clocks.

    ``wall`` is seconds since the Unix epoch: what outputs and humans are told, and what survives a reboot.
    ``boot`` is seconds of ``CLOCK_BOOTTIME``: never set back, and it runs on while the machine sleeps
    (clock_gettime(2)).
    """

    wall: float
    boot: float

    def __add__(self, seconds: float) -> "Instant":  # type: ignore[override]  # not a tuple's
        return Instant(self.wall + seconds, self.boot + seconds)

    def age(self, now: "Instant") -> float:
        """Seconds from this moment to `now`: the larger of what the two clocks say.

        A wall clock set back must not make a token look young, a boot clock that was reset (another
        machine, a container moved) must not either: whichever clock has seen more time pass is believed.
        """
        return max(now.wall - self.wall, now.boot - self.boot)


def from_wall(wall: float, now: Instant) -> Instant:
    """The moment when the wall clock read `wall`, its boot reading derived from `now`.

    For what was recorded by an earlier process, whose boot reading means nothing here.
    """
    return Instant(wall, now.boot - (now.wall - wall))
