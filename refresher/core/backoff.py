"""How long to wait after a failure. All seconds; `roll`, 0 to 1, is chance and comes from the shell."""

from refresher.core.model import Declined, Outcome

SHORTEST = 1.0
LONGEST = 60.0
LONGEST_WITHOUT_TOKEN = 30.0
LONGEST_ASKED = 15 * 60.0  # of a Retry-After: an issuer's mistake must not put us to sleep for a day
_ASKING = (Outcome.THROTTLED, Outcome.BAD_RESPONSE)  # whose `retry_after` counts
LOOK_AGAIN = 30.0  # a deleted or altered output is put right within a minute (design §3)
MOMENT = 1.0  # until an output out of sight is inspected again, and then twice as long each time
KEY_PROBE = 5 * 60.0  # how often a refused key is tried again: keys are also un-revoked


def retry_wait(failures: int, left: float, roll: float) -> float:
    """The wait after the `failures`-th failure in a row, while consumers are served for `left` more seconds.

    Between half and all of the least of 2ⁿ, a minute and a tenth of what is left: a doubling without an end
    sleeps past the expiry, a flat five seconds storms an issuer that is on its knees.
    """
    longest = min(LONGEST, left / 10) if left > 0 else LONGEST_WITHOUT_TOKEN
    ceiling = min(2.0 ** min(failures, 10), longest)
    return max(SHORTEST, ceiling * (1 + roll) / 2)


def write_wait(failures: int, left: float, asked: float | None, roll: float) -> float:
    """The wait after the `failures`-th write in a row that failed; whoever keeps the output `asked` for so
    many seconds. A token is in hand, and is there within a minute of the end of the trouble."""
    wait = min(retry_wait(failures, left, roll), LONGEST_WITHOUT_TOKEN)
    if asked is None:
        return wait
    return max(wait, min(asked, LONGEST, left / 2 if left > 0 else LONGEST_WITHOUT_TOKEN))


def wait_after(declined: Declined, failures: int, left: float, budget: float, roll: float) -> float:
    """The wait after the `failures`-th mint in a row that was `declined`.

    While consumers are served, a throttling issuer gets the time it asked for. A refused key, and a token
    that `issuer.verify` rejects, are probed slowly. The last minute before consumers are without, and one
    whole attempt (`budget`), are kept for more than one try; of less than twice that, half.

    While consumers have no token, any answer may be a mistake that has passed by now. A throttling issuer
    gets a minute at most, and the probes back off as usual, up to their own interval.
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
    """The least wait that the answer itself asks for, if it does."""
    if declined.outcome is Outcome.KEY_REFUSED:
        return KEY_PROBE
    if declined.outcome in _ASKING and declined.retry_after is not None:
        return min(declined.retry_after, LONGEST_ASKED)
    return None


def look_wait(failures: int) -> float:
    """The wait after the `failures`-th inspection in a row that could not reach its output."""
    return min(LOOK_AGAIN, MOMENT * 2.0 ** min(failures - 1, 10))
