"""What happened, in a sentence for whoever is on call: why, until when consumers are served, what to do."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from refresher.core.advice import ADVICE
from refresher.core.durations import humanized
from refresher.core.instant import Instant
from refresher.core.model import Outcome, TokenFacts, Verdict
from refresher.core.notifications import (
    ConsumersUnserved,
    Crashed,
    IssuerAnswered,
    KeyLoaded,
    KeyProven,
    KeySourceFailed,
    LeaderChanged,
    LeaseFailed,
    LifetimeShortened,
    Notification,
    OutputDisturbed,
    OutputFailed,
    OutputForged,
    OutputHeld,
    OutputWritten,
    RefreshFailed,
    RequestIgnored,
    ThreadsRefused,
    TokenAdopted,
    TokenMinted,
    TokenVerified,
)
from refresher.core.rfc3339 import to_second

_WHEN_TRIED = ": it is tried within seconds (by LoadCredential=: after a restart)"


class Line(NamedTuple):
    """One entry of the log. `fields`: the same for machines. `error`: whose traceback belongs to it.

    `vouched`: made of names, fingerprints and times alone, so that no secret can be in it.
    """

    level: int
    text: str
    fields: dict[str, object]
    vouched: bool = False
    error: Exception | None = None


def told(notification: Notification, now: Instant, *, goes_on: bool = True) -> Line:
    """The entry for what was announced at `now`, without the token's name. `goes_on`: the process tries again
    by itself."""
    match notification:
        case RefreshFailed():
            return _refresh_failed(notification, now, goes_on=goes_on)
        case OutputHeld(output=output, message=message):
            return Line(logging.WARNING if goes_on else logging.INFO, message, {"output": output})
    return _LINES[type(notification)](notification)


def _minted(event: TokenMinted) -> Line:
    facts = event.facts
    text = f"minted a token ({event.reason}), {_until(facts)}"
    if facts.lifetime < facts.requested:
        text += f": believed to live {humanized(facts.lifetime)}, {humanized(facts.requested)} was asked for"
    if event.failures:
        text += f"; {_times(event.failures, 'attempt')} had failed before"
    return Line(
        logging.INFO,
        text,
        {"reason": event.reason.value, "failures": event.failures, **_of_token(facts)},
        vouched=True,
    )


def _refresh_failed(event: RefreshFailed, now: Instant, *, goes_on: bool) -> Line:
    refused = event.outcome is Outcome.KEY_REFUSED
    end = to_second(now.wall + event.left)
    if event.left > 0:
        served = f"consumers are served until {end} ({humanized(event.left)} more)"
    else:
        served = "CONSUMERS HAVE NO VALID TOKEN"
    if refused:
        what = f"the issuer refuses the key {event.key_fingerprint}: "
    else:  # "ok" that it answered, but with nothing new, as its message says
        what = "" if event.outcome is Outcome.OK else f"{event.outcome}: "
    then = f"in {humanized(event.wait)}" if goes_on else "with the next call"
    text = (
        f"no new token ({event.reason}): {what}{event.message}; {served}; "
        f"next attempt {then}; {ADVICE[event.outcome]}{_WHEN_TRIED if refused and goes_on else ''}"
    )
    fields: dict[str, object] = {
        "reason": event.reason.value,
        "outcome": event.outcome.value,
        "key_fingerprint": event.key_fingerprint,
        "wait_seconds": round(event.wait, 3),
        "left_seconds": round(event.left, 3),
    }
    return Line(logging.ERROR if refused or event.left <= 0 else logging.WARNING, text, fields)


def _written(event: OutputWritten) -> Line:
    verb = "put right" if event.reason == "repair" else "wrote"
    return Line(
        logging.INFO,
        f"{verb} {event.output}, {_until(event.facts)}",
        {"output": event.output, "reason": event.reason, **_of_token(event.facts)},
        vouched=True,
    )


def _disturbed(event: OutputDisturbed) -> Line:
    text = f"somebody else deleted or altered {event.output}; it is being put right"
    return Line(logging.WARNING, text, {"output": event.output}, vouched=True)


def _forged(event: OutputForged) -> Line:
    text = (
        f"the record of {event.output} is not sealed with the key that it names: somebody else wrote it, "
        "or an early version did; its token is not believed, and is replaced"
    )
    return Line(logging.WARNING, text, {"output": event.output}, vouched=True)


def _key_proven(event: KeyProven) -> Line:
    text = f"the issuer has accepted the key {event.fingerprint}"
    return Line(logging.INFO, text, {"key_fingerprint": event.fingerprint}, vouched=True)


def _not_supported(event: RequestIgnored) -> Line:
    return Line(logging.WARNING, event.message, {})


def _adopted(event: TokenAdopted) -> Line:
    text = f"adopted the token in {event.output} instead of minting, {_until(event.facts)}"
    return Line(logging.INFO, text, {"output": event.output, **_of_token(event.facts)}, vouched=True)


def _output_failed(event: OutputFailed) -> Line:
    fields: dict[str, object] = {"output": event.output}
    text = event.message
    if event.expiry is not None:
        fields["expires_at"] = to_second(event.expiry.wall)
        text += f"; it holds a token valid until {fields['expires_at']}"
    elif event.writing:
        text += "; IT HOLDS NO VALID TOKEN"
    return Line(logging.ERROR if event.writing else logging.WARNING, text, fields)


def _key_loaded(event: KeyLoaded) -> Line:
    text = f"read the key {event.fingerprint}"
    if event.changed:
        text = (
            f"the key has changed, it is {event.fingerprint} now; one that works stays in use until the "
            "issuer has accepted this one"
        )
    return Line(logging.INFO, text, {"key_fingerprint": event.fingerprint}, vouched=True)


def _key_lost(event: KeySourceFailed) -> Line:
    if event.kept:
        text = f"{event.message}; the last key stays in use, but would not outlive a restart"
        return Line(logging.WARNING, text, {})
    return Line(logging.ERROR, f"{event.message}; without a key nothing can be minted", {})


def _answered(event: IssuerAnswered) -> Line:
    tries = ", ".join(f"{each.outcome} in {each.seconds:.3f} s" for each in event.tries) or "was not asked"
    fields: dict[str, object] = {"requests": len(event.tries)}
    text = f"the issuer: {tries}"
    if event.skew is not None:
        fields["clock_skew_seconds"] = round(event.skew, 3)
        text += f"; our clock is {event.skew:+.1f} s from its"
    return Line(logging.DEBUG, text, fields, vouched=True)


def _verified(event: TokenVerified) -> Line:
    verdict = event.verdict
    fields: dict[str, object] = {"token_fingerprint": event.fingerprint, "verdict": verdict.value}
    if verdict is Verdict.GOOD:
        return Line(logging.DEBUG, "the new token was tried out: it is good", fields)
    then = "it is not published" if verdict is Verdict.REJECTED else "it is published all the same"
    level = logging.INFO if verdict is Verdict.INCONCLUSIVE else logging.WARNING
    text = f"the new token was tried out: {verdict}: {event.message}; {then}; is issuer.verify right?"
    return Line(level, text, fields)


def _lives_shorter(event: LifetimeShortened) -> Line:
    text = (
        f"the token {event.fingerprint} expired after only {humanized(event.age)}: the refresher now expects "
        f"tokens to live no longer than {humanized(event.believed)}; ask Inlive how long tokens live, or "
        "send SIGUSR1 if that was a mistake"
    )
    fields: dict[str, object] = {
        "token_fingerprint": event.fingerprint,
        "age_seconds": round(event.age, 3),
        "believed_seconds": round(event.believed, 3),
    }
    return Line(logging.WARNING, text, fields, vouched=True)


def _leadership_turned(event: LeaderChanged) -> Line:
    fields: dict[str, object] = {"lease": event.lease, "leads": event.leads}
    if event.leads:
        return Line(logging.INFO, f"leads: holds the lease {event.lease}", fields)
    who = f"{event.holder} holds it" if event.holder else "nobody is known to hold it"
    return Line(logging.INFO, f"stands by: does not hold the lease {event.lease}, {who}", fields)


def _lease_failed(event: LeaseFailed) -> Line:
    then = "it leads on until its time is up" if event.leads else "nothing is minted or written meanwhile"
    return Line(logging.WARNING, f"lease {event.lease}: {event.message}; {then}", {"lease": event.lease})


def _threads_refused(event: ThreadsRefused) -> Line:
    text = f"the system refuses new threads: {event.message}; raise pids.max, TasksMax= or ulimit -u"
    return Line(logging.ERROR, text, {})


def _unserved(event: ConsumersUnserved) -> Line:
    outputs = ", ".join(event.outputs)
    text = (
        f"CONSUMERS HAVE NO VALID TOKEN in {outputs}, and the process that leads does not mend it: "
        "look at its log, or end it so that another one takes over"
    )
    return Line(logging.ERROR, text, {"outputs": outputs}, vouched=True)


def _crashed(event: Crashed) -> Line:
    text = (
        f"a mistake of the refresher itself ({event.what}): {type(event.error).__name__}: {event.error}; "
        "it goes on; please report it, with the traceback"
    )
    return Line(logging.ERROR, text, {"what": event.what}, error=event.error)


def _until(facts: TokenFacts) -> str:
    return f"valid until {to_second(facts.expiry.wall)}"


def _of_token(facts: TokenFacts) -> dict[str, object]:
    return {
        "token_fingerprint": facts.fingerprint,
        "key_fingerprint": facts.key_fingerprint,
        "issued_at": to_second(facts.issued.wall),
        "expires_at": to_second(facts.expiry.wall),
    }


def _times(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


_LINES: Mapping[type[Notification], Callable[[Any], Line]] = {
    TokenMinted: _minted,
    TokenAdopted: _adopted,
    OutputWritten: _written,
    OutputFailed: _output_failed,
    OutputDisturbed: _disturbed,
    OutputForged: _forged,
    KeyLoaded: _key_loaded,
    KeySourceFailed: _key_lost,
    KeyProven: _key_proven,
    IssuerAnswered: _answered,
    TokenVerified: _verified,
    LifetimeShortened: _lives_shorter,
    LeaderChanged: _leadership_turned,
    LeaseFailed: _lease_failed,
    ConsumersUnserved: _unserved,
    ThreadsRefused: _threads_refused,
    Crashed: _crashed,
    RequestIgnored: _not_supported,
}
