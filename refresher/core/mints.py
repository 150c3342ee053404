"""How the state changes when a mint or a trial ends, and when a token expires early."""

from typing import NamedTuple, Self

from refresher.core import backoff, exclusive, expiry, refresh_requests, schedule
from refresher.core.consumers import left_to_consumers
from refresher.core.disclosure import censored, unrevealing
from refresher.core.effects import Mint
from refresher.core.events import ExpiryReported, Minted, MintFailed, Verified
from refresher.core.instant import Instant
from refresher.core.model import (
    Declined,
    Granted,
    MintResult,
    Outcome,
    Reason,
    SecretStr,
    Token,
    TokenFacts,
    Verdict,
    Verification,
    secrets_in,
)
from refresher.core.notifications import (
    KeyProven,
    LifetimeShortened,
    Notification,
    RefreshFailed,
    TokenMinted,
    TokenVerified,
)
from refresher.core.state import Credential, InFlight, State, TokenPolicy, Trial
from refresher.core.values import distinct

Observed = tuple[State, tuple[Notification, ...]]

SAME_TOKEN = "the issuer gave the same token as before; its old expiry stands"  # noqa: S105 -- a message


def token_of(result: MintResult, granted: Granted, key: SecretStr, issuer: str, lifetime: float) -> Token:
    """The token that the issuer granted. Its lifetime counts from the moment before the request was sent, and
    is the expected one (core/expiry.py)."""
    facts = TokenFacts(
        issued=result.sent,
        lifetime=min(lifetime, granted.lifetime),
        requested=lifetime,
        key_fingerprint=key.fingerprint,
        fingerprint=granted.access.fingerprint,
        has_refresh_token=granted.refresh_token is not None,
        issuer=issuer,
    )
    return Token(facts, granted.access, granted.refresh_token)


@distinct
class Attempt(NamedTuple):
    """A mint that has ended: its reason, and when (boot seconds) it began."""

    reason: Reason
    began: float

    @classmethod
    def of(cls, flight: InFlight | None, now: Instant) -> Self:
        """The attempt of `flight`. A given-up attempt is no longer in flight; then the values are guesses."""
        if flight is None or not isinstance(flight.effect, Mint):
            return cls(Reason.FIRST, now.boot)
        return cls(flight.effect.reason, flight.since)


def minted(state: State, policy: TokenPolicy, event: Minted, now: Instant, attempt: Attempt) -> Observed:
    """After a successful mint. If the policy verifies tokens, a trial comes next."""
    facts = event.token.facts
    if (facts.issuer, facts.requested) != (policy.issuer, policy.lifetime):
        return state, ()  # the policy has changed since the mint began
    if not policy.verifies or not state.leads or _is_known(state, event.token):
        return _taken(state, policy, event, now, attempt.reason)
    until = attempt.began + policy.attempt_budget
    state = state._replace(trial=Trial(event, attempt.reason, until))
    if now.boot < until:
        return state, ()
    late = Verification(Verdict.INCONCLUSIVE, "the mint took all the time")
    return verified(state, policy, Verified(event.token.facts.fingerprint, late), now)


def verified(state: State, policy: TokenPolicy, event: Verified, now: Instant) -> Observed:
    """After a trial. Every token is published except a rejected one.

    An expired token is published because other consumers may accept it; later tokens are expected to live
    shorter. An inconclusive trial proves nothing about the token.
    """
    trial, (verdict, message) = state.trial, (event.verification.verdict, event.verification.message)
    if trial is None or trial.minted.token.facts.fingerprint != event.fingerprint:
        return state, ()  # that trial was given up
    state = state._replace(trial=None)
    token_verified = TokenVerified(event.fingerprint, verdict, message)
    if verdict is Verdict.REJECTED:
        why = f"issuer.verify rejects the new token: {message}; the published token stays"
        declined = Declined(Outcome.BAD_RESPONSE, why, backoff.KEY_PROBE)
        failed = MintFailed(trial.minted.key, declined, trial.minted.roll)
        state, notifications = mint_failed(state, policy, failed, now, trial.reason)
        return state, (token_verified, *notifications)
    state, notifications = _taken(state, policy, trial.minted, now, trial.reason)
    if verdict is Verdict.EXPIRED:
        state, shorter = expiry_reported(state, policy, ExpiryReported(event.fingerprint), now)
        notifications += shorter
    return state, (token_verified, *notifications)


