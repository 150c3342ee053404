"""A wire to an issuer that is listened in on: every token that went over it is known, also those that nobody
published."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.chaos.proxy import NO_LINGER
from tests.issuer.peer import Caller, Peer

TOKEN = re.compile(rb'"(?:access|refresh)_token": ?"([\w.-]{12,200})')  # also one that was cut off
PATIENCE = 10.0  # seconds


class Wire:
    """Passes octets to the port `upstream` of this machine and back, as they come."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._answers: list[bytearray] = []
        self._peer = Peer(self._serve)
        self.url, self.close = self._peer.url, self._peer.close

    @property
    def tokens(self) -> set[str]:
        """Every access and refresh token that came back so far."""
        return {found.decode() for answer in self._answers[:] for found in TOKEN.findall(bytes(answer))}

    def _serve(self, caller: Caller) -> None:
        with socket.create_connection(("127.0.0.1", self._upstream), PATIENCE) as far:
            there = threading.Thread(target=self._ask, args=(caller.sock, far))
            there.start()
            answer = bytearray()
            self._answers.append(answer)
            try:
                while octets := far.recv(65536):
                    answer += octets
                    caller.send(octets)
            except ConnectionResetError:
                caller.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            finally:
                with suppress(OSError):  # it has gone by itself
                    caller.sock.shutdown(socket.SHUT_RD)
                there.join()

    def _ask(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while octets := near.recv(65536):
                far.sendall(octets)
            far.shutdown(socket.SHUT_RDWR)


@contextmanager
def tapped(upstream: int) -> Iterator[Wire]:
    wire = Wire(upstream)
    try:
        yield wire
    finally:
        wire.close()
