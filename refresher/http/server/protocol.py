"""One connection as a state machine without a socket. Theory of operation:

::

            ┌────────────── the response has been sent, and the connection is kept ─────────────┐
            ▼                                                                                   │
          HEAD ──────────────► BODY ──────────────► ANSWERING ──── respond ───────────────► WRITING
            │                   │                       │                                       │
            └─ refused, or time is up: respond ─────────│────────────────► (WRITING) ───────────┤
            │                                           └─ the application takes over           ▼
            └─ the client has gone: OVER                                                    FAREWELL ─► OVER

The owner of the socket passes in the bytes that it has read (`receive`), asks for the next request
(`next_request`), passes the application's response (`respond`), sends `outgoing`, reports how much it has
sent (`sent`), and calls `expire` when `deadline` has passed. The requests of one connection are processed one
at a time, in order. If a client sends more ahead (pipelining), it waits in the buffer or unread.
"""

from collections.abc import Iterator
from enum import Enum, auto
from http import HTTPStatus

from refresher.http.server.limits import Limits
from refresher.http.server.messages import Application, Request, Response, Stream, rendered, rendered_head
from refresher.http.server.parsing import Head, RefusedError, end_of_head, parsed

NEVER = float("inf")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_DRAINED = 2**20  # bytes of an unread body to discard, so that the client reads our response


class Phase(Enum):
    HEAD = auto()
    BODY = auto()
    ANSWERING = auto()
    WRITING = auto()
    FAREWELL = auto()
    OVER = auto()


_READING = frozenset((Phase.HEAD, Phase.BODY, Phase.FAREWELL))


