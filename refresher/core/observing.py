"""How each event changes the state: one function for each event. Call it through `machine`."""

from refresher.core import exclusive, hooks, mints, output_events, refresh_requests
from refresher.core.effects import MINT_SLOT, Adopt, RaiseAlarm
from refresher.core.events import (
    DryRunPassed,
    Ending,
    Event,
    ExpiryReported,
    Found,
    HookEnded,
    InspectFailed,
    KeyRead,
    KeyUnreadable,
    Late,
    LeadershipChanged,
    Minted,
    MintFailed,
    RefreshPlaced,
    RefreshRequested,
    Stalled,
    Started,
    Stopping,
    Verified,
    WatchEnded,
    WriteFailed,
    Written,
)
from refresher.core.instant import Instant
from refresher.core.mints import Observed
from refresher.core.model import Holding, Reason
from refresher.core.notifications import ConsumersUnserved, KeyLoaded, KeySourceFailed, Series, TokenAdopted
from refresher.core.state import NEVER, NO_FAILURES, Credential, State, TokenPolicy


def observe(  # noqa: C901, PLR0911 -- a line for each event
    state: State, policy: TokenPolicy, event: Event, now: Instant
) -> Observed:
    if isinstance(event, Ending):
        return _ended(state, policy, event, now)
    match event:
        case Started():
            return _started(state, policy, event, now)
        case KeyRead():
            return output_events.verified(*_key_read(state, event))
        case KeyUnreadable():
            return _key_unreadable(state, event, now)
        case Stalled():
            return output_events.stalled(state, event, now)
        case Late():
            return _late(state, policy, event, now)
        case ExpiryReported():
            return mints.expiry_reported(state, policy, event, now)
        case LeadershipChanged():
            return _leadership_changed(state, event, now), ()
        case RefreshPlaced():
            return output_events.refresh_placed(state, event), ()
        case RefreshRequested():
            return _refresh_requested(state), ()
        case WatchEnded():
            return output_events.watch_ended(state, event), ()
        case Stopping():
            return state._replace(stopping=True), ()


def _ended(  # noqa: C901, PLR0911 -- a line for each event
    state: State, policy: TokenPolicy, event: Ending, now: Instant
) -> Observed:
    """An effect has ended, so its slot is free."""
    if event.slot.target and not state.has_output(event.slot.target):
        return state, ()  # the output is no longer configured
    flight = state.flight(event.slot)
    began = flight.since if flight else now.boot
    state = state.without_flights({event.slot})
    match event:
        case Minted():
            return mints.minted(state, policy, event, now, mints.Attempt.of(flight, now))
        case MintFailed():
            return mints.mint_failed(state, policy, event, now, mints.Attempt.of(flight, now).reason)
        case Verified():
            return mints.verified(state, policy, event, now)
        case Written():
            return output_events.written(state, policy, event, now)
        case WriteFailed():
            return output_events.write_failed(state, event, now)
        case DryRunPassed():
            return output_events.dry_run_passed(state, event, now), ()
        case Found():
            return output_events.found(state, policy, event, now, began)
        case InspectFailed():
            return output_events.inspect_failed(state, policy, event, now, began)
        case HookEnded():
            return hooks.ended(state, event, now)


def _started(state: State, policy: TokenPolicy, event: Started, now: Instant) -> Observed:
    match event.step:
        case RaiseAlarm(outputs=outputs):
            return state._replace(alarmed=True), (ConsumersUnserved(outputs),)
        case Adopt(output=output, holding=holding):
            return _adopted(state, policy, output, holding)
        case effect:
            return state.with_flight(effect, now), ()


