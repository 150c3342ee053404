"""The consumers' listener: serves tokens, and takes reports that one has expired.

A report becomes an event for the engine, and the rules of the core decide what follows. Any number of
reports about one token cost one mint, and false reports cost no more than the schedule allows.
"""

import json
import math
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from refresher.core import inlive
from refresher.core.formats import Format, render
from refresher.core.model import SecretStr, Token, fingerprint
from refresher.core.schedule import soonest
from refresher.http.server.limits import Limits, affordable_connections, allow_connections
from refresher.http.server.loop import Server
from refresher.http.server.messages import Later, Reply, Request, Response, http_date
from refresher.http.server.oauth2_request import RefusedError
from refresher.outputs.memory import MemoryOutput
from refresher.ports import Clock
from refresher.web import guard, oauth2, responses

WAIT = 10.0  # seconds; most clients wait longer for a response
REPORT_EVERY = 1.0  # seconds between two events for the same report: a caller in a loop is no load
IDLE = 75.0  # seconds; longer than proxies keep their connections (nginx: 60), so they close first
LARGEST_BODY = 16 * 2**10  # bytes: a report holds one token
CONNECTIONS = 2048
GET, POST, ANY = ("GET", "HEAD"), ("POST",), ()  # methods that a path accepts
TOKEN, EXPIRED, AUTHORIZE = "token", "expired", "authorize"
METHODS = {TOKEN: GET, EXPIRED: POST, AUTHORIZE: ANY, inlive.MINT_PATH: POST, oauth2.PATH: POST}
NAMELESS = (inlive.MINT_PATH, oauth2.PATH)  # these have no name in their path
PATHS = (
    f"GET /token/NAME, POST /expired/NAME, GET /authorize/NAME, POST {inlive.MINT_PATH}, POST {oauth2.PATH}"
)

Answer = Callable[[Token], Response]


class Target(NamedTuple):
    """The target of a request: a key of METHODS, and the name of a token, which may be empty."""

    action: str
    name: str


