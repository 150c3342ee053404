"""Interprets a response of an issuer, by the table in docs/reliability.md.

The table is the same for all kinds of issuers. A `Dialect` finds the token and the error in a JSON body.
"""

import json
import math
from collections.abc import Mapping
from typing import NamedTuple, NoReturn, Protocol

from refresher.core import inlive
from refresher.core.disclosure import contains, shown, unrevealing
from refresher.core.expiry import LONGEST_TOKEN, UselessTokenError, believed_lifetime
from refresher.core.formats import BEARER_TOKEN
from refresher.core.http_response import Response
from refresher.core.model import Declined, Granted, Outcome, SecretStr, Verdict, Verification
from refresher.core.values import distinct

LONGEST_RESPONSE = 1024 * 1024  # bytes, headers included; a token is a few hundred
LONGEST_MESSAGE = 200  # characters; a longer error message is not shown at all

_JSON = "application/json"


class UnusableError(Exception):
    """Why a response is useless. The text shows nothing of the body except a message that is safe to show."""


@distinct
class Issued(NamedTuple):
    """What a body of a 2xx states, of any type and not checked. `lifetime`: in seconds, checked."""

    access: object
    refresh: object = None
    lifetime: float = math.inf


class Dialect(Protocol):
    """Where one kind of issuer puts the token and the errors in a JSON body."""

    url_option: str  # the option of the issuer with the URL: "token_url"
    access_label: str  # names the token in messages: "access token"

    def issued(self, content: Mapping[str, object], date: float, explain: str) -> Issued:
        """The tokens in the body of a 2xx. `date`: the present by the issuer's clock, in wall seconds.
        `explain`: the error message of the body, safe to show. Raises UnusableError."""

    def outcome(self, content: Mapping[str, object]) -> Outcome | None:
        """The outcome that an error code in the body states; None if only the status counts."""

    def message(self, content: Mapping[str, object]) -> str:
        """The error message in the body; empty if there is none. Not yet safe to show."""

    def tokens(self, content: Mapping[str, object]) -> tuple[object, ...]:
        """What may be tokens in the body, so that no message repeats them."""


class _Inlive:
    """Inlive's envelope."""

    url_option = "url"
    access_label = "access token"

    def issued(self, content: Mapping[str, object], date: float, explain: str) -> Issued:  # noqa: ARG002
        if content.get("ok") is False:
            raise UnusableError("its body reports a failure" + _colon(explain))
        data = content.get("data")
        if not isinstance(data, dict):
            raise UnusableError("its body has no data")
        access, refresh = inlive.issued_tokens(data)
        return Issued(access, refresh)

    def outcome(self, content: Mapping[str, object]) -> Outcome | None:  # noqa: ARG002
        return None

    def message(self, content: Mapping[str, object]) -> str:
        message = content.get("message")
        return message if isinstance(message, str) else ""

    def tokens(self, content: Mapping[str, object]) -> tuple[object, ...]:
        data = content.get("data")
        return tuple(data.values()) if isinstance(data, dict) else ()


INLIVE = _Inlive()


def classify(
    response: Response, key: SecretStr, requested: float, now_wall: float, dialect: Dialect = INLIVE
) -> Granted | Declined:
    """The tokens in `response`, or the reason why there are none. Never raises.

    The request carried `key` and requested a token of `requested` seconds. `now_wall`: our wall time when the
    response arrived. The message of a `Declined` shows nothing of a body except a short error message in
    JSON, as `disclosure.shown` allows. Its request id is dropped if it reveals part of the key.
    """
    meaning = _meaning(response, key, requested, now_wall, dialect)
    if isinstance(meaning, Granted):
        return meaning
    return meaning._replace(request_id=unrevealing(response.request_id, (key.reveal(),)))


def _meaning(
    response: Response, key: SecretStr, requested: float, now_wall: float, dialect: Dialect
) -> Granted | Declined:
    status = response.status
    if 300 <= status <= 399:
        why = "a redirect, which is not followed because the key must go to no other host; correct "
        return Declined(Outcome.BAD_RESPONSE, f"{status}: {why}{dialect.url_option} of the issuer")
    try:
        content = _json_object(response)
        explain = _message(content, key, dialect)
        stated = dialect.outcome(content)
        if response.is_success and stated is None:
            return _granted(content, response, key, requested, now_wall, dialect)
    except (UnusableError, UselessTokenError) as error:
        if response.is_success:
            return Declined(Outcome.BAD_RESPONSE, f"{status}, but {error}")
        if status in (401, 403):  # only the issuer itself can refuse a key, and it responds in JSON
            why = "a proxy, a firewall or a portal may have answered in the issuer's place"
            return Declined(Outcome.BAD_RESPONSE, f"{status}, but {error}: {why}")
        explain, stated = "", None  # a body in an unknown form is not shown
    wait = response.retry_after(now_wall)
    outcome = _failure(status, asks_to_wait=wait is not None)
    if stated is not None and status != 429 and (status <= 499 or stated is Outcome.THROTTLED):
        outcome = stated
    return Declined(outcome, f"{status}{_colon(explain)}", wait if outcome is Outcome.THROTTLED else None)


