"""How events of outputs change the state: inspections, writes, dry runs, and outputs that do not answer."""

from refresher.core import adoption, backoff, exclusive
from refresher.core.events import (
    DryRunPassed,
    Found,
    InspectFailed,
    RefreshPlaced,
    Stalled,
    WatchEnded,
    WriteFailed,
    Written,
)
from refresher.core.instant import Instant
from refresher.core.mints import Observed
from refresher.core.model import Holding, TokenFacts
from refresher.core.notifications import (
    Notification,
    OutputAnswered,
    OutputDisturbed,
    OutputFailed,
    OutputForged,
    OutputHeld,
    OutputWritten,
)
from refresher.core.seal import Sealer
from refresher.core.state import NEVER, NO_FAILURES, OutputState, State, TokenPolicy


def written(state: State, policy: TokenPolicy, event: Written, now: Instant) -> Observed:
    output = state.output(event.output)
    facts = event.token.facts
    holding = Holding(facts, None, intact=True, owner=output.holding.owner if output.holding else "")
    return _settled(state, policy, output, holding, facts, now.boot)


def kind_of_write(output: OutputState, facts: TokenFacts) -> str:
    """`Write.reason`: "repair" if this token was published there before, else "new"."""
    return "repair" if output.published == facts.fingerprint else "new"


def write_failed(state: State, event: WriteFailed, now: Instant) -> Observed:
    output = state.output(event.output)
    if not state.leads:  # leadership was lost since; the present leader writes the output
        return state, ()
    remaining = output.holding.remaining(now) if output.holding else 0.0
    wait = backoff.write_wait(output.writes.failures + 1, remaining, event.retry_after, event.roll)
    writes = output.writes.failed(event.message, now.boot + wait, now.boot)
    after = output._replace(writes=writes, writable=False)
    return state.with_output(after), (_output_failed(after, event.message, now, writing=True),)


def dry_run_passed(state: State, event: DryRunPassed, now: Instant) -> State:
    output = state.output(event.output)
    return state.with_output(output._replace(writes=NO_FAILURES, writable=True, rehearsed_at=now.boot))


def stalled(state: State, event: Stalled, now: Instant) -> Observed:
    """Report an output that does not answer, again and again: a hung file system raises no error."""
    output = state.output(event.output)
    step = "write" if event.writing else "read"
    message = f"does not answer: a {step} has not ended after {event.seconds:.0f} s"
    if event.writing:
        writes = output.writes.failed(message, output.writes.next_try, now.boot - event.seconds)
        output = output._replace(writes=writes)
    else:
        reads = output.reads.failed(message, output.reads.next_try, now.boot - event.seconds)
        output = output._replace(reads=reads._replace(failures=output.reads.failures))
    failed = _output_failed(output, message, now, writing=event.writing)
    return state.with_output(output), (failed._replace(hung_for=event.seconds),)


def refresh_placed(state: State, event: RefreshPlaced) -> State:
    """A request that was seen between two inspections."""
    if not state.has_output(event.output):
        return state
    return state.with_output(state.output(event.output)._replace(refresh_requested=event.at))


def watch_ended(state: State, event: WatchEnded) -> State:
    """The machine inspects the output as often as one without a watch. So an output that another program
    changes all the time is not restored all the time."""
    if not state.has_output(event.output):
        return state
    output = state.output(event.output)
    if output.holding is None or not output.holding.watched:
        return state
    return state.with_output(output._replace(holding=output.holding._replace(watched=False)))


def found(state: State, policy: TokenPolicy, event: Found, now: Instant, began: float) -> Observed:
    """`began`: when (boot seconds) the inspection began. Its result may be as old as that."""
    output = state.output(event.output)
    holding, is_forged = _sealed(_believed(event.holding, state, policy, now), state)
    held = _holds(holding)
    writes = state.leads and not event.held  # otherwise another process writes the output
    was_in_place = output.published is not None and _holds(output.holding) == output.published
    disturbed = writes and was_in_place and held != output.published
    is_new_there = state.facts is not None and _holds(output.holding) != held == state.facts.fingerprint
    if writes and output.writes.failures and state.facts and is_new_there:
        # The write that counted as failed did succeed; only its answer was lost. If the token was known to be
        # there, a dry run has failed.
        output = output._replace(refresh_requested=event.holding.refresh_requested)
        return _settled(state, policy, output, holding, state.facts, began)
    published = output.published if writes else held
    after = output._replace(
        holding=holding,
        published=published or held,  # at the first inspection: published by a predecessor
        inspected_at=began,
        reads=NO_FAILURES,
        held=event.held,
        forged=is_forged,
        hook=output.hook.owed_again() if event.hook_owed else output.hook,
        refresh_requested=event.holding.refresh_requested,
    )
    notifications: tuple[Notification, ...] = (OutputDisturbed(output.name),) if disturbed else ()
    if output.reads.problem is not None:
        notifications = (OutputAnswered(output.name), *notifications)
    if is_forged:
        notifications = () if output.forged else (OutputForged(output.name),)
    if event.held and not output.held:
        notifications += (OutputHeld(output.name, event.held),)
    return with_service(state.with_output(after), now), notifications


