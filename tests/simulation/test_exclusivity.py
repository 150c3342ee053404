"""An issuer whose new token ends the old one: what `exclusivity` promises, in scenarios of each trouble."""

import pytest

from tests.simulation.scenario import Scenario
from tests.simulation.troubles import ONLY_EXCLUSIVE, ONLY_TWO, Plan, Trouble
from tests.simulation.wants import Place, Wants

FILES = tuple(Place("file", form, 0.0, number) for number, form in enumerate(("token", "json", "bearer")))
SECRETS = tuple(Place("secret", "json", 30.0, number) for number in range(2))
ALONE = Wants(3600.0, 0.7, FILES, 1, 0.1, 3600.0, 0.0, dense=False, exclusive=True)
TWO = ALONE._replace(places=SECRETS, processes=2)
VARIANTS = (0.05, 0.3, 0.6, 0.9)
OTHERS = ("kill", "kill_in_a_write", "kill_in_a_mint", "output_cannot_be_written", "output_hangs")


@pytest.mark.parametrize("kind", [*ONLY_EXCLUSIVE, *OTHERS])
def test_no_mint_harms_a_consumer_that_could_have_been_spared(kind: str) -> None:
    wants = TWO if kind in ONLY_TWO else ALONE
    troubles = tuple(Trouble(kind, gap=0.1, lasts=pick, pick=pick) for pick in VARIANTS)
    scenario = Scenario(Plan(1, wants, 0.3, troubles))
    outcome = scenario.run()
    assert not outcome.broken, "\n".join(outcome.story)
    assert outcome.faults[kind] >= 2
    assert scenario.here.exclusivity.seen["outputs at a mint"] >= 2 * len(wants.places)


def test_a_standby_takes_over_and_ends_no_token_before_it_is_due() -> None:
    kills = tuple(Trouble(kind, 0.3, 0.5, 0.5) for kind in ("kill", "leader_cut_off", "lease_is_deleted"))
    outcome = Scenario(Plan(2, TWO, 0.3, kills)).run()
    assert not outcome.broken, "\n".join(outcome.story)
    assert outcome.mints <= 0.3 * 86400 / (0.7 * 3600.0) + 2


@pytest.mark.parametrize("effects", [1, 2])
def test_after_a_kill_between_mint_and_write_the_next_mint_serves_consumers_again(effects: int) -> None:
    """The first unavoidable case: until then they have a token that has ended."""
    kill = Trouble("kill_in_a_mint", gap=0.1, lasts=1.0, pick=(effects + 0.5) / 3)
    scenario = Scenario(Plan(1, ALONE, 0.3, (kill,)))
    outcome = scenario.run()
    assert not outcome.broken, "\n".join(outcome.story)
    lost = [token for token in scenario.issuer.minted if token.number not in scenario.promise.shown]
    assert len(lost) == 1
    newest = scenario.issuer.minted[-1]
    assert {each.shows for each in scenario.promise.displays.values()} == {newest.number}
    assert newest.ends > scenario.world.now
