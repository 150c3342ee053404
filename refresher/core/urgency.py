"""Which token goes first where several wait for the same lane."""

from typing import NamedTuple

from refresher.core.consumers import left_to_consumers
from refresher.core.effects import OUTPUT, Slot
from refresher.core.instant import Instant
from refresher.core.state import State, TokenPolicy
from refresher.core.values import distinct


@distinct
class Urgency(NamedTuple):
    """`has_failed`: the last attempt failed. `valid_until`: the boot second at which the first consumer loses
    its valid token; the present one if a consumer has none."""

    has_failed: bool
    valid_until: float


def urgency_of(state: State, policy: TokenPolicy, slot: Slot, now: Instant) -> Urgency:
    """The urgency of the next effect in this slot."""
    if slot.kind == OUTPUT:
        has_failed = state.output(slot.target).problem is not None
    else:
        has_failed = state.newest is not None and state.newest.retry.failures > 0
    return Urgency(has_failed, now.boot + max(0.0, left_to_consumers(state, policy, now)))
