"""The program as its users run it: a process, its log lines as they come, real signals, real HTTP."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self, TypeVar

from refresher.clock import SystemClock
from refresher.core.model import SecretStr, Token, TokenFacts
from refresher.core.seal import Sealer
from refresher.outputs.file import FileOutput, Plan

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 15.0  # seconds; far more than anything takes that is not told to take longer
STOP_WITHIN = 5.0  # seconds from SIGTERM to the end (design §3)

# What a shell calls 130. CPython ends by the signal itself if that struck in what makes a NamedTuple.
INTERRUPTED = {128 + signal.SIGINT, -signal.SIGINT}

KEY = "application-key-Zq1f0WcT5d9"

Found = TypeVar("Found")


def eventually(look: Callable[[], Found], what: str, within: float = DEADLINE) -> Found:
    """What `look` gives as soon as it is true of anything; fails with `what` when that takes too long."""
    until, pause = time.monotonic() + within, threading.Event()
    while not (found := look()):
        assert time.monotonic() < until, f"not within {within:g} s: {what}"
        pause.wait(0.01)
    return found


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def start(
    *words: object, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE, **environ: str
) -> subprocess.Popen[str]:
    """``refresher WORDS…``, in an environment that configures nothing but what is given here."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("REFRESHER_")}
    return subprocess.Popen(
        [sys.executable, "-m", "refresher", *map(str, words)],
        env=inherited | environ,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
    )


class Ended(NamedTuple):
    """How a process has ended, and what it said on both streams."""

    code: int
    said: str

    @property
    def log(self) -> list[dict[str, Any]]:
        return parsed(self.said.splitlines())


def refresher(*words: object, **environ: str) -> Ended:
    """A whole run of ``refresher WORDS…``."""
    return ended(start(*words, **environ))


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait until it is over."""
    with process:
        try:
            out, err = process.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return Ended(process.returncode, out + err)


def parsed(lines: list[str]) -> list[dict[str, Any]]:
    """The log entries among these lines."""
    return [json.loads(line) for line in lines if line.startswith("{")]


class Answer(NamedTuple):
    status: int
    body: str

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Daemon:
    """A running ``refresher run WORDS…``; with `endpoints` it listens on a port of its own. A context
    manager: nothing is left of it in the end. Everything it says is kept."""

    def __init__(self, *words: object, endpoints: bool = False, **environ: str) -> None:
        self.port = free_port() if endpoints else 0
        listen = ("--listen", f"127.0.0.1:{self.port}") if endpoints else ()
        self._lines: list[str] = []
        self.process = start("run", *words, *listen, **environ)
        streams = [stream for stream in (self.process.stdout, self.process.stderr) if stream]
        self._readers = [threading.Thread(target=self._read, args=(stream,)) for stream in streams]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._lines.append(line.rstrip("\n"))

    @property
    def said(self) -> str:
        return "\n".join(self._lines)

    def entries(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """The log entries so far of this event and with these fields."""
        wanted = {"event": event, **fields}
        return [entry for entry in parsed(self._lines[:]) if wanted.items() <= entry.items()]

    def wait_for(self, event: str, times: int = 1, within: float = DEADLINE, **fields: object) -> Any:
        """The log entry that is the `times`-th of its kind, as soon as there is one."""

        def look() -> list[dict[str, Any]]:
            found = self.entries(event, **fields)[times - 1 :]
            assert found or self.process.poll() is None, f"it has ended:\n{self.said}"
            return found

        return eventually(look, f"{event} {fields}, {times} times", within)[0]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal; its exit code. Fails if it takes longer than promised."""
        self.send(number)
        return self.code(STOP_WITHIN)

    def code(self, within: float = DEADLINE) -> int:
        """Its exit code, once it has ended."""
        code = self.process.wait(within)
        for reader in self._readers:
            reader.join()
        return code

    def get(self, path: str, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode())
        finally:
            connection.close()

    def metric(self, sample: str) -> float:
        """The value of ``NAME`` or ``NAME{LABEL="VALUE"}`` in /metrics, without our prefix; 0 for a counter
        that has not counted yet."""
        lines = self.get("/metrics").body.splitlines()
        values = [line.rpartition(" ")[2] for line in lines if line.startswith(f"token_refresher_{sample} ")]
        (value,) = values or ["0"][: "_total{" in sample]
        return float(value)


def plant(
    path: Path,
    *,
    age: float,
    lifetime: float = 3600.0,
    key: str = KEY,
    issuer: str = "https://issuer.test",
    sealed_with: str = "",
) -> str:
    """Let an earlier process have published a token there, `age` seconds ago; its text. `sealed_with`: a key
    other than `key`, of somebody who forges that."""
    clock = SystemClock()
    access = SecretStr(f"planted-{path.name}-{age:g}-of-{lifetime:g}")
    facts = TokenFacts(
        issued=clock.now() + -age,
        lifetime=lifetime,
        requested=lifetime,
        key_fingerprint=SecretStr(key).fingerprint,
        fingerprint=access.fingerprint,
        has_refresh_token=False,
        issuer=issuer,
    )
    FileOutput(Plan(str(path), issuer)).write(
        Token(facts, access), clock.now(), Sealer(SecretStr(sealed_with or key))
    )
    return access.reveal()
