"""Exit codes from sysexits.h, which cron, systemd and scripts understand."""

from collections.abc import Iterable

from refresher.core.instant import Instant
from refresher.core.model import Outcome
from refresher.core.state import State

DONE = 0
USAGE = 2  # as in argparse
CANT_CREATE = 73  # an output cannot be written, or its hook failed
TRY_AGAIN = 75  # the issuer could not be reached or asked us to wait, or the pass was cut short
NO_PERMISSION = 77  # the issuer refused the key
CONFIGURATION = 78

_GRAVEST_FIRST = (CONFIGURATION, NO_PERMISSION, CANT_CREATE, TRY_AGAIN)


def gravest(codes: Iterable[int]) -> int:
    """The gravest of several exit codes; 0 without a failure."""
    present = set(codes)
    return next((code for code in _GRAVEST_FIRST if code in present), DONE)


def of_outcome(outcome: Outcome) -> int:
    """The exit code of a mint that failed with `outcome`."""
    return NO_PERMISSION if outcome is Outcome.KEY_REFUSED else TRY_AGAIN


def of_states(states: Iterable[State], now: Instant) -> int:
    """The exit code for tokens in these states. It is 0 only if nothing failed, every output holds a valid
    token, and no hook is owed."""
    return gravest(code for state in states for code in _codes(state, now))


def _codes(state: State, now: Instant) -> Iterable[int]:
    if state.key_problem is not None:
        yield CONFIGURATION
    for credential in (state.candidate, state.proven):
        if credential is not None and credential.retry.problem is not None:
            yield of_outcome(credential.retry.problem.outcome)
    if any(output.writes.problem or output.reads.problem for output in state.outputs):
        yield CANT_CREATE
    if any(output.hook.runs.problem for output in state.outputs):
        yield CANT_CREATE  # the consumer may not have read the token
    if any(
        output.holding is None or not output.holding.remaining(now) or output.hook.is_owed
        for output in state.outputs
    ):
        yield TRY_AGAIN  # a signal may have come before anything could fail
