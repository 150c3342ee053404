"""Name servers that misbehave. What is to happen with them runs in a process with a network of its own, where
port 53 and /etc/resolv.conf are free to use."""

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from enum import Enum
from pathlib import Path

import pytest

NAME = "issuer.test"

_ISOLATED = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
_MS_BIND = 4096
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_SERVFAIL, _NXDOMAIN = 2, 3


class Mood(Enum):
    ANSWERS = "there is an address for every name"
    SILENT = "no answer at all"
    FAILS = "SERVFAIL"
    KNOWS_NONE = "NXDOMAIN"


class NameServer:
    """A DNS server on UDP (RFC 1035) for which every name is this machine's, as its mood has it."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.mood = Mood.ANSWERS
        self.queries = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        threading.Thread(target=self._serve, name="name server", daemon=True).start()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(512)
            self.queries += 1
            if self.mood is not Mood.SILENT:
                self._socket.sendto(self._answer(query), client)

    def _answer(self, query: bytes) -> bytes:
        end = query.index(b"\0", 12) + 5
        (kind,) = struct.unpack("!H", query[end - 4 : end - 2])
        code = {Mood.FAILS: _SERVFAIL, Mood.KNOWS_NONE: _NXDOMAIN}.get(self.mood, 0)
        address = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton("127.0.0.1")
        answers = [address] if kind == 1 and code == 0 else []
        head = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(answers), 0, 0)
        return head + query[12:end] + b"".join(answers)


def isolated(scenario: str) -> None:
    """Run a function of this module's tests, ``module:name``, with a network of its own; fail as it fails."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (Debian: apt-get install util-linux)")
    if subprocess.run([*_ISOLATED, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to a network namespace: root, or kernel.unprivileged_userns_clone=1")
    program = "import sys; from tests import resolving; resolving.run(sys.argv[1])"
    ended = subprocess.run(
        [*_ISOLATED, sys.executable, "-c", program, scenario],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parent.parent,
    )
    assert ended.returncode == 0, ended.stderr


def run(scenario: str) -> None:
    """What `isolated` does there."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    for path, content in (
        ("/etc/resolv.conf", "nameserver 127.0.0.1\nnameserver 127.0.0.2\noptions timeout:1 attempts:1\n"),
        ("/etc/nsswitch.conf", "hosts: files dns\n"),
        ("/etc/hosts", "127.0.0.1 localhost\n"),
    ):
        _covered(path, content)
    module, _, name = scenario.partition(":")
    getattr(__import__(module, fromlist=[name]), name)()


def look_ups() -> int:
    """How many threads look a name up."""
    return sum(thread.name.startswith("resolve-") for thread in threading.enumerate())


def _covered(path: str, content: str) -> None:
    """Have `path` read like this, for this process and its children alone."""
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write(content)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(file.name.encode(), path.encode(), None, _MS_BIND, None):
        raise OSError(ctypes.get_errno(), f"{path} cannot be covered")
    os.unlink(file.name)
