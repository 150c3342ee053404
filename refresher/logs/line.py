"""The log line of one notification, as a value."""

from typing import NamedTuple

from refresher.core.effects import Slot
from refresher.core.model import TokenFacts
from refresher.core.notifications import Series
from refresher.core.rfc3339 import to_second
from refresher.core.values import distinct


@distinct
class Failure(NamedTuple):
    """`subject`: what failed; the next success with it ends the failures. `kind`: in which way it failed. A
    failure of another kind has a log line at once, a repeated one of the same kind has not (`Repeats`).
    `series`: since when and how often, as the status shows it; None if the notification does not say."""

    subject: str
    kind: str
    series: Series | None = None


@distinct
class Line(NamedTuple):
    """One line of the log. `fields`: the facts, for machines. `error`: the exception to log with a traceback.

    `vouched`: it consists of names, fingerprints and times only, so it cannot contain a secret. `failure`:
    the failure that it reports, None if it has to be logged each time. `recovered`: the subjects that work
    again.
    """

    level: int
    text: str
    fields: dict[str, object]
    vouched: bool = False
    error: Exception | None = None
    failure: Failure | None = None
    recovered: tuple[str, ...] = ()


def hanging(slot: Slot) -> str:
    """The subject of the failure that an effect in this slot hangs."""
    return f"hanging {slot.kind} {slot.target}"


def until(facts: TokenFacts) -> str:
    """Until when the token is valid, for a sentence."""
    return f"valid until {to_second(facts.expiry.wall)}"


def of_token(facts: TokenFacts) -> dict[str, object]:
    """The fields of a token."""
    return {
        "token_fingerprint": facts.fingerprint,
        "key_fingerprint": facts.key_fingerprint,
        "issued_at": to_second(facts.issued.wall),
        "expires_at": to_second(facts.expiry.wall),
    }
