"""Whether the engine makes progress."""

import pytest

from refresher.core.instant import Instant
from refresher.status.liveness import HANGS_AFTER, is_alive, silence
from tests.core.builders import NOW


@pytest.mark.parametrize(
    ("seconds", "alive"), [(0.0, True), (HANGS_AFTER - 1.0, True), (HANGS_AFTER, False), (1e6, False)]
)
def test_an_engine_that_makes_no_turn_hangs_after_a_while(seconds: float, alive: bool) -> None:
    now = NOW + seconds
    assert silence(NOW, now) == seconds
    assert is_alive(NOW, now) is alive


def test_a_wall_clock_that_jumps_does_not_matter() -> None:
    assert is_alive(NOW, Instant(NOW.wall + 1e6, NOW.boot + 1.0))
    assert not is_alive(NOW, Instant(NOW.wall - 1e6, NOW.boot + HANGS_AFTER))
