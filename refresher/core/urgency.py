"""Which token goes first where several wait for the same lane."""

from typing import NamedTuple

from refresher.core.consumers import left_to_consumers
from refresher.core.effects import OUTPUT, DryRun, Effect, Write
from refresher.core.instant import Instant
from refresher.core.state import State, TokenPolicy
from refresher.core.values import distinct


@distinct
class Urgency(NamedTuple):
    """`has_failed`: the last attempt failed. `rank`: the lowest goes first. `valid_until`: the boot second at
    which the first consumer loses its valid token; the present one if a consumer has none."""

    has_failed: bool
    rank: int
    valid_until: float


def urgency_of(step: Effect, state: State, policy: TokenPolicy, now: Instant) -> Urgency:
    """The urgency of an effect that begins next."""
    if step.slot.kind == OUTPUT:
        has_failed = state.output(step.slot.target).problem is not None
    else:
        has_failed = state.newest is not None and state.newest.retry.failures > 0
    return Urgency(has_failed, _rank(step), now.boot + left_to_consumers(state, policy, now))


def _rank(step: Effect) -> int:
    """Finish what has begun: write a token before checking where the next one can be written, and check
    before inspecting further outputs. So ten thousand inspections do not come before the first write."""
    if isinstance(step, Write):
        return 0
    return 1 if isinstance(step, DryRun) else 2