def verdict(response: Response) -> Verification:
    """The verdict on a new token, from the `response` to a request with it. The body is not read.

    Inlive marks an expired token by a header. A 403 without this header means an invalid token.
    """
    status = response.status
    if response.is_success:
        return Verification(Verdict.GOOD)
    if status not in (401, 403):
        return Verification(Verdict.INCONCLUSIVE, str(status))
    if response.media_type == "text/html":  # from a firewall or a portal: the API sends no HTML
        return Verification(Verdict.INCONCLUSIVE, f"{status}, and an HTML page")
    if inlive.EXPIRED_HEADER.lower() in response.headers:
        return Verification(Verdict.EXPIRED, f"{status}, with the header {inlive.EXPIRED_HEADER}")
    return Verification(Verdict.REJECTED, str(status))


def _failure(status: int, *, asks_to_wait: bool) -> Outcome:
    """The outcome of a status other than 2xx and 3xx, with a JSON body if it is 401 or 403."""
    if status in (401, 403):
        return Outcome.KEY_REFUSED
    if status == 429 or (status == 503 and asks_to_wait):
        return Outcome.THROTTLED
    return Outcome.SERVER_ERROR if 500 <= status <= 599 else Outcome.BAD_RESPONSE


def _granted(  # noqa: PLR0913 (what a response means depends on all of them)
    content: Mapping[str, object],
    response: Response,
    key: SecretStr,
    requested: float,
    now_wall: float,
    dialect: Dialect,
) -> Granted:
    """The tokens in the body of a 2xx. Raises UnusableError and UselessTokenError."""
    date = response.date
    issued = dialect.issued(content, now_wall if date is None else date, _message(content, key, dialect))
    access = _token(issued.access, dialect.access_label, key)
    lifetime = believed_lifetime(requested, access.reveal(), date, now_wall, issued.lifetime)
    refresh = None if issued.refresh in (None, "") else _token(issued.refresh, "refresh token", key)
    return Granted(access, refresh, lifetime)


def _token(value: object, label: str, key: SecretStr) -> SecretStr:
    """`value` as a token. Raises UnusableError if it cannot be a bearer token or contains the key."""
    if value in (None, ""):
        raise UnusableError(f"its body has no {label}")
    if not isinstance(value, str):
        raise UnusableError(f"its {label} is not a text")
    if len(value) > LONGEST_TOKEN:
        raise UnusableError(f"its {label} is longer than {LONGEST_TOKEN} characters")
    if not BEARER_TOKEN.fullmatch(value):
        raise UnusableError(
            f"its {label} has invalid characters (RFC 6750 allows letters, digits and -._~+/)"
        )
    if contains(value, key.reveal()):
        raise UnusableError(f"its {label} contains the key, which is never published")
    return SecretStr(value)


def _json_object(response: Response) -> dict[str, object]:
    """The JSON object in the body. Raises UnusableError.

    If a name occurs twice, the last value counts, as in the official SDK's JSON.parse.
    """
    if response.overlong or len(response.body) > LONGEST_RESPONSE:
        raise UnusableError(f"it is longer than {LONGEST_RESPONSE} bytes")
    if response.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise UnusableError("it is compressed, which was not requested")
    if response.media_type != _JSON:  # the official SDK refuses it too
        raise UnusableError(f"its content type is not {_JSON}")
    try:
        content = json.loads(response.body.decode("utf-8-sig"), parse_constant=_reject)
    except (ValueError, RecursionError) as error:
        raise UnusableError("it is not JSON") from error
    if not isinstance(content, dict):
        raise UnusableError("it is not a JSON object")
    return content


def _reject(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON (RFC 8259 §6)")


def _colon(text: str) -> str:
    return f": {text}" if text else ""


def _message(content: Mapping[str, object], key: SecretStr, dialect: Dialect) -> str:
    """The error message in a body, made safe to show; empty if it is missing or too long."""
    message = dialect.message(content)
    if len(message) > LONGEST_MESSAGE:
        return ""
    secrets = (secret for secret in (key.reveal(), *dialect.tokens(content)) if isinstance(secret, str))
    return shown(message.strip(), secrets, LONGEST_MESSAGE)
