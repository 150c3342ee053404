"""One token as a state machine without I/O: what to do next, and what an event changes.

`next_step` and `observe` are all there is. The engine performs steps with threads and sockets, the simulator
and the tests with a simulated world; neither decides anything.
"""

from collections.abc import Callable, Collection, Iterator
from operator import attrgetter

from refresher.core import adoption, observing, output_events, schedule
from refresher.core.backoff import LOOK_AGAIN, MOMENT
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

STALLED = 10.0  # an output that does not answer for so long holds nothing else back, and is reported
UNSERVED = 60.0  # so long a leader may take to serve consumers before a standby raises the alarm
FOREVER = float("inf")


def next_step(
    state: State,
    policy: TokenPolicy,
    now: Instant,
    held_back: Collection[Slot] = frozenset(),
    *,
    may_mint: bool = True,
) -> Step:
    """What is to be done now, or until when nothing is. Several effects may be in flight at once, one in each
    slot; each is made known by `Started` before the next question.

    `held_back`: slots for which no effect can begin yet, because others are in line before them. An output
    that was not asked for that reason does not count as silent. `may_mint`: an elected process asks its Lease
    this very moment: after a suspension the news that it no longer leads is still on its way.
    """
    if state.stopping:
        rules: tuple[Rule, ...] = (_verify, _publish) if state.leads else ()
    elif _still_looking(state, now):
        rules = (_verify, _look_first) if state.leads else (_look_first,)
    elif not state.leads:
        rules = (_adopt, _look_again, _raise_alarm)
    else:
        rules = (_verify, _adopt, _publish, _look_again, _dry_run, _mint if may_mint else _await_leadership)
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
    """The state after `event`, and what observers are to be told of it."""
    return observing.observe(state, policy, event, now)


Rule = Callable[[State, TokenPolicy, Instant], Iterator[Step]]


def _still_looking(state: State, now: Instant) -> bool:
    """Nothing is decided before every output was looked at, or has had its chance to answer."""
    return any(
        _is_to_be_seen(state, output)
        and ((busy_since := state.busy_since(output)) is None or now.boot < busy_since + STALLED)
        for output in state.outputs
    )


def _is_to_be_seen(state: State, output: OutputState) -> bool:
    return output.looked_at == NEVER or output.looked_at < state.leads_since


