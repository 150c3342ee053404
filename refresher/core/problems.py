"""The problems of a token, its outputs and its hooks, as the status shows them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from refresher.core import machine
from refresher.core.advice import ADVICE, ADVICE_ON, Code
from refresher.core.instant import Instant
from refresher.core.model import Declined, Outcome
from refresher.core.state import OutputState, Retry, State
from refresher.core.values import distinct


@distinct
class Problem(NamedTuple):
    """Why consumers have no valid token, or will have none. Contains no secret.

    `code`: a stable word for programs, an `Outcome` or a `Code`. `message`: what is wrong. `since`: the wall
    time of the first of these failures; None if unknown. `failures`: how many in a row; None if they are not
    counted. `advice`: what to do.
    """

    code: str
    message: str
    since: float | None
    failures: int | None
    advice: str


def of_key(state: State, now: Instant) -> Iterator[Problem]:
    """The problems of reading the key and of minting. The newest key comes first."""
    if state.key_problem is not None:
        yield _problem(Code.KEY_UNREADABLE, state.key_problem, state.key_reads.since, now)
    for credential in (state.candidate, state.proven):
        if credential is None or credential.retry.problem is None:
            continue
        yield _of_mint(credential.retry, credential.retry.problem, credential.key.fingerprint, now)


def _of_mint(retry: Retry[Declined], declined: Declined, key: str, now: Instant) -> Problem:
    outcome = declined.outcome
    code = Code.SAME_TOKEN if outcome is Outcome.OK else outcome
    message = f"{declined.message} (key {key})"
    return Problem(code.value, message, _wall(retry.since, now), retry.failures, ADVICE[outcome])


def of_output(output: OutputState, now: Instant, busy_since: float | None) -> Problem | None:
    """The gravest problem of an output at `now`. `busy_since`: when (boot seconds) the effect in flight
    began. Its message does not have the output's name."""
    if busy_since is not None and now.boot - busy_since > machine.STALLED:
        message = f"has not answered for {now.boot - busy_since:.0f} s"
        return _problem(Code.HANGS, message, busy_since, now)
    if output.problem is not None:
        code, progress = Code.NOT_READ, output.reads
        if output.writes.problem:
            code, progress = Code.NOT_WRITTEN, output.writes
        elif output.held:
            code, progress = Code.HELD, Retry()
        return _problem(code, output.problem, progress.since, now, progress.failures or None)
    if output.holding is None:
        return _problem(Code.NOT_INSPECTED, "not inspected yet", None, now)
    if output.holding.remaining(now) > 0:
        return None
    if output.facts is None:
        return _problem(Code.NO_TOKEN, "holds no token known to be valid", None, now)
    expired = now.boot + output.facts.remaining(now)
    return _problem(Code.EXPIRED, "its token has expired", expired, now)


def of_hook(output: OutputState, now: Instant) -> Problem | None:
    """Why the last run of the output's hook failed; None if it did not."""
    runs = output.hook.runs
    if runs.problem is None:
        return None
    return _problem(Code.HOOK_FAILED, runs.problem, runs.since, now, runs.failures)


def of_configuration(
    mistakes: Iterable[str], former: tuple[Problem, ...], now: Instant
) -> tuple[Problem, ...]:
    """The mistakes of a refused configuration. `former`: those of the refusal before, empty if the
    configuration was in use until now."""
    failures = 1 + max((problem.failures or 0 for problem in former), default=0)
    since = min((problem.since for problem in former if problem.since is not None), default=now.wall)
    code = Code.CONFIGURATION_REFUSED
    return tuple(Problem(code.value, mistake, since, failures, ADVICE_ON[code]) for mistake in mistakes)


def of_lease(message: str, former: Problem | None, now: Instant) -> Problem:
    """Why a Lease cannot be read or written. `former`: its problem until now."""
    since = now.wall if former is None else former.since
    failures = 1 + ((former and former.failures) or 0)
    code = Code.LEASE_FAILED
    return Problem(code.value, message, since, failures, ADVICE_ON[code])


def _problem(
    code: Code, message: str, since: float | None, now: Instant, failures: int | None = None
) -> Problem:
    """`since` is in boot seconds."""
    return Problem(code.value, message, _wall(since, now), failures, ADVICE_ON[code])


def _wall(since: float | None, now: Instant) -> float | None:
    return None if since is None else now.wall + since - now.boot
