"""The status of all tokens and outputs, and the reasons for not being ready, as JSON values.

They are made of `TokenStatus` values, which contain no secret.
"""

from collections.abc import Iterable
from typing import Any

from refresher.core.instant import Instant
from refresher.core.rfc3339 import to_second
from refresher.core.state import State, TokenPolicy
from refresher.core.status import (
    ConfigurationStatus,
    LeaseStatus,
    OutputStatus,
    TokenStatus,
    holds_valid_token,
    output_status,
)


def status_document(
    statuses: Iterable[TokenStatus],
    now: Instant,
    version: str,
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
        "version": version,
        "time": to_second(now.wall),
        "valid": all(token["valid"] for token in tokens),
        "leases": [lease._asdict() for lease in leases],
        "config": configuration
        and {"loaded_at": to_second(configuration.loaded), "problem": configuration.problem},
        "tokens": tokens,
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
        "next_refresh_at": _time(token.next_refresh),
        "next_reason": token.next_reason,
        "key_fingerprint": token.key_fingerprint,
        "key_accepted": token.key_accepted,
        "token_fingerprint": token.token_fingerprint,
        "problems": list(token.problems),
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
        "problem": output.problem,
        "hook": output.hook and output.hook._asdict(),
    }


def _time(wall: float | None) -> str | None:
    return None if wall is None else to_second(wall)


def _remaining(expires: float | None, now: Instant) -> float | None:
    return None if expires is None else round(expires - now.wall, 3)


def unready_outputs(view: Iterable[tuple[TokenPolicy, State]], now: Instant) -> list[dict[str, str | None]]:
    """Token, output and problem of each output that holds no valid token. Empty when all outputs hold one."""
    return [
        {
            "token": policy.name,
            "output": output.name,
            "problem": output_status(output, now, state.busy_since(output)).problem,
        }
        for policy, state in view
        for output in state.outputs
        if not holds_valid_token(output, now)
    ]
