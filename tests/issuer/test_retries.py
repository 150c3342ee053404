"""Quick retries within one attempt."""

from collections.abc import Callable, Iterator

from refresher.core.instant import Instant
from refresher.core.model import Declined, Granted, MintResult, Outcome, SecretStr, Try
from refresher.issuer.retries import retry


def failed(seconds: float) -> MintResult:
    tried = Try(Outcome.SERVER_ERROR, seconds)
    return MintResult(Declined(Outcome.SERVER_ERROR, "502"), Instant(seconds, seconds), (tried,))


GRANTED = MintResult(Granted(SecretStr("T0ken"), None), Instant(9, 9), (Try(Outcome.OK, 9),), skew=1.5)


def tries(*results: tuple[MintResult, bool]) -> Callable[[], tuple[MintResult, bool]]:
    coming: Iterator[tuple[MintResult, bool]] = iter(results)
    return lambda: next(coming)


def test_the_last_result_counts_and_has_every_try() -> None:
    result = retry(failed(1), tries((failed(2), True), (GRANTED, False)), time_left=lambda: 5.0)
    assert (result.answer, result.sent, result.skew) == (GRANTED.answer, GRANTED.sent, GRANTED.skew)
    assert result.tries == (Try(Outcome.SERVER_ERROR, 1), Try(Outcome.SERVER_ERROR, 2), Try(Outcome.OK, 9))


def test_a_lasting_failure_ends_the_retries() -> None:
    assert len(retry(failed(1), tries((failed(2), False)), time_left=lambda: 5.0).tries) == 2


def test_the_third_failure_ends_the_retries() -> None:
    assert (
        len(retry(failed(1), tries((failed(2), True), (failed(3), True)), time_left=lambda: 5.0).tries) == 3
    )


def test_too_little_time_ends_the_retries() -> None:
    assert len(retry(failed(1), tries(), time_left=lambda: 0.3).tries) == 1
