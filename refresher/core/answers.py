"""What an answer of the issuer means: the table of design §3, "Failures", row by row."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple, NoReturn

from refresher.core.encodings import decoded
from refresher.core.expiry import LONGEST_TOKEN, stated_lifetime
from refresher.core.model import Declined, Granted, Outcome, SecretStr, Verdict, Verification

LONGEST_ANSWER = 1024 * 1024  # bytes of a whole answer; a token is a few hundred
EXPIRED_HEADER = "x-access-token-expired"  # its presence alone counts, as in the official SDK
LONGEST_MESSAGE = 200  # characters of an error message that are shown
NOT_SHOWN = "(its message repeats part of a secret and is not shown)"

_JSON = "application/json"
_TELLTALE = 8  # so many characters in a row of a secret in a message give part of it away
_VISIBLE_ASCII = re.compile(
    r"[\x21-\x7e]+"
)  # what stands in a header as it is: RFC 9110 §5.5, no white space
_DELAY = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")
_LONGEST_HEADER = 100  # characters of a Date or Retry-After that are looked at


class RawAnswer(NamedTuple):
    """An HTTP answer as it came. Header names are in lower case; `overlong`: cut off at `LONGEST_ANSWER`."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    overlong: bool = False


def classify(answer: RawAnswer, key: SecretStr, now_wall: float) -> Granted | Declined:
    """What `answer`, received at wall time `now_wall` to a request with `key`, means.

    The message of a `Declined` never shows a body: at most a short ``message`` of a JSON body, its control
    characters escaped, and not even that when it repeats part of the key or of a token. Never raises.
    """
    if 200 <= answer.status <= 299:
        try:
            return _granted(answer, key)
        except _UnusableError as error:
            return Declined(Outcome.BAD_RESPONSE, f"{answer.status}, but {error}")
    if 300 <= answer.status <= 399:
        why = "a redirect, which is not followed: the key goes to no other host; correct issuer.url"
        return Declined(Outcome.BAD_RESPONSE, f"{answer.status}: {why}")
    wait = retry_after(answer.headers, now_wall)
    outcome = _failure(answer.status, asks_to_wait=wait is not None)
    return Declined(outcome, _told(answer, key), wait if outcome is Outcome.THROTTLED else None)


def verdict(answer: RawAnswer) -> Verification:
    """What `answer` to a request with a new token says of that token. Nothing of its body is looked at.

    Inlive tells an expired token from an invalid one by a header (inlive-api, "Use and expiry").
    """
    if 200 <= answer.status <= 299:
        return Verification(Verdict.GOOD)
    if answer.status not in (401, 403):
        return Verification(Verdict.INCONCLUSIVE, str(answer.status))
    if EXPIRED_HEADER in answer.headers:
        return Verification(Verdict.EXPIRED, f"{answer.status}, and it says that the token has expired")
    return Verification(Verdict.REJECTED, str(answer.status))


def _failure(status: int, *, asks_to_wait: bool) -> Outcome:
    """The class of a status that is neither success nor redirect."""
    if status in (401, 403):
        return Outcome.KEY_REFUSED
    if status == 429 or (status == 503 and asks_to_wait):
        return Outcome.THROTTLED
    return Outcome.SERVER_ERROR if 500 <= status <= 599 else Outcome.BAD_RESPONSE


def retry_after(headers: Mapping[str, str], now_wall: float) -> float | None:
    """The seconds that ``Retry-After`` asks for, never negative; None where it says nothing intelligible.

    RFC 9110 §10.2.3: seconds, or an HTTP date, which is taken relative to the answer's own ``Date``, so that
    no clock but the issuer's is compared with the issuer's.
    """
    asked = headers.get("retry-after", "").strip()
    if _DELAY.fullmatch(asked):
        return max(0.0, float(asked))
    until, sent = _http_date(asked), _http_date(headers.get("date", ""))
    return None if until is None else max(0.0, until - (now_wall if sent is None else sent))


def skew(headers: Mapping[str, str], sent: float, received: float) -> float | None:
    """How many seconds our wall clock is ahead of the issuer's; None when the answer has no ``Date``.

    `sent` and `received` are wall times. The issuer is taken to have answered half-way between them, and
    half a second after the whole second that its header tells.
    """
    told = _http_date(headers.get("date", ""))
    return None if told is None else (sent + received) / 2 - (told + 0.5)


