"""Ten thousand tokens in one directory: a restart, scrapes, probes during them, memory, and an outage."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.bench.secret import resident_of
from tests.commands.daemon import free_port, plant

TOKENS = 10_000
SCRAPES = 7  # of each format, in turn
PROBES = 200
OUTAGE = 20.0  # seconds
PATIENCE = 180.0  # seconds to wait for a restart
REST = 30.0  # seconds to measure what the daemon uses without scrapes: each file is compared once
SETTLED = 45.0  # seconds after the start: each file was inspected once more, and is only compared from now on
FORMATS = {"text": "text/plain;version=0.0.4", "OpenMetrics": "application/openmetrics-text;version=1.0.0"}


class Figures(NamedTuple):
    """Seconds, bytes, and failures per second. `restart` is None if it took too long."""

    restart: float | None
    scrapes: dict[str, list[float]]
    alone: list[float]  # of /livez
    beside: list[float]  # of /livez during these scrapes
    readyz: list[float]
    resident: int
    failures: float


def measured(url: str, key: str, folder: Path, faults: Callable[[dict[str, object]], None]) -> Figures:
    """A daemon that finds valid tokens in all its outputs. `faults`: makes the issuer fail."""
    with running(url, key, folder) as site:
        restart = site.until_adopted()
        scrapes: dict[str, list[float]] = {name: [] for name in FORMATS}
        alone = [site.seconds("/livez") for _ in range(PROBES)]
        beside: list[float] = []
        for _ in range(SCRAPES):
            for name, accept in FORMATS.items():
                took, probes = site.beside("/metrics", accept)
                scrapes[name].append(took)
                beside += probes
        readyz = [site.seconds("/readyz") for _ in range(SCRAPES)]
        resident = resident_of(site.process.pid)
        faults({"status": 500, "scope": "mint"})
        failures = site.failures_a_second()
        faults({})
    return Figures(restart, scrapes, alone, beside, readyz, resident, failures)


class Site:
    """A daemon's endpoints."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self._port = process, port
        self._began = time.monotonic()

    def get(self, path: str, accept: str = "*/*", coding: str = "identity") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request("GET", path, headers={"Accept": accept, "Accept-Encoding": coding})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def seconds(self, path: str, accept: str = "*/*") -> float:
        began = time.perf_counter()
        self.get(path, accept)
        return time.perf_counter() - began

    def beside(self, path: str, accept: str) -> tuple[float, list[float]]:
        """The time for this response, and for each response of /livez meanwhile."""
        took: list[float] = []
        asking = threading.Thread(target=lambda: took.append(self.seconds(path, accept)))
        asking.start()
        probes = []
        while asking.is_alive():
            probes.append(self.seconds("/livez"))
        return took[0], probes

    def until_adopted(self, tokens: int = TOKENS) -> float | None:
        """Seconds from the start of the process until every token is adopted; None if it takes too long."""
        while time.monotonic() - self._began < PATIENCE:
            if self.process.poll() is not None:
                raise RuntimeError(f"the daemon has ended with {self.process.returncode}")
            try:
                ready = self.get("/readyz")[0] == http.client.OK
            except OSError:  # it does not listen yet
                ready = False
            if ready and self.adopted() == tokens:
                return time.monotonic() - self._began
            time.sleep(1.0)  # no probe asks more often
        return None

    def adopted(self) -> int:
        return self.get("/metrics")[1].count(b"\ntoken_refresher_token_expiry_timestamp_seconds{")

    def refreshes(self, labels: str) -> int:
        name = "token_refresher_refreshes_total{"
        lines = self.get("/metrics")[1].decode().splitlines()
        return sum(int(line.split()[-1]) for line in lines if line.startswith(name) and labels in line)

    def failures_a_second(self) -> float:
        """Request a new token for every token; all mints fail."""
        os.kill(self.process.pid, signal.SIGUSR1)
        before, began = self.refreshes('result="failure"'), time.monotonic()
        time.sleep(OUTAGE)
        return (self.refreshes('result="failure"') - before) / (time.monotonic() - began)


def first_tokens(url: str, key: str, folder: Path) -> dict[int, float]:
    """CPU seconds of the daemon from a start without any token until the first one, and all, are in their
    files."""
    used: dict[int, float] = {}
    with running(url, key, folder, planted=False) as site:
        began = time.monotonic()
        while TOKENS not in used:
            written = sum(name.startswith("token-") for name in os.listdir(folder))
            used |= {
                stop: cpu_of(site.process.pid) for stop in (1, TOKENS) if stop <= written and stop not in used
            }
            if time.monotonic() - began > PATIENCE:
                raise RuntimeError(f"only {written} tokens were written")
            time.sleep(0.1)
    return used


class Cost(NamedTuple):
    """Of one scrape: CPU seconds of the daemon beyond what it uses at rest, bytes of memory above the
    resident size before it, and bytes that were sent."""

    cpu: float
    memory: int
    sent: int


def scrape_costs(url: str, key: str, folder: Path, tokens: int) -> list[Cost]:
    """As Prometheus scrapes: OpenMetrics, compressed."""
    with running(url, key, folder, tokens) as site:
        if site.until_adopted(tokens) is None:
            raise RuntimeError(f"the daemon has not adopted {tokens} tokens")
        time.sleep(SETTLED)
        cpu, began = cpu_of(site.process.pid), time.monotonic()
        time.sleep(REST)
        return costs_at_rest(site, (cpu_of(site.process.pid) - cpu) / (time.monotonic() - began))


def costs_at_rest(site: Site, idle: float) -> list[Cost]:
    """The costs of several scrapes. `idle`: the share of a core that the daemon uses without them."""
    return [_scrape_cost(site, idle) for _ in range(SCRAPES + 1)][1:]  # the first one imports modules


def _scrape_cost(site: Site, idle: float) -> Cost:
    pid = site.process.pid
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # VmHWM begins anew (proc(5))
    before, cpu, began = _status(pid, "VmRSS"), cpu_of(pid), time.monotonic()
    _, body = site.get("/metrics", FORMATS["OpenMetrics"], "gzip")
    used = cpu_of(pid) - cpu - idle * (time.monotonic() - began)
    return Cost(used, _status(pid, "VmHWM") - before, len(body))


def _status(pid: int, name: str) -> int:
    """Bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def cpu_of(pid: int) -> float:
    """Seconds that all threads of a process have run (Documentation/scheduler/sched-stats.rst)."""
    tasks = os.listdir(f"/proc/{pid}/task")
    return sum(int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0]) for task in tasks) / 1e9


def names(count: int = TOKENS) -> list[str]:
    """The names of the tokens and of their files."""
    return [f"token-{number:05}" for number in range(count)]


@contextmanager
def running(
    url: str, key: str, folder: Path, count: int = TOKENS, *, planted: bool = True, age: float = 0.0
) -> Iterator[Site]:
    """A daemon with this many tokens. `planted`: they are in their files already, `age` seconds old."""
    port = free_port()
    config = folder / "scale.yaml"
    for name in names(count) if planted else ():
        plant(folder / name, age=age, key=key, issuer=url)
    tokens = [
        {"name": name, "key_file": str(folder / "scale.key"), "outputs": [{"file": str(folder / name)}]}
        for name in names(count)
    ]
    (folder / "scale.key").write_text(key)
    config.write_text(json.dumps({"issuer": {"url": url}, "listen": f"127.0.0.1:{port}", "tokens": tokens}))
    command = [sys.executable, "-m", "refresher", "run", "--config", str(config), "--log-format", "json"]
    with open(folder / "scale.log", "wb") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            yield Site(process, port)
        finally:
            process.kill()
