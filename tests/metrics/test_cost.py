"""How many series a token costs Prometheus."""

import pytest

from refresher.core.state import OutputPolicy, TokenPolicy
from refresher.metrics.series import Scrape, families
from tests.core.builders import ISSUER_URL, UNREACHABLE, Driver
from tests.deploy.samples import Course, Refresher
from tests.observed import Daemon

HOUR = 3600


def series(daemon: Daemon) -> list[str]:
    taken = Scrape(daemon.view(), daemon.counters, daemon.clock.now())
    return [line.partition(" ")[0] for _, lines in families(taken) for line in "".join(lines).splitlines()]


@pytest.mark.parametrize(("outputs", "well", "most"), [(1, 9, 12), (2, 11, 15)])
def test_the_series_of_a_token_after_a_good_day_and_the_most_after_a_bad_one(
    outputs: int, well: int, most: int
) -> None:
    """docs/reliability.md has these figures."""
    policies = tuple(OutputPolicy(f"file:/{number}", 0.0, False) for number in range(outputs))
    daemon = Daemon()
    daemon.tokens["studio"] = Driver(TokenPolicy("studio", HOUR, 0.7, 10.0, ISSUER_URL, policies))
    one = Refresher("one", daemon)
    course = Course(one, interval=HOUR)
    course.goes_on(24 * HOUR)
    assert len(series(daemon)) == well
    counts = []
    for one.issuer, one.disk in ((None, "full"), (None, None), (UNREACHABLE, None)):
        course.goes_on(2 * HOUR)
        counts.append(len(series(daemon)))
    assert max(counts) == most, "\n".join([str(counts), *series(daemon)])
