"""A daemon with few descriptors, and clients of its endpoints that hold as many as they can."""

import resource
import signal
import socket
from contextlib import ExitStack

import pytest

from refresher.emulator.server import Emulator
from tests.commands.daemon import DEADLINE, KEY, Daemon, eventually

FEW = 32
CLIENTS = 60
MINTS = 3


@pytest.fixture
def issuer():
    with Emulator(keys=[KEY]) as inlive:
        yield inlive


@pytest.fixture
def opened():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def running(issuer, opened, tmp_path):
    """A daemon with few descriptors that has written its first token."""
    (tmp_path / "key").write_text(KEY)
    words = ("--key-file", tmp_path / "key", "--to-file", tmp_path / "token", "--issuer-url", issuer.url)
    daemon = opened.enter_context(Daemon(*words, endpoints=True))
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (FEW, FEW))
    daemon.wait_for("OutputWritten")
    eventually(lambda: daemon.get("/livez").status == 200, "it serves")
    return daemon


@pytest.fixture
def hoard(running, opened):
    """Opens connections, sends on each, and reads nothing."""

    def hold(sent: bytes) -> None:
        for _ in range(CLIENTS):
            sock = opened.enter_context(socket.create_connection(("127.0.0.1", running.port), DEADLINE))
            sock.sendall(sent)

    return hold


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTTP/1.1\r\n\r\n"], ids=["idle", "asking"])
def test_tokens_are_refreshed_while_clients_hold_every_connection(issuer, running, hoard, sent):
    hoard(sent)
    for times in range(2, MINTS + 2):
        issuer.stop()  # the next mint needs a new connection
        issuer.start()
        running.send(signal.SIGUSR1)
        running.wait_for("OutputWritten", times)
    assert running.get("/livez").status == 200
    assert not running.entries("RefreshFailed")
    assert not running.entries("OutputFailed")
    assert "Too many open files" not in running.said


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/status"])
def test_a_prompt_client_gets_a_response_while_others_hold_every_connection(running, hoard, path):
    hoard(b"")
    assert running.get(path).status == 200
