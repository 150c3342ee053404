"""The promise, on random days: no consumer is ever without a valid token while no trouble lasts longer than
can be borne, no key is lost, nobody mints more than is needed, and no secret is told. ``make simulate`` plays
more of them.
"""

import pytest

from refresher.core.effects import Write
from tests.simulation.campaign import campaign, explained
from tests.simulation.scenario import Scenario
from tests.simulation.shrinking import shrunk
from tests.simulation.troubles import Plan, Trouble, drawn
from tests.simulation.wants import Place, Wants

ALONE = Wants(3600.0, 0.7, (Place("file", "json", 0.0, 0),), 1, 0.1, None, 0.0, dense=False)


@pytest.mark.timeout(900)  # it takes about 100 s of CPU time, and a busy machine takes long for that
def test_no_consumer_is_ever_without_a_valid_token() -> None:
    outcomes = campaign(range(10_000, 20_000), days=200.0, workers=2)
    failed = [outcome for outcome in outcomes if outcome.broken]
    assert not failed, explained(failed[0])
    assert sum(outcome.mints for outcome in outcomes) > 800
    assert sum(outcome.kills.total() for outcome in outcomes) > 40


@pytest.mark.parametrize("seed", [0, 3, 7])
def test_a_seed_tells_the_same_story_again(seed: int) -> None:
    plan = drawn(seed, days=0.5)
    once, again = Scenario(plan).run(), Scenario(plan).run()
    assert _told(once.story) == _told(again.story)
    assert len(once.story) > 3


def _told(story: tuple[str, ...]) -> list[str]:
    """Without the name of the temporary directory."""
    return [" ".join(word for word in line.split() if "simulation-" not in word) for line in story]


@pytest.mark.parametrize("form", ["token", "json", "template"])
@pytest.mark.parametrize("kind", ["file", "secret"])
def test_whatever_a_write_is_killed_before_its_successor_needs_one_mint_at_most(kind: str, form: str) -> None:
    wants = ALONE._replace(places=(Place(kind, form, 0.0, 0),))
    seen = set()
    for effect in range(11):
        kill = Trouble("kill_in_a_write", gap=0.1, lasts=1.0, pick=(effect + 0.5) / 11)
        outcome = Scenario(Plan(1, wants, 0.2, (kill,))).run()
        assert not outcome.broken, "\n".join(outcome.story)
        seen |= set(outcome.kills)
    expected = {"rename of the record (temporary)", "rename of the value (temporary)", "a write is told"}
    if kind == "secret":
        expected = {"a write is sent to a Secret", "a write to a Secret is answered", "a write is told"}
    assert seen >= expected, f"{Write.__name__}: killed before {seen}"


def test_an_outage_longer_than_the_headroom_is_felt_and_made_a_short_story() -> None:
    """Else nobody would know that the simulator can see anything."""
    too_long = Trouble("outage", gap=0.5, lasts=4.0, pick=0.0)
    harmless = tuple(Trouble("operator_asks", 1.0, 1.0, 0.5) for _ in range(5))
    plan = Plan(3, ALONE, 3.0, (*harmless, too_long, *harmless))

    def fails(tried: Plan) -> bool:
        return bool(Scenario(tried).run().broken)

    assert fails(plan)
    short = shrunk(plan, fails)
    assert [trouble.kind for trouble in short.troubles] == ["outage"]
