"""The kinds of issuers that the emulator serves: Inlive, OAuth2, and a JSON endpoint. No I/O.

A kind reads a request for a token, and writes the responses. `api.Upstream` has the keys and the tokens.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple, Protocol

from refresher.core import rfc3339
from refresher.core.inlive import DEFAULT_EXPIRY, EXPIRY_SECONDS, issued
from refresher.emulator.exchange import JSON_TYPE, bearer_of, document_of, envelope
from refresher.http.server.messages import Headers, Request, Response
from refresher.http.server.oauth2_request import RefusedError, client_of, fields_of

OAUTH2_PATH = "/oauth2/token"
JSON_PATH = "/v1/tokens"
GRANTS = ("client_credentials", "account_credentials")  # Zoom names its grant like the second
LONGEST_EXPIRY = 10**9  # our choice: keeps `exp` within the years that can be written
MOST_LEAVES = 1000  # of a JSON body; the rest is not searched for the key
ANSWER = '{"data": {"token": "$access_token", "ttl": "$expires_in", "expires_at": "$expires_at"}}'

_CHALLENGE: Headers = (("WWW-Authenticate", 'Basic realm="inlive-emulator"'),)


class Asked(NamedTuple):
    """A request for a token.

    `candidates`: texts; one of them may be a key or a refresh token. `client`: if tokens are exclusive, the
    new one ends the former one of this client. `lifetime`: in seconds, None if the request states none.
    `unreadable`: the response to a request that cannot be read. `wrong`: the response in place of a token.
    """

    candidates: tuple[str, ...] = ()
    client: str = ""
    lifetime: int | None = None
    unreadable: Response | None = None
    wrong: Response | None = None


class Granted(NamedTuple):
    """A new pair of tokens. `lifetime`: of the access token, in seconds. `now`: wall seconds."""

    access: str
    refresh: str
    lifetime: float
    now: float


class Kind(Protocol):
    def read(self, request: Request) -> Asked:
        """What this request to the endpoint of this kind asks for."""

    def granted(self, granted: Granted) -> Response:
        """The response with a new token."""

    def refused(self, why: str) -> Response:
        """The response to a key that is not accepted."""


class Inlive:
    """The API of Inlive. `refusal`: the status for a wrong key. `min_expiry`: seconds; a mint that asks for
    less gets 400."""

    def __init__(self, refusal: int, min_expiry: float) -> None:
        self._refusal, self._min_expiry = refusal, min_expiry

    def read(self, request: Request) -> Asked:
        bearer = bearer_of(request)
        lifetime, problem = self._asked_expiry(request)
        wrong = envelope(400, problem) if problem else None
        return Asked((bearer,) if bearer else (), lifetime=lifetime, wrong=wrong)

    def granted(self, granted: Granted) -> Response:
        return envelope(200, "access token created", issued(granted.access, granted.refresh))

    def refused(self, why: str) -> Response:
        return envelope(self._refusal, why)

    def _asked_expiry(self, request: Request) -> tuple[int | None, str]:
        """``expiry_seconds`` if it was given, and the problem with the body, if any.

        Whole numbers only: our choice, so that a client that sends 90.5 learns of it here."""
        try:
            asked = document_of(request).get(EXPIRY_SECONDS, DEFAULT_EXPIRY)
        except ValueError as error:
            return None, str(error)
        if not isinstance(asked, int) or isinstance(asked, bool):
            return None, f"{EXPIRY_SECONDS} must be a whole number of seconds"
        if not self._min_expiry <= asked <= LONGEST_EXPIRY:
            return asked, f"{EXPIRY_SECONDS} must be {self._min_expiry:g} to {LONGEST_EXPIRY}"
        return asked, ""


class OAuth2:
    """A token endpoint of OAuth2 for client credentials (RFC 6749 §4.4). Any ``client_id`` is accepted; the
    ``client_secret`` is a key."""

    def read(self, request: Request) -> Asked:
        try:
            fields = fields_of(request)
            client = client_of(request, fields)
        except RefusedError as error:
            return Asked(unreadable=_refusal(error))
        grant, wrong = fields.get("grant_type"), None
        if grant not in GRANTS:
            code = "unsupported_grant_type" if grant else "invalid_request"
            wrong = _refusal(RefusedError(code, f"accepted for grant_type: {', '.join(GRANTS)}"))
        return Asked(tuple(dict.fromkeys(client.secrets)), client.name, wrong=wrong)

    def granted(self, granted: Granted) -> Response:
        document = {
            "access_token": granted.access,
            "token_type": "Bearer",
            "expires_in": int(granted.lifetime),
        }
        return _json(200, document)

    def refused(self, why: str) -> Response:  # noqa: ARG002
        return _refusal(RefusedError("invalid_client", "the client_secret is not a key of this emulator"))


class AnyJson:
    """An endpoint that gives a token for a key, in JSON. The key may be a header, the last word of one, or a
    text in the body. The first whole number in the body is the lifetime. `answer`: the response in JSON, with
    ``$access_token``, ``$expires_in`` and ``$expires_at`` as whole texts. Raises ValueError."""

    def __init__(self, answer: str = ANSWER) -> None:
        try:
            self._answer: object = json.loads(answer)
        except (ValueError, RecursionError):
            self._answer = None
        if not isinstance(self._answer, dict) or "$access_token" not in _leaves(self._answer):
            raise ValueError(f"is not a JSON object with the text $access_token; accepted: such as {ANSWER}")

    def read(self, request: Request) -> Asked:
        texts = [*request.headers.values()]
        try:
            leaves = [*islice(_leaves(document_of(request)), MOST_LEAVES)]
        except ValueError as error:
            return Asked(unreadable=_json(400, {"message": str(error)}))
        texts += [leaf for leaf in leaves if isinstance(leaf, str)]
        lifetimes = [leaf for leaf in leaves if isinstance(leaf, int) and _is_lifetime(leaf)]
        words = [word for text in texts for word in (text, text.rpartition(" ")[2]) if word]
        return Asked(tuple(dict.fromkeys(words)), "json", lifetimes[0] if lifetimes else None)

    def granted(self, granted: Granted) -> Response:
        expires_at = rfc3339.to_second(granted.now + granted.lifetime)
        values = {
            "$access_token": granted.access,
            "$expires_in": int(granted.lifetime),
            "$expires_at": expires_at,
        }
        return _json(200, _replaced(self._answer, values))

    def refused(self, why: str) -> Response:  # noqa: ARG002
        return _json(401, {"message": "neither a header nor a text in the body is a key of this emulator"})


def _refusal(error: RefusedError) -> Response:
    if error.error == "invalid_client":
        return Response(401, error.document, JSON_TYPE, _CHALLENGE)
    return Response(400, error.document, JSON_TYPE)


def _json(status: int, document: object) -> Response:
    return Response(status, json.dumps(document).encode(), JSON_TYPE)


def _is_lifetime(number: int) -> bool:
    return not isinstance(number, bool) and 0 < number <= LONGEST_EXPIRY


def _leaves(document: object) -> Iterator[object]:
    """The values in a JSON document that are neither an object nor an array, in their order."""
    left = [document]  # a stack, because a document may be deep
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += reversed(value.values())
        elif isinstance(value, list):
            left += reversed(value)
        else:
            yield value


def _replaced(document: object, values: Mapping[str, object]) -> object:
    """`document` with each text that is one of the names in `values` replaced by its value."""
    if isinstance(document, dict):
        return {name: _replaced(value, values) for name, value in document.items()}
    if isinstance(document, list):
        return [_replaced(value, values) for value in document]
    return values.get(document, document) if isinstance(document, str) else document
