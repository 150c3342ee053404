"""A real Prometheus scrapes real daemons through outages and `kill -9`, with the real alerts.

All scenarios run side by side, once; the tests read what Prometheus recorded. Each daemon has one token that
lives for 10 s. The rules are those of deploy/alerts.yaml except that a minute in `for:` or in a window is
a second. The expressions compare times of the token with each other, so they hold for any lifetime, and
`for:` only delays the step from pending to firing. `test_alerts` checks the unchanged delays, on a virtual
clock.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from refresher.emulator.server import Emulator
from tests.commands.daemon import KEY, Daemon, eventually, free_port, start
from tests.deploy.monitoring import Prometheus, prometheus
from tests.deploy.rendering import DEPLOY

LIFETIME = 10
WITHIN = 40.0  # seconds; several lifetimes on a busy machine
QUERIES = [
    (panel["title"], target["expr"])
    for panel in json.loads((DEPLOY / "dashboard.json").read_text())["panels"]
    for target in panel["targets"]
]
VARIABLES = {"$job": ".*", "$instance": ".*", "$token": ".*", "$__rate_interval": "1m"}

# The job and the alerts of each scenario.
SCENARIOS = {
    "healthy": ("studio", set()),
    "outage": ("studio", {"InliveRefreshOverdue", "InliveTokenExpired"}),
    "refused": ("studio", {"InliveKeyRefused", "InliveRefreshOverdue", "InliveTokenExpired"}),
    "without": ("studio", {"InliveOutputWithoutToken"}),
    "mistaken": ("studio", {"InliveConfigurationRefused"}),
    "unread": ("studio", {"InliveLogLinesDropped"}),
    "killed": ("studio", {"InliveRefresherDown", "InliveTokenUnattended"}),
    "alone": ("alone", {"InliveRefresherDown", "InliveTokenUnattended", "InliveRefresherGone"}),
}
WITH_DELAY = {
    "InliveRefresherDown",
    "InliveRefresherGone",
    "InliveOutputWithoutToken",
    "InliveConfigurationRefused",
}


class Story(NamedTuple):
    """`states`: when (seconds) Prometheus saw an alert of a scenario in a state. `data`: the number of series
    of each query of the dashboard during the outages. `began`, `healed`: when. `read`: when the log of
    "unread" had a reader again."""

    states: dict[tuple[str, str, str], list[float]]
    data: dict[str, int]
    began: float
    read: float
    healed: float


class Place:
    """A daemon for each scenario, each with an issuer of its own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self.issuers = {name: stack.enter_context(Emulator(keys=[KEY])) for name in SCENARIOS}
        self._ports = {name: free_port() for name in SCENARIOS}
        self.daemons: dict[str, Daemon] = {}
        self.configuration = folder / "refresher.yaml"  # of "mistaken"
        self._log = folder / "log"  # of "unread"
        os.mkfifo(self._log)

    def target(self, name: str) -> str:
        return f"127.0.0.1:{self._ports[name]}"

    def start(self, name: str) -> None:
        (self._folder / "key").write_text(KEY)
        options: list[object] = ["--name", name, "--key-file", self._folder / "key"]
        options += ["--to-file", self._folder / name, "--lifetime", f"{LIFETIME}s"]
        if name == "mistaken":
            token = {"name": name, "key_file": "key", "outputs": [{"file": name}], "lifetime": LIFETIME}
            self.configuration.write_text(json.dumps({"tokens": [token]}))
            options = ["--config", self.configuration]
        options += ["--issuer-url", self.issuers[name].url, "--listen", self.target(name)]
        if name != "unread":
            self.daemons[name] = self._stack.enter_context(Daemon(*options))
            return
        with self.reads_log(), open(self._log, "wb") as log:
            process = self._stack.enter_context(start("run", *options, stderr=log.fileno()))
        self._stack.callback(process.kill)

    @contextmanager
    def reads_log(self) -> Iterator[None]:
        """The log of "unread" has a reader. Its few lines fit into the pipe."""
        reader = os.open(self._log, os.O_RDONLY | os.O_NONBLOCK)
        try:
            yield
        finally:
            os.close(reader)

    def expected(self) -> set[tuple[str, str]]:
        return {
            (alert, job if alert == "InliveRefresherGone" else self.target(name))
            for name, (job, alerts) in SCENARIOS.items()
            for alert in alerts
        }


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("monitored")
    rules = re.sub(r"(for: |\[)(\d+)m\b", r"\1\2s", (DEPLOY / "alerts.yaml").read_text())
    with ExitStack() as stack:
        place = Place(folder, stack)
        jobs: dict[str, list[str]] = {}
        for name, (job, _) in SCENARIOS.items():
            jobs.setdefault(job, []).append(place.target(name))
        place.issuers["without"].faults(status=500)
        for name in SCENARIOS:
            place.start(name)
        site = stack.enter_context(prometheus(jobs, rules, folder))
        yield _told(site, place)


