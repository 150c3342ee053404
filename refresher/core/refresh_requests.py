"""Requests at outputs: who may write where the token is published may have it replaced (ADR 7)."""

import math

from refresher.core import schedule
from refresher.core.instant import Instant
from refresher.core.model import TokenFacts
from refresher.core.state import State


def replaces_at(state: State, facts: TokenFacts, now: Instant) -> float:
    """When (boot seconds) requests at outputs replace this token; infinity without a request.

    A request names the wall time since which tokens are new enough. So a later token fulfils it, and one for
    the future waits for its time: neither needs to be remembered or removed. A request at an output that
    another process owns is for that process.
    """
    pending = math.inf  # wall time
    for output in state.outputs:
        requested = output.refresh_requested
        if requested is None or output.held or requested == output.refresh_fulfilled:
            continue
        if requested > facts.issued.wall:
            pending = min(pending, requested)
    if pending == math.inf:
        return math.inf
    pause = now.boot + schedule.soonest_requested(facts.lifetime) - facts.issued.age(now)
    return max(pause, now.boot + pending - now.wall)


def fulfilled(state: State) -> State:
    """The state in which the token in hand has fulfilled the requests of earlier times, for good."""
    if state.facts is None or all(output.refresh_requested is None for output in state.outputs):
        return state
    issued = state.facts.issued.wall
    return state._replace(
        outputs=tuple(
            output._replace(refresh_fulfilled=output.refresh_requested)
            if output.refresh_requested is not None and output.refresh_requested <= issued
            else output
            for output in state.outputs
        )
    )