class Consumers:
    """Answers requests for the tokens that `served` returns, by name.

    `report` receives the name of a token, and the fingerprint that a consumer reported as expired. `guarded`:
    the listener is on TCP, see `guard`. `client_secret`: returns the secret of OAuth2 clients, or None while
    it is unknown; without this function, they need none. `wait`: how many seconds a request waits for the
    next token.
    """

    def __init__(  # noqa: PLR0913 -- the last three have names
        self,
        served: Callable[[], Mapping[str, MemoryOutput]],
        report: Callable[[str, str], None],
        clock: Clock,
        *,
        guarded: bool,
        client_secret: Callable[[], SecretStr | None] | None = None,
        wait: float = WAIT,
    ) -> None:
        self._present, self._report, self._clock, self._guarded = served, report, clock, guarded
        self._served = served()  # as it was at the beginning of this request
        self._client_secret, self._wait = client_secret, wait
        self._documents: dict[tuple[str, int], Response] = {}  # of this second, by fingerprint and second
        self._reported: dict[str, tuple[str, float]] = {}  # by token: the last report, and its boot second

    def admit(self, request: Request) -> Response | None:
        """Refuse a request by its head: of a web page, for an unknown path, with a wrong method."""
        self._served = self._present()
        target = _target(request.path)
        methods = METHODS.get(target.action)
        if self._guarded and (refused := guard.refusal(request, is_post=methods == POST)):
            return refused
        if methods is None:
            return responses.text(HTTPStatus.NOT_FOUND, f"not found; accepted: {PATHS}")
        if methods and request.method not in methods:
            allowed = ", ".join(methods)
            return responses.text(HTTPStatus.METHOD_NOT_ALLOWED, f"accepted: {allowed}", ("Allow", allowed))
        if target.action not in NAMELESS and self._name(target.name) is None:
            return self._unknown()
        return None

    def _unknown(self) -> Response:
        return responses.text(HTTPStatus.NOT_FOUND, f"no such token; accepted: {self._names}")

    def answer(self, request: Request) -> Reply:
        self._served, target = self._present(), _target(request.path)
        if target.action == inlive.MINT_PATH:
            return self._mint(request)
        if target.action == oauth2.PATH:
            return self._grant(request)
        name = self._name(target.name)
        if name is None:  # it was removed after `admit`
            return self._unknown()
        return self._about(name, target.action, request)

    def _about(self, name: str, action: str, request: Request) -> Reply:
        if action == TOKEN:
            return _unless_known(self._current(name, self._document), request)
        if action == AUTHORIZE:
            return self._authorize(name, request)
        reported = _reported(request.body)
        if reported is None:
            accepted = 'accepted: {"access_token": "…"} or {"fingerprint": "…"} of the expired token'
            return responses.text(HTTPStatus.BAD_REQUEST, accepted)
        return self._after(name, reported, self._document)

    def refuse(self, status: HTTPStatus) -> Response:
        """The response to a request that the server refuses."""
        return responses.text(status, status.phrase)

    def _name(self, given: str) -> str | None:
        """The name of the requested token, or None. With one token, the name may be empty."""
        if given in self._served:
            return given
        return next(iter(self._served)) if not given and len(self._served) == 1 else None

    @property
    def _names(self) -> str:
        return ", ".join(self._served)

    def _valid(self, name: str) -> Token | None:
        token = self._served[name].token
        return token if token is not None and token.facts.remaining(self._clock.now()) > 0 else None

    def _current(self, name: str, answer: Answer) -> Response:
        token = self._valid(name)
        return _unavailable() if token is None else answer(token)

    def _after(self, name: str, reported: str, answer: Answer) -> Reply:
        """Respond with the current token unless it is the reported one, else with the next token."""
        valid, held = self._valid(name), self._served[name].token
        if valid is not None and valid.facts.fingerprint != reported:
            return answer(valid)
        if held is None or held.facts.fingerprint != reported:
            known = "" if held is None else held.facts.fingerprint
            return self._next(name, known, answer)
        self._pass_on(name, reported)
        # The schedule does not replace a younger token than `soonest`.
        patience = soonest(held.facts.lifetime) - held.facts.issued.age(self._clock.now())
        if patience >= self._wait:
            return _unavailable(math.ceil(patience))
        return self._next(name, reported, answer)

    def _next(self, name: str, known: str, answer: Answer) -> Later:
        return Later(self._served[name].successor(known, answer), within=self._wait, otherwise=_unavailable())

    def _pass_on(self, name: str, reported: str) -> None:
        """Pass a report on to the engine, unless the same one was passed on a moment ago."""
        now = self._clock.now().boot
        self._reported = {known: last for known, last in self._reported.items() if known in self._served}
        before, at = self._reported.get(name, ("", now))
        if before != reported or now - at >= REPORT_EVERY:
            self._reported[name] = (reported, now)
            self._report(name, reported)

    # The responses of each path

    def _document(self, token: Token) -> Response:
        """The token in the format json, with its fingerprint as ETag. At most a second old."""
        now = self._clock.now()
        key = (token.facts.fingerprint, int(now.boot))
        known = self._documents.get(key)
        if known is not None:
            return known
        # This format does not contain the issuer's URL.
        body = render(Format("json"), token, now, issuer_url="")
        headers = (_etag(token), ("Date", http_date(int(now.wall))))
        response = responses.of_type("application/json", body, headers=headers)
        current = {each: made for each, made in self._documents.items() if each[1] == key[1]}
        self._documents = {**current, key: response}  # never changed in place: another thread may read it
        return response

    def _authorize(self, name: str, request: Request) -> Reply:
        """The header that a proxy adds to its requests.

        The proxy may report an expired token in the request: by its fingerprint, the ETag of an earlier
        response, or by any other value.
        """
        value = request.headers.get(inlive.EXPIRED_HEADER.lower())
        if value is None:
            return self._current(name, _authorization)
        given, token = value.strip('"'), self._valid(name)
        if not _is_fingerprint(given):
            given = token.facts.fingerprint if token is not None and self._is_replaceable(token) else ""
        return self._after(name, given, _authorization)

    def _is_replaceable(self, token: Token) -> bool:
        """Whether the token is old enough to be replaced. A report without a fingerprint is about an older
        token if this one is younger: many requests fail with one token, and the last ones report late."""
        return token.facts.issued.age(self._clock.now()) >= soonest(token.facts.lifetime)

    def _mint(self, request: Request) -> Reply:
        """The current token in the issuer's wire format, for a program that mints for itself.

        Instead of the key, the program may send the name of a token, or NAME:FINGERPRINT. The latter is the
        refresh token in our response. The JavaScript SDK needs one: when its token has expired, it calls this
        path with its refresh token, and fails if that is empty. So this value reports which token has
        expired. Without the fingerprint, the SDK would get the same token again and retry in an endless loop.
        """
        _, _, credential = request.headers.get("authorization", "").partition(" ")
        name, reported = self._meant(credential.strip())
        if name is None:
            line = f"several tokens are served; send the name of one instead of the key: {self._names}"
            return _enveloped(HTTPStatus.NOT_FOUND, line)
        return self._after(name, reported, lambda token: _issued(name, token))

    def _grant(self, request: Request) -> Reply:
        """The current token for an OAuth2 client."""
        expected = None
        if self._client_secret is not None:
            expected = self._client_secret()
            if expected is None:
                return _unavailable()  # serve.secret_file cannot be read; the log has the reason
        try:
            name = oauth2.token_name(request, self._served, expected)
        except RefusedError as error:
            return oauth2.refusal(error)
        return self._after(name, "", lambda token: oauth2.granted(token, self._clock.now()))

    def _meant(self, credential: str) -> tuple[str | None, str]:
        """The name of the requested token, and the fingerprint of an expired token, which may be empty."""
        secret = SecretStr(credential)
        for name, output in self._served.items():
            if output.includes_refresh_token and output.token and output.token.refresh_token == secret:
                return name, output.token.facts.fingerprint
        given, _, reported = credential.partition(":")
        return self._name(given) or self._name(""), reported


