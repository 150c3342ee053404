import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.core.instant import Instant, from_wall

THEN = Instant(wall=1_800_000_000.0, boot=5_000.0)

seconds = st.floats(-1e6, 1e6)
moments = st.builds(Instant, st.floats(0, 4e9), st.floats(0, 1e8))


@pytest.mark.parametrize(
    ("wall", "boot", "age", "because"),
    [
        (60.0, 60.0, 60.0, "both clocks agree"),
        (
            3660.0,
            60.0,
            3660.0,
            "the wall clock was set forward, or the machine was replaced by one after a reboot",
        ),
        (-3540.0, 60.0, 60.0, "the wall clock was set back"),
        (60.0, 7260.0, 7260.0, "the machine slept and the wall clock was not set yet"),
        (60.0, -4900.0, 60.0, "the boot clock was reset"),
        (-10.0, -20.0, -10.0, "a future moment has a negative age"),
    ],
)
def test_an_age_is_by_the_clock_that_saw_more_time_pass(wall, boot, age, because):
    assert THEN.age(Instant(THEN.wall + wall, THEN.boot + boot)) == age, because


@given(moments, moments)
def test_neither_clock_makes_a_moment_look_younger(then, now):
    assert then.age(now) >= now.wall - then.wall
    assert then.age(now) >= now.boot - then.boot


@given(moments, seconds)
def test_a_moment_plus_seconds_has_that_age_then(then, ahead):
    assert then.age(then + ahead) == pytest.approx(ahead, abs=1e-6)


def test_the_boot_reading_of_a_recorded_moment_is_derived():
    now = THEN + 100.0
    assert from_wall(THEN.wall + 40.0, now) == Instant(THEN.wall + 40.0, 5_040.0)


@given(st.floats(1e9, 4e9), st.floats(0, 1e7), moments)
def test_a_recorded_moment_has_the_same_age_by_both_clocks(wall, since, now):
    recorded = from_wall(now.wall - since, now)
    assert now.boot - recorded.boot == pytest.approx(since, abs=1e-5)
    assert recorded.age(now) == pytest.approx(since, abs=1e-5)


def test_a_recorded_moment_keeps_ageing_when_the_wall_clock_is_set_back():
    recorded = from_wall(THEN.wall, THEN)
    assert recorded.age(Instant(THEN.wall - 7200.0, THEN.boot + 30.0)) == 30.0
