"""A peer on a real socket. It follows a script and records the requests."""

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

GRANT = json.dumps({"ok": True, "data": {"access_token": "T0ken", "refresh_token": "r3fresh"}}).encode()

DEADLINE = 15.0  # seconds; far more than accepting a connection takes

Script = Callable[["Caller"], object]


class Caller:
    """One connection of a client to the peer."""

    def __init__(self, sock: socket.socket, peer: "Peer") -> None:
        self.sock, self.peer = sock, peer
        self._received = sock.makefile("rb")

    def request(self) -> bool:
        """Read one whole request. Returns False if the client has closed the connection."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self._received.readline()
            if not line:
                return False
            head += line
        length = next(
            (int(at[15:]) for at in head.lower().split(b"\r\n") if at.startswith(b"content-length:")), 0
        )
        self.peer.requests.append((head + self._received.read(length)).decode())
        return True

    def send(self, *parts: bytes) -> None:
        self.sock.sendall(b"".join(parts))

    def answer(self, status: int, body: bytes = b"", *headers: str, length: int | None = None) -> None:
        is_typed = any(each.lower().startswith("content-type:") for each in headers)
        lines = [f"HTTP/1.1 {status} Whatever", *headers]
        lines += () if is_typed else ("Content-Type: application/json",)
        lines.append(f"Content-Length: {len(body) if length is None else length}")
        self.send("\r\n".join(lines).encode(), b"\r\n\r\n", body)

    def drip(self, octets: bytes = b"x") -> None:
        """Send these octets every 50 ms until the client closes the connection or the test ends."""
        while not self.peer.over.wait(0.05):
            self.send(octets)


class Peer:
    """Listens on loopback. Each connection runs the next script, and further ones run the last script."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[str] = []
        self.connections = 0
        self.over = threading.Event()
        self._scripts, self._tls = scripts, tls
        self._sockets: list[socket.socket] = []
        self._served: dict[object, threading.Thread] = {}  # by the client's address
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.over.set()
        with suppress(OSError):  # macOS: not connected
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:  # a client may keep an idle connection
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # SSLSocket.shutdown would disturb its reader
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                sock, client = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self._sockets.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock, script))
            self._threads.append(thread)
            thread.start()
            self._served[client] = thread

    def finish(self) -> None:
        """Serve what clients have sent that have ended since. Waits for running clients until they close."""
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            address = last.getsockname()
        until = time.monotonic() + DEADLINE
        while address not in self._served:  # a listener accepts connections in their order
            assert time.monotonic() < until, "the peer does not accept connections"
            time.sleep(0.001)
        for thread in tuple(self._served.values()):
            thread.join()
        self._served.clear()

    def _serve(self, sock: socket.socket, script: Script) -> None:
        sock.settimeout(10)
        with suppress(OSError), sock:  # clients may close the connection at any time
            if self._tls:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._sockets.append(sock)
            with sock:
                script(Caller(sock, self))


@contextmanager
def peer(*scripts: Script, tls: ssl.SSLContext | None = None) -> Iterator[Peer]:
    serving = Peer(*scripts, tls=tls)
    try:
        yield serving
    finally:
        serving.close()


def answering(status: int, body: bytes = b"", *headers: str) -> Script:
    """Sends this response to every request of a connection."""

    def script(caller: Caller) -> None:
        while caller.request():
            caller.answer(status, body, *headers)

    return script


granting = answering(200, GRANT)


def sending(*octets: bytes) -> Script:
    """Reads a request, sends these octets and closes the connection."""

    def script(caller: Caller) -> None:
        caller.request()
        caller.send(*octets)

    return script


def resetting(caller: Caller) -> None:
    """Reads a request and resets the connection."""
    caller.request()
    at_once = struct.pack("ii", 1, 0)
    caller.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)


def dripping(*first: bytes, each: bytes = b"x") -> Script:
    """Reads a request, sends the first octets at once, and then one piece every 50 ms."""

    def script(caller: Caller) -> None:
        caller.request()
        caller.send(*first)
        caller.drip(each)

    return script


def silent(caller: Caller) -> None:
    """Accepts the connection and sends nothing."""
    caller.peer.over.wait()


def tunnelling(target: Callable[[], int], response: bytes = b"HTTP/1.1 200 Established\r\n\r\n") -> Script:
    """A proxy that answers CONNECT and then relays to the port `target` on this machine."""

    def script(caller: Caller) -> None:
        caller.request()
        with socket.create_connection(("127.0.0.1", target()), timeout=10) as far:
            caller.send(response)
            back = threading.Thread(target=_pump, args=(far, caller.sock))
            back.start()
            _pump(caller.sock, far)
            back.join()

    return script


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while octets := source.recv(65536):
            sink.sendall(octets)
        sink.shutdown(socket.SHUT_WR)
