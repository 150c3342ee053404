"""What each event changes. One function an event; `machine` is the way in."""

from refresher.core import adoption, backoff, schedule
from refresher.core.answers import NOT_SHOWN, gives_away
from refresher.core.consumers import left_to_consumers
from refresher.core.instant import Instant
from refresher.core.messages import (
    Adopt,
    Announcement,
    Event,
    ExpiryReported,
    Found,
    Inspect,
    InspectFailed,
    KeyLoaded,
    KeyLost,
    KeyProven,
    KeyRead,
    KeyUnreadable,
    LeadershipChanged,
    Mint,
    Minted,
    MintFailed,
    OutputDisturbed,
    OutputFailed,
    OutputWritten,
    RefreshFailed,
    RefreshRequested,
    Started,
    Stopping,
    TokenAdopted,
    TokenMinted,
    Write,
    WriteFailed,
    Written,
)
from refresher.core.model import Declined, Holding, Outcome, Reason, SecretStr, Token
from refresher.core.state import NEVER, Credential, OutputState, State, TokenPolicy

Observed = tuple[State, tuple[Announcement, ...]]

SAME_TOKEN = "the issuer gave the same token as before; its old expiry stands"  # noqa: S105 -- a message


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
            return _minted(state, policy, event, now)
        case MintFailed():
            return _mint_failed(state, policy, event, now)
        case Written():
            return _written(state, event, now)
        case WriteFailed():
            return _write_failed(state, event, now)
        case Found():
            return _found(state, event, now)
        case InspectFailed():
            return _inspect_failed(state, event, now)
        case ExpiryReported():
            return _expiry_reported(state, event), ()
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
        case Write(output=name) | Inspect(output=name):
            return state.with_output(state.output(name)._replace(busy_since=now.boot)), ()
        case Adopt(holding=holding):
            # A key whose token is still good has proven itself to whoever minted it.
            adopted = state._replace(
                facts=holding.facts, token=holding.token, proven=state.newest, candidate=None
            )
            announced = (TokenAdopted(event.step.output, holding.facts),) if holding.facts else ()
            return adopted, announced


def _key_read(state: State, event: KeyRead) -> Observed:
    fingerprint = event.key.fingerprint
    recovered = state.key_problem is not None
    state = state._replace(key_problem=None)
    if state.newest is not None and state.newest.key.fingerprint == fingerprint:
        return state, ((KeyLoaded(fingerprint, changed=False),) if recovered else ())
    if state.proven is not None and state.proven.key.fingerprint == fingerprint:
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


def _minted(state: State, policy: TokenPolicy, event: Minted, now: Instant) -> Observed:
    known = {
        output.holding.facts.fingerprint
        for output in state.outputs
        if output.holding and output.holding.facts
    }
    if state.facts is not None:
        known.add(state.facts.fingerprint)
    before = _credential(state, event.key)
    reason = state.minting.reason if state.minting else Reason.FIRST
    state, proven = _accepted(state, event.key)
    if event.token.facts.fingerprint in known:
        same = MintFailed(event.key, Declined(Outcome.OK, SAME_TOKEN), event.roll)
        state, failed = _mint_failed(state, policy, same, now)
        return state, failed + proven
    minted = TokenMinted(reason, event.token.facts, before.failures if before else 0)
    return state._replace(
        proven=Credential(event.key),
        facts=event.token.facts,
        token=event.token,
        own=True,
        minting=None,
        wanted=state.wanted if state.wanted_late else None,
        wanted_late=False,
    ), (minted, *proven)


def _mint_failed(state: State, policy: TokenPolicy, event: MintFailed, now: Instant) -> Observed:
    key, declined = event.key, _discreet(event.declined, state)
    reason = state.minting.reason if state.minting else Reason.FIRST
    state = state._replace(minting=None, wanted_late=False)
    left = left_to_consumers(state, policy, now)
    credential = _credential(state, key)
    if credential is None:
        return state, ()  # the key was replaced meanwhile: how it fared is of no interest any more
    failures = credential.failures + 1
    budget = schedule.attempt_budget(policy.timeout, policy.lifetime)
    wait = backoff.wait_after(declined, failures, left, budget, event.roll)
    is_refused = declined.outcome is Outcome.KEY_REFUSED or credential.is_refused
    state = _with_credential(state, Credential(key, failures, now.boot + wait, declined, is_refused))
    return state, (RefreshFailed(reason, declined.outcome, declined.message, key.fingerprint, wait, left),)


