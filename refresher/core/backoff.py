"""How long to wait after a failure. All times are seconds. `roll` is a random number from 0 to 1."""

from refresher.core.model import Declined, Outcome

SHORTEST = 1.0
LONGEST = 60.0
LONGEST_WITHOUT_TOKEN = 30.0
LONGEST_RETRY_AFTER = 15 * 60.0  # an issuer's mistake must not put us to sleep for a day
_WITH_RETRY_AFTER = (Outcome.THROTTLED, Outcome.BAD_RESPONSE)  # outcomes whose `retry_after` counts
INSPECT_EVERY = 30.0  # a deleted or altered output is restored within a minute
INSPECT_WATCHED = 15 * 60.0  # at most, for outputs whose changes are reported: a report may be missed
MOMENT = 1.0  # before an output out of sight is inspected again; doubles with each failure
KEY_PROBE = 5 * 60.0  # how often a refused key is tried again: revoked keys may become valid again


def retry_wait(failures: int, left: float, roll: float) -> float:
    """The wait after the `failures`-th failure in a row. Consumers have a token for `left` more seconds.

    It is between half and all of the smallest of 2ⁿ, a minute, and a tenth of `left`. Doubling without a
    limit would sleep past the expiry; a constant few seconds would overload a failing issuer.
    """
    longest = min(LONGEST, left / 10) if left > 0 else LONGEST_WITHOUT_TOKEN
    ceiling = min(2.0 ** min(failures, 10), longest)
    return max(SHORTEST, ceiling * (1 + roll) / 2)


def write_wait(failures: int, left: float, asked: float | None, roll: float) -> float:
    """The wait after the `failures`-th failed write in a row. `asked`: the backend's Retry-After. Capped so
    that the output is written within a minute of recovery."""
    wait = min(retry_wait(failures, left, roll), LONGEST_WITHOUT_TOKEN)
    if asked is None:
        return wait
    return max(wait, min(asked, LONGEST, left / 2 if left > 0 else LONGEST_WITHOUT_TOKEN))


def hook_wait(failures: int, roll: float) -> float:
    """The wait after the `failures`-th failed run of a hook in a row: as for the issuer, a minute at most."""
    return retry_wait(failures, 10 * LONGEST, roll)


def wait_after(declined: Declined, failures: int, left: float, budget: float, roll: float) -> float:
    """The wait after the `failures`-th mint in a row that was `declined`.

    While consumers have a token, honour Retry-After (throttled) or KEY_PROBE (a refused key, a token that
    `issuer.verify` rejects). But keep `LONGEST` plus one attempt (`budget`) before consumers lose their
    token, so that more than one attempt fits. If less than twice that is left, wait half of `left`.

    While consumers have no token, any answer may be a mistake that has passed by now. Then wait at most a
    minute for a throttling issuer. Probes back off as usual, up to their own interval.
    """
    wait = retry_wait(failures, left, roll)
    asked = _asked(declined)
    if asked is None:
        return wait
    if left > 0:
        return max(wait, min(asked, max(left / 2, left - LONGEST - budget)))
    if declined.outcome is Outcome.THROTTLED:
        return max(wait, min(asked, LONGEST))
    return max(SHORTEST, min(2.0 ** min(failures, 10), asked) * (1 + roll) / 2)


def _asked(declined: Declined) -> float | None:
    """The shortest wait that the answer itself demands; None if it demands none."""
    if declined.outcome is Outcome.KEY_REFUSED:
        return KEY_PROBE
    if declined.outcome in _WITH_RETRY_AFTER and declined.retry_after is not None:
        return min(declined.retry_after, LONGEST_RETRY_AFTER)
    return None


def inspect_wait(failures: int) -> float:
    """The wait after the `failures`-th inspection in a row that could not reach its output."""
    return min(INSPECT_EVERY, MOMENT * 2.0 ** min(failures - 1, 10))