def _sealed(holding: Holding, state: State) -> tuple[Holding, bool]:
    """The trusted part of `holding`, and whether it is forged: it names our key but lacks that key's seal.

    Keep a holding of another key: it cannot be verified, but it is never adopted either.
    """
    key = state.key_of(holding.facts) if holding.facts is not None and holding.proof is not None else None
    if key is None or holding.proof is None:
        return holding, False
    if Sealer(key).accepts(holding.proof):
        return holding._replace(proof=None), False
    return Holding(owner=holding.owner), True


def verified(state: State, notifications: tuple[Notification, ...]) -> Observed:
    """The state after a key was read: check the seals that were found before."""
    for output in state.outputs:
        holding, is_forged = _sealed(output.holding, state) if output.holding else (output.holding, False)
        state = state.with_output(output._replace(holding=holding, forged=output.forged or is_forged))
        notifications += (OutputForged(output.name),) if is_forged else ()
    return state, notifications


def with_service(state: State, now: Instant) -> State:
    """The state with `unserved_since` updated: when a standby first saw an output without a valid token."""
    if state.leads or not any(output.is_without(now) for output in state.outputs):
        return state._replace(unserved_since=None, alarmed=False)
    return state if state.unserved_since is not None else state._replace(unserved_since=now.boot)


def _settled(  # noqa: PLR0913 -- what a write changes
    state: State, policy: TokenPolicy, output: OutputState, found: Holding, facts: TokenFacts, at: float
) -> Observed:
    """The output holds the token with these `facts` since a write, seen at boot second `at`."""
    hook = output.hook.owed_again() if policy.has_hook(output.name) else output.hook
    after = OutputState(output.name, found, facts.fingerprint, inspected_at=at, writable=True, hook=hook)
    after = after._replace(
        refresh_requested=output.refresh_requested, refresh_fulfilled=output.refresh_fulfilled
    )
    return state.with_output(after), (OutputWritten(output.name, kind_of_write(output, facts), facts),)


def _holds(holding: Holding | None) -> str | None:
    """The fingerprint of the token, if the output is intact."""
    return holding.facts.fingerprint if holding and holding.facts and holding.intact else None


def _believed(found: Holding, state: State, policy: TokenPolicy, now: Instant) -> Holding:
    """`found`, with the remembered facts if it is the token in hand: they have both clocks' readings, an
    output has only the wall clock's. An equal token is the same object, so that it is in memory once."""
    if found.facts and state.facts and found.facts.fingerprint == state.facts.fingerprint:
        token = found.token and found.token._replace(facts=state.facts)
        return found._replace(facts=state.facts, token=state.token if token == state.token else token)
    found = adoption.believed(found, now)
    return exclusive.living(found, state.facts) if policy.exclusive else found


def inspect_failed(
    state: State, policy: TokenPolicy, event: InspectFailed, now: Instant, began: float
) -> Observed:
    """Keep the holding of an output that is only out of sight: consumers may still have its token. If a mint
    would end that token, keep the holding of any unreadable output, but write it again.

    `began`: when (boot seconds) the inspection began.
    """
    output = state.output(event.output)
    next_try = now.boot + backoff.inspect_wait(output.reads.failures + 1)
    after = output._replace(
        holding=output.holding if event.out_of_sight else _unreadable(output.holding, policy),
        inspected_at=began,
        reads=output.reads.failed(event.message, next_try, now.boot)
        if event.out_of_sight
        else output.reads.failed(event.message, NEVER, now.boot)._replace(failures=0),
    )
    if output.reads.problem == event.message:
        return state.with_output(after), ()
    failed = _output_failed(output, event.message, now, writing=False)
    return state.with_output(after), (failed._replace(series=after.reads.series),)


def _unreadable(known: Holding | None, policy: TokenPolicy) -> Holding:
    return known._replace(intact=False) if policy.exclusive and known is not None else Holding()


def _output_failed(output: OutputState, message: str, now: Instant, *, writing: bool) -> OutputFailed:
    facts = output.facts
    expiry = facts.expiry if facts and facts.remaining(now) > 0 else None
    progress = output.writes if writing else output.reads
    return OutputFailed(output.name, message, expiry, writing, series=progress.series)
