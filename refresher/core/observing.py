"""What each event changes. One function an event; `machine` is the way in."""

from refresher.core import adoption, backoff, mints
from refresher.core.announcements import (
    Announcement,
    ConsumersUnserved,
    KeyLoaded,
    KeyLost,
    OutputDisturbed,
    OutputFailed,
    OutputHeld,
    OutputWritten,
    TokenAdopted,
)
from refresher.core.instant import Instant
from refresher.core.messages import (
    Adopt,
    Event,
    ExpiryReported,
    Found,
    Inspect,
    InspectFailed,
    KeyRead,
    KeyUnreadable,
    Late,
    LeadershipChanged,
    Mint,
    Minted,
    MintFailed,
    RaiseAlarm,
    RefreshRequested,
    Rehearse,
    Rehearsed,
    Stalled,
    Started,
    Stopping,
    Write,
    WriteFailed,
    Written,
)
from refresher.core.mints import Observed
from refresher.core.model import Holding, Reason, TokenFacts
from refresher.core.state import NEVER, Credential, OutputState, State, TokenPolicy


def observe(  # noqa: C901, PLR0911, PLR0912 -- a line for each event
    state: State, policy: TokenPolicy, event: Event, now: Instant
) -> Observed:
    match event:
        case Started():
            return _started(state, event, now)
        case KeyRead():
            return _key_read(state, event)
        case KeyUnreadable():
            return _key_unreadable(state, event)
        case Minted():
            return mints.minted(state, policy, event, now)
        case MintFailed():
            return mints.mint_failed(state, policy, event, now)
        case Written():
            return _written(state, event, now)
        case WriteFailed():
            return _write_failed(state, event, now)
        case Rehearsed():
            return _rehearsed(state, event), ()
        case Found():
            return _found(state, event, now)
        case InspectFailed():
            return _inspect_failed(state, event, now)
        case Stalled():
            return _stalled(state, event, now)
        case Late():
            return _late(state, policy, event, now)
        case ExpiryReported():
            return mints.expiry_reported(state, policy, event, now)
        case LeadershipChanged():
            return _leadership_changed(state, event, now), ()
        case RefreshRequested():
            return _refresh_requested(state), ()
        case Stopping():
            return state._replace(stopping=True), ()


def _started(state: State, event: Started, now: Instant) -> Observed:
    match event.step:
        case Mint():
            return state._replace(minting=event.step), ()
        case Write(output=name) | Inspect(output=name) | Rehearse(output=name):
            return state.with_output(state.output(name)._replace(busy_since=now.boot)), ()
        case RaiseAlarm(outputs=outputs):
            return state._replace(alarmed=True), (ConsumersUnserved(outputs),)
        case Adopt(holding=holding):
            adopted = state._replace(facts=holding.facts, token=holding.token)
            if holding.facts and state.candidate and holding.facts.key_fingerprint == _name(state.candidate):
                # A key whose token is still good has proven itself to whoever minted it.
                adopted = adopted._replace(proven=state.candidate, candidate=None)
            if state.facts is not None and state.wanted is Reason.REPORTED_EXPIRED:
                adopted = adopted._replace(wanted=None)  # that was said of the token before
            announced = (TokenAdopted(event.step.output, holding.facts),) if holding.facts else ()
            return adopted, announced


def _name(credential: Credential) -> str:
    return credential.key.fingerprint


def _key_read(state: State, event: KeyRead) -> Observed:
    fingerprint = event.key.fingerprint
    recovered = state.key_problem is not None
    state = state._replace(key_problem=None)
    if state.newest is not None and _name(state.newest) == fingerprint:
        return state, ((KeyLoaded(fingerprint, changed=False),) if recovered else ())
    if state.proven is not None and _name(state.proven) == fingerprint:
        # Put back: the newer key is forgotten. The operator has acted, so the old one is tried without delay.
        state = state._replace(proven=state.proven._replace(next_try=NEVER), candidate=None)
        return state, (KeyLoaded(fingerprint, changed=True),)
    changed = state.newest is not None
    return state._replace(candidate=Credential(event.key)), (KeyLoaded(fingerprint, changed),)