def _look_first(state: State, _policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    for output in state.outputs:
        if _is_to_be_seen(state, output):
            busy_since = state.busy_since(output)
            if busy_since is None:
                yield Inspect(output.name, first=output.looked_at == NEVER)
            elif now.boot < busy_since + STALLED:  # else it is another one that is waited for
                yield Wait(busy_since + STALLED, f"looking at {output.name}")


def _verify(state: State, _policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    """Try a new token out before consumers do. One that waits in line still gets a moment."""
    if state.trial is not None and state.flight(VERIFY_SLOT) is None:
        yield Verify(state.trial.minted.token, max(MOMENT, state.trial.until - now.boot))


def _adopt(state: State, policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    """A token of the newest key, or else of the one that is proven: a new key may turn out to be bad."""
    follows = not state.leads or all(output.held for output in state.outputs)
    if state.is_minting or (state.facts is not None and not follows):
        return
    for credential in filter(None, (state.candidate, state.proven)):
        key = credential.key.fingerprint
        chosen = adoption.choose(state.outputs, key, policy.issuer, policy.lifetime, now)
        if chosen is None or chosen.holding is None or chosen.holding.facts is None:
            continue
        # Whoever stands by follows the leader from one token to the next.
        if state.facts is None or chosen.holding.facts.fingerprint != state.facts.fingerprint:
            yield Adopt(chosen.name, chosen.holding)
        return


def _publish(state: State, policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    for output, wants in zip(state.outputs, policy.outputs, strict=True):
        reason = why_write(state, output, wants, now)
        if reason is None or state.token is None or output.held or state.flight(output.slot):
            continue
        key = state.key_of(state.token.facts)
        if key is None:  # nobody could verify the record: a token of another key is never taken
            continue
        if now.boot >= output.writes.next_try:
            yield Write(output.name, state.token, reason, Sealer(key))
        elif not state.stopping:
            yield Wait(output.writes.next_try, f"writing {output.name} again")


def why_write(state: State, output: OutputState, wants: OutputPolicy, now: Instant) -> str | None:
    """Why this output is to be written with the token in hand, or None if it is not."""
    token = state.token
    if token is None or output.holding is None or token.facts.remaining(now) <= 0:
        return None
    if wants.includes_refresh_token and not token.is_complete:
        return None
    held = output.facts
    if held is not None and held.fingerprint == token.facts.fingerprint and output.holding.intact:
        return None
    if not state.minted_here and output.holding.remaining(now) > token.facts.remaining(now):
        return None  # a good value is not overwritten by a worse one; the next mint replaces both
    return output_events.kind_of_write(output, token.facts)


def _mint(state: State, policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    if state.is_minting:
        return
    for credential, reason, at in attempts(state, policy, now):
        yield Mint(credential.key, reason) if now.boot >= at else Wait(at, f"minting ({reason})")


def _await_leadership(state: State, policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    """In the place of a mint, while this process may have lost its Lease."""
    for step in _mint(state, policy, now):
        yield step if isinstance(step, Wait) else Wait(now.boot + MOMENT, "learning which process leads")


def attempts(state: State, policy: TokenPolicy, now: Instant) -> Iterator[tuple[Credential, Reason, float]]:
    """The mints that are planned: with which key, why, and when (boot seconds). A key not proven yet comes
    first, but does not stand in the way of the proven one: each has its own back-off."""
    if not state.leads or all(output.holding is None for output in state.outputs):
        return  # in vain: it may all be there, and if not, a new token could be put nowhere
    if not is_publishable(state, now):
        return
    reason, due = due_at(state, policy, now)
    if state.candidate is not None:
        why = Reason.KEY_CHANGED if state.proven is not None else reason
        yield state.candidate, why, max(state.candidate.retry.next_try, now.boot)
    if state.proven is not None:
        yield state.proven, reason, max(state.proven.retry.next_try, due)


def due_at(state: State, policy: TokenPolicy, now: Instant) -> tuple[Reason, float]:
    """Why and when (boot seconds) the token is to be replaced, whatever the key."""
    facts = state.facts
    if state.requested_reason is Reason.REQUESTED:
        return Reason.REQUESTED, now.boot
    if facts is None:
        changed = state.newest is not None and serves_another_key(state, state.newest.key.fingerprint, now)
        return (Reason.KEY_CHANGED if changed else Reason.FIRST), now.boot
    others = [output.holding for output in beyond_reach(state, policy) if output.holding]
    if any(held.remaining(now) <= 0 for held in others):
        return Reason.FIRST, now.boot
    due = min(_scheduled(each, policy, now) for each in (facts, *(held.facts for held in others)) if each)
    if state.requested_reason is Reason.REPORTED_EXPIRED:
        if state.observed_lifetime is None or facts.lifetime > state.observed_lifetime:
            due = min(due, _when_aged(facts, schedule.soonest(facts.lifetime), now))
        return Reason.REPORTED_EXPIRED, due  # else it lives short as it is, and reports may be wrong
    return Reason.SCHEDULED, due


def _scheduled(facts: TokenFacts, policy: TokenPolicy, now: Instant) -> float:
    """When (boot seconds) this token is to be replaced by the schedule, ahead by the policy's horizon."""
    jitter = schedule.jitter_of(facts.fingerprint)
    age = schedule.due_age(facts.lifetime, policy.refresh_at, policy.propagation_delay, jitter)
    return _when_aged(facts, max(schedule.soonest(facts.lifetime), age - policy.horizon), now)


def _when_aged(facts: TokenFacts, age: float, now: Instant) -> float:
    """When (boot seconds) the token will have this age, by whichever clock says so first."""
    return now.boot + age - facts.issued.age(now)


def is_publishable(state: State, now: Instant) -> bool:
    """Whether a new token is of use: it can be written somewhere, or at least what is published stays good.

    Where consumers have nothing, a mint for an output that cannot be written would be repeated by every call
    of ``refresher once``, and leave them with nothing still.
    """
    return any(
        output.writable or (output.holding is not None and output.holding.remaining(now) > 0)
        for output in state.outputs
        if not output.held
    )


def _dry_run(state: State, _policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    """Before a mint that only an output can make worth its while that was not tried yet."""
    if state.newest is None or is_publishable(state, now):
        return
    for output in state.outputs:
        if output.holding is None or output.held or state.flight(output.slot):
            continue
        if now.boot >= output.writes.next_try:
            yield DryRun(output.name)
        else:
            yield Wait(output.writes.next_try, f"trying {output.name} again")


def _raise_alarm(state: State, _policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    """A leader that does not serve consumers may be unable to report it, so a standby does."""
    if state.unserved_since is None or state.alarmed:
        return
    at = state.unserved_since + UNSERVED
    unserved = tuple(output.name for output in state.outputs if output.is_without(now))
    yield (
        RaiseAlarm(unserved)
        if now.boot >= at and unserved
        else Wait(max(at, now.boot + MOMENT), "raising an alarm")
    )


def _look_again(state: State, _policy: TokenPolicy, now: Instant) -> Iterator[Step]:
    for output in state.outputs:
        if state.flight(output.slot) is None:
            at = _next_look(output, now)
            look = Inspect(output.name, first=bool(output.held))
            yield look if now.boot >= at else Wait(at, f"looking at {output.name}")


def _next_look(output: OutputState, now: Instant) -> float:
    """From the end of a look that saw nothing, which may have taken long; else from when it began.

    An output that another process owns and does not serve may be ours soon.
    """
    if output.held and output.is_without(now):
        return output.looked_at + MOMENT
    return output.reads.next_try if output.reads.failures else output.looked_at + LOOK_AGAIN