def _adopted(state: State, policy: TokenPolicy, output: str, holding: Holding) -> Observed:
    adopted = state._replace(facts=holding.facts, token=holding.token)
    if policy.exclusive:
        adopted = exclusive.without_ended(adopted)
    adopted = refresh_requests.fulfilled(adopted)
    if holding.facts and state.candidate and holding.facts.key_fingerprint == _name(state.candidate):
        # The key is proven: its token was minted with it.
        adopted = adopted._replace(proven=state.candidate, candidate=None)
    if state.facts is not None and state.requested_reason is Reason.REPORTED_EXPIRED:
        adopted = adopted._replace(requested_reason=None)  # the report was about the former token
    return adopted, ((TokenAdopted(output, holding.facts),) if holding.facts else ())


def _name(credential: Credential) -> str:
    return credential.key.fingerprint


def _key_read(state: State, event: KeyRead) -> Observed:
    fingerprint = event.key.fingerprint
    recovered = state.key_problem is not None
    state = state._replace(key_reads=NO_FAILURES)
    if state.newest is not None and _name(state.newest) == fingerprint:
        return state, ((KeyLoaded(fingerprint, changed=False),) if recovered else ())
    if state.proven is not None and _name(state.proven) == fingerprint:
        # The operator has put the proven key back: forget the newer key, and try the proven one at once.
        state = state._replace(proven=_without_delay(state.proven), candidate=None)
        return state, (KeyLoaded(fingerprint, changed=True),)
    changed = state.newest is not None
    return state._replace(candidate=Credential(event.key)), (KeyLoaded(fingerprint, changed),)


def _key_unreadable(state: State, event: KeyUnreadable, now: Instant) -> Observed:
    if state.key_problem == event.message:
        return state, ()
    kept = state.newest is not None
    reads = state.key_reads.failed(event.message, NEVER, now.boot)
    series = Series(now.boot if reads.since is None else reads.since, None)
    return state._replace(key_reads=reads), (KeySourceFailed(event.message, kept, series),)


def _late(state: State, policy: TokenPolicy, event: Late, now: Instant) -> Observed:
    """A given-up effect has ended after all. Use its token if it is fresher than the token in hand. Inspect
    its output again: a later effect may have used it since. A hook that succeeded need not run again."""
    match event.event:
        case Minted() as late:
            known = state.facts
            if (
                state.trial is not None
                or not state.leads
                or (known is not None and known.issued.boot >= late.token.facts.issued.boot)
            ):
                return state, ()
            return mints.minted(state, policy, late, now, mints.Attempt.of(state.flight(MINT_SLOT), now))
        case MintFailed() | Verified():
            return state, ()
        case ended if not state.has_output(ended.output):
            return state, ()
        case HookEnded() as ended:
            return hooks.ended(state, ended, now) if ended.problem is None else (state, ())
        case ended:
            output = state.output(ended.output)
            again = output.reads._replace(failures=1, next_try=NEVER)
            return state.with_output(output._replace(published=None, reads=again)), ()


def _leadership_changed(state: State, event: LeadershipChanged, now: Instant) -> State:
    """A new leader forgets its token and inspects the outputs: another leader may have written them. A former
    leader clears its failed writes, its trial and any requested refresh, because it writes and mints no more.
    """
    if event.leads and not state.leads:
        outputs = tuple(output._replace(published=None, writable=False) for output in state.outputs)
        state = state._replace(
            outputs=outputs, leads=True, leads_since=now.boot, facts=None, token=None, minted_here=False
        )
        return output_events.with_service(state, now)
    if state.leads and not event.leads:
        outputs = tuple(output._replace(writes=NO_FAILURES) for output in state.outputs)
        return state._replace(
            outputs=outputs, leads=False, trial=None, requested_reason=None, requested_during_mint=False
        )
    return state


def _refresh_requested(state: State) -> State:
    """An operator requests a new token: cancel all back-off. A standby ignores the request."""
    if not state.leads:
        return state
    return state._replace(
        requested_reason=Reason.REQUESTED,
        requested_during_mint=state.is_minting,
        observed_lifetime=None,
        proven=_without_delay(state.proven) if state.proven else None,
        candidate=_without_delay(state.candidate) if state.candidate else None,
    )


def _without_delay(credential: Credential) -> Credential:
    return credential._replace(retry=credential.retry._replace(next_try=NEVER))
