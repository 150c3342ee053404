"""Few descriptors, and clients of the endpoints that hold as many as they get."""

import http.client
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


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTTP/1.1\r\n\r\n"])
def test_tokens_are_refreshed_while_clients_hold_every_connection_there_is(tmp_path, sent):
    (tmp_path / "key").write_text(KEY)
    with Emulator(keys=[KEY]) as issuer, ExitStack() as hoard:
        words = ("--key-file", tmp_path / "key", "--to-file", tmp_path / "token", "--issuer-url", issuer.url)
        running = hoard.enter_context(Daemon(*words, endpoints=True))
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (FEW, FEW))
        running.wait_for("OutputWritten")
        eventually(lambda: running.get("/livez").status == 200, "it serves")
        for _ in range(CLIENTS):
            sock = hoard.enter_context(socket.create_connection(("127.0.0.1", running.port), DEADLINE))
            sock.sendall(sent)
        for times in range(2, MINTS + 2):
            issuer.stop()  # the next mint takes a new connection
            issuer.start()
            running.send(signal.SIGUSR1)
            running.wait_for("OutputWritten", times)
        assert running.get("/livez").status == 200
        assert not running.entries("RefreshFailed")
        assert not running.entries("OutputFailed")
        assert "Too many open files" not in running.said


def test_a_prompt_client_is_answered_while_others_hold_every_connection_there_is(tmp_path):
    (tmp_path / "key").write_text(KEY)
    with Emulator(keys=[KEY]) as issuer, ExitStack() as hoard:
        words = ("--key-file", tmp_path / "key", "--to-file", tmp_path / "token", "--issuer-url", issuer.url)
        running = hoard.enter_context(Daemon(*words, endpoints=True))
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (FEW, FEW))
        running.wait_for("OutputWritten")
        for _ in range(CLIENTS):
            hoard.enter_context(socket.create_connection(("127.0.0.1", running.port), DEADLINE))
        for path in ("/livez", "/readyz", "/metrics", "/status"):
            assert running.get(path).status == http.client.OK
