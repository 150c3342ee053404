"""The log lines about outputs and their hooks. See `lines`."""

import logging

from refresher.core import notifications
from refresher.core.advice import ADVICE_ON, Code
from refresher.core.durations import humanized
from refresher.core.effects import HOOK, Slot
from refresher.core.rfc3339 import to_second
from refresher.logs.line import Failure, Line, hanging, of_token, until


def written(event: notifications.OutputWritten) -> Line:
    verb = "restored" if event.reason == "repair" else "wrote"
    return Line(
        logging.INFO,
        f"{verb} {event.output}, {until(event.facts)}",
        {"output": event.output, "reason": event.reason, **of_token(event.facts)},
        vouched=True,
        recovered=(f"write {event.output}", f"read {event.output}"),
    )


def failed(event: notifications.OutputFailed) -> Line:
    advice = ADVICE_ON[Code.NOT_WRITTEN if event.writing else Code.NOT_READ]
    fields: dict[str, object] = {"output": event.output, "advice": advice}
    if event.hung_for:
        advice = ADVICE_ON[Code.HANGS]
        fields["advice"] = advice
    verb, text = "write" if event.writing else "read", f"{event.output} {event.message}"
    if event.expiry is not None:
        fields["expires_at"] = to_second(event.expiry.wall)
        text += f"; it holds a token valid until {fields['expires_at']}"
    elif event.writing:
        text += "; IT HOLDS NO VALID TOKEN"
    text += f"; {advice}"
    return Line(
        logging.ERROR if event.writing else logging.WARNING,
        text,
        fields,
        failure=Failure(f"{verb} {event.output}", f"{event.expiry is None} {event.message}", event.series),
    )


def answered(event: notifications.OutputAnswered) -> Line:
    text = f"{event.output} answers again"
    return Line(
        logging.INFO, text, {"output": event.output}, vouched=True, recovered=(f"read {event.output}",)
    )


def disturbed(event: notifications.OutputDisturbed) -> Line:
    text = f"{event.output} was deleted or altered from outside; restoring it"
    return Line(logging.WARNING, text, {"output": event.output}, vouched=True)


def forged(event: notifications.OutputForged) -> Line:
    text = (
        f"the record of {event.output} is not sealed with our key: another program or an early version wrote "
        "it; ignoring its token and replacing it"
    )
    return Line(logging.WARNING, text, {"output": event.output}, vouched=True)


def held(event: notifications.OutputHeld, *, retries: bool) -> Line:
    text = f"{event.output} {event.message}"
    return Line(logging.WARNING if retries else logging.INFO, text, {"output": event.output})


def hook_ran(event: notifications.HookRan) -> Line:
    text = f"hook of {event.output}: {event.message}"
    recovered = f"hook {event.output}", hanging(Slot(HOOK, event.output))
    return Line(logging.INFO, text, {"output": event.output}, recovered=recovered)


def hook_failed(event: notifications.HookFailed, *, retries: bool) -> Line:
    advice = ADVICE_ON[Code.HOOK_FAILED]
    then = f"next run in {humanized(event.wait)}" if retries else "this pass does not run it again"
    return Line(
        logging.ERROR,
        f"hook of {event.output} failed: {event.message}; {then}; {advice}",
        {"output": event.output, "wait_seconds": round(event.wait, 3), "advice": advice},
        failure=Failure(f"hook {event.output}", event.message, event.series),
    )


def removed(event: notifications.OutputRemoved) -> Line:
    text = f"{event.output} is no longer an output of this token"
    text += "; another token takes it over" if event.taken_over else ""
    subjects = tuple(f"{verb} {event.output}" for verb in ("write", "read", "hook"))
    return Line(logging.INFO, text, {"output": event.output}, vouched=True, recovered=subjects)


def deleted(event: notifications.OutputDeleted) -> Line:
    text = f"deleted the token in {event.output} (on_remove: delete)"
    return Line(logging.INFO, text, {"output": event.output}, vouched=True)


def not_deleted(event: notifications.OutputNotDeleted) -> Line:
    text = f"the token was not deleted (on_remove: delete): {event.output} {event.message}"
    return Line(logging.ERROR, text, {"output": event.output})
