"""The lines of the metrics that each token has."""

from refresher.core.state import State, TokenPolicy
from refresher.metrics.counters import Counters
from refresher.metrics.series import (
    EXPIRY,
    JOINED,
    OUTPUT_EXPIRY,
    PART,
    WRITES,
    Description,
    Scrape,
    families,
)
from tests.core.builders import NOW, at_work, output, policy, token


def lines_of(*view: tuple[TokenPolicy, State]) -> dict[Description, list[str]]:
    taken = Scrape(view, Counters(), NOW)
    return {metric: "".join(lines).splitlines() for metric, lines in families(taken)}


def test_each_of_many_tokens_has_each_series_once_and_in_order() -> None:
    driver = at_work(policy(output("file:/a"), output("file:/b")))
    names = [f"token-{number}" for number in range(JOINED * PART + 1)]
    lines = lines_of(*((driver.policy._replace(name=name), driver.state) for name in names))
    for metric, outputs in (EXPIRY, 1), (OUTPUT_EXPIRY, 2), (WRITES, 2):
        found = [line.rpartition('token="')[2].partition('"')[0] for line in lines[metric]]
        assert found == [name for name in names for _ in range(outputs)]
        assert len(found) == len(set(lines[metric]))


def test_the_lines_of_every_metric_come_in_pieces_of_several_parts_at_most() -> None:
    """The server answers probes between two pieces."""
    driver = at_work()
    taken = Scrape([(driver.policy, driver.state)] * (2 * JOINED * PART), Counters(), NOW)
    sizes = {metric: [piece.count("\n") for piece in pieces] for metric, pieces in families(taken)}
    assert sizes[EXPIRY] == [PART] * (2 * JOINED)  # computes the lines of all metrics
    assert sizes[WRITES] == [JOINED * PART] * 2


def test_an_output_with_another_token_has_the_expiry_of_its_own() -> None:
    driver = at_work()
    (first, *others), older = driver.state.outputs, token(2, age=600.0).facts
    assert first.holding is not None
    behind = first._replace(holding=first.holding._replace(facts=older))
    lines = lines_of((driver.policy, driver.state._replace(outputs=(behind, *others))))
    assert driver.state.facts is not None
    expiry = NOW.wall + driver.state.facts.remaining(NOW)
    assert [line.rpartition(" ")[2] for line in lines[EXPIRY]] == [f"{expiry:.3f}"]
    assert lines[OUTPUT_EXPIRY][0].endswith(f" {NOW.wall + older.remaining(NOW):.3f}")
