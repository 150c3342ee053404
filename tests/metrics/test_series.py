"""The lines of the metrics that each token has."""

from refresher.core.state import State, TokenPolicy
from refresher.metrics.counters import Counters
from refresher.metrics.series import EXPIRY, OUTPUT_EXPIRY, PART, WRITES, Description, Scrape, families
from tests.core.builders import NOW, at_work, token


def lines_of(*view: tuple[TokenPolicy, State]) -> dict[Description, list[str]]:
    taken = Scrape(view, Counters(), NOW)
    return {metric: "".join(lines).splitlines() for metric, lines in families(taken)}


def test_each_of_many_tokens_has_each_series_once_and_in_order() -> None:
    driver = at_work()
    names = [f"token-{number}" for number in range(2 * PART + 1)]
    lines = lines_of(*((driver.policy._replace(name=name), driver.state) for name in names))
    for metric in (EXPIRY, OUTPUT_EXPIRY, WRITES):
        found = [line.rpartition('token="')[2].partition('"')[0] for line in lines[metric]]
        assert list(dict.fromkeys(found)) == names
        assert len(found) == len(names) * (1 if metric is EXPIRY else len(driver.state.outputs))
        assert len(found) == len(set(lines[metric]))


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
