"""An issuer behind a bad wire: a TCP proxy for one installation that spoils responses."""

import random
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable
from itertools import takewhile
from typing import NamedTuple

from tests.issuer.peer import Caller, Peer

PATIENCE = 10.0  # seconds; more than any client here has
SLOWEST = 5.0  # seconds; an attempt has two or three
NO_LINGER = struct.pack("ii", 1, 0)  # close() sends RST: socket(7), SO_LINGER


class Spoiling(NamedTuple):
    """The caller's socket, the true response, and random numbers."""

    caller: Caller
    answer: bytes
    dice: random.Random


def close(_: Spoiling) -> None:
    """No byte, then the end of the connection (FIN)."""


def reset(it: Spoiling) -> None:
    """Some bytes or none, then RST."""
    it.caller.send(it.answer[: it.dice.choice((0, 40))])
    it.caller.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)


def hang(it: Spoiling) -> None:
    """Some bytes or none, then silence until the client goes."""
    it.caller.send(it.answer[: it.dice.randrange(len(it.answer))])
    it.caller.sock.recv(1)


def cut(it: Spoiling) -> None:
    """The response, cut within the body."""
    body = it.answer.index(b"\r\n\r\n") + 4
    it.caller.send(it.answer[: it.dice.randrange(body, len(it.answer))])


def slow(it: Spoiling) -> None:
    """The whole response, byte by byte, in up to SLOWEST seconds."""
    pause = it.dice.uniform(0, SLOWEST / len(it.answer))
    for octet in it.answer:
        it.caller.send(bytes([octet]))
        if it.caller.peer.over.wait(pause):
            return


def garbage(it: Spoiling) -> None:
    """As many bytes, but not HTTP."""
    it.caller.send(it.dice.randbytes(len(it.answer)))


def answering(status: int, *headers: str) -> Callable[[Spoiling], None]:
    return lambda it: it.caller.answer(status, b'{"ok": false}', *headers)


FAULTS: dict[str, Callable[[Spoiling], None]] = {
    "close": close,
    "reset": reset,
    "hang": hang,
    "cut": cut,
    "slow": slow,
    "garbage": garbage,
    "500": answering(500),
    "401": answering(401),
    "429": answering(429, "Retry-After: 3"),
    "503": answering(503, "Retry-After: 3600"),
}


class Proxy:
    """Passes requests to the port `upstream` of this machine, and returns its responses, spoiled while there
    is a `fault`, one of FAULTS. Calls `asking` before it passes a request on. `tls`: serve HTTPS."""

    def __init__(
        self,
        upstream: int,
        dice: random.Random,
        asking: Callable[[], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.fault: str | None = None
        self.met: Counter[str] = Counter()  # requests that met each fault
        self._upstream, self._dice, self._asking = upstream, dice, asking
        self._answered = threading.Semaphore(0)
        self._peer = Peer(self._serve, tls=tls)
        self.url, self.close, self.finish = self._peer.url, self._peer.close, self._peer.finish

    def await_answer(self, timeout: float) -> bool:
        """Wait for an unspoiled response after this call. Returns False if none came."""
        while self._answered.acquire(blocking=False):
            pass
        return self._answered.acquire(timeout=timeout)

    def _serve(self, caller: Caller) -> None:
        while caller.request():
            self._asking()
            answer = self._fetch(caller.peer.requests.pop().encode())
            fault = self.fault
            if fault is not None:
                self.met[fault] += 1
                FAULTS[fault](Spoiling(caller, answer, self._dice))
                return
            caller.send(answer)
            self._answered.release()

    def _fetch(self, request: bytes) -> bytes:
        """The whole response to a request, over its own connection."""
        with (
            socket.create_connection(("127.0.0.1", self._upstream), PATIENCE) as far,
            far.makefile("rb") as coming,
        ):
            far.sendall(request)
            head = list(takewhile(bytes.strip, iter(coming.readline, b"")))
            (length,) = [int(line[15:]) for line in head if line.lower().startswith(b"content-length:")]
            return b"".join(head) + b"\r\n" + coming.read(length)
