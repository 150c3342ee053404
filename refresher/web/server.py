"""An HTTP server for a handful of small, quick answers, that nobody can keep busy.

One thread, and as many conversations as there are connections: whoever is silent, drips or does not read
costs a descriptor for a few seconds and holds up nobody. Answers are computed one after the other, so that
however many ask, the engine never shares the interpreter with more than one other thread.
"""

import errno
import logging
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import NamedTuple

from refresher.web.exchange import Answer, Request, is_whole, parsed, rendered, text

log = logging.getLogger("refresher")

_PIECE = 4096  # bytes read at once
_DRAINED = 64 * 1024  # bytes of an unread body that are thrown away so that the client gets to our answer
_ACCEPT_PAUSE = 0.1  # seconds, when not even an end to our own conversations lets another connection in
_WARN_EVERY = 60.0  # seconds


class Limits(NamedTuple):
    """What one client, and all of them together, may take. Seconds, bytes, and a number of connections.

    ``head``: until the whole head of the request has come. ``answer``: until the whole answer has gone, as
    long as Prometheus waits by default (scrape_timeout). ``farewell``: until the client has closed its side.
    ``connections``: at one more than that, the oldest is closed. One is accepted a turn, so that a prompt
    client is through long before it is the oldest, however many others come.
    """

    head: float = 5.0
    answer: float = 10.0
    farewell: float = 1.0
    head_size: int = 16 * 1024
    connections: int = 32


class Server:
    """Answers GET and HEAD requests on a listening socket, one a connection.

    `answer` is called on the serving thread. What it raises is logged, and told to the client as a bare 500.
    """

    def __init__(
        self, listening: socket.socket, answer: Callable[[Request], Answer], limits: Limits | None = None
    ) -> None:
        self._listening, self._answer, self._limits = listening, answer, limits or Limits()
        self._selector = selectors.DefaultSelector()
        self._next_warning = 0.0  # monotonic

    def serve(self) -> None:
        """Serve until the socket is shut down, which in the daemon is never."""
        self._listening.settimeout(0)
        with self._selector:
            self._selector.register(self._listening, selectors.EVENT_READ)
            while self._turn():
                pass
            for conversation in self._conversations():
                self._end(conversation)

    def _turn(self) -> bool:
        ready = [key.data for key, _ in self._selector.select(self._patience())]
        for conversation in ready:
            if conversation is not None:
                self._advance(conversation)
        now = time.monotonic()
        for conversation in self._conversations():
            if conversation.deadline <= now:
                self._end(conversation)
        # Last, because it may end a conversation that was ready.
        return None not in ready or self._accept()

    def _conversations(self) -> "list[_Conversation]":
        """All of them, the oldest first."""
        return [key.data for key in self._selector.get_map().values() if key.data is not None]

    def _patience(self) -> float | None:
        nearest = min((each.deadline for each in self._conversations()), default=None)
        return None if nearest is None else max(0.0, nearest - time.monotonic())

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
        open_ones = self._conversations()
        if len(open_ones) > self._limits.connections:
            self._end(open_ones[0])
        return True

    def _make_room(self, error: OSError) -> None:
        """There is no descriptor or memory left for another connection, which stays in the backlog."""
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + _WARN_EVERY
            log.warning("the endpoints cannot take another connection: %s", error.strerror)
        open_ones = self._conversations()
        if open_ones:
            self._end(open_ones[0])
        else:
            time.sleep(_ACCEPT_PAUSE)

    def _advance(self, conversation: "_Conversation") -> None:
        try:
            waits_for = next(conversation.course, None)
        except OSError:  # the client has gone: there is nobody to tell
            waits_for = None
        if waits_for is None:
            self._end(conversation)
        else:
            self._selector.modify(conversation.sock, waits_for, conversation)

    def _end(self, conversation: "_Conversation") -> None:
        self._selector.unregister(conversation.sock)
        conversation.sock.close()


class _Conversation:
    """What happens on one connection, as far as it goes without waiting. `deadline` is monotonic.

    `course` is advanced whenever the socket is ready, and gives what it waits for next.
    """

    def __init__(self, sock: socket.socket, answer: Callable[[Request], Answer], limits: Limits) -> None:
        self.sock, self._answer, self._limits = sock, answer, limits
        self.deadline = time.monotonic() + limits.head
        self.course = self._listen()

    def _listen(self) -> Iterator[int]:
        head = b""
        while True:
            piece = self.sock.recv(_PIECE)
            if not piece:
                return
            head = (head + piece).lstrip(b"\r\n")  # empty lines before a request are ignored (RFC 9112 §2.2)
            if is_whole(head) or len(head) >= self._limits.head_size:
                break
            yield selectors.EVENT_READ
        yield from self._speak(_response(head, self._answer))

    def _speak(self, response: bytes) -> Iterator[int]:
        self.deadline = time.monotonic() + self._limits.answer
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


def _response(head: bytes, answer: Callable[[Request], Answer]) -> bytes:
    """The bytes to answer a head with; one that is not whole is too large."""
    if not is_whole(head):
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        return rendered(text(status, status.phrase))
    head_only = head.startswith(b"HEAD ")
    try:
        request = parsed(head)
        given = request if isinstance(request, Answer) else answer(request)
        return rendered(given, head_only=head_only)
    except Exception:  # a mistake in one answer must not end the others
        log.exception("a mistake of the refresher itself while answering a request over HTTP")
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return rendered(text(status, status.phrase), head_only=head_only)
