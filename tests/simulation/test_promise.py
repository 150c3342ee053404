"""The promise, on random days: no consumer is ever without a valid token while no trouble lasts longer than
the headroom, no key is lost, and the issuer is not stormed. A failure prints its seed and its story."""

import pytest

from tests.simulation.scenario import Scenario

DAYS = 4.0


@pytest.mark.parametrize("seed", range(75))
def test_no_consumer_is_ever_without_a_valid_token(seed: int) -> None:
    scenario = Scenario(seed, DAYS).run()
    assert len(scenario.issuer.minted) >= DAYS * 86400 / scenario.policy.lifetime
    assert not scenario.broken, "\n".join(scenario.broken[:5] + scenario.story[-40:])


def test_a_seed_tells_the_same_story_again() -> None:
    once, again = Scenario(7, 1.0).run(), Scenario(7, 1.0).run()
    assert once.story == again.story
    assert once.issuer.minted == again.issuer.minted
    assert once.story
