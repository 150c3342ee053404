"""An HTTP server for a handful of small answers, that nobody can keep busy.

One thread holds all conversations: a client that is silent, drips or does not read costs a descriptor for a
few seconds and holds up nobody. That thread computes the quick answers itself, so that a probe never waits
for a scrape; a second thread computes those that take long. Each does one after the other: however many
clients there are, the engine shares the interpreter with two threads at most.
"""

import errno
import logging
import resource
import selectors
import socket
import time
from collections.abc import Callable, Generator
from functools import partial
from http import HTTPStatus
from typing import NamedTuple, TypeVar

from refresher.web.background import Background
from refresher.web.exchange import Answer, Later, Request, is_whole, parsed, rendered, text

log = logging.getLogger("refresher")

_PIECE = 4096  # bytes read at once
_DRAINED = 64 * 1024  # bytes of an unread body that are thrown away so that the client gets to our answer
_ACCEPT_PAUSE = 0.1  # seconds, when not even an end to our own conversations lets another connection in
_WARN_EVERY = 60.0  # seconds
_CONNECTIONS = 32
_NEVER = float("inf")
_RESERVE = (
    24  # descriptors: standard streams, sockets and files of one refresh, and room for what is imported
)

_Job = Callable[[], bytes]
Response = TypeVar("Response", bytes, bytes | _Job)
_Course = Generator[int | _Job, bytes | None, None]


class Limits(NamedTuple):
    """What one client, and all of them together, may take. Seconds, bytes, and a number of connections.

    ``head``: until the whole head of the request has come. ``answer``: until the whole answer has gone, as
    long as Prometheus waits by default (scrape_timeout). ``farewell``: until the client has closed its side.
    ``connections``: at one more than that, the oldest is closed. One is accepted a turn, so that a prompt
    client is through long before it is the oldest, however many others come. ``responses``: bytes of answers
    in memory; for more than that, the oldest of several is closed.
    """

    head: float = 5.0
    answer: float = 10.0
    farewell: float = 1.0
    head_size: int = 16 * 1024
    connections: int = _CONNECTIONS
    responses: int = 32 * 2**20


