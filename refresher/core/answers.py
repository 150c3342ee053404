"""What an answer of the issuer means: the table of design §3, "Failures", row by row."""

import json
import math
import re
from collections.abc import Mapping
from typing import NamedTuple, NoReturn

from refresher.core.disclosure import censored, contains
from refresher.core.expiry import LONGEST_TOKEN, UselessTokenError, believed_lifetime
from refresher.core.formats import BEARER_TOKEN
from refresher.core.model import Declined, Granted, Outcome, SecretStr, Verdict, Verification
from refresher.core.values import distinct

LONGEST_ANSWER = 1024 * 1024  # bytes of a whole answer; a token is a few hundred
EXPIRED_HEADER = "x-access-token-expired"  # its presence alone counts, as in the official SDK
LONGEST_MESSAGE = 200  # characters of an error message that are shown

_JSON = "application/json"
_DELAY = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")
_LONGEST_HEADER = 100  # characters of a Date or Retry-After that are looked at


@distinct
class RawAnswer(NamedTuple):
    """An HTTP answer as it came. Header names are in lower case; `overlong`: cut off at `LONGEST_ANSWER`."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    overlong: bool = False


def classify(answer: RawAnswer, key: SecretStr, requested: float, now_wall: float) -> Granted | Declined:
    """What `answer` means. It was received at wall time `now_wall`; the request carried `key` and asked for a
    token of `requested` seconds.

    The message of a `Declined` never shows a body: at most a short ``message`` of a JSON body, its control
    characters escaped, without the parts that repeat the key or a token. Never raises.
    """
    if 200 <= answer.status <= 299:
        try:
            return _granted(answer, key, requested, now_wall)
        except (_UnusableError, UselessTokenError) as error:
            return Declined(Outcome.BAD_RESPONSE, f"{answer.status}, but {error}")
    if 300 <= answer.status <= 399:
        why = "a redirect, which is not followed: the key goes to no other host; correct issuer.url"
        return Declined(Outcome.BAD_RESPONSE, f"{answer.status}: {why}")
    if answer.status in (401, 403):
        return _refusal(answer, key)
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
    if _media_type(answer) == "text/html":  # a firewall's or a portal's page: no word of the API's
        return Verification(Verdict.INCONCLUSIVE, f"{answer.status}, and an HTML page")
    if EXPIRED_HEADER in answer.headers:
        return Verification(Verdict.EXPIRED, f"{answer.status}, and it says that the token has expired")
    return Verification(Verdict.REJECTED, str(answer.status))


def _refusal(answer: RawAnswer, key: SecretStr) -> Declined:
    """The class of a 401 or 403: only the issuer itself, which speaks JSON, can refuse a key."""
    try:
        _json_object(answer)
    except _UnusableError as error:
        who = "a proxy, a firewall or a portal may have answered in the issuer's place"
        return Declined(Outcome.BAD_RESPONSE, f"{answer.status}, but {error}: {who}")
    return Declined(Outcome.KEY_REFUSED, _told(answer, key))


def _failure(status: int, *, asks_to_wait: bool) -> Outcome:
    """The class of every other status that is neither success nor redirect."""
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


def _granted(answer: RawAnswer, key: SecretStr, requested: float, now_wall: float) -> Granted:
    """The tokens in the body of a 2xx. Raises _UnusableError and UselessTokenError."""
    content = _json_object(answer)
    if content.get("ok") is False:
        raise _UnusableError("it says that it failed" + _colon(_message(content, key)))
    issued = content.get("data")
    if not isinstance(issued, dict):
        raise _UnusableError("there is no data in it")
    access = _token(issued.get("access_token"), "access", key)
    date = _http_date(answer.headers.get("date", ""))
    lifetime = believed_lifetime(requested, access.reveal(), date, now_wall)
    refresh = issued.get("refresh_token")
    return Granted(access, None if refresh in (None, "") else _token(refresh, "refresh", key), lifetime)


def _token(value: object, sort: str, key: SecretStr) -> SecretStr:
    """Raises _UnusableError for what cannot be a bearer token, or must not be one."""
    if value in (None, ""):
        raise _UnusableError(f"there is no {sort} token in it")
    if not isinstance(value, str):
        raise _UnusableError(f"its {sort} token is not a text")
    if len(value) > LONGEST_TOKEN:
        raise _UnusableError(f"its {sort} token is longer than {LONGEST_TOKEN} characters")
    if not BEARER_TOKEN.fullmatch(value):
        raise _UnusableError(
            f"its {sort} token has characters that no bearer token has (RFC 6750: letters, digits and -._~+/)"
        )
    if contains(value, key.reveal()):
        raise _UnusableError(f"its {sort} token contains the application key, which is never published")
    return SecretStr(value)


def _json_object(answer: RawAnswer) -> dict[str, object]:
    """The JSON object in the body. Of two equal names the last counts, as in the official SDK's JSON.parse.

    Raises _UnusableError.
    """
    if answer.overlong or len(answer.body) > LONGEST_ANSWER:
        raise _UnusableError(f"it is longer than {LONGEST_ANSWER} bytes")
    if answer.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise _UnusableError("it is compressed, which was not asked for")
    if _media_type(answer) != _JSON:  # the official SDK refuses it too
        raise _UnusableError(f"its content type is not {_JSON}")
    try:
        content = json.loads(answer.body.decode("utf-8-sig"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _UnusableError("it is not JSON") from error
    if not isinstance(content, dict):
        raise _UnusableError("it is not a JSON object")
    return content


def _media_type(answer: RawAnswer) -> str:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()


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
    return censored(text, (secret for secret in (key.reveal(), *tokens) if isinstance(secret, str)))


def _http_date(text: str) -> float | None:
    """Wall time of an HTTP date in any of the three forms of RFC 9110 §5.6.7; None for anything else."""
    from email.utils import mktime_tz, parsedate_tz  # noqa: PLC0415 -- heavy where no HTTP client is loaded

    try:
        fields = parsedate_tz(text[:_LONGEST_HEADER])
        wall = None if fields is None else mktime_tz((*fields[:9], fields[9] or 0))
    except (ValueError, TypeError, IndexError, OverflowError):  # what hostile dates make of email.utils
        return None
    return wall if wall is not None and math.isfinite(wall) else None