def _key_unreadable(state: State, event: KeyUnreadable) -> Observed:
    if state.key_problem == event.message:
        return state, ()
    kept = state.newest is not None
    return state._replace(key_problem=event.message), (KeyLost(event.message, kept),)


def _written(state: State, event: Written, now: Instant) -> Observed:
    output = state.output(event.output)
    facts = event.token.facts
    holding = Holding(facts, None, intact=True, owner=output.holding.owner if output.holding else "")
    after = OutputState(output.name, holding, facts.fingerprint, looked_at=now.boot, writable=True)
    return state.with_output(after), (OutputWritten(output.name, kind_of_write(output, facts), facts),)


def kind_of_write(output: OutputState, facts: TokenFacts) -> str:
    """Whether writing this token brings something new or puts right what was disturbed: `Write.reason`."""
    return "repair" if output.published == facts.fingerprint else "new"


def _write_failed(state: State, event: WriteFailed, now: Instant) -> Observed:
    output = state.output(event.output)
    if not state.leads:  # it began while this process led; what comes of it is for the one that does now
        return state.with_output(output._replace(busy_since=None)), ()
    failures = output.failures + 1
    remaining = output.holding.remaining(now) if output.holding else 0.0
    wait = backoff.write_wait(failures, remaining, event.retry_after, event.roll)
    after = output._replace(
        busy_since=None,
        failures=failures,
        next_try=now.boot + wait,
        unwritable=event.message,
        writable=False,
    )
    return state.with_output(after), (_output_failed(output, event.message, now, writing=True),)


def _rehearsed(state: State, event: Rehearsed) -> State:
    after = state.output(event.output)._replace(
        busy_since=None, failures=0, next_try=NEVER, unwritable=None, writable=True
    )
    return state.with_output(after)


def _stalled(state: State, event: Stalled, now: Instant) -> Observed:
    """A hung file system raises no error, so the silence itself is reported, again and again."""
    output = state.output(event.output)
    step = "write" if event.writing else "read"
    message = (
        f"{output.name} does not answer: a {step} has not ended after {event.seconds:.0f} s; "
        "check the file system or the API server behind it"
    )
    if event.writing:
        output = output._replace(failures=output.failures + 1, unwritable=message)
    else:
        output = output._replace(unreadable=message)
    return state.with_output(output), (_output_failed(output, message, now, writing=event.writing),)


def _late(state: State, policy: TokenPolicy, event: Late, now: Instant) -> Observed:
    """A step that was given up has ended after all. Use its token if it is fresher than the one in hand.
    Look at its output again: another step may have used it since."""
    match event.event:
        case Minted() as late:
            known = state.facts
            if not state.leads or (known is not None and known.issued.boot >= late.token.facts.issued.boot):
                return state, ()
            after, said = mints.minted(state, policy, late, now)
            return after._replace(minting=state.minting), said
        case MintFailed():
            return state, ()
        case ended:
            output = state.output(ended.output)
            return state.with_output(output._replace(published=None, unseen=1, unseen_at=NEVER)), ()


def _found(state: State, event: Found, now: Instant) -> Observed:
    output = state.output(event.output)
    found = _believed(event.holding, state, now)
    held = _holds(found)
    writes = state.leads and not event.held  # else another process does
    was_in_place = output.published is not None and _holds(output.holding) == output.published
    disturbed = writes and was_in_place and held != output.published
    if writes and output.failures and state.facts and held == state.facts.fingerprint:
        return _landed(state, output, found, state.facts, now)
    published = output.published if writes else held
    after = output._replace(
        holding=found,
        published=published or held,  # at the first look: what a predecessor published
        looked_at=_began(output, now),
        busy_since=None,
        unreadable=None,
        held=event.held,
        unseen=0,
    )
    said: tuple[Announcement, ...] = (OutputDisturbed(output.name),) if disturbed else ()
    if event.held and not output.held:
        said += (OutputHeld(output.name, event.held),)
    return _with_service(state.with_output(after), now), said


