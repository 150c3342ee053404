"""Whether to believe the content of an output, and which token to adopt instead of minting."""

from collections.abc import Iterable
from typing import TypeGuard

from refresher.core.instant import Instant
from refresher.core.model import Holding, TokenFacts
from refresher.core.state import OutputState


def believed(found: Holding, now: Instant) -> Holding:
    """`found`, or an empty holding if its token was issued in the future.

    Then the clock was set back since, or another machine's clock was ahead.
    """
    return found if found.facts is None or found.facts.issued.wall <= now.wall else Holding()


def choose(  # noqa: PLR0913 -- what identifies a token, and two more
    outputs: Iterable[OutputState],
    key_fingerprint: str,
    issuer: str,
    lifetime: float,
    now: Instant,
    *,
    newest: bool = False,
) -> OutputState | None:
    """The output whose token to adopt. It must be valid, of this key and issuer, and requested with this
    `lifetime`.

    The key alone does not identify the issuer: a key may be valid in production and in a test system.

    Choose the token that lives longest; with `newest`, the one issued last. If several outputs hold it,
    choose the most complete copy, so that the others can be written from it. Compare tokens by fingerprint,
    not by expiry: the outputs were inspected at different moments, and clocks drift.
    """

    def is_adoptable(facts: TokenFacts | None) -> TypeGuard[TokenFacts]:
        return (
            facts is not None
            and facts.key_fingerprint == key_fingerprint
            and facts.issuer == issuer
            and facts.requested == lifetime
            and facts.remaining(now) > 0
        )

    def completeness(output: OutputState) -> tuple[bool, bool]:
        token = output.holding.token if output.holding else None
        return token is not None and token.is_complete, token is not None

    held = [(facts, output) for output in outputs if is_adoptable(facts := output.facts)]
    if not held:
        return None
    best, _ = max(held, key=lambda pair: pair[0].issued.wall if newest else pair[0].remaining(now))
    return max((output for facts, output in held if facts.fingerprint == best.fingerprint), key=completeness)