def _told(site: Prometheus, place: Place) -> Story:
    healthy = "token_refresher_token_expiry_timestamp_seconds > time()"
    eventually(lambda: len(site.query(healthy)) == len(SCENARIOS) - 1, "a token for each", WITHIN)
    began = _now(site)
    good = place.configuration.read_text()
    place.configuration.write_text(good.replace("lifetime", "life_time"))
    place.issuers["outage"].faults(status=500)
    place.issuers["refused"].faults(status=401)
    for name in ("killed", "alone"):
        place.daemons[name].process.kill()
    unread = {("InliveLogLinesDropped", place.target("unread"))}
    eventually(lambda: site.firing() >= unread, "the log has lost lines", WITHIN)
    with place.reads_log():
        read = _now(site)
        eventually(lambda: site.firing() >= place.expected() - unread, "every other alert fires", WITHIN)
        return _healed(site, place, good, began, read)


def _healed(site: Prometheus, place: Place, configuration: str, began: float, read: float) -> Story:
    data = {query: len(site.query(filled(query))) for _, query in QUERIES}
    healed = _now(site)
    for issuer in place.issuers.values():
        issuer.heal()
    for name in ("killed", "alone"):
        place.start(name)
    place.configuration.write_text(configuration)
    eventually(lambda: not site.query("ALERTS"), "every alert resolves", WITHIN)
    return Story(_states(site, place), data, began, read, healed)


def filled(query: str) -> str:
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    return query


def _now(site: Prometheus) -> float:
    ((_, [(at, _value)]),) = site.query("vector(1)")
    return at


def _states(site: Prometheus, place: Place) -> dict[tuple[str, str, str], list[float]]:
    names = {place.target(name): name for name in SCENARIOS} | {"alone": "alone", "studio": "studio"}
    states: dict[tuple[str, str, str], list[float]] = {}
    for labels, values in site.query("ALERTS[10m]"):
        name = names[labels.get("instance") or labels["job"]]
        key = (name, labels["alertname"], labels["alertstate"])
        states[key] = sorted(states.get(key, []) + [at for at, _ in values])
    return states


def test_exactly_the_alerts_of_each_scenario_fire(story: Story) -> None:
    firing = {(name, alert) for name, alert, state in story.states if state == "firing"}
    assert firing == {(name, alert) for name, (_, alerts) in SCENARIOS.items() for alert in alerts}


@pytest.mark.parametrize(
    ("name", "alert"),
    [(name, alert) for name, (_, alerts) in SCENARIOS.items() for alert in sorted(alerts & WITH_DELAY)],
)
def test_an_alert_with_a_delay_is_pending_before_it_fires(story: Story, name: str, alert: str) -> None:
    assert story.states[name, alert, "pending"][0] < story.states[name, alert, "firing"][0]


@pytest.mark.parametrize(
    ("name", "alert"), [(name, alert) for name, (_, alerts) in SCENARIOS.items() for alert in sorted(alerts)]
)
def test_an_alert_fires_from_the_outage_until_after_the_repair(story: Story, name: str, alert: str) -> None:
    firing = story.states[name, alert, "firing"]
    assert name in {"without", "unread"} or firing[0] > story.began
    assert firing[-1] >= (story.read if name == "unread" else story.healed) - 1.0


def test_the_issuer_s_outage_pages_before_the_token_expires(story: Story) -> None:
    overdue = story.states["outage", "InliveRefreshOverdue", "firing"]
    assert overdue[0] + 1.0 < story.states["outage", "InliveTokenExpired", "firing"][0]


@pytest.mark.parametrize(("panel", "query"), QUERIES, ids=[title for title, _ in QUERIES])
def test_every_query_of_the_dashboard_returns_data_during_the_outages(
    story: Story, panel: str, query: str
) -> None:
    assert story.data[query] > 0, panel