def _is_known(state: State, token: Token) -> bool:
    seen = (state.facts, *(output.facts for output in state.outputs))
    return any(facts is not None and facts.fingerprint == token.facts.fingerprint for facts in seen)


def _taken(state: State, policy: TokenPolicy, event: Minted, now: Instant, reason: Reason) -> Observed:
    """The state with the new token in hand."""
    before = _credential(state, event.key)
    state, proven = _accepted(state, event.key)
    if _is_known(state, event.token):
        same = MintFailed(event.key, Declined(Outcome.OK, SAME_TOKEN), event.roll)
        state, failed = mint_failed(state, policy, same, now, reason)
        return state, failed + proven
    token = _believed_token(event.token, state, policy)
    token_minted = TokenMinted(reason, token.facts, before.retry.failures if before else 0)
    state = state._replace(
        proven=Credential(event.key),
        facts=token.facts,
        token=token,
        minted_here=True,
        requested_reason=state.requested_reason if state.requested_during_mint else None,
        requested_during_mint=False,
    )
    if policy.exclusive:
        state = exclusive.without_ended(state)
    return refresh_requests.fulfilled(state), (token_minted, *proven)


def _believed_token(token: Token, state: State, policy: TokenPolicy) -> Token:
    """The token. Its lifetime is at most the shortest that was observed."""
    shortest = schedule.soonest(policy.lifetime)
    lifetime = expiry.shortened(token.facts.lifetime, state.observed_lifetime, shortest)
    return token._replace(facts=token.facts._replace(lifetime=lifetime))


def mint_failed(
    state: State, policy: TokenPolicy, event: MintFailed, now: Instant, reason: Reason
) -> Observed:
    """After a failed mint: the key that was used backs off."""
    key, declined = event.key, _without_tokens(event.declined, state)
    state = state._replace(requested_during_mint=False)
    left = left_to_consumers(state, policy, now)
    credential = _credential(state, key)
    if credential is None:
        return state, ()  # the key was replaced, so its failure no longer matters
    failures = credential.retry.failures + 1
    wait = backoff.wait_after(declined, failures, left, policy.attempt_budget, event.roll)
    is_refused = declined.outcome is Outcome.KEY_REFUSED or credential.is_refused
    retry = credential.retry.failed(declined, now.boot + wait, now.boot)
    state = _with_credential(state, Credential(key, retry, is_refused))
    failed = RefreshFailed(
        reason,
        declined.outcome,
        declined.message,
        key.fingerprint,
        wait,
        left,
        retry.series,
        declined.request_id,
    )
    return state, (failed,)


def _without_tokens(declined: Declined, state: State) -> Declined:
    """`declined` without the parts of its message that repeat a token in use, and without a request id that
    does."""
    tokens = (state.trial.minted.token if state.trial else None, state.token)
    found = secrets_in((tokens, *(output.holding for output in state.outputs)))
    secrets = [secret.reveal() for secret in found]
    return declined._replace(
        message=censored(declined.message, secrets), request_id=unrevealing(declined.request_id, secrets)
    )


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
    """After the issuer has accepted `key`: it becomes the proven key, and older keys are forgotten. A key
    that was read during the mint remains a candidate."""
    before = _credential(state, key) or Credential(key)
    candidate = state.candidate if state.candidate is not before else None
    is_changed = before.is_refused or (state.proven is not None and state.proven is not before)
    state = state._replace(proven=before._replace(is_refused=False), candidate=candidate)
    return state, ((KeyProven(key.fingerprint),) if is_changed else ())


def expiry_reported(state: State, policy: TokenPolicy, event: ExpiryReported, now: Instant) -> Observed:
    """After a report that a token has expired. It counts only for the token in hand, which is then replaced.
    Later tokens are expected to live no longer, until the operator requests a refresh."""
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
