"""One installation: a daemon that is restarted after each kill, its directory, its issuer behind a bad wire,
and a consumer. `violations` lists each broken promise."""

import json
import math
import os
import random
import re
import signal
import threading
import time
from collections import Counter, deque
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from refresher.config.output_kinds import LOCK_FILE
from refresher.core import schedule
from refresher.emulator.server import Emulator
from tests.chaos import tasks
from tests.chaos.log_reader import Gate, ReadDaemon
from tests.chaos.place import Disk, Place, limit_file_size
from tests.chaos.proxy import Proxy
from tests.chaos.reader import FORMATS, Reader, Verdict, token_in
from tests.chaos.trust import Trust
from tests.commands.daemon import eventually

TIMEOUT = 10.0  # seconds: issuer.timeout's default
STARTS_WITHIN = 60.0  # seconds for the very first token, with all the others starting too
TOLD = 120  # lines of the log in a violation
PIPEFUL = 8  # mints whose log lines fill more than a page
AFTER_A_MINT = 0.2  # seconds
READY = ("TokenAdopted", "OutputWritten")  # it handles signals by then


class Terms(NamedTuple):
    """The lifetime of its tokens in seconds, and the part of it after which they are replaced."""

    lifetime: int
    refresh_at: float

    @property
    def headroom(self) -> float:
        return schedule.headroom(self.lifetime, self.refresh_at, 0.0, TIMEOUT)

    @property
    def earliest(self) -> float:
        """The age before which no token is replaced, in seconds."""
        return schedule.due_age(self.lifetime, self.refresh_at, 0.0, 1.0)

    @property
    def latest(self) -> float:
        """The age at which it is replaced without failures, in seconds."""
        return schedule.latest_due_age(self.lifetime, self.refresh_at, 0.0)