class Protocol:
    """HTTP/1.1 on one connection. `now`, `deadline` and `since` are monotonic seconds.

    ``since``: when the connection, the current request, or the idle time began. An exception of the
    application passes through `next_request`; the caller must then call `respond`.
    """

    def __init__(self, application: Application, limits: Limits, now: float) -> None:
        self._application, self._limits = application, limits
        self.phase = Phase.HEAD
        self.since = now
        self.deadline = now + limits.head
        self.outgoing = memoryview(b"")
        self._received = bytearray()
        self._seen = 0  # bytes of `_received` already searched for the end of a head
        self._head: Head | None = None
        self._is_first = True
        self._keeps = False
        self._has_ended = False  # the client has closed its side
        self._drained = 0
        self._size = 0  # bytes of the last response
        self._rest: Iterator[bytes] = iter(())  # of a streamed response

    @property
    def wants_more(self) -> bool:
        """Whether to read from the client now."""
        return self.phase in _READING and not self._has_ended and not self.has_more

    @property
    def has_more(self) -> bool:
        """Whether `next_request` may find another request in the received bytes."""
        return self.phase is Phase.HEAD and self._seen < len(self._received)

    @property
    def is_idle(self) -> bool:
        """Whether every request has its response, and the connection waits for another request."""
        return self.phase is Phase.HEAD and not self._is_first and not self._received

    @property
    def held(self) -> int:
        """Bytes of a response that stays in memory until all of it is sent."""
        return self._size if self.outgoing else 0

    def receive(self, octets: bytes, now: float) -> None:
        """Accept `octets` from the client. Empty: the client has closed its side."""
        if not octets:
            self._has_ended = True
            if self.phase is Phase.FAREWELL:
                self.phase = Phase.OVER
        elif self.phase is Phase.FAREWELL:
            self._drained += len(octets)
            if self._drained >= _DRAINED:
                self.phase = Phase.OVER
        else:
            if self.is_idle:
                self._begin(now)
            self._received += octets

    def next_request(self, now: float) -> Request | None:
        """The next request once it is complete. Then call `respond`, or take the socket over."""
        try:
            if self.phase is Phase.HEAD:
                self._read_head(now)
            request = self._read_body() if self.phase is Phase.BODY else None
        except RefusedError as error:
            self.respond(self._application.refuse(error.status), now, close=True)
            return None
        if request is None and self._has_ended and self.phase in _READING:
            self.phase = Phase.OVER
        return request

    def wait_until(self, deadline: float) -> None:
        """Wait for the application until `deadline`."""
        self.deadline = deadline

    def respond(self, response: Response, now: float, *, close: bool = False) -> None:
        """Send `response`. `close`: close the connection afterwards.

        Raises ValueError if a header cannot be sent; the connection then waits for another response.
        """
        head = self._head
        keeps = head is not None and head.keep and not close and self._limits.idle > 0
        is_head = self._received.startswith(b"HEAD ") if head is None else head.request.method == "HEAD"
        connection = "close" if not keeps else "keep-alive" if head and head.request.old else None
        octets = rendered(response, connection=connection, head_only=is_head)
        self._rest = iter(())
        self._write(octets, now, keeps=keeps)

    def stream(self, reply: Stream, now: float) -> None:
        """Send `reply` piece by piece. HTTP/1.0 has no chunks: its clients get the whole body at once.

        Raises ValueError as `respond` does.
        """
        request = self._head.request if self._head else None
        if request is None or request.old:
            self.respond(reply.whole(), now)
            return
        keeps = self._head is not None and self._head.keep and self._limits.idle > 0
        octets = rendered_head(reply.head, (("Transfer-Encoding", "chunked"),), None if keeps else "close")
        self._rest = iter(()) if request.method == "HEAD" else reply.chunks()
        self._write(octets, now, keeps=keeps)
        self._size += reply.weight

    def sent(self, size: int, now: float) -> None:
        """Report that `size` bytes of `outgoing` have been sent. An exception of a stream passes through."""
        self.outgoing = self.outgoing[size:]
        if self.outgoing:
            return
        self.outgoing = memoryview(next(self._rest, b""))
        if self.outgoing:
            return
        if self.phase is Phase.WRITING:
            self._finish(now)

    def expire(self, now: float) -> None:
        """Handle a passed deadline. Not for use in ANSWERING: the application decides what happens then."""
        is_under_way = self.phase is Phase.BODY or (self.phase is Phase.HEAD and self._received)
        if is_under_way and not self.outgoing:
            self.respond(self._application.refuse(HTTPStatus.REQUEST_TIMEOUT), now, close=True)
        else:
            self.phase = Phase.OVER

    def _write(self, octets: bytes, now: float, *, keeps: bool) -> None:
        octets = bytes(self.outgoing) + octets  # the rest of a 100 Continue
        self._keeps = keeps
        self.outgoing, self._size = memoryview(octets), len(octets)
        self.phase, self.deadline = Phase.WRITING, now + self._limits.answer

    def _begin(self, now: float) -> None:
        self.since, self.deadline = now, now + self._limits.head

    def _finish(self, now: float) -> None:
        """Go on after the whole response has been sent."""
        if not self._keeps:
            self._received.clear()
            self.phase = Phase.FAREWELL
            self.deadline = now + self._limits.farewell
            return
        self.phase, self._head, self._seen, self._is_first = Phase.HEAD, None, 0, False
        self._begin(now)
        if not self._received:
            self.deadline = now + self._limits.idle

    def _read_head(self, now: float) -> None:
        while self._received.startswith(b"\r\n"):  # ignore empty lines before a request (RFC 9112 §2.2)
            del self._received[:2]
            self._seen = 0
        end = end_of_head(self._received, self._seen, self._limits.head_size)
        if end is None:
            self._seen = len(self._received)
            return
        self._head = head = parsed(bytes(self._received[:end]))
        del self._received[:end]
        refusal = self._application.admit(head.request)
        if refusal is not None:
            self.respond(refusal, now, close=head.length > 0)
            return
        if head.length > self._limits.body_size:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        self.phase, self.deadline = Phase.BODY, now + self._limits.body
        if head.waits and len(self._received) < head.length:
            self.outgoing = memoryview(_CONTINUE)

    def _read_body(self) -> Request | None:
        head = self._head
        if head is None or len(self._received) < head.length:
            return None
        body = bytes(self._received[: head.length])
        del self._received[: head.length]
        self.phase, self.deadline = Phase.ANSWERING, NEVER
        return head.request._replace(body=body) if body else head.request
