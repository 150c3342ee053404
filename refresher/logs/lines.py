"""The log line of each notification: level, sentence, fields, which failure it reports or ends.

A sentence is for the person on call: what failed and why, until when consumers are served, what to do. A new
notification needs one function here and its entry in `_LINES`.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from refresher.core import notifications, object_notifications, process_notifications
from refresher.core.advice import ADVICE, ADVICE_ON, Code
from refresher.core.durations import humanized
from refresher.core.effects import MINT_SLOT, VERIFY_SLOT
from refresher.core.instant import Instant
from refresher.core.model import Outcome, Verdict
from refresher.core.notifications import Notification
from refresher.core.rfc3339 import to_second
from refresher.logs import object_lines, output_lines
from refresher.logs.line import Failure, Line, hanging, of_token, until

_WHEN_READ = ": the refresher reads it within seconds (with LoadCredential=: after a restart)"


def line_of(notification: Notification, now: Instant, *, retries: bool = True) -> Line:
    """The line for a notification at `now`, without the token's name. `retries`: this process tries again by
    itself after a failure; `once` does not."""
    match notification:
        case notifications.RefreshFailed():
            return _refresh_failed(notification, now, retries=retries)
        case notifications.OutputHeld():
            return output_lines.held(notification, retries=retries)
        case notifications.HookFailed():
            return output_lines.hook_failed(notification, retries=retries)
    return _LINES[type(notification)](notification)


def _token_minted(event: notifications.TokenMinted) -> Line:
    facts = event.facts
    text = f"minted a token ({event.reason}), {until(facts)}"
    if facts.lifetime < facts.requested:
        text += f"; expected lifetime {humanized(facts.lifetime)}, requested {humanized(facts.requested)}"
    if event.failures:
        text += f"; {event.failures} attempt{'' if event.failures == 1 else 's'} failed before"
    return Line(
        logging.INFO,
        text,
        {"reason": event.reason.value, "failures": event.failures, **of_token(facts)},
        vouched=True,
        recovered=(f"mint {facts.key_fingerprint}", hanging(MINT_SLOT)),
    )


def _token_adopted(event: notifications.TokenAdopted) -> Line:
    text = f"adopted the token in {event.output} instead of minting, {until(event.facts)}"
    return Line(logging.INFO, text, {"output": event.output, **of_token(event.facts)}, vouched=True)


def _refresh_failed(event: notifications.RefreshFailed, now: Instant, *, retries: bool) -> Line:
    is_refused = event.outcome is Outcome.KEY_REFUSED
    served = "CONSUMERS HAVE NO VALID TOKEN"
    if event.left > 0:
        until = to_second(now.wall + event.left)
        served = f"consumers are served until {until} ({humanized(event.left)} more)"
    what = f"{event.outcome}: "
    if is_refused:
        what = f"the issuer refuses the key {event.key_fingerprint}: "
    elif event.outcome is Outcome.OK:  # it answered, but with nothing new, as the message says
        what = ""
    then = f"next attempt in {humanized(event.wait)}" if retries else "the next call tries again"
    advice = f"{ADVICE[event.outcome]}{_WHEN_READ if is_refused and retries else ''}"
    named, fields = "", dict[str, object]()
    if event.request_id:
        named, fields = f"; the issuer's request id: {event.request_id}", {"request_id": event.request_id}
    return Line(
        logging.ERROR if is_refused or event.left <= 0 else logging.WARNING,
        f"no new token ({event.reason}): {what}{event.message}{named}; {served}; {then}; {advice}",
        {
            "reason": event.reason.value,
            "outcome": event.outcome.value,
            "advice": ADVICE[event.outcome],
            "key_fingerprint": event.key_fingerprint,
            "wait_seconds": round(event.wait, 3),
            "left_seconds": round(event.left, 3),
            **fields,
        },
        failure=Failure(f"mint {event.key_fingerprint}", f"{event.outcome} {event.message}", event.series),
    )


def _hanging(event: notifications.Hanging) -> Line:
    then = f"this try ends in {humanized(event.left)}"
    text = f"{event.subject} has not answered for {event.seconds:.0f} s; {then}"
    return Line(
        logging.WARNING,
        text,
        {"seconds": round(event.seconds, 3), "left_seconds": round(event.left, 3)},
        vouched=True,
        failure=Failure(hanging(event.slot), event.subject),
    )


def _token_verified(event: notifications.TokenVerified) -> Line:
    verdict = event.verdict
    fields: dict[str, object] = {"token_fingerprint": event.fingerprint, "verdict": verdict.value}
    if verdict is Verdict.GOOD:
        text = "issuer.verify: the new token is good"
        return Line(logging.DEBUG, text, fields, recovered=(hanging(VERIFY_SLOT),))
    then = "not publishing it" if verdict is Verdict.REJECTED else "publishing it all the same"
    level = logging.INFO if verdict is Verdict.INCONCLUSIVE else logging.WARNING
    text = f"issuer.verify: the new token is {verdict}: {event.message}; {then}; is issuer.verify right?"
    return Line(level, text, fields)


def _lifetime_shortened(event: notifications.LifetimeShortened) -> Line:
    text = (
        f"the token {event.fingerprint} expired after only {humanized(event.age)}: the refresher now expects "
        f"tokens to live no longer than {humanized(event.believed)}; ask the issuer's operator how long "
        "tokens live, or send SIGUSR1 if that was a mistake"
    )
    fields = {"age_seconds": round(event.age, 3), "believed_seconds": round(event.believed, 3)}
    return Line(logging.WARNING, text, {"token_fingerprint": event.fingerprint, **fields}, vouched=True)


def _issuer_answered(event: notifications.IssuerAnswered) -> Line:
    tries = ", ".join(f"{request.outcome} in {request.seconds:.3f} s" for request in event.tries)
    text = f"requests to the issuer: {tries or 'none'}"
    fields: dict[str, object] = {"requests": len(event.tries)}
    if event.skew is not None:
        fields["clock_skew_seconds"] = round(event.skew, 3)
        direction = "ahead of" if event.skew > 0 else "behind"
        text += f"; our clock is {abs(event.skew):.1f} s {direction} the issuer's"
    return Line(logging.DEBUG, text, fields, vouched=True)


def _key_loaded(event: notifications.KeyLoaded) -> Line:
    text = f"read the key {event.fingerprint}"
    if event.changed:
        text = (
            f"the key has changed to {event.fingerprint}; a key that works stays in use until the issuer "
            "accepts the new one"
        )
    fields: dict[str, object] = {"key_fingerprint": event.fingerprint}
    return Line(logging.INFO, text, fields, vouched=True, recovered=("key",))


def _key_source_failed(event: notifications.KeySourceFailed) -> Line:
    level, then = logging.ERROR, "without a key no token can be minted"
    if event.kept:
        level, then = logging.WARNING, "the last key stays in use, but a restart would lose it"
    advice = ADVICE_ON[Code.KEY_UNREADABLE]
    text = f"{event.message}; {then}; {advice}"
    return Line(level, text, {"advice": advice}, failure=Failure("key", event.message, event.series))


def _key_proven(event: notifications.KeyProven) -> Line:
    text = f"the issuer has accepted the key {event.fingerprint}"
    return Line(logging.INFO, text, {"key_fingerprint": event.fingerprint}, vouched=True)


def _leader_changed(event: process_notifications.LeaderChanged) -> Line:
    fields: dict[str, object] = {"lease": event.lease, "leads": event.leads}
    text = f"standby: no process is known to hold the lease {event.lease}"
    if event.leads:
        text = f"leader: this process holds the lease {event.lease}"
    elif event.holder:
        text = f"standby: {event.holder} holds the lease {event.lease}"
    return Line(logging.INFO, text, fields, recovered=() if event.failing else (f"lease {event.lease}",))


def _lease_failed(event: process_notifications.LeaseFailed) -> Line:
    then = "this process mints and writes nothing until it works again"
    if event.leads:
        then = "this process leads until its lease runs out"
    advice = ADVICE_ON[Code.LEASE_FAILED]
    return Line(
        logging.WARNING,
        f"lease {event.lease}: {event.message}; {then}; {advice}",
        {"lease": event.lease, "advice": advice},
        failure=Failure(f"lease {event.lease}", event.message),
    )


def _consumers_unserved(event: notifications.ConsumersUnserved) -> Line:
    outputs = ", ".join(event.outputs)
    text = (
        f"CONSUMERS HAVE NO VALID TOKEN in {outputs}, and the process that leads does not write one: read "
        "its log, or stop it so that another process takes over"
    )
    return Line(logging.ERROR, text, {"outputs": outputs}, vouched=True)


def _token_removed(_event: notifications.TokenRemoved) -> Line:
    return Line(logging.INFO, "token removed", {}, vouched=True)


def _configuration_applied(event: process_notifications.ConfigurationApplied) -> Line:
    text = "the configuration is in use as it is now in its file; "
    text += f"tokens added: {event.added}, changed: {event.changed}, removed: {event.removed}"
    fields: dict[str, object] = {
        "added": event.added,
        "changed": event.changed,
        "removed": event.removed,
    }
    if event.ignored:
        names = ", ".join(event.ignored)
        text += f"; NOT IN USE until a restart: the changes of {names}"
        fields["needs_restart"] = names
    level = logging.WARNING if event.ignored else logging.INFO
    return Line(level, text, fields, vouched=True, recovered=("configuration",))


def _configuration_refused(event: process_notifications.ConfigurationRefused) -> Line:
    problems = "; ".join(event.problems)
    text = f"the changed configuration has mistakes, so the former one stays in use: {problems}"
    failure = Failure("configuration", problems)  # SIGHUP may repeat it
    return Line(logging.ERROR, text, {"problems": len(event.problems)}, failure=failure)


def _threads_refused(event: process_notifications.ThreadsRefused) -> Line:
    text = f"the system refuses new threads: {event.message}; raise pids.max, TasksMax= or ulimit -u"
    return Line(logging.ERROR, text, {})


def _crashed(event: process_notifications.Crashed) -> Line:
    text = (
        f"internal error (a bug), {event.what}: {type(event.error).__name__}: {event.error}; the refresher "
        "continues; please report this with the traceback"
    )
    return Line(
        logging.ERROR,
        text,
        {"what": event.what},
        error=event.error,
        failure=Failure(f"crash {event.what}", repr(event.error)),
    )


def _request_ignored(event: process_notifications.RequestIgnored) -> Line:
    return Line(logging.WARNING, event.message, {})


_LINES: Mapping[type[Notification], Callable[[Any], Line]] = {
    notifications.TokenMinted: _token_minted,
    notifications.TokenAdopted: _token_adopted,
    notifications.TokenVerified: _token_verified,
    notifications.LifetimeShortened: _lifetime_shortened,
    notifications.IssuerAnswered: _issuer_answered,
    notifications.OutputWritten: output_lines.written,
    notifications.OutputFailed: output_lines.failed,
    notifications.OutputAnswered: output_lines.answered,
    notifications.OutputDisturbed: output_lines.disturbed,
    notifications.OutputForged: output_lines.forged,
    notifications.HookRan: output_lines.hook_ran,
    notifications.Hanging: _hanging,
    notifications.KeyLoaded: _key_loaded,
    notifications.KeySourceFailed: _key_source_failed,
    notifications.KeyProven: _key_proven,
    process_notifications.LeaderChanged: _leader_changed,
    process_notifications.LeaseFailed: _lease_failed,
    notifications.ConsumersUnserved: _consumers_unserved,
    process_notifications.ThreadsRefused: _threads_refused,
    notifications.TokenRemoved: _token_removed,
    notifications.OutputRemoved: output_lines.removed,
    notifications.OutputDeleted: output_lines.deleted,
    notifications.OutputNotDeleted: output_lines.not_deleted,
    process_notifications.ConfigurationApplied: _configuration_applied,
    process_notifications.ConfigurationRefused: _configuration_refused,
    process_notifications.Crashed: _crashed,
    process_notifications.RequestIgnored: _request_ignored,
    object_notifications.ObjectRefused: object_lines.refused,
    object_notifications.ObjectAccepted: object_lines.accepted,
    object_notifications.WatchFailed: object_lines.watch_failed,
    object_notifications.WatchRecovered: object_lines.watch_recovered,
    object_notifications.StatusNotWritten: object_lines.status_not_written,
    object_notifications.StatusWritten: object_lines.status_written,
}
