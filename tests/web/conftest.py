"""A real server on loopback."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from refresher.config.declarations import ListenAddress
from refresher.web.exchange import Answer, Later, Request
from refresher.web.server import Limits, Server
from refresher.web.socket import bind
from tests.web.site import DEADLINE, Serve, Site


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves with this function answering until the test is over; fails if the server ends before."""
    serving: list[tuple[socket.socket, threading.Thread]] = []

    def start(answer: Callable[[Request], Answer | Later], limits: Limits | None = None) -> Site:
        listening = bind(ListenAddress("127.0.0.1", 0))
        thread = threading.Thread(target=Server(listening, answer, limits).serve, name="served")
        thread.start()
        serving.append((listening, thread))
        return Site(listening.getsockname()[1])

    yield start
    for listening, thread in serving:
        lived = thread.is_alive()
        with suppress(OSError):  # not connected, says macOS
            listening.shutdown(socket.SHUT_RDWR)
        thread.join(DEADLINE)
        listening.close()
        assert lived, "the server has ended before the test"
        assert not thread.is_alive(), "the server did not end with its socket"