def _with_service(state: State, now: Instant) -> State:
    """The state that knows since when consumers are without a token that another process owes them."""
    if state.leads or not any(output.is_without(now) for output in state.outputs):
        return state._replace(unserved_since=None, alarmed=False)
    return state if state.unserved_since is not None else state._replace(unserved_since=now.boot)


def _landed(state: State, output: OutputState, found: Holding, facts: TokenFacts, now: Instant) -> Observed:
    """What was thought not to be written is there: the answer to the write was lost."""
    began = _began(output, now)
    after = OutputState(output.name, found, facts.fingerprint, looked_at=began, writable=True)
    return state.with_output(after), (OutputWritten(output.name, kind_of_write(output, facts), facts),)


def _began(output: OutputState, now: Instant) -> float:
    """When the look that has ended began: what it saw may be as old as that."""
    return now.boot if output.busy_since is None else output.busy_since


def _holds(holding: Holding | None) -> str | None:
    """The fingerprint of the token that is there, intact."""
    return holding.facts.fingerprint if holding and holding.facts and holding.intact else None


def _believed(found: Holding, state: State, now: Instant) -> Holding:
    """Of the token in hand, memory is believed: it has both clocks, an output only the wall clock's."""
    if found.facts and state.facts and found.facts.fingerprint == state.facts.fingerprint:
        return found._replace(facts=state.facts)
    return adoption.believed(found, now)


def _inspect_failed(state: State, event: InspectFailed, now: Instant) -> Observed:
    """What is merely out of sight is what it was: nobody says that consumers have lost it."""
    output = state.output(event.output)
    after = output._replace(
        holding=output.holding if event.out_of_sight else Holding(),
        looked_at=_began(output, now),
        busy_since=None,
        unreadable=event.message,
        unseen=output.unseen + 1 if event.out_of_sight else 0,
        unseen_at=now.boot,
    )
    if output.unreadable == event.message:
        return state.with_output(after), ()
    return state.with_output(after), (_output_failed(output, event.message, now, writing=False),)


def _output_failed(output: OutputState, message: str, now: Instant, *, writing: bool) -> OutputFailed:
    facts = output.facts
    expiry = facts.expiry if facts and facts.remaining(now) > 0 else None
    return OutputFailed(output.name, message, expiry, writing)


def _leadership_changed(state: State, event: LeadershipChanged, now: Instant) -> State:
    """A new leader believes what the outputs hold, and nothing that it has known before. Whoever steps back
    has nothing to write any more, so nothing keeps it from that, and owes nobody a new token."""
    if event.leads and not state.leads:
        outputs = tuple(output._replace(published=None, writable=False) for output in state.outputs)
        state = state._replace(
            outputs=outputs, leads=True, leads_since=now.boot, facts=None, token=None, own=False
        )
        return _with_service(state, now)
    if state.leads and not event.leads:
        outputs = tuple(
            output._replace(failures=0, next_try=NEVER, unwritable=None) for output in state.outputs
        )
        return state._replace(outputs=outputs, leads=False, wanted=None, wanted_late=False)
    return state


def _refresh_requested(state: State) -> State:
    """An operator asks: no back-off stands in the way of that. Who does not lead has nothing to do for it."""
    if not state.leads:
        return state
    return state._replace(
        wanted=Reason.REQUESTED,
        wanted_late=state.minting is not None,
        outlived=None,
        proven=state.proven._replace(next_try=NEVER) if state.proven else None,
        candidate=state.candidate._replace(next_try=NEVER) if state.candidate else None,
    )
