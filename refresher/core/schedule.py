"""When a token is due, and how long its issuer may fail before a consumer notices.

All arguments and results are seconds. Fractions are of the token's expected lifetime.
"""

from functools import lru_cache
from math import ldexp

# The functions with a cache are called several times for each token of a scrape; most tokens have one policy.
RETRY_ROOM = 60.0  # reserved for retries before a consumer loses its token
JITTER = 0.10  # of the lifetime: tokens minted together must drift apart
SOONEST = 0.10  # of the lifetime: the least age at which a token is replaced
REQUEST_PAUSE = 60.0  # between two mints that requests at an output may cause; a leak must not wait longer


def margin(lifetime: float, propagation_delay: float) -> float:
    """How long before its expiry a token is replaced at the latest.

    It is the propagation delay plus a minute for retries, but at most half the lifetime. A margin as long as
    the lifetime would mint without pause.
    """
    return min(propagation_delay + RETRY_ROOM, lifetime / 2)


@lru_cache(maxsize=64)
def soonest(lifetime: float) -> float:
    """The least age at which a token is replaced, unless the key changes or an operator requests it."""
    return max(1.0, SOONEST * lifetime)


def soonest_requested(lifetime: float) -> float:
    """The least age at which a request at an output replaces a token. Any writer of the output may place one,
    so requests without end cause one mint a minute at most."""
    return min(REQUEST_PAUSE, soonest(lifetime))


def due_age(
    lifetime: float, refresh_at: float, propagation_delay: float, jitter: float, horizon: float = 0.0
) -> float:
    """The age at which a token is due. `jitter`: 0 to 1, constant for a token. `horizon`: makes it earlier.

    Jitter makes a refresh earlier than the latest due age, never later, so it costs no headroom. It also
    applies if the margin determines the due age.
    """
    age = latest_due_age(lifetime, refresh_at, propagation_delay) - JITTER * jitter * lifetime - horizon
    least = soonest(lifetime)
    return age if age > least else least  # noqa: FURB136 -- max() takes twice as long; scrapes ask often


@lru_cache(maxsize=64)
def latest_due_age(lifetime: float, refresh_at: float, propagation_delay: float) -> float:
    """The age at which a token is due without jitter."""
    return min(refresh_at * lifetime, lifetime - margin(lifetime, propagation_delay))


def jitter_of(token_fingerprint: str) -> float:
    """The jitter of a token, 0 to 1.

    It is computed from the fingerprint, not random: evenly spread, and equal in every process that holds the
    token. So neither a restart nor a fail-over moves its refresh.
    """
    return ldexp(int(token_fingerprint, 16), -4 * len(token_fingerprint))


def attempt_budget(timeout: float, lifetime: float) -> float:
    """How long one attempt may take, including its quick retries."""
    return max(1.0, min(timeout, lifetime / 10))


def left_to_consumers(remaining: float, propagation_delay: float) -> float:
    """How much time is left to publish a new token before the slowest consumer has no valid one.

    The token lives `remaining` seconds more. A value published now reaches the consumer after
    `propagation_delay`. If that is already too late, count until the expiry itself.
    """
    return remaining - propagation_delay if remaining > propagation_delay else max(0.0, remaining)


def headroom(lifetime: float, refresh_at: float, propagation_delay: float, timeout: float) -> float:
    """The longest outage of the issuer that no consumer notices, counted from when the token is due.

    Once a token is due, the rest of its lifetime is available to obtain the next one. Subtract the
    propagation delay, the longest wait between two attempts (`backoff.retry_wait`), and the budget of one
    attempt.
    """
    left = lifetime - latest_due_age(lifetime, refresh_at, propagation_delay) - propagation_delay
    longest_wait = max(1.0, min(RETRY_ROOM, left / 10))
    return max(0.0, left - longest_wait - attempt_budget(timeout, lifetime))
