"""Runs the program as users do: a process, its log lines as they appear, real signals, real HTTP."""

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
DEADLINE = 15.0  # seconds; far more than any step takes unless a test slows it down
STOP_WITHIN = 5.0  # seconds from SIGTERM to the end (docs/reliability.md)

# A shell reports 130. CPython dies by the signal itself if it arrives while a NamedTuple is created.
INTERRUPTED = {128 + signal.SIGINT, -signal.SIGINT}

KEY = "application-key-Zq1f0WcT5d9"

Found = TypeVar("Found")


def eventually(look: Callable[[], Found], what: str, within: float = DEADLINE) -> Found:
    """The first true result of `look`; fails with `what` when that takes too long."""
    until, pause = time.monotonic() + within, threading.Event()
    while not (found := look()):
        assert time.monotonic() < until, f"not within {within:g} s: {what}"
        pause.wait(0.01)
    return found


def free_port() -> int:
    """A port on which no process listens now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def start(
    *words: object, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE, **environ: str
) -> subprocess.Popen[str]:
    """Starts ``refresher WORDS…``, configured by `environ` only."""
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
    """The exit code of a process, and its output on both streams."""

    code: int
    said: str

    @property
    def log(self) -> list[dict[str, Any]]:
        return parsed(self.said.splitlines())


def refresher(*words: object, **environ: str) -> Ended:
    """Runs ``refresher WORDS…`` to its end."""
    return ended(start(*words, **environ))


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait until the process has ended."""
    with process:
        try:
            out, err = process.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return Ended(process.returncode, out + err)


def parsed(lines: list[str]) -> list[dict[str, Any]]:
    """The log entries in these lines."""
    return [json.loads(line) for line in lines if line.startswith("{")]


class Answer(NamedTuple):
    status: int
    body: str

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Daemon:
    """A running ``refresher run WORDS…``, or another `command` that runs until it is stopped; with
    `endpoints` it listens on a port of its own. A context manager that ends the process. Keeps all its
    output."""

    def __init__(self, *words: object, endpoints: bool = False, command: str = "run", **environ: str) -> None:
        self.port = free_port() if endpoints else 0
        listen = ("--listen", f"127.0.0.1:{self.port}") if endpoints else ()
        self._lines: list[str] = []
        self.process = start(command, *words, *listen, **environ)
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
        """The log entries so far with this event and these fields."""
        wanted = {"event": event, **fields}
        return [entry for entry in parsed(self._lines[:]) if wanted.items() <= entry.items()]

    def wait_for(self, event: str, times: int = 1, within: float = DEADLINE, **fields: object) -> Any:
        """Wait for the `times`-th log entry of its kind, and return it."""

        def look() -> list[dict[str, Any]]:
            found = self.entries(event, **fields)[times - 1 :]
            assert found or self.process.poll() is None, f"it has ended:\n{self.said}"
            return found

        return eventually(look, f"{event} {fields}, {times} times", within)[0]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal and return its exit code. Fails if it takes longer than promised."""
        self.send(number)
        return self.code(STOP_WITHIN)

    def code(self, within: float = DEADLINE) -> int:
        """Wait until it has ended, and return its exit code."""
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
        that does not exist yet."""
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
    """Write a token as if an earlier process had published it `age` seconds ago. Returns its text.
    `sealed_with`: a key other than `key`, to forge the record."""
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
