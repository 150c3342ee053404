"""Interprets a response of the issuer, by the table in docs/reliability.md."""

import json
from collections.abc import Mapping
from typing import NoReturn

from refresher.core import inlive
from refresher.core.disclosure import contains, shown, unrevealing
from refresher.core.expiry import LONGEST_TOKEN, UselessTokenError, believed_lifetime
from refresher.core.formats import BEARER_TOKEN
from refresher.core.http_response import Response
from refresher.core.model import Declined, Granted, Outcome, SecretStr, Verdict, Verification

LONGEST_RESPONSE = 1024 * 1024  # bytes, headers included; a token is a few hundred
LONGEST_MESSAGE = 200  # characters; a longer error message is not shown at all

_JSON = "application/json"


def classify(response: Response, key: SecretStr, requested: float, now_wall: float) -> Granted | Declined:
    """The tokens in `response`, or the reason why there are none. Never raises.

    The request carried `key` and requested a token of `requested` seconds. `now_wall`: our wall time when the
    response arrived. The message of a `Declined` shows nothing of a body except a short ``message`` in JSON,
    as `disclosure.shown` allows. Its request id is dropped if it reveals part of the key.
    """
    meaning = _meaning(response, key, requested, now_wall)
    if isinstance(meaning, Granted):
        return meaning
    return meaning._replace(request_id=unrevealing(response.request_id, (key.reveal(),)))


def _meaning(response: Response, key: SecretStr, requested: float, now_wall: float) -> Granted | Declined:
    status = response.status
    if response.is_success:
        try:
            return _granted(response, key, requested, now_wall)
        except (_UnusableError, UselessTokenError) as error:
            return Declined(Outcome.BAD_RESPONSE, f"{status}, but {error}")
    if 300 <= status <= 399:
        why = "a redirect, which is not followed because the key must go to no other host; correct issuer.url"
        return Declined(Outcome.BAD_RESPONSE, f"{status}: {why}")
    if status in (401, 403):
        return _refusal(response, key)
    wait = response.retry_after(now_wall)
    outcome = _failure(status, asks_to_wait=wait is not None)
    return Declined(outcome, _with_message(response, key), wait if outcome is Outcome.THROTTLED else None)


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


def _refusal(response: Response, key: SecretStr) -> Declined:
    """The outcome of a 401 or 403. Only the issuer itself can refuse a key, and it responds in JSON."""
    try:
        _json_object(response)
    except _UnusableError as error:
        why = "a proxy, a firewall or a portal may have answered in the issuer's place"
        return Declined(Outcome.BAD_RESPONSE, f"{response.status}, but {error}: {why}")
    return Declined(Outcome.KEY_REFUSED, _with_message(response, key))


def _failure(status: int, *, asks_to_wait: bool) -> Outcome:
    """The outcome of a status other than 2xx, 3xx, 401 and 403."""
    if status == 429 or (status == 503 and asks_to_wait):
        return Outcome.THROTTLED
    return Outcome.SERVER_ERROR if 500 <= status <= 599 else Outcome.BAD_RESPONSE


class _UnusableError(Exception):
    """Why a response is useless. The text shows nothing of the body except a message that is safe to show."""


def _granted(response: Response, key: SecretStr, requested: float, now_wall: float) -> Granted:
    """The tokens in the body of a 2xx. Raises _UnusableError and UselessTokenError."""
    content = _json_object(response)
    if content.get("ok") is False:
        raise _UnusableError("its body reports a failure" + _colon(_message(content, key)))
    data = content.get("data")
    if not isinstance(data, dict):
        raise _UnusableError("its body has no data")
    access_value, refresh = inlive.issued_tokens(data)
    access = _token(access_value, "access", key)
    lifetime = believed_lifetime(requested, access.reveal(), response.date, now_wall)
    return Granted(access, None if refresh in (None, "") else _token(refresh, "refresh", key), lifetime)


def _token(value: object, kind: str, key: SecretStr) -> SecretStr:
    """`value` as a token. Raises _UnusableError if it cannot be a bearer token or contains the key."""
    if value in (None, ""):
        raise _UnusableError(f"its body has no {kind} token")
    if not isinstance(value, str):
        raise _UnusableError(f"its {kind} token is not a text")
    if len(value) > LONGEST_TOKEN:
        raise _UnusableError(f"its {kind} token is longer than {LONGEST_TOKEN} characters")
    if not BEARER_TOKEN.fullmatch(value):
        raise _UnusableError(
            f"its {kind} token has invalid characters (RFC 6750 allows letters, digits and -._~+/)"
        )
    if contains(value, key.reveal()):
        raise _UnusableError(f"its {kind} token contains the application key, which is never published")
    return SecretStr(value)


def _json_object(response: Response) -> dict[str, object]:
    """The JSON object in the body. Raises _UnusableError.

    If a name occurs twice, the last value counts, as in the official SDK's JSON.parse.
    """
    if response.overlong or len(response.body) > LONGEST_RESPONSE:
        raise _UnusableError(f"it is longer than {LONGEST_RESPONSE} bytes")
    if response.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise _UnusableError("it is compressed, which was not requested")
    if response.media_type != _JSON:  # the official SDK refuses it too
        raise _UnusableError(f"its content type is not {_JSON}")
    try:
        content = json.loads(response.body.decode("utf-8-sig"), parse_constant=_reject)
    except (ValueError, RecursionError) as error:
        raise _UnusableError("it is not JSON") from error
    if not isinstance(content, dict):
        raise _UnusableError("it is not a JSON object")
    return content


def _reject(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON (RFC 8259 §6)")


def _with_message(response: Response, key: SecretStr) -> str:
    """``401: no such key``, or only the status if the body has no message that is safe to show."""
    try:
        return str(response.status) + _colon(_message(_json_object(response), key))
    except _UnusableError:  # by design: a body in an unknown form is not shown
        return str(response.status)


def _colon(text: str) -> str:
    return f": {text}" if text else ""


def _message(content: Mapping[str, object], key: SecretStr) -> str:
    """The ``message`` in a body, made safe to show; empty if it is missing or too long."""
    message = content.get("message")
    if not isinstance(message, str) or len(message) > LONGEST_MESSAGE:
        return ""
    data = content.get("data")
    tokens = data.values() if isinstance(data, dict) else ()
    secrets = (secret for secret in (key.reveal(), *tokens) if isinstance(secret, str))
    return shown(message.strip(), secrets, LONGEST_MESSAGE)