def affordable_connections(descriptors: int) -> int:
    """How many connections leave the rest of a process the descriptors that it needs, if it may have so many
    of them."""
    if descriptors == resource.RLIM_INFINITY:
        return _CONNECTIONS
    return max(1, min(_CONNECTIONS, (descriptors - _RESERVE) // 2))


class Server:
    """Answers GET and HEAD requests on a listening socket, one a connection.

    `answer` is called on the serving thread, and what it returns to be computed later on another one. An
    exception in either is logged, and answered with a bare 500. Raises OSError without a free descriptor.
    """

    def __init__(
        self,
        listening: socket.socket,
        answer: Callable[[Request], Answer | Later],
        limits: Limits | None = None,
    ) -> None:
        self._listening, self._answer = listening, answer
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._limits = limits or Limits(connections=affordable_connections(descriptors))
        self._selector = selectors.DefaultSelector()
        self._background: Background[_Conversation] = Background()
        self._open: dict[_Conversation, None] = {}  # the oldest first
        self._next_warning = 0.0  # monotonic

    def serve(self) -> None:
        """Serve until the socket is shut down, which in the daemon is never."""
        self._listening.settimeout(0)
        with self._selector, self._background:
            self._selector.register(self._listening, selectors.EVENT_READ)
            self._selector.register(self._background.woken, selectors.EVENT_READ)
            while self._turn():
                pass
            for conversation in tuple(self._open):
                self._end(conversation)

    def _turn(self) -> bool:
        ready = {key.fileobj: key.data for key, _ in self._selector.select(self._patience())}
        for conversation in filter(None, ready.values()):
            self._advance(conversation)
        if self._background.woken in ready:
            for conversation, response in self._background.results():
                if conversation in self._open:
                    self._advance(conversation, response)
        now = time.monotonic()
        for conversation in tuple(self._open):
            if conversation.deadline <= now:
                self._end(conversation)
        # Last, because it may end a conversation that was ready.
        return self._listening not in ready or self._accept()

    def _patience(self) -> float | None:
        nearest = min((each.deadline for each in self._open), default=_NEVER)
        return None if nearest == _NEVER else max(0.0, nearest - time.monotonic())

    def _accept(self) -> bool:
        """Take one connection; False when there will be no more."""
        try:
            sock, _ = self._listening.accept()
            sock.settimeout(0)
            conversation = _Conversation(sock, self._answer, self._limits)
            self._selector.register(sock, selectors.EVENT_READ, conversation)
        except (BlockingIOError, ConnectionAbortedError):  # the client has gone already
            return True
        except OSError as error:
            if error.errno == errno.EINVAL:  # shut down
                return False
            self._make_room(error)
            return True
        self._open[conversation] = None
        if len(self._open) > self._limits.connections:
            self._end(next(iter(self._open)))
        return True

    def _make_room(self, error: OSError) -> None:
        """There is no descriptor or memory left for another connection, which stays in the backlog."""
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + _WARN_EVERY
            log.warning("the endpoints cannot take another connection: %s", error.strerror)
        if self._open:
            self._end(next(iter(self._open)))
        else:
            time.sleep(_ACCEPT_PAUSE)

    def _advance(self, conversation: "_Conversation", response: bytes | None = None) -> None:
        try:
            waits_for = conversation.course.send(response)
        except (StopIteration, OSError):  # it is over, or the client has gone
            self._end(conversation)
            return
        self._bound_responses()
        if conversation not in self._open:
            return
        if callable(waits_for):
            self._selector.unregister(conversation.sock)
            self._background.submit(conversation, partial(self._still_wanted, conversation, waits_for))
        elif response is None:
            self._selector.modify(conversation.sock, waits_for, conversation)
        else:
            self._selector.register(conversation.sock, waits_for, conversation)

    def _bound_responses(self) -> None:
        answered = [each for each in self._open if each.response_size]
        total = sum(each.response_size for each in answered)
        for conversation in answered[:-1]:
            if total > self._limits.responses:
                total -= conversation.response_size
                self._end(conversation)

    def _still_wanted(self, conversation: "_Conversation", job: _Job) -> bytes | None:
        """On the background thread: the response, or None if the conversation has been ended meanwhile."""
        return job() if conversation in self._open else None

    def _end(self, conversation: "_Conversation") -> None:
        del self._open[conversation]
        if conversation.sock in self._selector.get_map():  # not while its answer is computed
            self._selector.unregister(conversation.sock)
        conversation.sock.close()


class _Conversation:
    """What happens on one connection, as far as it goes without waiting. `deadline` is monotonic.

    `course` yields what it waits for next: the socket to be ready, or a job to be done, whose result is sent
    to it.
    """

    def __init__(
        self, sock: socket.socket, answer: Callable[[Request], Answer | Later], limits: Limits
    ) -> None:
        self.sock, self._answer, self._limits = sock, answer, limits
        self.deadline = time.monotonic() + limits.head
        self.response_size = 0  # bytes, once there is one
        self.course = self._listen()

    def _listen(self) -> _Course:
        head = b""
        while True:
            piece = self.sock.recv(_PIECE)
            if not piece:
                return
            head = (head + piece).lstrip(b"\r\n")  # empty lines before a request are ignored (RFC 9112 §2.2)
            if is_whole(head) or len(head) >= self._limits.head_size:
                break
            yield selectors.EVENT_READ
        response = _response(head, self._answer)
        if not isinstance(response, bytes):
            self.deadline = _NEVER
            response = (yield response) or b""
        yield from self._speak(response)

    def _speak(self, response: bytes) -> _Course:
        self.deadline = time.monotonic() + self._limits.answer
        self.response_size = len(response)
        left = memoryview(response)
        while left:
            yield selectors.EVENT_WRITE
            left = left[self.sock.send(left) :]
        # Closing with unread bytes is a TCP reset, which may overtake our answer (RFC 9112 §9.6).
        self.sock.shutdown(socket.SHUT_WR)
        self.deadline = time.monotonic() + self._limits.farewell
        drained = 0
        while drained < _DRAINED:
            yield selectors.EVENT_READ
            piece = self.sock.recv(_PIECE)
            if not piece:
                return
            drained += len(piece)


def _response(head: bytes, answer: Callable[[Request], Answer | Later]) -> bytes | _Job:
    """The bytes to answer a head with, or the job that computes them. One that is not whole is too large."""
    if not is_whole(head):
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        return rendered(text(status, status.phrase))
    head_only = head.startswith(b"HEAD ")

    def respond() -> bytes | _Job:
        request = parsed(head)
        found = request if isinstance(request, Answer) else answer(request)
        if isinstance(found, Answer):
            return rendered(found, head_only=head_only)
        return partial(_guarded, lambda: rendered(found(), head_only=head_only), head_only=head_only)

    return _guarded(respond, head_only=head_only)


def _guarded(respond: Callable[[], Response], *, head_only: bool) -> Response | bytes:
    """What `respond` returns; a bug in one answer must not end the others."""
    try:
        return respond()
    except Exception:
        log.exception("internal error (a bug) while answering a request over HTTP")
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return rendered(text(status, status.phrase), head_only=head_only)
