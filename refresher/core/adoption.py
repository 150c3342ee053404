"""Whether what an output was found to hold is believed, and can be taken over instead of minting anew."""

from collections.abc import Iterable
from typing import TypeGuard

from refresher.core.instant import Instant
from refresher.core.model import Holding, TokenFacts
from refresher.core.state import OutputState


def believed(found: Holding, now: Instant) -> Holding:
    """What may be relied on of what an output says of itself: an issue in the future is not believed.

    The clock was set back since, or another machine's was ahead.
    """
    return found if found.facts is None or found.facts.issued.wall <= now.wall else Holding()


def choose(
    outputs: Iterable[OutputState], key_fingerprint: str, issuer: str, lifetime: float, now: Instant
) -> OutputState | None:
    """The output whose token is to be adopted: valid, of this key and issuer, asked for with this lifetime.

    The key alone does not identify the issuer: a key may be valid in production and in a test system.

    Of several tokens the one that lasts longest; of several outputs that hold it the one of which most is
    known, so that the others can be written from it. They were looked at at different moments, and clocks
    drift: that they hold the same token is known by its fingerprint, not by when it ends.
    """

    def is_adoptable(facts: TokenFacts | None) -> TypeGuard[TokenFacts]:
        return (
            facts is not None
            and facts.key_fingerprint == key_fingerprint
            and facts.issuer == issuer
            and facts.requested == lifetime
            and facts.remaining(now) > 0
        )

    def knowledge(output: OutputState) -> tuple[bool, bool]:
        token = output.holding.token if output.holding else None
        return token is not None and token.is_complete, token is not None

    held = [(facts, output) for output in outputs if is_adoptable(facts := output.facts)]
    if not held:
        return None
    best, _ = max(held, key=lambda each: each[0].remaining(now))
    return max((output for facts, output in held if facts.fingerprint == best.fingerprint), key=knowledge)
