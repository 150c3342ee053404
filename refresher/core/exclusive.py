"""Issuers at which a new token ends the old one the moment it exists (``exclusive: true``).

Then a mint harms each consumer whose output cannot be written. So every output that holds a valid token is
rehearsed right before a mint: a dry run proves that it can be written. While one fails, nothing is minted,
and consumers keep the old token. An output without a valid token has nothing to lose, so it never prevents a
mint.
"""

from collections.abc import Iterator

from refresher.core.effects import DryRun, Wait
from refresher.core.instant import Instant
from refresher.core.model import Holding, TokenFacts
from refresher.core.state import OutputState, State, TokenPolicy

REHEARSAL_LASTS = 10.0  # seconds for which a dry run proves that an output can be written


def is_shared(state: State) -> bool:
    """Whether another process owns an output. That process mints; two would end each other's tokens."""
    return any(output.held for output in state.outputs)


def rehearsals(state: State, now: Instant) -> Iterator[DryRun | Wait]:
    """What must come before a mint: a dry run of each output that would lose a valid token. None is left once
    all of them have passed within `REHEARSAL_LASTS` seconds."""
    for output in _at_stake(state, now):
        if output.writable and now.boot - output.rehearsed_at <= REHEARSAL_LASTS:
            continue
        if state.flight(output.slot) is None and now.boot >= output.writes.next_try:
            yield DryRun(output.name)
        else:
            # Once its token has expired, the output no longer prevents the mint.
            remaining = output.holding.remaining(now) if output.holding else 0.0
            again = max(output.writes.next_try, now.boot + REHEARSAL_LASTS)
            yield Wait(min(again, now.boot + remaining) if remaining else again, f"rehearsing {output.name}")


def failed_rehearsals(state: State, policy: TokenPolicy) -> tuple[OutputState, ...]:
    """The outputs that hold the token in hand and failed a dry run. It is repeated until it passes, also if
    no mint is due any more: else the failure would stay."""
    if not policy.exclusive:
        return ()
    return tuple(
        output
        for output in state.outputs
        if output.writes.failures
        and state.facts
        and output.facts
        and output.facts.fingerprint == state.facts.fingerprint
    )


def _at_stake(state: State, now: Instant) -> list[OutputState]:
    """The outputs whose consumers a mint may harm. An unknown output counts too while another output holds a
    valid token, which it may share. Otherwise a hanging output would prevent the first mint for ever."""
    if all(output.holding is None or output.is_without(now) for output in state.outputs):
        return []
    return [output for output in state.outputs if not output.is_without(now)]


def without_ended(state: State) -> State:
    """The state after a token came into hand: older tokens have ended, whatever their expiry is."""
    for output in state.outputs:
        if output.holding is not None:
            state = state.with_output(output._replace(holding=living(output.holding, state.facts)))
    return state


def living(holding: Holding, current: TokenFacts | None) -> Holding:
    """`holding`, but empty if its token was issued before the `current` one."""
    facts = holding.facts
    if facts is None or current is None or facts.fingerprint == current.fingerprint:
        return holding
    return Holding(owner=holding.owner) if facts.issued.wall < current.issued.wall else holding
