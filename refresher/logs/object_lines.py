"""The log lines about `AccessToken` objects and the watches of the API server."""

import logging

from refresher.core import object_notifications as notifications
from refresher.logs.line import Failure, Line


def refused(event: notifications.ObjectRefused) -> Line:
    mistakes = "; ".join(event.problems)
    text = f"the AccessToken has mistakes: {mistakes}; a token that it had before is kept fresh"
    fields: dict[str, object] = {"problems": len(event.problems)}
    return Line(logging.WARNING, text, fields, failure=Failure("object", mistakes))


def accepted(_event: notifications.ObjectAccepted) -> Line:
    return Line(
        logging.INFO, "the AccessToken has no mistakes any more", {}, vouched=True, recovered=("object",)
    )


def watch_failed(event: notifications.WatchFailed) -> Line:
    then = "what is known of them stays in use, and changes are not seen"
    return Line(
        logging.WARNING,
        f"{event.noun} cannot be watched: {event.message}; {then}",
        {"watched": event.noun},
        failure=Failure(f"watch {event.noun}", event.message),
    )


def watch_recovered(event: notifications.WatchRecovered) -> Line:
    subject = f"watch {event.noun}"
    text, fields = f"{event.noun} are watched", dict[str, object](watched=event.noun)
    return Line(logging.INFO, text, fields, vouched=True, recovered=(subject,))


def status_not_written(event: notifications.StatusNotWritten) -> Line:
    text = f"the status of the AccessToken cannot be written: {event.message}"
    return Line(logging.WARNING, text, {}, failure=Failure("status", event.message))


def status_written(_event: notifications.StatusWritten) -> Line:
    return Line(logging.DEBUG, "wrote the status of the AccessToken", {}, vouched=True, recovered=("status",))
