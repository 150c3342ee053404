"""What Prometheus scrapes from refreshers in the course of hours or days: the real rules and the real metrics
on a virtual clock, as input for ``promtool test rules``."""

import re
from collections.abc import Iterator
from typing import Any

from refresher.core.effects import Write
from refresher.core.events import KeyRead, LeadershipChanged, Minted, WriteFailed
from refresher.core.instant import Instant
from refresher.core.model import Declined
from refresher.core.process_notifications import LeaderChanged
from refresher.metrics.series import Scrape, families
from tests.core.builders import KEY, NOW, Driver, token
from tests.deploy.rendering import DEPLOY
from tests.observed import OK, Daemon

RULES = DEPLOY / "alerts.yaml"
USED = set(re.findall(r"token_refresher_\w+", RULES.read_text()))  # the metrics that the alerts read
JOB, NAMESPACE, LEASE = "refresher", "studio", "studio/token-refresher"
LATENCY = 0.3  # seconds of a mint


class Refresher:
    """One process. `instance`: the label of its target. Mints succeed while `issuer` is None, else they fail
    with it. Writes succeed while `disk` is None, else they fail with it."""

    def __init__(self, instance: str, daemon: Daemon) -> None:
        self.instance, self.daemon = instance, daemon
        self.issuer: Declined | None = None
        self.disk: str | None = None
        self.hangs = False
        self.is_up = self.is_target = True

    def start(self, now: Instant) -> None:
        for driver in self.daemon.tokens.values():
            driver.now = now
            driver.observe(KeyRead(KEY))

    def leads(self, *, leads: bool) -> None:
        for name, driver in self.daemon.tokens.items():
            driver.observe(LeadershipChanged(leads))
            changed = LeaderChanged(LEASE, leads, "" if leads else "another")
            self.daemon.counters.on_notification(name, changed, driver.now)

    def run(self, until: Instant) -> None:
        """Everything that happens until this moment."""
        if not self.is_up:
            return
        if not self.hangs:
            for name, driver in self.daemon.tokens.items():
                self._run(name, driver, until)
            self.daemon.last_turn = until
        self.daemon.clock.time = until

    def _run(self, name: str, driver: Driver, until: Instant) -> None:
        while True:
            steps = driver.steps()
            for step in steps:
                if isinstance(step, Write) and self.disk:
                    self.daemon.observe(name, WriteFailed(step.output, self.disk, roll=1.0))
                else:
                    driver.perform([step])
            if driver.minting is not None:
                self._mint(name, driver)
                continue
            if steps:  # `wait` is of the moment before they ended
                continue
            self.daemon._count(name)
            left = until.boot - driver.now.boot
            wait = max(0.001, driver.wait.until - driver.now.boot)
            if left <= wait:
                driver.passes(left)
                return
            driver.passes(wait)

    def _mint(self, name: str, driver: Driver) -> None:
        began = driver.now.boot
        driver.passes(LATENCY)
        if self.issuer is not None:
            driver.declined(self.issuer)
            self.daemon._count(name)
            return
        self.daemon.minted += 1
        number = self.daemon.minted + 1000 * int(began)  # unique among processes
        self.daemon.counters.on_notification(name, OK, driver.now)
        new = token(number, lifetime=driver.policy.lifetime, age=NOW.boot - began)
        driver.observe(Minted(KEY, new, roll=1.0))


def _samples(daemon: Daemon) -> Iterator[tuple[str, str, float]]:
    """The name, labels and value of each series, as at a scrape, but not encoded, which is slow."""
    for metric in daemon.metrics.collect():
        for sample in metric.samples:
            own = ",".join(f'{key}="{value}"' for key, value in sample.labels.items())
            yield sample.name, own, sample.value
    taken = Scrape(daemon.view(), daemon.counters, daemon.clock.now())
    for _, lines in families(taken):
        for line in "".join(lines).splitlines():
            series, _, value = line.rpartition(" ")
            name, _, own = series.partition("{")
            yield name, own.rstrip("}"), float(value)


class Course:
    """The samples of several refreshers, scraped every `interval` seconds from second 0."""

    def __init__(self, *refreshers: Refresher, interval: int = 30) -> None:
        self.refreshers, self.interval, self.ticks = list(refreshers), interval, 0
        self._values: dict[str, dict[int, float]] = {}
        for each in refreshers:
            each.start(NOW)

    @property
    def second(self) -> int:
        return self.ticks * self.interval

    @property
    def now(self) -> Instant:
        return NOW + float(self.second)

    def add(self, refresher: Refresher) -> None:
        self.refreshers.append(refresher)
        refresher.start(self.now)

    def goes_on(self, seconds: float) -> None:
        """Scrape for so long."""
        end = self.second + seconds
        while self.second < end:
            for each in self.refreshers:
                each.run(self.now)
                self._scrape(each)
            self.ticks += 1

    def _scrape(self, it: Refresher) -> None:
        if not it.is_target:
            return
        labels = {"job": JOB, "namespace": NAMESPACE, "instance": it.instance}
        self._add("up", labels, float(it.is_up))
        if not it.is_up:
            return
        for name, own, value in _samples(it.daemon):
            if name in USED:
                shift = NOW.wall if name.endswith("_timestamp_seconds") else 0.0
                self._add(name, labels, value - shift, own)

    def _add(self, name: str, labels: dict[str, str], value: float, own: str = "") -> None:
        text = ",".join([*(f'{key}="{of}"' for key, of in labels.items()), *filter(None, [own])])
        self._values.setdefault(f"{name}{{{text}}}", {})[self.ticks] = round(value, 3)

    def input_series(self) -> list[dict[str, Any]]:
        """For promtool. A series that is missing from a scrape is stale, as Prometheus marks it."""
        series = self._values.items()
        return [{"series": name, "values": " ".join(self._notation(values))} for name, values in series]

    def _notation(self, values: dict[int, float]) -> list[str]:
        notation, was_there = [], False
        for tick in range(self.ticks):
            there = tick in values
            notation.append(str(values[tick]) if there else "stale" if was_there else "_")
            was_there = there
        return notation
