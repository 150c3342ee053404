"""The public status of a token, without secrets: for readiness, status, metrics and exit codes."""

from collections.abc import Iterator
from typing import NamedTuple

from refresher.core import machine, problems
from refresher.core.instant import Instant
from refresher.core.model import Reason, TokenFacts
from refresher.core.problems import Problem
from refresher.core.state import OutputState, State, TokenPolicy
from refresher.core.values import distinct


@distinct
class HookStatus(NamedTuple):
    """The status of an output's hook. `owed`: it has not succeeded since the last write. `failures`: in a
    row. `problem`: why it failed; None if it did not."""

    owed: bool
    failures: int
    problem: Problem | None


@distinct
class OutputStatus(NamedTuple):
    """The status of one output. `issued`, `expires`: wall times; None if the output holds no token with a
    known expiry. `owner`: the installation that the record names; None if it names none. `hook`: None if it
    has none."""

    name: str
    valid: bool
    issued: float | None
    expires: float | None
    token_fingerprint: str | None
    owner: str | None
    problem: Problem | None
    hook: HookStatus | None = None


@distinct
class LeaseStatus(NamedTuple):
    """The status of one Lease. `leads`: this process leads. `holder`: the other process that leads; empty if
    unknown. `problem`: why the Lease cannot be read or written now."""

    lease: str
    leads: bool
    holder: str = ""
    problem: Problem | None = None


@distinct
class ConfigurationStatus(NamedTuple):
    """The status of the configuration file. `loaded`: when (wall time) the configuration in use was taken
    from it. `problems`: the mistakes for which the present content of the file is refused; empty if it is
    in use."""

    loaded: float
    problems: tuple[Problem, ...] = ()


@distinct
class TokenStatus(NamedTuple):
    """The status of one token. `issued`, `expires`, `refresh_due`, `next_refresh`: wall times. Retries move
    `next_refresh`, but not `refresh_due`. `shortfall`: seconds by which the expected lifetime is shorter than
    requested; None without a token. `problems`: all of them, also those of its outputs, whose messages begin
    with the output's name; empty if all is well."""

    name: str
    valid: bool
    issued: float | None
    expires: float | None
    lifetime: float
    shortfall: float | None
    headroom: float
    refresh_due: float | None
    next_refresh: float | None
    next_reason: str | None
    key_fingerprint: str | None
    key_accepted: bool | None
    token_fingerprint: str | None
    problems: tuple[Problem, ...]
    outputs: tuple[OutputStatus, ...]


def status_of(state: State, policy: TokenPolicy, now: Instant) -> TokenStatus:
    """The status of the token at `now`."""
    outputs = tuple(
        output_status(output, now, state.busy_since(output))._replace(hook=_hook_status(output, policy, now))
        for output in state.outputs
    )
    facts = current(state, now)
    due = refresh_due(state, policy, now)
    planned = next_attempt(state, policy, now, due)
    newest = state.newest
    return TokenStatus(
        name=policy.name,
        valid=all(output.valid for output in outputs),
        issued=facts.issued.wall if facts else None,
        expires=now.wall + facts.remaining(now) if facts else None,
        lifetime=policy.lifetime,
        shortfall=facts.requested - facts.lifetime if facts else None,
        headroom=policy.headroom,
        refresh_due=None if due is None else now.wall + due - now.boot,
        next_refresh=now.wall + planned[1] - now.boot if planned else None,
        next_reason=planned[0] if planned else None,
        key_fingerprint=newest.key.fingerprint if newest else None,
        key_accepted=not newest.is_refused if newest else None,
        token_fingerprint=facts.fingerprint if facts else None,
        problems=(*problems.of_key(state, now), *_below(outputs)),
        outputs=outputs,
    )


def current(state: State, now: Instant) -> TokenFacts | None:
    """The token in hand, or else the token in an output that expires first. It may be of another key, and so
    not adopted, but still valid."""
    if state.facts is not None:
        return state.facts
    held = [output.facts for output in state.outputs if output.facts]
    return min(held, key=lambda facts: facts.remaining(now), default=None)


def next_attempt(
    state: State, policy: TokenPolicy, now: Instant, due: float | None = None
) -> tuple[Reason, float] | None:
    """Why and when (boot seconds) the next mint is planned; None without a plan. `due`: the result of
    `refresh_due`, if the caller has it."""
    planned: tuple[Reason, float] | None = None
    for _, reason, at in machine.attempts(state, policy, now, due):
        if planned is None or at < planned[1]:
            planned = reason, at
    return planned


def refresh_due(state: State, policy: TokenPolicy, now: Instant) -> float | None:
    """When (boot seconds) the schedule replaces the token in hand. Neither retries nor requests move it. None
    without a token."""
    return None if state.facts is None else machine.scheduled(state.facts, policy, now)


def failing_since(state: State) -> float | None:
    """Since when (boot seconds) attempts to mint fail in a row; None while none does."""
    since: float | None = None
    for credential in (state.candidate, state.proven):
        began = None if credential is None else credential.retry.since
        if began is not None and (since is None or began < since):
            since = began
    return since


def holds_valid_token(output: OutputState, now: Instant) -> bool:
    """Whether the output holds a valid token."""
    return output.holding is not None and output.holding.remaining(now) > 0


def output_status(output: OutputState, now: Instant, busy_since: float | None) -> OutputStatus:
    """The status of one output at `now`. `busy_since`: when (boot seconds) the effect in flight began."""
    holding = output.holding
    facts = output.facts
    return OutputStatus(
        name=output.name,
        valid=holds_valid_token(output, now),
        issued=facts.issued.wall if facts else None,
        expires=now.wall + facts.remaining(now) if facts else None,
        token_fingerprint=facts.fingerprint if facts else None,
        owner=(holding.owner or None) if holding else None,
        problem=problems.of_output(output, now, busy_since),
    )


def _hook_status(output: OutputState, policy: TokenPolicy, now: Instant) -> HookStatus | None:
    if not policy.has_hook(output.name):
        return None
    return HookStatus(output.hook.is_owed, output.hook.runs.failures, problems.of_hook(output, now))


def _below(outputs: tuple[OutputStatus, ...]) -> Iterator[Problem]:
    """The problems of the outputs, then those of their hooks."""
    for output in outputs:
        if output.problem:
            yield output.problem._replace(message=f"{output.name}: {output.problem.message}")
    for output in outputs:
        if output.hook and (problem := output.hook.problem):
            yield problem._replace(message=f"{output.name}: hook: {problem.message}")
