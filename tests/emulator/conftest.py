"""An emulator on loopback, and simple clients for it."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from refresher.emulator.server import Emulator
from tests.http.server.site import Site

KEY = "the-application-key"
DEADLINE = 5.0  # seconds; far more than anything here takes


@dataclass(frozen=True)
class Received:
    status: int
    headers: Any
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        return self.document["data"]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(keys=[KEY]) as started:
        yield started


@pytest.fixture
def call(emulator: Emulator) -> Callable[..., Received]:
    """Sends one request over its own connection."""

    def perform(
        method: str,
        path: str,
        bearer: str | None = None,
        content: Any = None,
        tls: ssl.SSLContext | None = None,
        **more: str,
    ) -> Received:
        body = content if content is None or isinstance(content, bytes) else json.dumps(content).encode()
        headers = more | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
        received = Site(emulator.port).call(path, method, body, headers=headers)
        return Received(received.status, received.headers, received.body)

    return perform


@pytest.fixture
def mint(call: Callable[..., Received]) -> Callable[..., Received]:
    def perform(bearer: str = KEY, content: Any = None) -> Received:
        return call(
            "POST", "/v1/keys/accesstoken", bearer, {"expiry_seconds": 3600} if content is None else content
        )

    return perform


@pytest.fixture
def raw(emulator: Emulator) -> Callable[[bytes], bytes]:
    """The bytes that come back after these bytes are sent and the sending side is closed."""

    def perform(sent: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", emulator.port), timeout=DEADLINE) as sock:
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            received = b""
            while piece := sock.recv(65536):
                received += piece
            return received

    return perform


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Waits until a condition holds; fails at the deadline."""

    def wait(condition: Callable[[], bool]) -> None:
        until = time.monotonic() + DEADLINE
        pause = threading.Event()
        while not condition():
            assert time.monotonic() < until, "the condition did not come to hold in time"
            pause.wait(0.005)

    return wait
