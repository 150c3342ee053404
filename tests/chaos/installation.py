"""One installation: a daemon that is started again whenever it was killed, its place, its issuer behind a bad
wire, and a consumer. What it does that it should not is in its `violations`."""

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
UNDER_WAY = 0.2  # seconds from a request to the moment when we learn of it, on a machine that is busy
TOLD = 120  # lines of its log that a violation shows
PIPEFUL = 8  # mints, whose lines are more than a page
AFTER_A_MINT = 0.2  # seconds
READY = ("TokenAdopted", "OutputWritten")  # it handles signals by then


class Terms(NamedTuple):
    """How long its tokens live and when they are replaced: seconds, and a part of that."""

    lifetime: int
    refresh_at: float

    @property
    def headroom(self) -> float:
        return schedule.headroom(self.lifetime, self.refresh_at, 0.0, TIMEOUT)

    @property
    def earliest(self) -> float:
        """The age before which no token is replaced."""
        return schedule.due_age(self.lifetime, self.refresh_at, 0.0, 1.0)

    @property
    def latest(self) -> float:
        """The age at which it is, if all goes well."""
        return schedule.latest_due_age(self.lifetime, self.refresh_at, 0.0)


class Installation:
    """A context manager: in the end nothing of it is left. `disk`: what its outputs are on, if that can be
    had here. `dice` decides what its wire does to an answer."""

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
        self.files = {form: self.place.behind / form for form in FORMATS}
        self.reader = Reader(self.files, self._issuer, self._complain)
        outputs = [{"file": str(self.place.path / form), "format": form} for form in FORMATS]
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

    # Its life

    def _start(self) -> None:
        # A short write while Python caches bytecode would leave half of it behind, for everybody.
        daemon = ReadDaemon(self.gate, "--config", self._config, PYTHONDONTWRITEBYTECODE="1")
        self.daemon = self._running.enter_context(daemon)
        if self.tasks is not None:
            self.tasks.hold(self.daemon.process)
        limit_file_size(self.daemon.process, self.short_files)

    def limit_files(self, size: int | None) -> None:
        """Let its writes have no more than so many bytes, also after it is started again."""
        self.short_files = size
        limit_file_size(self.daemon.process, size)

    def kill(self) -> None:
        """kill -9, and start it again at once."""
        self.check_alive()
        self._running.close()
        self.did["kills"] += 1
        before, self._debris = self._debris, {file.name for file in self.place.behind.glob(".*.tmp")}
        self.did["kills within a write"] += bool(self._debris - before)
        self._remember()
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
        """SIGTERM: exit code 0 in time, and no debris of all who were killed here."""
        self._settled()
        code = self.daemon.end()
        self._remember()
        expected = {name for form in FORMATS for name in (form, f".{form}.meta.json")} | {LOCK_FILE}
        left = {file.name for file in self.place.behind.iterdir()}
        if code != 0 or left != expected:
            self.violated(f"it ended with {code}; its files and what is there differ by {left ^ expected}")

    def ask_for_mint(self) -> None:
        """SIGUSR1, which asks for a new token now; to a daemon that is ready."""
        self._may_mint = True
        self.daemon.send(signal.SIGUSR1)

    def leave_unread(self) -> None:
        """Read nothing of its log, and have it write until there is no room for more."""
        self.gate.shut()
        for _ in range(PIPEFUL):
            if self.is_ready:
                self.ask_for_mint()
            time.sleep(AFTER_A_MINT)

    def read_on(self) -> None:
        self.did["log pipes that were full"] += self.gate.held_back()
        self.gate.open()

    def await_write(self, nth: int, timeout: float) -> None:
        """Return when that many temporary files have come and gone and there is another, or too late."""
        until, seen = time.monotonic() + timeout, set[str]()
        while len(seen) <= nth and time.monotonic() < until:
            seen |= {name for name in os.listdir(self.place.behind) if name.endswith(".tmp")}

    @property
    def is_ready(self) -> bool:
        return any(self.daemon.entries(event) for event in READY)

    # How it stands

    def _settled(self) -> None:
        eventually(lambda: self.is_ready or self.check_alive(), "it is ready", STARTS_WITHIN)

    def has_recovered(self) -> bool:
        """Whether consumers are served with a token that is not yet due, the same everywhere."""
        self.check_alive()
        tokens = {self._token(form) for form in FORMATS}
        return self.is_ready and len(tokens) == 1 and None not in tokens and self._age() < self.terms.latest

    def _token(self, form: str) -> str | None:
        file = self.files[form]
        return token_in(form, file.read_bytes()) if file.exists() else None

    def check_alive(self) -> None:
        """It never ends by itself."""
        code = self.daemon.process.poll()
        if code is not None:
            self.violated(f"it has ended by itself, with exit code {code}")

    def _age(self) -> float:
        """Seconds since the token in the JSON file was asked for, or up to one more; infinite without one."""
        content = self.files["json"].read_bytes()
        if token_in("json", content) is None:
            return math.inf
        ends = datetime.fromisoformat(json.loads(content)["expires_at"]).timestamp()
        return self.terms.lifetime - (ends - time.time())

    def _check_mint(self) -> None:
        """Called for each request of the daemon's: none is made while a young token is in place."""
        if self._may_mint:
            return
        age, in_place_for = self._age(), time.time() - self.files["json"].stat().st_mtime
        # One that was asked for by a process that is killed by now may still be under way.
        if in_place_for > UNDER_WAY and age < self.terms.earliest - UNDER_WAY:
            due = f"due at {self.terms.earliest:g} s at the earliest"
            self.violated(f"it mints, though it has a token of {age:.1f} s; {due}")

    def _complain(self, form: str, verdict: Verdict) -> None:
        self.violated(f"a reader of the format {form} got a value that is {verdict}")

    # What is told of it

    def tell(self, text: str) -> None:
        self.story.append(f"{datetime.now(UTC).isoformat('T', 'milliseconds')} CHAOS {text}")

    def _remember(self) -> None:
        """Keep what the daemon has said, now that it has ended."""
        self.story.extend(self.daemon.said.splitlines())
        self.did["writes that failed"] += len(self.daemon.entries("OutputFailed"))
        self.did["refreshes that failed"] += len(self.daemon.entries("RefreshFailed"))

    def violated(self, what: str) -> None:
        """Note that the promise was not kept. By any thread; whoever runs the chaos looks at it soon."""
        said = sorted((*self.story, *self.daemon.said.splitlines()[-TOLD:]), key=_when)
        self.violations.append("\n".join((f"{self.name}, {self.terms}: {what}; before that:", *said)))


def _when(line: str) -> str:
    """The moment that a line of the story or of a log is of; those without one come first."""
    found = re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", line)
    return found[0] if found else ""
