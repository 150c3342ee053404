"""A way to a server on which things go wrong, for the tests: TCP, whatever is spoken over it."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
HEAVY = 4096  # bytes
_FAREWELL = 1.0  # seconds until the server learns that a client has left: at once would undo what came late
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class Trouble(Enum):
    """What happens on the way from now on, to connections that are there and to new ones. What is held back
    stays so until the trouble is over, and arrives then."""

    NONE = "all is well"
    HEAVY = f"what is sent to the server in pieces of more than {HEAVY} bytes is held back, the rest passes"
    HANG = "everything is held back"
    SLOW = "what is sent to the server takes `delay` seconds"
    DEAF = "what is sent to the server arrives, its answers are lost, also those of later on this connection"
    RESET = "connections are reset"


class Proxy:
    """Listens on `port`, leads to a server on this machine. A context manager; used from any thread."""

    def __init__(self, server: int, delay: float = 0.0) -> None:
        self._server, self._delay = server, delay
        self._listening = socket.create_server((HOST, 0))
        self.port: int = self._listening.getsockname()[1]
        self._change = threading.Condition()
        self._trouble = Trouble.NONE
        self._connections: list[_Connection] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listening.close()
        self.set(Trouble.RESET)
        for connection in self._connections:
            connection.thread.join()

    def set(self, trouble: Trouble) -> None:
        """From now on this, instead of what was before."""
        with self._change:
            self._trouble = trouble
            self._change.notify_all()
            if trouble is Trouble.RESET:
                for connection in self._connections:
                    connection.reset()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:  # it was shut down
                return
            with self._change:
                self._connections = [each for each in self._connections if each.thread.is_alive()]
                connection = _Connection(client, self._server, self._is_lost)
                self._connections.append(connection)
                if self._trouble is Trouble.RESET:
                    connection.reset()
            connection.thread.start()

    def _is_lost(self, piece: bytes, *, up: bool) -> bool:
        """Whether a piece that has come is lost; returns when it is to be carried on. `up`: to the server."""
        with self._change:
            if up and self._trouble is Trouble.SLOW:
                self._change.wait_for(lambda: self._trouble is not Trouble.SLOW, self._delay)
            self._change.wait_for(lambda: not self._is_held(piece, up=up))
            return not up and self._trouble is Trouble.DEAF

    def _is_held(self, piece: bytes, *, up: bool) -> bool:
        return self._trouble is Trouble.HANG or (self._trouble is Trouble.HEAVY and up and len(piece) > HEAVY)


class _Connection:
    """From one client to the server: carried on by two threads, of which `thread` ends last."""

    def __init__(self, client: socket.socket, server: int, is_lost: Callable[..., bool]) -> None:
        self._client, self._server = client, socket.socket()
        self._port, self._is_lost = server, is_lost
        self._over = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def reset(self) -> None:
        """Have it end, and both ends learn of that by a reset."""
        self._over.set()
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):  # it is over
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                end.shutdown(socket.SHUT_RD)

    def _run(self) -> None:
        with self._client, self._server:
            try:
                self._server.connect((HOST, self._port))
            except OSError:  # nobody is there: that is for the client to find out
                return
            down = threading.Thread(
                target=self._carry, args=(self._server, self._client), kwargs={"up": False}
            )
            down.start()
            self._carry(self._client, self._server, up=True)
            down.join()

    def _carry(self, source: socket.socket, sink: socket.socket, *, up: bool) -> None:
        lost = False
        with contextlib.suppress(OSError):  # one of the ends is gone
            while not self._over.is_set() and (piece := self._received(source)):
                lost |= self._is_lost(piece, up=up)
                if not lost:
                    sink.sendall(piece)
            if up:
                self._over.wait(_FAREWELL)
            if not self._over.is_set():
                sink.shutdown(socket.SHUT_WR)

    def _received(self, source: socket.socket) -> bytes:
        """What has come; empty at the end. A reset by the server is one for the client too."""
        try:
            return source.recv(65536)
        except OSError:
            if source is self._server:
                self.reset()
            return b""
