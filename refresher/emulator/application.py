"""The emulator as an application of the HTTP server: responses with their headers, faults, the access log."""

import itertools
import secrets
from collections.abc import Callable
from http import HTTPStatus

from refresher.emulator import api, control
from refresher.emulator.delivery import delivered
from refresher.emulator.exchange import envelope
from refresher.emulator.faults import Fault
from refresher.http.server.limits import Limits
from refresher.http.server.messages import Headers, Reply, Request, Response, http_date

CONNECTIONS = 256
LIMITS = Limits(head=30.0, body=30.0, answer=30.0, connections=CONNECTIONS)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_NO_FAULT = Fault()
REQUEST_ID = "X-Request-Id"
_ON_ALL: Headers = (("Server", "inlive-emulator"), ("Cache-Control", "no-store"))
# A page of any origin may call the product's API, as the SDK does in a browser: every call needs a key or a
# token. The wildcard does not cover Authorization, so it must be named (Fetch standard, "CORS-preflight
# fetch").
_FOR_PAGES: Headers = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE"),
    ("Access-Control-Allow-Headers", "Authorization, *"),
    ("Access-Control-Expose-Headers", f"X-Access-Token-Expired, Retry-After, {REQUEST_ID}"),
    ("Access-Control-Max-Age", "600"),
)


class EmulatorApplication:
    """Serves requests with `respond`.

    `clock`: wall seconds, for the response to an invalid request. `log`: called with each line of the access
    log.

    Each response to a readable request has an id in X-Request-Id. The line of the access log has it too. The
    refresher logs it as `request_id` when a mint fails.
    """

    def __init__(
        self,
        respond: Callable[[Request], api.Reply],
        clock: Callable[[], float],
        log: Callable[[str], None] | None,
    ) -> None:
        self._respond, self._clock, self._log = respond, clock, log
        self._run, self._numbers = secrets.token_hex(4), itertools.count(1)

    def admit(self, request: Request) -> Response | None:
        return None if request.method in _METHODS else self.refuse(HTTPStatus.NOT_IMPLEMENTED)

    def answer(self, request: Request) -> Reply:
        reply, request_id = self._respond(request), f"{self._run}-{next(self._numbers)}"
        status = "no answer" if reply.answer is None else reply.answer.status
        self._note(
            f"{request.method} {_printable(request.path)} {status} id={request_id} {reply.note}".rstrip()
        )
        response = reply.answer
        if response is not None:
            response = response._replace(headers=((REQUEST_ID, request_id), *response.headers))
            for_pages = not request.path.startswith(control.PREFIX)
            response = _with_common_headers(response, reply.clock, for_pages=for_pages)
        return delivered(response, reply.fault or _NO_FAULT, old_client=request.old)

    def refuse(self, status: HTTPStatus) -> Response:
        self._note(f"unreadable request {status:d}")
        return _with_common_headers(envelope(status, status.phrase), self._clock(), for_pages=True)

    def _note(self, line: str) -> None:
        if self._log is not None:
            self._log(line)


def _with_common_headers(response: Response, clock: float, *, for_pages: bool) -> Response:
    """`response` with the headers of every response. `clock`: the time in Date, wall seconds. `for_pages`:
    web pages of any origin may read it (CORS)."""
    headers = (("Date", http_date(int(clock))), *_ON_ALL, *(_FOR_PAGES if for_pages else ()))
    return response._replace(headers=(*headers, *response.headers))


def _printable(path: str) -> str:
    return "".join(
        character if character.isprintable() and character.isascii() else "?" for character in path[:100]
    )
