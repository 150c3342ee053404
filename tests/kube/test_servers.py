"""Servers of the tests: a failed start is explained, and no server outlives the tests."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.daemon import eventually
from tests.kube.servers import Home, Server

DEADLINE = 30.0


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"  # its new parent has not reaped it yet


def test_the_output_of_a_failed_server_is_shown() -> None:
    home = Home()
    try:
        server = Server(home, ["/bin/sh", "-c", "echo flag provided but not defined; exit 2"], lambda: False)
        with pytest.raises(
            RuntimeError, match="sh has ended; its last words:\nflag provided but not defined"
        ):
            server.start()
    finally:
        home.close()
    assert not home.path.exists()


HOLDS = r"""
import sys
from tests.commands.daemon import eventually
from tests.kube.servers import Home, Server
home = Home()
server = Server(home, ["/bin/sh", "-c", "echo $$; exec sleep 600"], lambda: server.tail().endswith("\n"))
server.start()
server.pause()
print(home.path, server.tail(), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_with_the_tests_however_these_end(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as tests:
        assert tests.stdout is not None
        home, pid = tests.stdout.readline().split()
        assert not is_gone(int(pid))
        tests.send_signal(number)
        tests.wait(DEADLINE)
    eventually(lambda: is_gone(int(pid)) and not Path(home).exists(), "nothing is left of it", DEADLINE)
