"""Whether what an output was found to hold is believed, and can be taken over instead of minting anew."""

from collections.abc import Iterable

from refresher.core.instant import Instant
from refresher.core.model import Holding
from refresher.core.state import OutputState


def believed(found: Holding, now: Instant) -> Holding:
    """What may be relied on of what an output says of itself: an issue in the future is not believed.

    The clock was set back since, or another machine's was ahead.
    """
    return found if found.facts is None or found.facts.issued.wall <= now.wall else Holding()


def choose(
    outputs: Iterable[OutputState], key_fingerprint: str, lifetime: float, now: Instant
) -> OutputState | None:
    """The output whose token is to be adopted: valid, of this key, asked for with this lifetime.

    Of several the one that lasts longest; of equals the one of which most is known, so that the other outputs
    can be written from it.
    """

    def is_adoptable(output: OutputState) -> bool:
        facts = output.holding.facts if output.holding else None
        return (
            facts is not None
            and facts.key_fingerprint == key_fingerprint
            and facts.requested == lifetime
            and facts.remaining(now) > 0
        )

    def merit(output: OutputState) -> tuple[float, bool, bool]:
        holding = output.holding or Holding()
        token = holding.token
        return holding.remaining(now), token is not None and token.is_whole, token is not None

    return max(filter(is_adoptable, outputs), key=merit, default=None)
