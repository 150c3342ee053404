"""The emulator on the HTTP server: who answers, with which headers, what a fault spoils, what is logged."""

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
_ON_ALL: Headers = (("Server", "inlive-emulator"), ("Cache-Control", "no-store"))
# A page from anywhere may call the product's API, as the SDK does in a browser: nothing there is let in
# without a key or a token. Authorization is not covered by the wildcard and has to be named (Fetch standard,
# "CORS-preflight fetch").
_FOR_PAGES: Headers = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE"),
    ("Access-Control-Allow-Headers", "Authorization, *"),
    ("Access-Control-Expose-Headers", "X-Access-Token-Expired, Retry-After"),
    ("Access-Control-Max-Age", "600"),
)


class EmulatorApplication:
    """Answers what comes in by `respond`.

    `clock`: wall seconds, for what could not even be read. `log`: where the access log goes.
    """

    def __init__(
        self,
        respond: Callable[[Request], api.Reply],
        clock: Callable[[], float],
        log: Callable[[str], None] | None,
    ) -> None:
        self._respond, self._clock, self._log = respond, clock, log

    def admit(self, request: Request) -> Response | None:
        return None if request.method in _METHODS else self.refuse(HTTPStatus.NOT_IMPLEMENTED)

    def answer(self, request: Request) -> Reply:
        said = self._respond(request)
        status = "no answer" if said.answer is None else said.answer.status
        self._note(f"{request.method} {_printable(request.path)} {status} {said.note}".rstrip())
        response = said.answer
        if response is not None:
            for_pages = not request.path.startswith(control.PREFIX)
            response = _dressed(response, said.clock, for_pages=for_pages)
        return delivered(response, said.fault or _NO_FAULT, old_client=request.old)

    def refuse(self, status: HTTPStatus) -> Response:
        self._note(f"unreadable request {status:d}")
        return _dressed(envelope(status, status.phrase), self._clock(), for_pages=True)

    def _note(self, line: str) -> None:
        if self._log is not None:
            self._log(line)


def _dressed(response: Response, clock: float, *, for_pages: bool) -> Response:
    """With the headers that all responses have. `clock`: what Date says, wall seconds. `for_pages`: web pages
    of any origin may read it (CORS)."""
    headers = (("Date", http_date(int(clock))), *_ON_ALL, *(_FOR_PAGES if for_pages else ()))
    return response._replace(headers=(*headers, *response.headers))


def _printable(path: str) -> str:
    return "".join(letter if letter.isprintable() and letter.isascii() else "?" for letter in path[:100])
