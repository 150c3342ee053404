"""The status of all tokens and outputs, and the reasons for not being ready, as JSON values.

They are made of `TokenStatus` values, which contain no secret.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

from refresher.core.instant import Instant
from refresher.core.problems import Problem, of_output
from refresher.core.rfc3339 import to_second
from refresher.core.state import State, TokenPolicy
from refresher.core.status import (
    ConfigurationStatus,
    HookStatus,
    LeaseStatus,
    OutputStatus,
    TokenStatus,
    holds_valid_token,
)

DAEMON, OUTPUTS = "daemon", "outputs"
MOST_REASONS = 100  # more fill the log of a probe; and all of ten thousand take 0.1 s of CPU for each probe


class Origin(NamedTuple):
    """Where a status comes from. `source`: DAEMON, or OUTPUTS if it was read from the outputs alone. `host`:
    the machine's name. `started`: since when the daemon runs; None if no daemon was asked."""

    source: str
    version: str
    host: str
    started: Instant | None = None


def status_document(
    statuses: Iterable[TokenStatus],
    now: Instant,
    origin: Origin,
    leases: Iterable[LeaseStatus] = (),
    configuration: ConfigurationStatus | None = None,
) -> dict[str, Any]:
    """What ``/status`` and ``refresher status --json`` show.

    Times are RFC 3339 in UTC. Durations are seconds, negative in the past. Unknown values are None. Without
    leader election there are no `leases`. Without a configuration file, and without a daemon, `config` is
    None.
    """
    tokens = [_of_token(status, now) for status in statuses]
    return {
        "source": origin.source,
        "version": origin.version,
        "host": origin.host,
        "started_at": _time(now.wall + origin.started.boot - now.boot) if origin.started else None,
        "time": to_second(now.wall),
        "valid": all(token["valid"] for token in tokens),
        "leases": [_of_lease(lease) for lease in leases],
        "config": configuration and _of_configuration(configuration),
        "tokens": tokens,
    }


def _of_lease(lease: LeaseStatus) -> dict[str, Any]:
    return {**lease._asdict(), "problem": lease.problem and _of_problem(lease.problem)}


def _of_configuration(configuration: ConfigurationStatus) -> dict[str, Any]:
    return {
        "loaded_at": to_second(configuration.loaded),
        "problems": [_of_problem(problem) for problem in configuration.problems],
    }


def _of_token(token: TokenStatus, now: Instant) -> dict[str, Any]:
    return {
        "name": token.name,
        "valid": token.valid,
        "issued_at": _time(token.issued),
        "expires_at": _time(token.expires),
        "remaining_seconds": _remaining(token.expires, now),
        "lifetime_seconds": token.lifetime,
        "lifetime_shortfall_seconds": token.shortfall,
        "headroom_seconds": token.headroom,
        "refresh_due_at": _time(token.refresh_due),
        "next_refresh_at": _time(token.next_refresh),
        "next_reason": token.next_reason,
        "key_fingerprint": token.key_fingerprint,
        "key_accepted": token.key_accepted,
        "token_fingerprint": token.token_fingerprint,
        "problems": [_of_problem(problem) for problem in token.problems],
        "outputs": [_of_output(output, now) for output in token.outputs],
    }


def _of_output(output: OutputStatus, now: Instant) -> dict[str, Any]:
    return {
        "name": output.name,
        "valid": output.valid,
        "issued_at": _time(output.issued),
        "expires_at": _time(output.expires),
        "remaining_seconds": _remaining(output.expires, now),
        "token_fingerprint": output.token_fingerprint,
        "owner": output.owner,
        "problem": output.problem and _of_problem(output.problem),
        "hook": output.hook and _of_hook(output.hook),
    }


def _of_hook(hook: HookStatus) -> dict[str, Any]:
    return {**hook._asdict(), "problem": hook.problem and _of_problem(hook.problem)}


def _of_problem(problem: Problem) -> dict[str, Any]:
    return {
        "code": problem.code,
        "message": problem.message,
        "since": _time(problem.since),
        "count": problem.failures,
        "advice": problem.advice,
    }


def _time(wall: float | None) -> str | None:
    return None if wall is None else to_second(wall)


def _remaining(expires: float | None, now: Instant) -> float | None:
    return None if expires is None else round(expires - now.wall, 3)


def unready_outputs(view: Iterable[tuple[TokenPolicy, State]], now: Instant) -> list[dict[str, Any]]:
    """Token, output and problem of the outputs that hold no valid token: of the first `MOST_REASONS` of them.
    Empty when all outputs hold one."""
    reasons = (
        {
            "token": policy.name,
            "output": output.name,
            "problem": problem and _of_problem(problem),
        }
        for policy, state in view
        for output in state.outputs
        if not holds_valid_token(output, now)
        for problem in (of_output(output, now, state.busy_since(output)),)
    )
    return list(islice(reasons, MOST_REASONS))
