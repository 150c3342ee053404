"""How a token stands, for whoever asks: readiness, status, metrics, exit codes. No secret in it."""

from typing import NamedTuple

from refresher.core import machine, schedule
from refresher.core.instant import Instant
from refresher.core.model import Reason, TokenFacts
from refresher.core.state import OutputState, State, TokenPolicy
from refresher.core.values import distinct


@distinct
class OutputStatus(NamedTuple):
    """`issued` and `expires` are wall times, None when the output holds nothing whose end is known. `owner`:
    the installation that a Secret says it belongs to; None where it does not say."""

    name: str
    valid: bool
    issued: float | None
    expires: float | None
    token_fingerprint: str | None
    owner: str | None
    problem: str | None


@distinct
class LeaseStatus(NamedTuple):
    """Who leads by one Lease. `leads`: this process does. `holder`: the other process that does, empty if
    unknown. `problem`: why the Lease cannot be read or written at present."""

    lease: str
    leads: bool
    holder: str = ""
    problem: str | None = None


@distinct
class TokenStatus(NamedTuple):
    """`issued`, `expires`, `next_refresh` are wall times. `shortfall`: by how many seconds the token is
    believed to live shorter than was asked for, None while there is none. `problems` says what keeps
    consumers, or will keep them, from a valid token; empty when all is well."""

    name: str
    valid: bool
    issued: float | None
    expires: float | None
    lifetime: float
    shortfall: float | None
    headroom: float
    next_refresh: float | None
    next_reason: str | None
    key_fingerprint: str | None
    key_accepted: bool | None
    token_fingerprint: str | None
    problems: tuple[str, ...]
    outputs: tuple[OutputStatus, ...]


def status_of(state: State, policy: TokenPolicy, now: Instant) -> TokenStatus:
    """How the token stands at `now`."""
    outputs = tuple(output_status(output, now, state.busy_since(output)) for output in state.outputs)
    facts = current(state, now)
    planned = next_attempt(state, policy, now)
    newest = state.newest
    return TokenStatus(
        name=policy.name,
        valid=all(output.valid for output in outputs),
        issued=facts.issued.wall if facts else None,
        expires=now.wall + facts.remaining(now) if facts else None,
        lifetime=policy.lifetime,
        shortfall=facts.requested - facts.lifetime if facts else None,
        headroom=schedule.headroom(
            policy.lifetime, policy.refresh_at, policy.propagation_delay, policy.timeout
        ),
        next_refresh=now.wall + planned[1] - now.boot if planned else None,
        next_reason=planned[0] if planned else None,
        key_fingerprint=newest.key.fingerprint if newest else None,
        key_accepted=not newest.is_refused if newest else None,
        token_fingerprint=facts.fingerprint if facts else None,
        problems=_problems(state, outputs),
        outputs=outputs,
    )


def current(state: State, now: Instant) -> TokenFacts | None:
    """The token in hand, or else the one in an output that expires first: not adopted, but perhaps of another
    key and still good."""
    if state.facts is not None:
        return state.facts
    held = [each.facts for each in state.outputs if each.facts]
    return min(held, key=lambda each: each.remaining(now), default=None)


def next_attempt(state: State, policy: TokenPolicy, now: Instant) -> tuple[Reason, float] | None:
    """Why and when (boot seconds) the next mint is planned; None while none is."""
    planned = min(machine.attempts(state, policy, now), key=lambda attempt: attempt[2], default=None)
    return planned and planned[1:]


def holds_valid_token(output: OutputState, now: Instant) -> bool:
    """Whether consumers find a valid token there."""
    return output.holding is not None and output.holding.remaining(now) > 0


def output_status(output: OutputState, now: Instant, busy_since: float | None) -> OutputStatus:
    """How one output stands at `now`. `busy_since`: when the step in flight there began, if one is."""
    holding = output.holding
    facts = output.facts
    problem = output.problem
    if busy_since is not None and now.boot - busy_since > machine.STALLED:
        problem = f"has not answered for {now.boot - busy_since:.0f} s"
    elif holding is None:
        problem = problem or "not looked at yet"
    elif holding.remaining(now) <= 0:
        problem = problem or (
            "its token has expired" if facts else "holds no token that is known to be valid"
        )
    return OutputStatus(
        name=output.name,
        valid=holds_valid_token(output, now),
        issued=facts.issued.wall if facts else None,
        expires=now.wall + facts.remaining(now) if facts else None,
        token_fingerprint=facts.fingerprint if facts else None,
        owner=(holding.owner or None) if holding else None,
        problem=problem,
    )


def _problems(state: State, outputs: tuple[OutputStatus, ...]) -> tuple[str, ...]:
    problems = [] if state.key_problem is None else [state.key_problem]
    problems.extend(
        f"{declined.outcome} (key {credential.key.fingerprint}): {declined.message}"
        for credential in (state.candidate, state.proven)
        if credential is not None and (declined := credential.retry.problem) is not None
    )
    problems.extend(f"{output.name}: {output.problem}" for output in outputs if output.problem)
    return tuple(problems)
