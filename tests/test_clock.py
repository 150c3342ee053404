"""The machine's clocks."""

import time

import pytest

from refresher.clock import SystemClock


def test_the_wall_reading_is_seconds_since_the_epoch():
    before, now, after = time.time(), SystemClock().now(), time.time()
    assert before <= now.wall <= after


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="needs CLOCK_BOOTTIME, which is Linux's")
def test_the_boot_reading_is_of_the_clock_that_runs_on_while_the_machine_sleeps():
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    now = SystemClock().now()
    assert before <= now.boot <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_the_boot_reading_is_never_set_back():
    clock = SystemClock()
    readings = [clock.now().boot for _ in range(1000)]
    assert readings == sorted(readings)
    assert readings[-1] > readings[0]
