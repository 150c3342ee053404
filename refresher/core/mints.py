"""What the end of a mint changes, and what is learnt of how long tokens live."""

from refresher.core import backoff, expiry, schedule
from refresher.core.consumers import left_to_consumers
from refresher.core.disclosure import censored
from refresher.core.events import ExpiryReported, Minted, MintFailed
from refresher.core.instant import Instant
from refresher.core.model import Declined, Outcome, Reason, SecretStr, Token
from refresher.core.notifications import (
    KeyProven,
    LifetimeShortened,
    Notification,
    RefreshFailed,
    TokenMinted,
)
from refresher.core.state import Credential, State, TokenPolicy

Observed = tuple[State, tuple[Notification, ...]]

SAME_TOKEN = "the issuer gave the same token as before; its old expiry stands"  # noqa: S105 -- a message


def minted(state: State, policy: TokenPolicy, event: Minted, now: Instant) -> Observed:
    seen = (state.facts, *(output.facts for output in state.outputs))
    known = {facts.fingerprint for facts in seen if facts is not None}
    before = _credential(state, event.key)
    reason = state.minting.reason if state.minting else Reason.FIRST
    state, proven = _accepted(state, event.key)
    if event.token.facts.fingerprint in known:
        same = MintFailed(event.key, Declined(Outcome.OK, SAME_TOKEN), event.roll)
        state, failed = mint_failed(state, policy, same, now)
        return state, failed + proven
    token = _believed_token(event.token, state, policy)
    news = TokenMinted(reason, token.facts, before.failures if before else 0)
    state = state._replace(
        proven=Credential(event.key),
        facts=token.facts,
        token=token,
        minted_here=True,
        minting=None,
        requested_reason=state.requested_reason if state.requested_during_mint else None,
        requested_during_mint=False,
    )
    notifications: tuple[Notification, ...] = (news, *proven)
    if event.expired:
        state, shorter = expiry_reported(state, policy, ExpiryReported(token.facts.fingerprint), now)
        notifications += shorter
    return state, notifications


def _believed_token(token: Token, state: State, policy: TokenPolicy) -> Token:
    """The token, with no longer a life than was seen of one before it."""
    shortest = schedule.soonest(policy.lifetime)
    lifetime = expiry.shortened(token.facts.lifetime, state.observed_lifetime, shortest)
    return token._replace(facts=token.facts._replace(lifetime=lifetime))


def mint_failed(state: State, policy: TokenPolicy, event: MintFailed, now: Instant) -> Observed:
    key, declined = event.key, _discreet(event.declined, state)
    reason = state.minting.reason if state.minting else Reason.FIRST
    state = state._replace(minting=None, requested_during_mint=False)
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
    """Without the parts of its message that repeat a token in use."""
    held = [output.holding.token for output in state.outputs if output.holding]
    tokens = [token for token in (state.token, *held) if token is not None]
    secrets = (
        secret for token in tokens for secret in (token.access, token.refresh_token) if secret is not None
    )
    return declined._replace(message=censored(declined.message, (secret.reveal() for secret in secrets)))


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


def expiry_reported(state: State, policy: TokenPolicy, event: ExpiryReported, now: Instant) -> Observed:
    """Believed of the token in hand alone, which is replaced; and no later one is believed to live longer
    than this one did, until the operator has all minted anew."""
    facts = state.facts
    if facts is None or facts.fingerprint != event.fingerprint or state.requested_reason is Reason.REQUESTED:
        return state, ()
    state = state._replace(requested_reason=Reason.REPORTED_EXPIRED)
    age, shortest = max(0.0, facts.issued.age(now)), schedule.soonest(policy.lifetime)
    believed = expiry.shortened(facts.lifetime, age, shortest)
    if believed >= facts.lifetime or (
        state.observed_lifetime is not None and state.observed_lifetime <= believed
    ):
        return state, ()
    return state._replace(observed_lifetime=believed), (LifetimeShortened(facts.fingerprint, age, believed),)
