"""The listening socket: a thread for each connection, and an end to all of them at once."""

import contextlib
import errno
import functools
import itertools
import selectors
import socket
import ssl
import threading
import time
from http.server import ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from refresher.emulator.connection import IDLE_TIMEOUT, Connection, Service

_STOP_WITHIN = 2.0  # seconds that connections are given to end
_ACCEPT_PAUSE = 0.05  # seconds, when there is no room, descriptor or thread for another connection
CONNECTIONS = 256  # at once, each with a thread; for more the oldest is severed


class Listener(ThreadingHTTPServer):
    """Listens from the moment it is made, or raises OSError. Serves between `start` and `stop`."""

    request_queue_size = 1024
    server_address: tuple[str, int]

    def __init__(
        self, family: socket.AddressFamily, address: Any, service: Service, tls: ssl.SSLContext | None
    ) -> None:
        self.address_family = family
        self._stopping = service.stopping
        self._tls = tls
        self._open: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Condition()  # around `_open`; notified when a connection has gone
        super().__init__(address, functools.partial(Connection, service=service))
        self.socket.settimeout(0)  # a client that is gone between select and accept must not block us
        self._woken, self._wake = socket.socketpair()
        self._accepting = threading.Thread(target=self._accept_until_woken, name="emulator", daemon=True)

    def server_bind(self) -> None:
        """Without the base class's look-up of our own name: it may take seconds, and nobody asks for it."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def start(self) -> None:
        self._accepting.start()

    def stop(self) -> None:
        """End everything: the socket is closed, every connection severed, whatever it was doing."""
        self._stopping.set()
        self._wake.send(b"\0")
        self._accepting.join()
        self.server_close()
        with self._lock:
            for connection in self._open.values():
                _sever(connection)
            threads = list(self._open)
        until = time.monotonic() + _STOP_WITHIN
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._woken.close()
        self._wake.close()

    def _accept_until_woken(self) -> None:
        """The base class's loop would look twice a second whether it is to stop; this one is told."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._stopping.is_set():
                selector.select()
                try:
                    if self._has_room():
                        self.process_request(*self.get_request())
                except BlockingIOError:
                    continue
                except (OSError, RuntimeError) as error:  # RuntimeError: no more threads
                    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                        self._sever_oldest()
                    self._stopping.wait(_ACCEPT_PAUSE)

    def _has_room(self) -> bool:
        """Whether another connection may be accepted now. It waits in the backlog while the oldest ends,
        which it does not as long as a fault delays it."""
        with self._lock:
            if len(self._open) < CONNECTIONS:
                return True
            self._sever_oldest()
            return self._lock.wait(_ACCEPT_PAUSE)

    def _sever_oldest(self) -> None:
        with self._lock:
            for connection in itertools.islice(self._open.values(), 1):
                _sever(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve this connection in a thread of its own."""
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name="emulator-connection",
            daemon=True,
        )
        with self._lock:
            self._open[thread] = request
        try:
            thread.start()
        except RuntimeError:
            self._forget(thread)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            secured = request if self._tls is None else self._handshake(request, self._tls)
            if secured is not None:
                self.finish_request(secured, client_address)
        finally:
            self._forget(threading.current_thread())

    def _handshake(self, request: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket | None:
        """In the connection's own thread: one silent client must not keep others from being accepted."""
        try:
            request.settimeout(IDLE_TIMEOUT)
            secured = tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            with self._lock:
                self._open[threading.current_thread()] = secured
                if self._stopping.is_set():
                    return None
            secured.do_handshake()
        except OSError:  # also ssl.SSLError: a client that does not speak TLS or does not trust us
            return None
        return secured

    def _forget(self, thread: threading.Thread) -> None:
        with self._lock:  # so that `stop` never severs a descriptor that is somebody else's by now
            self._open.pop(thread).close()
            self._lock.notify()


def _sever(connection: socket.socket) -> None:
    """Wake whoever reads from or writes to it. Below TLS: its state belongs to the connection's thread."""
    with contextlib.suppress(OSError):  # it has ended by itself
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