class _UnusableError(Exception):
    """Why an answer is of no use; shows nothing of its body."""


def _granted(answer: RawAnswer, key: SecretStr) -> Granted:
    """The tokens in the body of a 2xx. Raises _UnusableError."""
    content = _json_object(answer)
    if content.get("ok") is False:
        raise _UnusableError("it says that it failed" + _colon(_message(content, key)))
    issued = content.get("data")
    if not isinstance(issued, dict):
        raise _UnusableError("there is no data in it")
    access = _token(issued.get("access_token"), "access")
    stated = stated_lifetime(access.reveal())
    if stated is not None and stated <= 0:
        raise _UnusableError("the token's own exp is not after its iat")
    refresh = issued.get("refresh_token")
    return Granted(access, None if refresh in (None, "") else _token(refresh, "refresh"))


def _token(value: object, sort: str) -> SecretStr:
    """Raises _UnusableError for what cannot be a bearer token."""
    if value in (None, ""):
        raise _UnusableError(f"there is no {sort} token in it")
    if not isinstance(value, str):
        raise _UnusableError(f"its {sort} token is not a text")
    if len(value) > LONGEST_TOKEN:
        raise _UnusableError(f"its {sort} token is longer than {LONGEST_TOKEN} characters")
    if not _VISIBLE_ASCII.fullmatch(value):
        raise _UnusableError(f"its {sort} token has characters that cannot stand in an HTTP header")
    return SecretStr(value)


def _json_object(answer: RawAnswer) -> dict[str, object]:
    """The JSON object in the body. Of two equal names the last counts, as in the official SDK's JSON.parse.

    Raises _UnusableError.
    """
    if answer.overlong or len(answer.body) > LONGEST_ANSWER:
        raise _UnusableError(f"it is longer than {LONGEST_ANSWER} bytes")
    if answer.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise _UnusableError("it is compressed, which was not asked for")
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _JSON:  # the official SDK refuses it too
        raise _UnusableError(f"its content type is not {_JSON}")
    try:
        content = json.loads(answer.body.decode("utf-8-sig"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _UnusableError("it is not JSON") from error
    if not isinstance(content, dict):
        raise _UnusableError("it is not a JSON object")
    return content


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON (RFC 8259 §6)")


def _told(answer: RawAnswer, key: SecretStr) -> str:
    """``401: no such key``, or the bare status where the body says nothing that may be shown."""
    try:
        return str(answer.status) + _colon(_message(_json_object(answer), key))
    except _UnusableError:  # by design: a body that is not understood is not shown
        return str(answer.status)


def _colon(text: str) -> str:
    return f": {text}" if text else ""


def _message(content: Mapping[str, object], key: SecretStr) -> str:
    """The ``message`` of a body as it may be shown; empty when it is absent or too long."""
    message = content.get("message")
    if not isinstance(message, str) or len(message) > LONGEST_MESSAGE:
        return ""
    text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in message.strip())
    issued = content.get("data")
    tokens = issued.values() if isinstance(issued, dict) else ()
    if gives_away(text, (secret for secret in (key.reveal(), *tokens) if isinstance(secret, str))):
        return NOT_SHOWN
    return text


def gives_away(text: str, secrets: Iterable[str]) -> bool:
    """Whether `text` has one of the secrets in it, or as much in a row of it as tells, be it encoded."""
    forms = (text, *decoded(text))

    def is_in_it(secret: str) -> bool:
        length = min(_TELLTALE, len(secret))
        return length > 0 and any(
            form[at : at + length] in secret for form in forms for at in range(len(form) - length + 1)
        )

    return any(map(is_in_it, secrets))


def _http_date(text: str) -> float | None:
    """Wall time of an HTTP date in any of the three forms of RFC 9110 §5.6.7; None for anything else."""
    from email.utils import mktime_tz, parsedate_tz  # noqa: PLC0415 -- heavy where no HTTP client is loaded

    try:
        fields = parsedate_tz(text[:_LONGEST_HEADER])
        wall = None if fields is None else mktime_tz((*fields[:9], fields[9] or 0))
    except (ValueError, TypeError, IndexError, OverflowError):  # what hostile dates make of email.utils
        return None
    return wall if wall is not None and math.isfinite(wall) else None