class Installation:
    """A context manager that leaves no files or processes. `disk`: for its outputs, if this machine allows
    it. `dice` decides the fault of the wire for each response."""

    def __init__(self, path: Path, issuer: Emulator, terms: Terms, dice: random.Random, disk: Disk) -> None:
        self.name, self.terms, self._disk = path.name, terms, disk
        self.gate = Gate()
        self.did: Counter[str] = Counter()
        self.story: deque[str] = deque(maxlen=TOLD)
        self.short_files: int | None = None  # bytes that a write may have
        self._issuer, self._path, self._dice = issuer, path, dice
        self._resources, self._running = ExitStack(), ExitStack()
        self._may_mint = True
        self._debris: set[str] = set()
        self.violations: list[str] = []  # the first one counts

    def __enter__(self) -> Self:
        self._path.mkdir()
        self.place = Place(self._path / "outputs", self._disk)
        self._resources.callback(self.place.close)
        self.tasks = tasks.made()
        if self.tasks is not None:
            self._resources.callback(self.tasks.close)
        self.trust = Trust(self._path / "ca.pem")
        self.proxy = Proxy(self._issuer.port, self._dice, self._check_mint, self.trust.context)
        self._resources.callback(self.proxy.close)
        self.files = {format_: self.place.behind / format_ for format_ in FORMATS}
        self.reader = Reader(self.files, self._issuer, self._complain)
        outputs = [{"file": str(self.place.path / format_), "format": format_} for format_ in FORMATS]
        token = {"name": self.name, "key_file": "key", "lifetime": self.terms.lifetime, "outputs": outputs}
        token["refresh_at"] = f"{self.terms.refresh_at:.0%}"
        (self._path / "key").write_text(self._issuer.keys[0].reveal())
        self._config = self._path / "refresher.yaml"
        issuer = {"url": self.proxy.url, "ca_file": "ca.pem"}
        self._config.write_text(json.dumps({"issuer": issuer, "tokens": [token]}))
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.reader.over.set()
        self._running.close()
        self._resources.close()

    # Start and end

    def _start(self) -> None:
        # A short write while Python caches bytecode would leave a broken cache for all processes.
        daemon = ReadDaemon(self.gate, "--config", self._config, PYTHONDONTWRITEBYTECODE="1")
        self.daemon = self._running.enter_context(daemon)
        if self.tasks is not None:
            self.tasks.hold(self.daemon.process)
        limit_file_size(self.daemon.process, self.short_files)

    def limit_files(self, size: int | None) -> None:
        """Limit its writes to so many bytes, also after a restart."""
        self.short_files = size
        limit_file_size(self.daemon.process, size)

    def kill(self) -> None:
        """kill -9, then restart it at once."""
        self.check_alive()
        self._running.close()
        self.did["kills"] += 1
        before, self._debris = self._debris, {file.name for file in self.place.behind.glob(".*.tmp")}
        self.did["kills within a write"] += bool(self._debris - before)
        self._remember()
        self.proxy.finish()  # a request of the killed process may still be under way
        self.tell("killed, and started again")
        self._may_mint = False
        self._start()

    def pause(self, seconds: float, over: threading.Event) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        self.daemon.send(signal.SIGSTOP)
        self.did["stops"] += 1
        self.tell(f"stopped for {seconds:.2f} s")
        over.wait(seconds)
        self.daemon.send(signal.SIGCONT)

    def end(self) -> None:
        """SIGTERM: exit code 0 in time, and no stale files of the killed processes."""
        self._settled()
        code = self.daemon.end()
        self._remember()
        expected = {name for format_ in FORMATS for name in (format_, f".{format_}.meta.json")} | {LOCK_FILE}
        left = {file.name for file in self.place.behind.iterdir()}
        if code != 0 or left != expected:
            self.violated(f"it ended with {code}; its files and what is there differ by {left ^ expected}")

    def ask_for_mint(self) -> None:
        """Send SIGUSR1 to a ready daemon, to request a new token now."""
        self._may_mint = True
        self.daemon.send(signal.SIGUSR1)

    def leave_unread(self) -> None:
        """Stop reading its log, and make it write until the pipe is full."""
        self.gate.shut()
        for _ in range(PIPEFUL):
            if self.is_ready:
                self.ask_for_mint()
            time.sleep(AFTER_A_MINT)

    def read_on(self) -> None:
        self.did["log pipes that were full"] += self.gate.held_back()
        self.gate.open()

    def await_write(self, nth: int, timeout: float) -> None:
        """Return when that many temporary files have come and gone and another exists, or at the deadline."""
        until, seen = time.monotonic() + timeout, set[str]()
        while len(seen) <= nth and time.monotonic() < until:
            seen |= {name for name in os.listdir(self.place.behind) if name.endswith(".tmp")}

    @property
    def is_ready(self) -> bool:
        return any(self.daemon.entries(event) for event in READY)

    # State

    def _settled(self) -> None:
        eventually(lambda: self.is_ready or self.check_alive(), "it is ready", STARTS_WITHIN)

    def has_recovered(self) -> bool:
        """Whether all outputs hold the same token, and it is not due yet."""
        self.check_alive()
        tokens = {self._token(format_) for format_ in FORMATS}
        return self.is_ready and len(tokens) == 1 and None not in tokens and self._age() < self.terms.latest

    def _token(self, format_: str) -> str | None:
        file = self.files[format_]
        return token_in(format_, file.read_bytes()) if file.exists() else None

    def check_alive(self) -> None:
        """Note a violation if the daemon has ended by itself."""
        code = self.daemon.process.poll()
        if code is not None:
            self.violated(f"it has ended by itself, with exit code {code}")

    def _age(self) -> float:
        """Seconds since the request for the token in the JSON file, rounded up; infinite without a token."""
        content = self.files["json"].read_bytes()
        if token_in("json", content) is None:
            return math.inf
        ends = datetime.fromisoformat(json.loads(content)["expires_at"]).timestamp()
        return self.terms.lifetime - (ends - time.time())

    def _check_mint(self) -> None:
        """Check each request of the daemon: it must not mint while a young token is published."""
        if self._may_mint:
            return
        age = self._age()
        if age < self.terms.earliest:
            due = f"due at {self.terms.earliest:g} s at the earliest"
            self.violated(f"it mints, though it has a token of {age:.1f} s; {due}")

    def _complain(self, format_: str, verdict: Verdict) -> None:
        self.violated(f"a reader of the format {format_} got a value that is {verdict}")

    # Report

    def tell(self, text: str) -> None:
        self.story.append(f"{datetime.now(UTC).isoformat('T', 'milliseconds')} CHAOS {text}")

    def _remember(self) -> None:
        """Keep the log of the ended daemon."""
        self.story.extend(self.daemon.said.splitlines())
        self.did["writes that failed"] += len(self.daemon.entries("OutputFailed"))
        self.did["refreshes that failed"] += len(self.daemon.entries("RefreshFailed"))

    def violated(self, what: str) -> None:
        """Note a broken promise. Any thread may call this; the main loop checks soon."""
        said = sorted((*self.story, *self.daemon.said.splitlines()[-TOLD:]), key=_when)
        self.violations.append("\n".join((f"{self.name}, {self.terms}: {what}; before that:", *said)))


def _when(line: str) -> str:
    """The time of a line of the report or of a log; lines without a time sort first."""
    found = re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", line)
    return found[0] if found else ""
