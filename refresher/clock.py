"""The one place that reads the machine's clocks."""

import time

from refresher.core.instant import Instant


class SystemClock:
    """Both clocks of this machine: `ports.Clock`."""

    def now(self) -> Instant:
        return Instant(time.time(), time.clock_gettime(_BOOT_CLOCK))


# Linux has a clock that runs on while the machine sleeps; elsewhere (developers' Macs) monotonic must do.
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
