"""A protocol and its application without a socket, on virtual time."""

from collections.abc import Iterable
from http import HTTPStatus

from refresher.http.server.limits import Limits
from refresher.http.server.messages import Request, Response
from refresher.http.server.protocol import Phase, Protocol

LIMITS = Limits(head=5.0, body=10.0, answer=20.0, idle=30.0, farewell=1.0, head_size=1000, body_size=100)


class Admitting:
    """Admits all but ``/forbidden``; refuses with the phrase."""

    def admit(self, request: Request) -> Response | None:
        return Response(403) if request.path == "/forbidden" else None

    def answer(self, request: Request) -> Response:
        raise AssertionError("a protocol does not ask for answers")

    def refuse(self, status: HTTPStatus) -> Response:
        return Response(status, status.phrase.encode())


class Wire:
    """A client of a protocol: each complete request gets its response at once."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.protocol = Protocol(Admitting(), limits, 0.0)
        self.requests: list[Request] = []
        self.sent = b""

    def send(self, *pieces: bytes, now: float = 0.0) -> bytes:
        """The bytes that come back for these, while the protocol reads."""
        before = len(self.sent)
        for piece in pieces:
            self.protocol.receive(piece, now)
            self._turn(now)
        return self.sent[before:]

    def expire(self, now: float) -> bytes:
        """The bytes that come back when the deadline has passed."""
        before = len(self.sent)
        self.protocol.expire(now)
        self._flush(now)
        return self.sent[before:]

    def _turn(self, now: float) -> None:
        while True:
            request = self.protocol.next_request(now)
            if request is not None:
                self.requests.append(request)
                self.protocol.respond(Response(200, b"<%b>" % request.body), now)
            if not self._flush(now):
                return

    def _flush(self, now: float) -> bool:
        octets = bytes(self.protocol.outgoing)
        self.sent += octets
        if octets:
            self.protocol.sent(len(octets), now)
        return bool(octets)

    @property
    def is_closing(self) -> bool:
        return self.protocol.phase in (Phase.FAREWELL, Phase.OVER)


def outcome(pieces: Iterable[bytes]) -> tuple[int | None, list[Request]]:
    """The last status for a client that sends this, and the requests that reached the application."""
    wire = Wire()
    for piece in pieces:
        if wire.protocol.wants_more:
            wire.send(piece)
    statuses = [int(each[:3]) for each in wire.sent.split(b"HTTP/1.1 ")[1:]]
    return (statuses[-1] if statuses else None), wire.requests