def server_of(consumers: Consumers, listening: socket.socket) -> Server:
    """The server for consumers. Raises OSError without a free descriptor."""
    allow_connections(CONNECTIONS)
    limits = Limits(idle=IDLE, body_size=LARGEST_BODY, connections=affordable_connections(CONNECTIONS))
    return Server(listening, consumers, limits, name="the consumers' listener")


def _target(path: str) -> Target:
    if path in NAMELESS:
        return Target(path, "")
    _, _, rest = path.partition("/")
    action, _, name = rest.partition("/")
    # Envoy appends the path of the original request.
    return Target(action, name.partition("/")[0] if action == AUTHORIZE else name)


def _reported(body: bytes) -> str | None:
    """The fingerprint of the reported token; None if the body is not a report."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    match document:
        case {"access_token": str(access)}:
            return fingerprint(access)
        case {"fingerprint": str(given)}:
            return given
    return None


def _is_fingerprint(text: str) -> bool:
    return len(text) == 16 and all(digit in "0123456789abcdef" for digit in text)


def _etag(token: Token) -> tuple[str, str]:
    return "ETag", f'"{token.facts.fingerprint}"'


def _unless_known(response: Response, request: Request) -> Response:
    """304 if the client has this token already, else `response`."""
    etag = dict(response.headers).get("ETag")
    if etag is None or request.headers.get("if-none-match") != etag:
        return response
    return response._replace(status=HTTPStatus.NOT_MODIFIED)


def _authorization(token: Token) -> Response:
    headers = (("Authorization", f"Bearer {token.access.reveal()}"), _etag(token))
    return responses.of_type("text/plain; charset=utf-8", b"", headers=headers)


def _issued(name: str, token: Token) -> Response:
    refresh = token.refresh_token.reveal() if token.refresh_token else f"{name}:{token.facts.fingerprint}"
    return _enveloped(HTTPStatus.OK, "", inlive.issued(token.access.reveal(), refresh))


def _enveloped(status: HTTPStatus, message: str, data: object = None) -> Response:
    return responses.json(status, json.dumps(inlive.envelope(status, message, data)))


def _unavailable(seconds: int = 1) -> Response:
    line = f"no valid token is available; retry in {seconds} s"
    return responses.text(HTTPStatus.SERVICE_UNAVAILABLE, line, ("Retry-After", str(seconds)))
