"""A moment as two clock readings, because either clock alone can be wrong."""

from typing import NamedTuple

from refresher.core.values import distinct


@distinct
class Instant(NamedTuple):
    """One moment, read from both clocks.

    ``wall``: seconds since the Unix epoch. Outputs and people see this reading, and it survives a reboot.
    ``boot``: seconds of ``CLOCK_BOOTTIME``. It is never set back, and runs on while the machine sleeps
    (clock_gettime(2)).
    """

    wall: float
    boot: float

    def __add__(self, seconds: float) -> "Instant":  # type: ignore[override]  # not a tuple's
        return Instant(self.wall + seconds, self.boot + seconds)

    def age(self, now: "Instant") -> float:
        """Seconds from this moment to `now`, by the clock that has seen more time pass.

        So a token does not seem young after the wall clock was set back, or after the boot clock was reset
        (another machine, a moved container).
        """
        by_wall, by_boot = now.wall - self.wall, now.boot - self.boot
        return by_wall if by_wall > by_boot else by_boot  # noqa: FURB136 -- max() takes twice as long; scrapes ask often


def from_wall(wall: float, now: Instant) -> Instant:
    """The moment when the wall clock read `wall`. Its boot reading is derived from `now`.

    For times that an earlier process recorded: its boot readings mean nothing in this process.
    """
    return Instant(wall, now.boot - (now.wall - wall))
