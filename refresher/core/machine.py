"""One token as a state machine without I/O: the next step, and the changes by an event.

`next_step` and `observe` are its whole interface. The engine performs steps with threads and sockets, the
simulator and the tests with a simulated world. Neither makes decisions.
"""

from collections.abc import Callable, Collection, Iterator
from operator import attrgetter

from refresher.core import adoption, exclusive, hooks, observing, output_events, refresh_requests, schedule
from refresher.core.backoff import INSPECT_EVERY, INSPECT_WATCHED, MOMENT
from refresher.core.consumers import beyond_reach, serves_another_key
from refresher.core.effects import (
    VERIFY_SLOT,
    Adopt,
    DryRun,
    Inspect,
    Mint,
    RaiseAlarm,
    Slot,
    Step,
    Verify,
    Wait,
    Write,
)
from refresher.core.events import Event
from refresher.core.instant import Instant
from refresher.core.model import Reason, TokenFacts
from refresher.core.notifications import Notification
from refresher.core.seal import Sealer
from refresher.core.state import NEVER, Credential, OutputPolicy, OutputState, State, TokenPolicy

STALLED = 10.0  # seconds without an answer after which an output is reported and delays nothing else
UNSERVED = 60.0  # seconds without a valid token after which a standby raises the alarm
FOREVER = float("inf")


def next_step(
    state: State,
    policy: TokenPolicy,
    now: Instant,
    held_back: Collection[Slot] = frozenset(),
    *,
    may_mint: bool = True,
) -> Step:
    """The next step, or a `Wait`. One effect may be in flight in each slot. Before the next call, the driver
    observes `Started` for each step that it begins.

    `held_back`: slots that cannot begin an effect yet, because their lane has no room. An output that waits
    for that reason does not count as silent. `may_mint`: False if the Lease may have expired. After a
    suspension, the event that this process no longer leads arrives too late.
    """
    if state.stopping:
        rules: tuple[Rule, ...] = (_verify, _publish) if state.leads else ()
    elif _is_still_inspecting(state, now):
        rules = (_verify, _inspect_first, hooks.due) if state.leads else (_inspect_first, hooks.due)
    elif not state.leads:
        rules = (_adopt, _inspect_again, _raise_alarm, hooks.due)
    else:
        mint = _mint if may_mint else _await_leadership
        rules = (_verify, _adopt, _publish, _inspect_again, _dry_run, mint, hooks.due)
    nearest = Wait(FOREVER, "nothing to do")
    for rule in rules:
        for step in rule(state, policy, now):
            if isinstance(step, Wait):
                nearest = min(nearest, step, key=attrgetter("until"))
            elif isinstance(step, Adopt | RaiseAlarm) or step.slot not in held_back:
                return step
    return nearest


def observe(
    state: State, policy: TokenPolicy, event: Event, now: Instant
) -> tuple[State, tuple[Notification, ...]]:
    """The state after `event`, and the notifications for observers."""
    return observing.observe(state, policy, event, now)


Rule = Callable[[State, TokenPolicy, Instant], Iterator[Step]]


def _is_still_inspecting(state: State, now: Instant) -> bool:
    """Whether an output was not inspected yet and has had less than `STALLED` seconds to answer."""
    return any(
        _needs_inspection(state, output)
        and ((busy_since := state.busy_since(output)) is None or now.boot < busy_since + STALLED)
        for output in state.outputs
    )


def _needs_inspection(state: State, output: OutputState) -> bool:
    return output.inspected_at == NEVER or output.inspected_at < state.leads_since


