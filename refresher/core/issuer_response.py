"""What a response of the issuer means: the table of design §3, "Failures", row by row."""

import json
from collections.abc import Mapping
from typing import NoReturn

from refresher.core import inlive
from refresher.core.disclosure import contains, shown
from refresher.core.expiry import LONGEST_TOKEN, UselessTokenError, believed_lifetime
from refresher.core.formats import BEARER_TOKEN
from refresher.core.http_response import Response
from refresher.core.model import Declined, Granted, Outcome, SecretStr, Verdict, Verification

LONGEST_RESPONSE = 1024 * 1024  # bytes, headers included; a token is a few hundred
LONGEST_MESSAGE = 200  # characters; a longer error message is not shown at all

_JSON = "application/json"


def classify(response: Response, key: SecretStr, requested: float, now_wall: float) -> Granted | Declined:
    """What `response` means. It was received at wall time `now_wall`; the request carried `key` and asked for
    a token of `requested` seconds.

    The message of a `Declined` never shows a body. At most it shows a short ``message`` of a JSON body, as
    `disclosure.shown` allows. Never raises.
    """
    status = response.status
    if response.is_success:
        try:
            return _granted(response, key, requested, now_wall)
        except (_UnusableError, UselessTokenError) as error:
            return Declined(Outcome.BAD_RESPONSE, f"{status}, but {error}")
    if 300 <= status <= 399:
        why = "a redirect, which is not followed: the key goes to no other host; correct issuer.url"
        return Declined(Outcome.BAD_RESPONSE, f"{status}: {why}")
    if status in (401, 403):
        return _refusal(response, key)
    wait = response.retry_after(now_wall)
    outcome = _failure(status, asks_to_wait=wait is not None)
    return Declined(outcome, _with_message(response, key), wait if outcome is Outcome.THROTTLED else None)


def verdict(response: Response) -> Verification:
    """What `response` to a request with a new token says about that token. Its body is not read.

    Inlive marks an expired token by a header; a 403 without it means an invalid one.
    """
    status = response.status
    if response.is_success:
        return Verification(Verdict.GOOD)
    if status not in (401, 403):
        return Verification(Verdict.INCONCLUSIVE, str(status))
    if response.media_type == "text/html":  # a page of a firewall or a portal: the API sends none
        return Verification(Verdict.INCONCLUSIVE, f"{status}, and an HTML page")
    if inlive.EXPIRED_HEADER.lower() in response.headers:
        return Verification(Verdict.EXPIRED, f"{status}, and it says that the token has expired")
    return Verification(Verdict.REJECTED, str(status))


def _refusal(response: Response, key: SecretStr) -> Declined:
    """The class of a 401 or 403: only the issuer itself, which speaks JSON, can refuse a key."""
    try:
        _json_object(response)
    except _UnusableError as error:
        who = "a proxy, a firewall or a portal may have answered in the issuer's place"
        return Declined(Outcome.BAD_RESPONSE, f"{response.status}, but {error}: {who}")
    return Declined(Outcome.KEY_REFUSED, _with_message(response, key))


def _failure(status: int, *, asks_to_wait: bool) -> Outcome:
    """The class of every other status that is neither success nor redirect."""
    if status == 429 or (status == 503 and asks_to_wait):
        return Outcome.THROTTLED
    return Outcome.SERVER_ERROR if 500 <= status <= 599 else Outcome.BAD_RESPONSE


class _UnusableError(Exception):
    """Why a response is of no use; shows nothing of its body but a message that may be shown."""


def _granted(response: Response, key: SecretStr, requested: float, now_wall: float) -> Granted:
    """The tokens in the body of a 2xx. Raises _UnusableError and UselessTokenError."""
    content = _json_object(response)
    if content.get("ok") is False:
        raise _UnusableError("it says that it failed" + _colon(_message(content, key)))
    data = content.get("data")
    if not isinstance(data, dict):
        raise _UnusableError("there is no data in it")
    given, refresh = inlive.issued_tokens(data)
    access = _token(given, "access", key)
    lifetime = believed_lifetime(requested, access.reveal(), response.date, now_wall)
    return Granted(access, None if refresh in (None, "") else _token(refresh, "refresh", key), lifetime)


def _token(value: object, kind: str, key: SecretStr) -> SecretStr:
    """Raises _UnusableError for what cannot be a bearer token, or must not be one."""
    if value in (None, ""):
        raise _UnusableError(f"there is no {kind} token in it")
    if not isinstance(value, str):
        raise _UnusableError(f"its {kind} token is not a text")
    if len(value) > LONGEST_TOKEN:
        raise _UnusableError(f"its {kind} token is longer than {LONGEST_TOKEN} characters")
    if not BEARER_TOKEN.fullmatch(value):
        raise _UnusableError(
            f"its {kind} token has characters that no bearer token has (RFC 6750: letters, digits and -._~+/)"
        )
    if contains(value, key.reveal()):
        raise _UnusableError(f"its {kind} token contains the application key, which is never published")
    return SecretStr(value)


def _json_object(response: Response) -> dict[str, object]:
    """The JSON object in the body. Of two equal names the last counts, as in the official SDK's JSON.parse.

    Raises _UnusableError.
    """
    if response.overlong or len(response.body) > LONGEST_RESPONSE:
        raise _UnusableError(f"it is longer than {LONGEST_RESPONSE} bytes")
    if response.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise _UnusableError("it is compressed, which was not asked for")
    if response.media_type != _JSON:  # the official SDK refuses it too
        raise _UnusableError(f"its content type is not {_JSON}")
    try:
        content = json.loads(response.body.decode("utf-8-sig"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _UnusableError("it is not JSON") from error
    if not isinstance(content, dict):
        raise _UnusableError("it is not a JSON object")
    return content


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON (RFC 8259 §6)")


def _with_message(response: Response, key: SecretStr) -> str:
    """``401: no such key``, or the bare status where the body has no message that may be shown."""
    try:
        return str(response.status) + _colon(_message(_json_object(response), key))
    except _UnusableError:  # by design: a body that we do not understand is not shown
        return str(response.status)


def _colon(text: str) -> str:
    return f": {text}" if text else ""


def _message(content: Mapping[str, object], key: SecretStr) -> str:
    """The ``message`` of a body as it may be shown; empty if there is none or it is too long."""
    message = content.get("message")
    if not isinstance(message, str) or len(message) > LONGEST_MESSAGE:
        return ""
    data = content.get("data")
    tokens = data.values() if isinstance(data, dict) else ()
    secrets = (secret for secret in (key.reveal(), *tokens) if isinstance(secret, str))
    return shown(message.strip(), secrets, LONGEST_MESSAGE)
