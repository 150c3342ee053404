"""The way on which things go wrong: that they do, each in its own manner."""

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from tests.proxy import HEAVY, HOST, Proxy, Trouble

SOON, PATIENCE = 0.2, 10.0  # seconds


class Echo:
    """A server that sends back what it gets, and keeps it."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.arrived = threading.Condition()
        self.listening = socket.create_server((HOST, 0))
        self.port: int = self.listening.getsockname()[1]
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        connection, _ = self.listening.accept()
        with connection:
            try:
                while piece := connection.recv(65536):
                    with self.arrived:
                        self.got.append(piece)
                        self.arrived.notify_all()
                    connection.sendall(piece)
            except ConnectionResetError:
                pass

    def has(self, wanted: bytes, within: float = PATIENCE) -> bool:
        with self.arrived:
            return self.arrived.wait_for(lambda: b"".join(self.got) == wanted, within)


@pytest.fixture
def server() -> Iterator[Echo]:
    echo = Echo()
    with echo.listening:
        yield echo
        echo.thread.join()


@pytest.fixture
def proxy(server: Echo) -> Iterator[Proxy]:
    with Proxy(server.port, delay=2 * SOON) as way:
        yield way


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, proxy.port), PATIENCE) as connection:
        connection.sendall(b"a")
        assert connection.recv(1) == b"a"
        yield connection


def test_what_hangs_arrives_when_that_is_over(server, proxy, client):
    proxy.set(Trouble.HANG)
    client.sendall(b"b")
    assert not server.has(b"ab", SOON)
    proxy.set(Trouble.NONE)
    assert client.recv(1) == b"b"


def test_also_from_a_client_that_has_left_meanwhile(server, proxy, client):
    proxy.set(Trouble.HANG)
    client.sendall(b"b")
    client.close()
    proxy.set(Trouble.NONE)
    assert server.has(b"ab")


def test_what_is_slow_takes_its_time(server, proxy, client):
    proxy.set(Trouble.SLOW)
    client.sendall(b"b")
    assert not server.has(b"ab", SOON)
    assert client.recv(1) == b"b"


def test_what_is_heavy_is_held_back_and_the_rest_passes(server, proxy, client):
    proxy.set(Trouble.HEAVY)
    client.sendall(b"b")
    assert client.recv(1) == b"b"
    client.sendall(b"c" * 2 * HEAVY)
    assert not server.has(b"ab" + b"c" * 2 * HEAVY, SOON)
    proxy.set(Trouble.NONE)
    assert server.has(b"ab" + b"c" * 2 * HEAVY)


def test_the_deaf_is_heard_and_hears_nothing(server, proxy, client):
    proxy.set(Trouble.DEAF)
    client.sendall(b"b")
    client.settimeout(SOON)
    with pytest.raises(TimeoutError):
        client.recv(1)
    proxy.set(Trouble.NONE)
    client.sendall(b"c")
    assert server.has(b"abc")
    with pytest.raises(TimeoutError):
        client.recv(1)


def test_a_reset_is_one_for_old_connections_and_new_ones(proxy, client):
    proxy.set(Trouble.RESET)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    # The reset may arrive while the client still connects.
    with pytest.raises(ConnectionResetError), socket.create_connection((HOST, proxy.port), PATIENCE) as new:
        new.recv(1)


def test_a_reset_by_the_server_arrives():
    with (
        socket.create_server((HOST, 0)) as listening,
        Proxy(listening.getsockname()[1]) as way,
        socket.create_connection((HOST, way.port), PATIENCE) as client,
    ):
        server, _ = listening.accept()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
