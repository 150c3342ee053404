"""The retries of seconds, inside one attempt. Those of minutes, between attempts, are the schedule's."""

from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, wait_chain, wait_random

from refresher.core.model import MintResult

TRIES = 3  # in all
LEAST_ROOM = 0.25  # seconds: connection, TLS handshake and answer of a near issuer


def persist(
    first: MintResult, again: Callable[[], tuple[MintResult, bool]], left: Callable[[], float]
) -> MintResult:
    """Try `again` after `first`, whose failure passes by itself, as long as the next one's does too.

    `again` says with its result whether it does; `left` says how many seconds the attempt still has. The
    waits are 0.1 to 0.2 s and 0.2 to 0.3 s: many tokens that failed together do not come back together.
    """
    made: list[MintResult] = []

    def one_try() -> tuple[MintResult, bool]:
        result, passes = again() if made else (first, True)
        made.append(result)
        return result, passes

    def no_room(state: RetryCallState) -> bool:
        return left() - state.upcoming_sleep < LEAST_ROOM

    retrying = Retrying(
        retry=retry_if_result(lambda outcome: outcome[1]),
        wait=wait_chain(wait_random(0.1, 0.2), wait_random(0.2, 0.3)),
        stop=lambda state: stop_after_attempt(TRIES)(state) or no_room(state),
        retry_error_callback=lambda _: None,  # the last failure is the result, not an exception
    )
    retrying(one_try)
    return made[-1]._replace(tries=tuple(each for result in made for each in result.tries))