def _inspect_first(state: State, _policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    for output in state.outputs:
        if _needs_inspection(state, output):
            busy_since = state.busy_since(output)
            if busy_since is None:
                yield Inspect(output.name, first=output.inspected_at == NEVER)
            elif now.boot < busy_since + STALLED:
                yield Wait(busy_since + STALLED, f"inspecting {output.name}")


def _verify(state: State, _policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    """Check a new token before consumers use it. A check whose lane had no room still gets `MOMENT`."""
    if state.trial is not None and state.flight(VERIFY_SLOT) is None:
        yield Verify(state.trial.minted.token, max(MOMENT, state.trial.until - now.boot))


def _adopt(state: State, policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    """Adopt a token of the newest key, or else of the proven key, because the newest may be invalid."""
    owned_by_others = (any if policy.exclusive else all)(output.held for output in state.outputs)
    follows = not state.leads or owned_by_others
    if state.is_minting or (state.facts is not None and not follows):
        return
    for credential in filter(None, (state.candidate, state.proven)):
        key = credential.key.fingerprint
        chosen = adoption.choose(
            state.outputs, key, policy.issuer, policy.lifetime, now, newest=policy.exclusive
        )
        if chosen is None or chosen.holding is None or chosen.holding.facts is None:
            continue
        # A standby adopts each new token of the leader.
        if state.facts is None or chosen.holding.facts.fingerprint != state.facts.fingerprint:
            yield Adopt(chosen.name, chosen.holding)
        return


def _publish(state: State, policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    for output, output_policy in zip(state.outputs, policy.outputs, strict=True):
        reason = why_write(state, output, output_policy, now)
        if reason is None or state.token is None or output.held or state.flight(output.slot):
            continue
        key = state.key_of(state.token.facts)
        if key is None:  # without its key the record cannot be sealed
            continue
        if now.boot >= output.writes.next_try:
            yield Write(output.name, state.token, reason, Sealer(key))
        elif not state.stopping:
            yield Wait(output.writes.next_try, f"writing {output.name} again")


def why_write(state: State, output: OutputState, output_policy: OutputPolicy, now: Instant) -> str | None:
    """Why to write the token in hand to this output (`Write.reason`); None if it need not be written."""
    token = state.token
    if token is None or output.holding is None or token.facts.remaining(now) <= 0:
        return None
    if output_policy.includes_refresh_token and not token.is_complete:
        return None
    held = output.facts
    if held is not None and held.fingerprint == token.facts.fingerprint and output.holding.intact:
        return None
    left = token.facts.remaining(now)
    # Do not overwrite a better token with an adopted one, or with one that ends before consumers see it. The
    # next mint replaces both.
    is_worth_less = not state.minted_here or left <= output_policy.propagation_delay
    if is_worth_less and output.holding.remaining(now) > left:
        return None
    return output_events.kind_of_write(output, token.facts)


def _mint(state: State, policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    if state.is_minting:
        return
    for credential, reason, at in attempts(state, policy, now):
        if now.boot < at:
            yield Wait(at, f"minting ({reason})")
        elif before := tuple(exclusive.rehearsals(state, now)) if policy.exclusive else ():
            yield from before
        else:
            yield Mint(credential.key, reason)


def _await_leadership(state: State, policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    """Wait instead of minting while this process may have lost its Lease."""
    for step in _mint(state, policy, now):
        yield step if isinstance(step, Wait) else Wait(now.boot + MOMENT, "finding out which process leads")


def attempts(
    state: State, policy: TokenPolicy, now: Instant, known: float | None = None
) -> Iterator[tuple[Credential, Reason, float]]:
    """The planned mints: the key, the reason, and when (boot seconds). `known`: see `due_at`.

    A candidate key comes first, but does not delay the proven key: each has its own back-off.
    """
    if not state.leads or not is_publishable(state, now):
        return
    if policy.exclusive and exclusive.is_shared(state):
        return
    reason, due = due_at(state, policy, now, known)
    if state.candidate is not None:
        candidate_reason = Reason.KEY_CHANGED if state.proven is not None else reason
        yield state.candidate, candidate_reason, max(state.candidate.retry.next_try, now.boot)
    if state.proven is not None:
        yield state.proven, reason, max(state.proven.retry.next_try, due)


def due_at(
    state: State, policy: TokenPolicy, now: Instant, known: float | None = None
) -> tuple[Reason, float]:
    """Why and when (boot seconds) to replace the token. The back-off of keys is not included. `known`: the
    result of `scheduled` for the token in hand, if the caller has it."""
    facts = state.facts
    if state.requested_reason is Reason.REQUESTED:
        return Reason.REQUESTED, now.boot
    if facts is None:
        changed = state.newest is not None and serves_another_key(state, state.newest.key.fingerprint, now)
        return (Reason.KEY_CHANGED if changed else Reason.FIRST), now.boot
    due = scheduled(facts, policy, now) if known is None else known
    for output in beyond_reach(state, policy):
        if output.is_without(now):
            return Reason.FIRST, now.boot
        if output.facts:
            due = min(due, scheduled(output.facts, policy, now))
    if (requested := refresh_requests.replaces_at(state, facts, now)) < due:
        return Reason.REQUESTED, requested
    if state.requested_reason is Reason.REPORTED_EXPIRED:
        if state.observed_lifetime is None or facts.lifetime > state.observed_lifetime:
            due = min(due, _when_aged(facts, schedule.soonest(facts.lifetime), now))
        # Otherwise the expected lifetime is already as short, and the report may be wrong.
        return Reason.REPORTED_EXPIRED, due
    return Reason.SCHEDULED, due


def scheduled(facts: TokenFacts, policy: TokenPolicy, now: Instant) -> float:
    """When (boot seconds) the schedule replaces this token. The policy's horizon makes it earlier."""
    jitter = 0.0 if policy.exclusive else schedule.jitter_of(facts.fingerprint)
    age = schedule.due_age(
        facts.lifetime, policy.refresh_at, policy.propagation_delay, jitter, policy.horizon
    )
    return _when_aged(facts, age, now)


def _when_aged(facts: TokenFacts, age: float, now: Instant) -> float:
    """When (boot seconds) the token reaches this age, by the clock that is ahead."""
    return now.boot + age - facts.issued.age(now)


def is_publishable(state: State, now: Instant) -> bool:
    """Whether to mint: an output was inspected, and can be written or its token is still valid.

    An unknown output may hold a valid token. And without this, every call of ``refresher once`` would mint a
    token that it cannot write anywhere.
    """
    for output in state.outputs:  # any() takes twice as long, and scrapes ask for every token
        holding = output.holding
        if holding is not None and not output.held and (output.writable or holding.remaining(now) > 0):
            return True
    return False


def _dry_run(state: State, policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    """Check whether an output can be written, unless a mint `is_publishable` and no rehearsal has failed."""
    for output in exclusive.failed_rehearsals(state, policy) if is_publishable(state, now) else state.outputs:
        if state.newest is None or output.holding is None or output.held or state.flight(output.slot):
            continue
        if now.boot >= output.writes.next_try:
            yield DryRun(output.name)
        else:
            yield Wait(output.writes.next_try, f"checking {output.name} again")


def _raise_alarm(state: State, _policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    """Report consumers without a token: a failing leader may be unable to report them itself."""
    if state.unserved_since is None or state.alarmed:
        return
    at = state.unserved_since + UNSERVED
    unserved = tuple(output.name for output in state.outputs if output.is_without(now))
    is_due = now.boot >= at and unserved
    yield RaiseAlarm(unserved) if is_due else Wait(max(at, now.boot + MOMENT), "raising an alarm")


def _inspect_again(state: State, _policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    for output in state.outputs:
        if state.flight(output.slot) is None:
            at = _next_inspection(output, now)
            # After a failure: the first inspection may be the one that failed.
            inspect = Inspect(output.name, first=bool(output.held or output.reads.problem))
            yield inspect if now.boot >= at else Wait(at, f"inspecting {output.name}")


def _next_inspection(output: OutputState, now: Instant) -> float:
    """When (boot seconds) to inspect the output next.

    Count from the end of a failed inspection, which may have taken long, else from the start of the last.
    Inspect an output without a valid token soon if another process owns it: that may exit. A watched output
    can wait until its token ends. The fingerprint spreads the inspections of many outputs.
    """
    if output.held and output.is_without(now):
        return output.inspected_at + MOMENT
    if output.reads.failures:
        return output.reads.next_try
    soonest = output.inspected_at + INSPECT_EVERY
    if output.held or output.holding is None or output.facts is None or not output.holding.watched:
        return soonest
    latest = output.inspected_at + INSPECT_WATCHED * (1 - schedule.jitter_of(output.facts.fingerprint) / 2)
    return max(soonest, min(latest, now.boot + output.facts.remaining(now)))
