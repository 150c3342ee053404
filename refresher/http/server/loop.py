"""All connections of one HTTP server on one thread, so that no client can keep it busy.

A client that is silent, sends slowly or does not read costs a descriptor for a few seconds and delays no
other client. The application computes quick responses on this thread and slow ones elsewhere (`Later`), so a
probe never waits for a scrape. Any number of clients costs one thread, plus the threads that the application
starts.
"""

import logging
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from refresher.http.server import sockets
from refresher.http.server.connection import Connection, OpenConnections
from refresher.http.server.limits import Limits
from refresher.http.server.messages import Application, Reply, Response, Stream, Takeover
from refresher.http.server.protocol import NEVER, Phase, Protocol

if TYPE_CHECKING:
    import ssl
    from concurrent.futures import Future

log = logging.getLogger("refresher")

_ACCEPT_PAUSE = 0.1  # seconds to wait if accepting fails and there is no own connection to close
_STOP_WITHIN = 2.0  # seconds for takeovers to end after `stop`
_WARN_EVERY = 60.0  # seconds


class Server:
    """Serves an application on a listening socket, and owns that socket.

    `tls`: for HTTPS. `name`: the server's name in warnings. If the application raises an exception, the
    server logs it and responds with 500. Raises OSError without a free descriptor.
    """

    def __init__(
        self,
        listening: socket.socket,
        application: Application,
        limits: Limits | None = None,
        *,
        tls: "ssl.SSLContext | None" = None,
        name: str = "the HTTP server",
    ) -> None:
        self._listening, self._application, self._name = listening, application, name
        self._limits = limits or Limits()
        self._tls = tls
        self._selector = selectors.DefaultSelector()
        self._woken, self._wake = socket.socketpair()
        self._woken.settimeout(0)
        self._wake.settimeout(0)
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._open = OpenConnections()
        self._eager: dict[Connection, None] = {}  # have received more to process, so do not wait for sockets
        self._taken: dict[Connection, None] = {}  # the application has their sockets
        self._wake_at = NEVER  # monotonic; at the nearest deadline or earlier
        self._next_warning = 0.0  # monotonic
        self._is_stopping = False

    def serve(self) -> None:
        """Serve until `stop` is called, then close all sockets."""
        self._listening.settimeout(0)
        with self._selector, self._woken, self._wake:
            self._selector.register(self._listening, selectors.EVENT_READ)
            self._selector.register(self._woken, selectors.EVENT_READ)
            while not self._is_stopping:
                self._turn()
            sockets.close(self._listening)
            for connection in tuple(self._open):
                self._end(connection)
            self._await_taken()

    def stop(self) -> None:
        """Make `serve` return, regardless of open connections. Any thread may call this."""
        self._post(self._stopped)

    def _stopped(self) -> None:
        self._is_stopping = True

    def _post(self, call: Callable[[], None]) -> None:
        """Run `call` on the serving thread. Any thread may call this."""
        self._posted.put(call)
        with suppress(OSError):  # the serving thread is awake already (BlockingIOError), or has ended
            self._wake.send(b"\0")

    def _turn(self) -> None:
        eager, self._eager = self._eager, {}
        patience = 0.0 if eager else self._wake_at - time.monotonic()
        ready = {
            key.fileobj: (key.data, events)
            for key, events in self._selector.select(None if patience == NEVER else max(0.0, patience))
        }
        for connection, events in ready.values():
            if connection in self._open:
                self._exchange(connection, events)
        for connection in eager:
            if connection in self._open:
                self._perform(connection, partial(self._asked, connection))
        if self._woken in ready:
            self._run_posted()
        if self._wake_at <= time.monotonic():
            self._expire()
        # Accept last, because it may close a connection that was ready.
        if self._listening in ready and not self._is_stopping:
            self._accept()

    def _run_posted(self) -> None:
        with suppress(BlockingIOError):
            self._woken.recv(4096)
        while not self._posted.empty():
            self._posted.get()()

    def _expire(self) -> None:
        now = time.monotonic()
        for connection in tuple(self._open):
            protocol = connection.protocol
            if protocol.deadline > now or connection not in self._open:
                continue
            if connection.later is not None:
                self._perform(connection, partial(self._given_up, connection))
            else:
                protocol.expire(now)
                self._settle(connection)
        self._wake_at = min((connection.protocol.deadline for connection in self._open), default=NEVER)

    def _accept(self) -> None:
        try:
            sock, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):  # the client has already gone
            return
        except OSError as error:
            self._make_room(error)
            return
        protocol = Protocol(self._application, self._limits, time.monotonic())
        try:
            connection = Connection(sock, self._tls, protocol)
        except OSError:  # the client has already gone
            sock.close()
            return
        self._open.add(connection)
        self._settle(connection)
        if len(self._open) > self._limits.connections:
            self._evict()

    def _evict(self) -> None:
        self._end(self._open.first_to_evict)

    def _make_room(self, error: OSError) -> None:
        """Close a connection: descriptors or memory are used up. The new connection stays in the backlog."""
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + _WARN_EVERY
            log.warning("%s cannot accept another connection: %s", self._name, error.strerror)
        if self._open:
            self._evict()
        else:
            time.sleep(_ACCEPT_PAUSE)

    def _exchange(self, connection: Connection, events: int) -> None:
        """Read from this connection and write to it, without waiting."""
        if events & selectors.EVENT_READ:
            try:
                octets = connection.receive()
            except OSError:  # the client has gone
                self._end(connection)
                return
            if octets is not None:
                connection.protocol.receive(octets, time.monotonic())
        self._perform(connection, partial(self._asked, connection))

    def _asked(self, connection: Connection) -> Reply | None:
        request = connection.protocol.next_request(time.monotonic())
        return None if request is None else self._application.answer(request)

    def _perform(self, connection: Connection, step: Callable[[], Reply | None]) -> None:
        """Run `step` and send its reply. A bug in one response must not affect other connections."""
        try:
            reply = step()
            if reply is not None:
                self._reply(connection, reply)
        except Exception:
            log.exception("internal error (a bug) while answering a request over HTTP")
            refusal = self._application.refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
            connection.protocol.respond(refusal, time.monotonic(), close=True)
        self._settle(connection)

    def _reply(self, connection: Connection, reply: Reply) -> None:
        now = time.monotonic()
        if isinstance(reply, Response):
            connection.protocol.respond(reply, now)
        elif isinstance(reply, Stream):
            connection.protocol.stream(reply, now)
        elif isinstance(reply, Takeover):
            self._hand_over(connection, reply)
        else:
            future = reply.future
            connection.later = reply
            connection.protocol.wait_until(NEVER if reply.within is None else now + reply.within)
            future.add_done_callback(lambda done: self._post(partial(self._done, connection, done)))

    def _done(self, connection: Connection, future: "Future[Response]") -> None:
        later = connection.later
        if connection in self._open and later is not None and later.future is future:
            connection.later = None
            self._perform(connection, future.result)

    def _given_up(self, connection: Connection) -> Reply:
        """The reply when the application took too long."""
        later = connection.later
        connection.abandon()
        otherwise = None if later is None else later.otherwise
        return otherwise or self._application.refuse(HTTPStatus.SERVICE_UNAVAILABLE)

    def _settle(self, connection: Connection) -> None:
        """Send what can be sent now, then wait for the next event, continue soon, or end the connection."""
        protocol = connection.protocol
        try:
            connection.send()
            if protocol.phase is not Phase.OVER and connection not in self._taken:
                connection.listen(self._selector)
        except OSError:  # the client has gone
            protocol.phase = Phase.OVER
        except Exception:  # of a stream: its head has been sent, so there is no other response
            log.exception("internal error (a bug) while answering a request over HTTP")
            protocol.phase = Phase.OVER
        if protocol.phase is Phase.OVER:
            self._end(connection)
            return
        self._open.sort(connection)
        if protocol.has_more:
            self._eager[connection] = None
        self._wake_at = min(self._wake_at, protocol.deadline)
        if protocol.outgoing:
            self._bound_responses()

    def _bound_responses(self) -> None:
        holding = [connection for connection in self._open if connection.protocol.held]
        total = sum(connection.protocol.held for connection in holding)
        if total <= self._limits.responses:
            return
        holding.sort(key=lambda connection: connection.protocol.since)
        for connection in holding[:-1]:
            if total > self._limits.responses:
                total -= connection.protocol.held
                self._end(connection)

    def _end(self, connection: Connection) -> None:
        self._open.remove(connection)
        connection.release(self._selector)
        if connection in self._taken:
            connection.sever()
        else:
            connection.sock.close()

    # Takeovers

    def _hand_over(self, connection: Connection, reply: Takeover) -> None:
        connection.release(self._selector)
        connection.sock.settimeout(self._limits.answer)
        thread = threading.Thread(
            target=self._let_serve, args=(connection, reply), name="http-takeover", daemon=True
        )
        connection.thread = thread
        self._taken[connection] = None
        try:
            thread.start()
        except RuntimeError:  # no thread is available: the client may try again
            del self._taken[connection]
            connection.protocol.phase = Phase.OVER

    def _let_serve(self, connection: Connection, reply: Takeover) -> None:
        """Run the takeover, on its own thread. Only the serving thread closes sockets: otherwise it might
        sever a new connection that reuses the descriptor."""
        try:
            with suppress(OSError):  # the client has gone, or the server is stopping
                reply.serve(connection.sock)
        finally:
            self._post(partial(self._returned, connection))

    def _returned(self, connection: Connection) -> None:
        del self._taken[connection]
        self._open.remove(connection)
        connection.sock.close()

    def _await_taken(self) -> None:
        deadline = time.monotonic() + _STOP_WITHIN
        for connection in tuple(self._taken):
            if connection.thread is not None:
                connection.thread.join(max(0.0, deadline - time.monotonic()))
        self._run_posted()
