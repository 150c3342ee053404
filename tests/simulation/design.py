"""What the design promises in numbers, said a second time: the program's own arithmetic is what is on trial.

All seconds.
"""

from typing import Protocol


class Timing(Protocol):
    """What the numbers depend on: of a token, or of the only token of a scenario."""

    @property
    def lifetime(self) -> float: ...
    @property
    def refresh_at(self) -> float: ...
    @property
    def lives(self) -> float: ...
    @property
    def propagation_delay(self) -> float: ...


TIMEOUT = 10.0  # issuer.timeout


def attempt(lifetime: float) -> float:
    return max(1.0, min(TIMEOUT, lifetime / 10))


def latest(wants: Timing) -> float:
    """The age at which a token is replaced at the latest."""
    margin = min(wants.propagation_delay + 60.0, wants.lives / 2)
    return min(wants.refresh_at * wants.lives, wants.lives - margin)


def earliest(wants: Timing) -> float:
    """The age before which a token is not replaced without a reason of its own."""
    return max(soonest(wants), latest(wants) - 0.1 * wants.lives)


def earliest_exclusive(wants: Timing) -> float:
    """As `earliest`, at an issuer whose new token ends the old one: there is no jitter."""
    return max(soonest(wants), latest(wants))


def soonest(wants: Timing) -> float:
    """The age before which a reported end leads to no new token."""
    return max(1.0, 0.1 * wants.lives)


def request_pause(wants: Timing) -> float:
    """The age before which a request at an output leads to no new token."""
    return min(60.0, soonest(wants))


def headroom(wants: Timing) -> float:
    """The longest outage that no consumer feels."""
    left = wants.lives - latest(wants) - wants.propagation_delay
    return max(0.0, left - max(1.0, min(60.0, left / 10)) - attempt(wants.lifetime))
