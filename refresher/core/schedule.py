"""When a token is due, and how long its issuer may fail before anybody feels it.

All arguments and results are seconds; fractions are of the token's believed lifetime.
"""

RETRY_ROOM = 60.0  # kept free for retries before the last consumer would be without (design §3)
JITTER = 0.10  # of the lifetime: tokens minted together must not stay in step for ever
SOONEST = 0.10  # of the lifetime: no token is replaced younger than this, whatever asks for it


def margin(lifetime: float, propagation_delay: float) -> float:
    """How long before its expiry a token is replaced at the latest.

    The longest that a consumer takes to see a new value, and a minute for retries; at most half the lifetime,
    because a margin larger than the lifetime would mint in a hot loop.
    """
    return min(propagation_delay + RETRY_ROOM, lifetime / 2)


def soonest(lifetime: float) -> float:
    """The age before which a token is not replaced, but for a new key or on an operator's word."""
    return max(1.0, SOONEST * lifetime)


def due_age(lifetime: float, refresh_at: float, propagation_delay: float, jitter: float) -> float:
    """The age at which a token is to be replaced. `jitter`, 0 to 1, is drawn once per token.

    Jitter moves a refresh forward from the latest due age, never beyond it: so tokens whose margin decides
    have it too, and it costs no headroom.
    """
    return max(
        latest_due_age(lifetime, refresh_at, propagation_delay) - JITTER * jitter * lifetime,
        soonest(lifetime),
    )


def latest_due_age(lifetime: float, refresh_at: float, propagation_delay: float) -> float:
    """The age at which a token is replaced when jitter moves nothing forward."""
    return min(refresh_at * lifetime, lifetime - margin(lifetime, propagation_delay))


def jitter_of(token_fingerprint: str) -> float:
    """This token's place in the jitter, 0 to 1.

    Taken from its fingerprint instead of dice: evenly spread, and the same in every process that ever holds
    this token, so that neither a restart nor a fail-over moves its refresh.
    """
    return int(token_fingerprint, 16) / float(16 ** len(token_fingerprint))


def attempt_budget(timeout: float, lifetime: float) -> float:
    """How long one attempt may take, its quick retries included."""
    return max(1.0, min(timeout, lifetime / 10))


def left_to_consumers(remaining: float, propagation_delay: float) -> float:
    """How long a token that lives `remaining` more still serves, seen from its slowest consumer.

    A value published now is seen `propagation_delay` from now. When that is too late already, what counts is
    the token's own end: each second earlier is a second less without.
    """
    return remaining - propagation_delay if remaining > propagation_delay else max(0.0, remaining)


def headroom(lifetime: float, refresh_at: float, propagation_delay: float, timeout: float) -> float:
    """The longest outage of the issuer that no consumer feels, counted from when the token is due.

    From the due age until the slowest consumer must see a new token, less the longest wait between two
    attempts and one attempt that hangs until its end. See `backoff.retry_wait` for the wait.
    """
    left = lifetime - latest_due_age(lifetime, refresh_at, propagation_delay) - propagation_delay
    longest_wait = max(1.0, min(RETRY_ROOM, left / 10))
    return max(0.0, left - longest_wait - attempt_budget(timeout, lifetime))
