"""How consumers stand: what they are served with, and for how long."""

from collections.abc import Iterator

from refresher.core import schedule
from refresher.core.instant import Instant
from refresher.core.state import OutputPolicy, OutputState, State, TokenPolicy


def left_to_consumers(state: State, policy: TokenPolicy, now: Instant) -> float:
    """Seconds until the first consumer is without a valid token if nothing new is minted.

    An output is served with the token in hand, also while it cannot be written for the moment; where that one
    can never be written, with what it holds.
    """

    def left(output: OutputState, wants: OutputPolicy) -> float:
        keeps = state.facts is None or is_beyond_reach(state, output, wants)
        facts = output.facts if keeps else state.facts
        return schedule.left_to_consumers(facts.remaining(now) if facts else 0.0, wants.propagation_delay)

    return min(left(output, wants) for output, wants in zip(state.outputs, policy.outputs, strict=True))


def beyond_reach(state: State, policy: TokenPolicy) -> Iterator[OutputState]:
    """The outputs that the token in hand cannot be written to, though they do not hold it."""
    for output, wants in zip(state.outputs, policy.outputs, strict=True):
        if is_beyond_reach(state, output, wants):
            yield output


def is_beyond_reach(state: State, output: OutputState, wants: OutputPolicy) -> bool:
    """Whether the token in hand was adopted from where its value, or its refresh token, cannot be read back,
    and this output needs it."""
    if (
        state.facts is None or output.reads.problem is not None
    ):  # what merely cannot be read may well be there
        return False
    cannot_write = state.token is None or (wants.includes_refresh_token and not state.token.is_complete)
    held = output.facts
    return cannot_write and (held is None or held.fingerprint != state.facts.fingerprint)


def serves_another_key(state: State, key_fingerprint: str, now: Instant) -> bool:
    """Whether an output serves consumers with a valid token of another key than this one."""
    held = [facts for output in state.outputs if (facts := output.facts)]
    return any(facts.key_fingerprint != key_fingerprint and facts.remaining(now) > 0 for facts in held)
