"""Quick retries within one attempt, for seconds. The schedule retries whole attempts, for minutes."""

from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, wait_chain, wait_random

from refresher.core.model import MintResult

TRIES = 3  # in all
SHORTEST_TRY = 0.25  # seconds for connection, TLS handshake and response of a near issuer


def retry(
    first: MintResult, try_again: Callable[[], tuple[MintResult, bool]], time_left: Callable[[], float]
) -> MintResult:
    """Retry after the transient failure `first`, while each further failure is transient too.

    `try_again` returns a result and whether it is a transient failure. `time_left` returns the seconds left
    for the attempt. The waits are random, 0.1 to 0.2 s and 0.2 to 0.3 s, so that many tokens that failed
    together do not retry together.
    """
    results: list[MintResult] = []

    def one_try() -> tuple[MintResult, bool]:
        result, is_transient = try_again() if results else (first, True)
        results.append(result)
        return result, is_transient

    def is_too_late(state: RetryCallState) -> bool:
        return time_left() - state.upcoming_sleep < SHORTEST_TRY

    retrying = Retrying(
        retry=retry_if_result(lambda returned: returned[1]),
        wait=wait_chain(wait_random(0.1, 0.2), wait_random(0.2, 0.3)),
        stop=lambda state: stop_after_attempt(TRIES)(state) or is_too_late(state),
        retry_error_callback=lambda _: None,  # no exception: the last failure is the result
    )
    retrying(one_try)
    return results[-1]._replace(tries=tuple(made for result in results for made in result.tries))