def _discreet(declined: Declined, state: State) -> Declined:
    """Without its message where that repeats a token that consumers are served with."""
    held = [output.holding.token for output in state.outputs if output.holding]
    tokens = [token for token in (state.token, *held) if token is not None]
    secrets = [secret for token in tokens for secret in (token.access, token.refresh) if secret is not None]
    if any(gives_away(declined.message, secret.reveal()) for secret in secrets):
        return declined._replace(message=NOT_SHOWN)
    return declined


def _credential(state: State, key: SecretStr) -> Credential | None:
    for credential in (state.candidate, state.proven):
        if credential is not None and credential.key.fingerprint == key.fingerprint:
            return credential
    return None


def _with_credential(state: State, credential: Credential) -> State:
    if state.candidate is not None and state.candidate.key.fingerprint == credential.key.fingerprint:
        return state._replace(candidate=credential)
    return state._replace(proven=credential)


def _accepted(state: State, key: SecretStr) -> Observed:
    """The issuer has accepted `key`: from here on it is the one in use, and older ones are forgotten. One
    that was read while the answer was under way is still to be proved."""
    before = _credential(state, key) or Credential(key)
    others = state.candidate if state.candidate is not before else None
    is_news = before.is_refused or (state.proven is not None and state.proven is not before)
    state = state._replace(proven=before._replace(is_refused=False), candidate=others)
    return state, ((KeyProven(key.fingerprint),) if is_news else ())


def _written(state: State, event: Written, now: Instant) -> Observed:
    output = state.output(event.output)
    facts = event.token.facts
    after = OutputState(output.name, Holding(facts, None, intact=True), facts.fingerprint, looked_at=now.boot)
    return state.with_output(after), (OutputWritten(output.name, kind_of_write(output, event.token), facts),)


def kind_of_write(output: OutputState, token: Token) -> str:
    """Whether writing `token` brings something new or puts right what was disturbed: `Write.reason`."""
    return "repair" if output.published == token.facts.fingerprint else "new"


def _write_failed(state: State, event: WriteFailed, now: Instant) -> Observed:
    output = state.output(event.output)
    failures = output.failures + 1
    remaining = output.holding.remaining(now) if output.holding else 0.0
    wait = min(backoff.retry_wait(failures, remaining, event.roll), backoff.LONGEST_WITHOUT_TOKEN)
    after = output._replace(
        busy_since=None, failures=failures, next_try=now.boot + wait, unwritable=event.message
    )
    return state.with_output(after), (_output_failed(output, event.message, now, writing=True),)


def _found(state: State, event: Found, now: Instant) -> Observed:
    output = state.output(event.output)
    found = _believed(event.holding, state, now)
    held = _holds(found)
    was_in_place = output.published is not None and _holds(output.holding) == output.published
    disturbed = state.leads and was_in_place and held != output.published
    published = output.published if state.leads else held  # what the leader publishes
    after = output._replace(
        holding=found,
        published=published or held,  # at the first look: what a predecessor published
        looked_at=_began(output, now),
        busy_since=None,
        unreadable=None,
    )
    return state.with_output(after), ((OutputDisturbed(output.name),) if disturbed else ())


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
    output = state.output(event.output)
    after = output._replace(
        holding=Holding(), looked_at=_began(output, now), busy_since=None, unreadable=event.message
    )
    if output.unreadable == event.message:
        return state.with_output(after), ()
    return state.with_output(after), (_output_failed(output, event.message, now, writing=False),)


def _output_failed(output: OutputState, message: str, now: Instant, *, writing: bool) -> OutputFailed:
    facts = output.holding.facts if output.holding else None
    expiry = facts.expiry if facts and facts.remaining(now) > 0 else None
    return OutputFailed(output.name, message, expiry, writing)


def _expiry_reported(state: State, event: ExpiryReported) -> State:
    if (
        state.facts is None
        or state.facts.fingerprint != event.fingerprint
        or state.wanted is Reason.REQUESTED
    ):
        return state
    return state._replace(wanted=Reason.REPORTED_EXPIRED)


def _leadership_changed(state: State, event: LeadershipChanged, now: Instant) -> State:
    """A new leader believes what the outputs hold, and nothing that it has known before."""
    if event.leads and not state.leads:
        outputs = tuple(output._replace(published=None) for output in state.outputs)
        return state._replace(
            outputs=outputs, leads=True, leads_since=now.boot, facts=None, token=None, own=False
        )
    return state._replace(leads=event.leads)


def _refresh_requested(state: State) -> State:
    """An operator asks: no back-off stands in the way of that. Who does not lead has nothing to do for it."""
    if not state.leads:
        return state
    return state._replace(
        wanted=Reason.REQUESTED,
        wanted_late=state.minting is not None,
        proven=state.proven._replace(next_try=NEVER) if state.proven else None,
        candidate=state.candidate._replace(next_try=NEVER) if state.candidate else None,
    )
