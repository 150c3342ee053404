"""Which token consumers have, and for how long."""

from collections.abc import Sequence

from refresher.core import schedule
from refresher.core.instant import Instant
from refresher.core.state import OutputPolicy, OutputState, State, TokenPolicy


def left_to_consumers(state: State, policy: TokenPolicy, now: Instant) -> float:
    """Seconds until the first consumer has no valid token, if no new one is minted.

    Assume the token in hand reaches every output, even one whose writes are failing now. An output it can
    never be written to counts with what it holds.
    """

    def left(output: OutputState, output_policy: OutputPolicy) -> float:
        keeps = state.facts is None or is_beyond_reach(state, output, output_policy)
        facts = output.facts if keeps else state.facts
        remaining = facts.remaining(now) if facts else 0.0
        return schedule.left_to_consumers(remaining, output_policy.propagation_delay)

    return min(left(*pair) for pair in zip(state.outputs, policy.outputs, strict=True))


def beyond_reach(state: State, policy: TokenPolicy) -> Sequence[OutputState]:
    """The outputs that do not hold the token in hand and that it can never be written to."""
    if state.token is not None and state.token.is_complete:
        return ()
    pairs = zip(state.outputs, policy.outputs, strict=True)
    return [output for output, output_policy in pairs if is_beyond_reach(state, output, output_policy)]


def is_beyond_reach(state: State, output: OutputState, output_policy: OutputPolicy) -> bool:
    """Whether this output needs a part of the token in hand that is unknown. The value or the refresh token
    is unknown if the token was adopted from an output whose format hides it."""
    if state.facts is None or output.reads.problem is not None:  # an unreadable output may hold the token
        return False
    cannot_write = state.token is None or (
        output_policy.includes_refresh_token and not state.token.is_complete
    )
    held = output.facts
    return cannot_write and (held is None or held.fingerprint != state.facts.fingerprint)


def serves_another_key(state: State, key_fingerprint: str, now: Instant) -> bool:
    """Whether an output holds a valid token of another key."""
    held = [facts for output in state.outputs if (facts := output.facts)]
    return any(facts.key_fingerprint != key_fingerprint and facts.remaining(now) > 0 for facts in held)
