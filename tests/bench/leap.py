"""The whole daemon, with its real client, files, log and endpoints, on a clock that leaps over every wait.

Run as a program, it prints a line of JSON for each given number of refreshes: the virtual
seconds passed, and the resident memory.
"""

import json
import os
import random
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO
from urllib.request import ProxyHandler, build_opener

from refresher import __version__, assembly
from refresher.clock import SystemClock
from refresher.config.declarations import Settings, TokenSettings
from refresher.config.issuers import IssuerSettings
from refresher.config.output_kinds import FileOutputSettings
from refresher.core.events import Stopping
from refresher.core.instant import Instant
from refresher.core.notifications import Notification, TokenMinted
from refresher.engine import Engine
from refresher.executor import KEYS, LIMITS, Executor
from refresher.http.server.sockets import bind
from refresher.logs import setup
from refresher.logs.observer import LogObserver
from refresher.logs.redaction import SecretIndex
from refresher.logs.stream import BackgroundStream
from refresher.metrics.counters import Counters
from refresher.ports import Message
from refresher.web.endpoints import Endpoints, server_of
from refresher.workers import Mailbox, Workers

LIFETIME = 10.0  # seconds; short, so that it does more refreshes than inspections
SCRAPE_EVERY = 60  # refreshes


class LeapingClock(SystemClock):
    def __init__(self) -> None:
        self.leapt = 0.0

    def now(self) -> Instant:
        return super().now() + self.leapt


class CountingCrew(Workers):
    """Counts the effects under way."""

    def __init__(self, sizes: Mapping[str, float]) -> None:
        super().__init__(sizes)
        self._lock = threading.Lock()
        self.under_way = 0

    def submit(self, job: Callable[[], None], pool: str) -> None:
        def counted() -> None:
            job()
            with self._lock:
                self.under_way -= 1

        with self._lock:
            self.under_way += 1
        super().submit(counted, pool)


class LeapingMailbox(Mailbox[Message]):
    """Waits for effects under way, and leaps over every other wait."""

    def __init__(self, clock: LeapingClock, workers: CountingCrew) -> None:
        super().__init__()
        self._clock, self._workers = clock, workers

    def take(self, timeout: float) -> Message | None:
        message = super().take(0)
        while message is None and self._workers.under_way:
            message = super().take(0.0005)
        if message is None:
            message = super().take(0)
        if message is None and timeout > 0:
            self._clock.leapt += timeout
        return message


class Meter:
    """An observer that records the memory at certain numbers of refreshes, and stops after the last."""

    def __init__(self, stops: Sequence[int], scrape: Callable[[], None], stop: Callable[[], None]) -> None:
        self._stops, self._scrape, self._stop = stops, scrape, stop
        self._count = 0
        self._first: Instant | None = None

    def on_notification(self, token: str, notification: Notification, now: Instant) -> None:
        del token
        if not isinstance(notification, TokenMinted):
            return
        self._first = self._first or now
        if self._count % SCRAPE_EVERY == 0:
            self._scrape()
        if self._count in self._stops:
            passed = now.boot - self._first.boot
            print(
                json.dumps({"refreshes": self._count, "seconds": passed, "rss": rss_of("self")}), flush=True
            )
        if self._count == self._stops[-1]:
            self._stop()
        self._count += 1


def rss_of(pid: int | str) -> int:
    """Resident bytes of a process."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(key_file: str, token_file: str, url: str, *stops: str) -> None:
    token = TokenSettings("bench", key_file, (FileOutputSettings(token_file),), lifetime=LIFETIME)
    settings = Settings((token,), IssuerSettings(url))
    clock = LeapingClock()
    workers = CountingCrew({name: limit.threads for name, limit in LIMITS.items()} | {KEYS: 1})
    published = assembly.published_tokens(settings)
    managed_tokens = assembly.managed_tokens(settings, clock, published, None, hooks=[()])
    mailbox = LeapingMailbox(clock, workers)
    counters = Counters()
    served: list[str] = []
    secrets = SecretIndex()

    def scrape() -> None:
        """Scrape as Prometheus does: over HTTP, in another thread."""
        if served:
            with build_opener(ProxyHandler({})).open(served[0], timeout=10) as answer:
                answer.read()

    meter = Meter(
        [int(stop) for stop in stops],
        lambda: threading.Thread(target=scrape).start(),
        lambda: mailbox.post(Message(None, Stopping())),
    )
    engine = Engine(
        managed_tokens,
        executor=Executor(clock, mailbox, workers, random.random),
        clock=clock,
        mailbox=mailbox,
        observers=[LogObserver(), counters, meter],
        hold=secrets.hold,
    )
    log: TextIO = BackgroundStream(sys.stderr)  # type: ignore[assignment]  # as much of one as logging needs
    sys.stderr = log
    setup.configure("json", "info", log, secrets.blot_out)
    served.append(serve(engine, clock, counters))
    engine.run()


def serve(engine: Engine, clock: LeapingClock, counters: Counters) -> str:
    """Serves the endpoints as `refresher run` does. Returns the address to scrape."""
    listening = bind("127.0.0.1", 0)
    endpoints = Endpoints(engine.view, lambda: engine.last_turn, clock, counters, __version__)
    threading.Thread(target=server_of(endpoints, listening).serve, daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}/metrics"


if __name__ == "__main__":
    main(*sys.argv[1:])
