"""The endpoints of the daemon: liveness, readiness, the status of every token, the metrics.

Each response is computed at the request, from frozen states. Nothing is stored between two requests.
"""

import json
import socket
from collections.abc import Callable, Iterable
from http import HTTPStatus

from refresher.core.instant import Instant
from refresher.core.state import State, TokenPolicy
from refresher.core.status import status_of
from refresher.http.server.limits import Limits, affordable_connections
from refresher.http.server.loop import Server
from refresher.http.server.messages import Headers, Later, Reply, Request, Response, Stream
from refresher.metrics.counters import Counters
from refresher.metrics.exposition import Metrics
from refresher.ports import Clock
from refresher.status.document import DAEMON, Origin, status_document, unready_outputs
from refresher.status.liveness import is_alive, silence
from refresher.web import responses
from refresher.web.background import Background
from refresher.web.responses import text

METHODS = ("GET", "HEAD")
CONNECTIONS = 32
ENDPOINTS = {
    "/metrics": "for Prometheus, in its text format or as OpenMetrics",
    "/livez": "200 while the engine makes progress: for a liveness probe",
    "/readyz": "200 while every output of every token holds a valid token: for a readiness probe",
    "/status": "every token and output: a page in a browser, else JSON (with ?format=json always)",
}


class Endpoints:
    """The application that serves the endpoints.

    `view` and `last_turn` are the engine's; `version` is the daemon's. `stuck`: the reason for a restart
    although the engine makes turns, or None. `log_lines_dropped`: see `Metrics`. `unready`: the reasons why
    the process is not ready; None if those are the outputs without a valid token.
    """

    def __init__(  # noqa: PLR0913 -- the sources of all that is reported
        self,
        view: Callable[[], Iterable[tuple[TokenPolicy, State]]],
        last_turn: Callable[[], Instant],
        clock: Clock,
        counters: Counters,
        version: str,
        *,
        stuck: Callable[[], str | None] = lambda: None,
        log_lines_dropped: Callable[[], int] | None = None,
        unready: Callable[[], list[dict[str, object]]] | None = None,
    ) -> None:
        self._unready = unready or (lambda: unready_outputs(view(), clock.now()))
        self._view, self._last_turn, self._clock = view, last_turn, clock
        self._counters, self._stuck = counters, stuck
        self._origin = Origin(DAEMON, version, socket.gethostname(), started=clock.now())
        self._metrics = Metrics(view, last_turn, clock, counters, version, log_lines_dropped)
        self._background: Background[Response] = Background()
        self._routes: dict[str, Callable[[Request], Reply]] = {
            "/": self._index,
            "/metrics": self._exposition,
            "/livez": self._liveness,
            "/readyz": self._readiness,
            "/status": self._status,
        }

    def admit(self, request: Request) -> Response | None:
        """Refuse methods that would change something."""
        if request.method in METHODS:
            return None
        allowed = ", ".join(METHODS)
        line = f"method not allowed; accepted: {allowed} (nothing can be changed here)"
        return text(HTTPStatus.METHOD_NOT_ALLOWED, line, ("Allow", allowed))

    def answer(self, request: Request) -> Reply:
        """The reply to GET and HEAD. Probes get it at once. Metrics are computed in pieces between other
        replies. The status, which takes long with many tokens, is computed in the background."""
        route = self._routes.get(request.path)
        if route is None:
            return text(HTTPStatus.NOT_FOUND, f"not found; available: {', '.join(self._routes)}")
        return route(request)

    def refuse(self, status: HTTPStatus) -> Response:
        """The response to an invalid request."""
        return text(status, status.phrase)

    def _index(self, request: Request) -> Reply:
        """The status page for a browser, which links to the other endpoints, and a list for programs."""
        if _prefers_html(request, "text/plain"):
            return self._status(request)
        return text(HTTPStatus.OK, "\n".join(f"{path:10}{summary}" for path, summary in ENDPOINTS.items()))

    def _exposition(self, request: Request) -> Stream:
        pieces, content_type, weight = self._metrics.pieces(_accept(request))
        headers: Headers = ()
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            pieces, headers = responses.gzipped(pieces), (("Content-Encoding", "gzip"),)
        return Stream(responses.of_type(content_type, b"", headers=headers), pieces, weight)

    def _liveness(self, _request: Request) -> Response:
        last_turn, now = self._last_turn(), self._clock.now()
        problem = self._stuck()
        if not is_alive(last_turn, now):
            problem = f"the engine's last turn was {silence(last_turn, now):.0f} s ago"
        if problem is None:
            return text(HTTPStatus.OK, "ok")
        return text(HTTPStatus.SERVICE_UNAVAILABLE, problem)

    def _readiness(self, _request: Request) -> Response:
        reasons = self._unready()
        if not reasons:
            return responses.json(HTTPStatus.OK, json.dumps({"ready": True}, indent=2))
        # Without indentation, because that encoder is fast and the kubelet shows only the first 10 kB.
        document = json.dumps({"ready": False, "reasons": reasons})
        return responses.json(HTTPStatus.SERVICE_UNAVAILABLE, document)

    def _status(self, request: Request) -> Later:
        options = request.query.split("&")
        as_page = _prefers_html(request, "application/json") and "format=json" not in options

        def status() -> Response:
            now = self._clock.now()
            statuses = [status_of(state, policy, now) for policy, state in self._view()]
            counters = self._counters
            document = status_document(statuses, now, self._origin, counters.leases, counters.configuration)
            if not as_page:
                return responses.json(HTTPStatus.OK, json.dumps(document, indent=2))
            from refresher.status.page import POLICY, page  # noqa: PLC0415 -- only for a browser
            from refresher.status.selection import selection_of  # noqa: PLC0415 -- as above

            return responses.html(page(document, selection_of(request.query)), POLICY)

        return Later(self._background.submit(status))


def server_of(endpoints: Endpoints, listening: socket.socket) -> Server:
    """The server of the endpoints. Raises OSError without a free descriptor.

    It closes each connection after one request: probes and scrapes come seconds apart, and connections are
    few.
    """
    limits = Limits(idle=0.0, connections=affordable_connections(CONNECTIONS))
    return Server(listening, endpoints, limits, name="the endpoints")


def quality(accept: str, media_type: str) -> float:
    """The weight, 0 to 1, that the Accept header `accept` gives to `media_type` (RFC 9110 §12.5.1).

    The most specific matching range counts. An empty header accepts everything. An invalid weight counts as
    0.
    """
    kind = media_type.partition("/")[0]
    weights = dict(_ranges(accept or "*/*"))
    ranges = (media_type, f"{kind}/*", "*/*")
    return next((weights[media_range] for media_range in ranges if media_range in weights), 0.0)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client with this Accept-Encoding header wants gzip (RFC 9110 §12.5.3). Without the header it
    gets the plain body, although that would allow everything."""
    weights = dict(_ranges(accept_encoding))
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _ranges(accept: str) -> Iterable[tuple[str, float]]:
    for item in accept.lower().split(","):
        media_range, *parameters = (part.strip() for part in item.split(";"))
        weights = [part[2:] for part in parameters if part.startswith("q=")]
        try:
            yield media_range, float(weights[0]) if weights else 1.0
        except ValueError:
            yield media_range, 0.0


def _accept(request: Request) -> str:
    return request.headers.get("accept", "")


def _prefers_html(request: Request, other: str) -> bool:
    """Whether the client is a browser: it accepts HTML rather than the media type `other`."""
    return quality(_accept(request), "text/html") > quality(_accept(request), other)
