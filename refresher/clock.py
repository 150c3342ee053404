"""The only module that reads the machine's clocks."""

import time

from refresher.core.instant import Instant


class SystemClock:
    """`ports.Clock` for the clocks of this machine."""

    def now(self) -> Instant:
        return Instant(time.time(), time.clock_gettime(_BOOT_CLOCK))


# Linux has a clock that runs on while the machine sleeps. Developers' Macs use the monotonic clock.
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
