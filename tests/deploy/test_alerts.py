"""The alerts fire in time, and only for their own problem. The samples are those of the real rules and
metrics on a virtual clock (`samples`); promtool evaluates the alerts."""

import json
import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import yaml

from refresher.core.events import RefreshRequested
from refresher.core.process_notifications import Crashed
from refresher.core.state import OutputPolicy, TokenPolicy
from refresher.core.status import ConfigurationStatus
from refresher.metrics.textfile import EVERY, LAST_RUN, SUCCESS
from tests import needs
from tests.core.builders import ISSUER_URL, KEY_REFUSED, NOW, UNREACHABLE, Driver
from tests.deploy.rendering import DEPLOY
from tests.deploy.samples import RULES, Course, Refresher
from tests.metrics.test_exposition import PROMISED
from tests.observed import Daemon

RUNBOOK = (DEPLOY.parent / "docs" / "runbook.md").read_text()
ALERTS = {rule["alert"]: rule for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]}
MINUTE, HOUR, DAY = 60, 3600, 86400
FILE, SECRET = OutputPolicy("file:/a", 0.0, False), OutputPolicy("secret:a/b", 120.0, False)


def refresher(
    instance: str = "one",
    lifetime: float = HOUR,
    *outputs: OutputPolicy,
    elected: bool = False,
    name: str = "studio",
) -> Refresher:
    policy = TokenPolicy(name, lifetime, 0.7, 10.0, ISSUER_URL, outputs or (FILE,), elected=elected)
    daemon = Daemon()
    daemon.tokens[name] = Driver(policy)
    return Refresher(instance, daemon)


def pair(lifetime: float = HOUR) -> tuple[Refresher, Refresher]:
    """A leader and a standby with one Secret."""
    leader, standby = (refresher(instance, lifetime, SECRET, elected=True) for instance in ("one", "two"))
    drivers = [next(iter(each.daemon.tokens.values())) for each in (leader, standby)]
    drivers[1].contents = drivers[0].contents
    return leader, standby


def elect(leader: Refresher, *others: Refresher) -> None:
    for each in (leader, *others):
        each.leads(leads=each is leader)


COUNT = 'count by (alertname) (ALERTS{alertstate="firing"})'
Moment = tuple[int, Iterable[str]]


def check(tmp_path: Path, course: Course, *moments: Moment, ever: Iterable[str] | None = None) -> None:
    """At each moment (a second) exactly these alerts fire. `ever`: all that fire at any time."""
    expected = [_firing(COUNT, *moment) for moment in moments]
    if ever is not None:
        over_time = f'count by (alertname) (count_over_time(ALERTS{{alertstate="firing"}}[{course.second}s]))'
        expected.append(_firing(over_time, course.second, ever))
    test = {
        "interval": f"{course.interval}s",
        "input_series": course.input_series(),
        "promql_expr_test": expected,
    }
    evaluate(tmp_path, [test], f"{course.interval}s")


def evaluate(tmp_path: Path, tests: list[dict[str, object]], interval: str) -> None:
    """promtool finds what these tests expect."""
    document = {"rule_files": [str(RULES)], "evaluation_interval": interval, "tests": tests}
    path = tmp_path / "test.yaml"
    path.write_text(json.dumps(document))  # JSON is YAML, and faster
    ran = subprocess.run(
        [needs.tool("promtool"), "test", "rules", path], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _firing(count: str, second: int, alerts: Iterable[str]) -> dict[str, object]:
    samples = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(alerts)]
    return {"expr": f"{count} > bool 0", "eval_time": f"{second}s", "exp_samples": samples}


# --- Silence


@pytest.mark.parametrize(
    ("lifetime", "output", "interval"),
    [
        (MINUTE, FILE, 15),
        (MINUTE, FILE, 60),
        (15 * MINUTE, FILE, 30),
        (15 * MINUTE, SECRET, 30),
        (HOUR, FILE, 60),
        (HOUR, SECRET, 30),
        (30 * DAY, FILE, 4 * HOUR),
    ],
)
def test_no_alert_fires_while_tokens_are_refreshed(tmp_path, lifetime, output, interval):
    course = Course(refresher("one", lifetime, output), interval=interval)
    course.goes_on(max(1.5 * lifetime, HOUR))  # two refreshes at least
    check(tmp_path, course, ever=())


@pytest.mark.parametrize("lifetime", [5 * MINUTE, 15 * MINUTE, HOUR])
def test_no_alert_fires_with_a_leader_and_a_standby(tmp_path, lifetime):
    leader, standby = pair(lifetime)
    course = Course(leader, standby)
    elect(leader, standby)
    course.goes_on(4 * lifetime)
    check(tmp_path, course, ever=())


def test_a_failover_is_silent(tmp_path):
    """The Pod of the leader is deleted shortly before the token is due; the Lease ends 15 seconds later."""
    leader, standby = pair()
    course = Course(leader, standby)
    elect(leader, standby)
    course.goes_on(41 * MINUTE)
    leader.is_up = leader.is_target = False
    course.goes_on(15)
    elect(standby)
    course.goes_on(2 * HOUR)
    check(tmp_path, course, ever=())


def test_a_rolling_update_is_silent(tmp_path):
    old, new = refresher("old"), refresher("new")
    (before,), (after,) = old.daemon.tokens.values(), new.daemon.tokens.values()
    after.contents = before.contents
    course = Course(old)
    course.goes_on(HOUR)
    old.is_up = old.is_target = False
    course.goes_on(MINUTE)
    course.add(new)
    course.goes_on(2 * HOUR)
    check(tmp_path, course, ever=())


def test_scaling_down_from_two_to_one_is_silent(tmp_path):
    leader, standby = pair()
    course = Course(leader, standby)
    elect(leader, standby)
    course.goes_on(HOUR)
    standby.is_up = standby.is_target = False
    course.goes_on(2 * HOUR)
    check(tmp_path, course, ever=())


def test_a_token_that_is_removed_from_a_running_process_is_silent(tmp_path):
    one = refresher()
    course = Course(one)
    course.goes_on(HOUR)
    one.daemon.tokens.clear()
    course.goes_on(2 * HOUR)
    check(tmp_path, course, ever=())


def test_one_failed_attempt_is_silent(tmp_path):
    one = refresher()
    course = Course(one)
    course.goes_on(41 * MINUTE)
    one.issuer = UNREACHABLE
    course.goes_on(2 * MINUTE)
    one.issuer = None
    course.goes_on(HOUR)
    check(tmp_path, course, ever=())


# --- Alerts


# Lifetime, output, seconds between two scrapes, and how long before consumers are hurt the alert fires.
LEAD = [
    (MINUTE, FILE, 5, 15),
    (5 * MINUTE, FILE, 15, 60),
    (15 * MINUTE, FILE, 15, 180),
    (15 * MINUTE, SECRET, 15, 60),
    (HOUR, FILE, 30, 13 * MINUTE),
    (HOUR, SECRET, 30, 10 * MINUTE),
    (DAY, FILE, 600, 4 * HOUR),
    (30 * DAY, FILE, 6 * HOUR, 6 * DAY),
]


@pytest.mark.parametrize(("lifetime", "output", "interval", "lead"), LEAD)
def test_an_outage_of_the_issuer_pages_in_time_and_resolves(tmp_path, lifetime, output, interval, lead):
    one = refresher("one", lifetime, output)
    course = Course(one, interval=interval)
    course.goes_on(0.5 * lifetime - interval)
    one.issuer = UNREACHABLE
    hurt = lifetime - output.propagation_delay
    alarm = int((hurt - lead) // interval * interval)
    course.goes_on(alarm + 2 * interval - course.second)
    ended = course.second
    one.issuer = None
    course.goes_on(0.3 * lifetime)
    quiet = (int(0.4 * lifetime) // interval * interval, ())
    alert = ["InliveRefreshOverdue"]
    check(tmp_path, course, quiet, (alarm, alert), (ended + 3 * interval, ()), ever=alert)


def test_a_token_that_has_expired_pages_until_there_is_another(tmp_path):
    one = refresher()
    course = Course(one)
    course.goes_on(30 * MINUTE)
    one.issuer = UNREACHABLE
    course.goes_on(40 * MINUTE)
    during = course.second - course.interval
    one.issuer = None
    course.goes_on(10 * MINUTE)
    check(
        tmp_path,
        course,
        (during, ["InliveRefreshOverdue", "InliveTokenExpired"]),
        (course.second - course.interval, ()),
    )


def test_an_output_that_never_got_a_token_pages(tmp_path):
    one = refresher()
    one.issuer = UNREACHABLE
    course = Course(one)
    course.goes_on(5 * MINUTE)
    during = course.second - course.interval
    one.issuer = None
    course.goes_on(5 * MINUTE)
    check(
        tmp_path,
        course,
        (30, ()),
        (during, ["InliveOutputWithoutToken"]),
        (course.second - course.interval, ()),
    )


@pytest.mark.parametrize(("lifetime", "lead"), [(15 * MINUTE, 180), (HOUR, 12 * MINUTE), (DAY, 4 * HOUR)])
def test_an_output_that_cannot_be_written_pages_before_its_old_token_ends(tmp_path, lifetime, lead):
    one = refresher("one", lifetime)
    course = Course(one, interval=600 if lifetime == DAY else 15)
    course.goes_on(0.5 * lifetime)
    one.disk = "the disk is full"
    course.goes_on(0.5 * lifetime - course.interval)
    one.disk = None
    alarm = int((lifetime - lead) // course.interval * course.interval)
    course.goes_on(0.2 * lifetime)
    check(
        tmp_path,
        course,
        (int(0.6 * lifetime) // course.interval * course.interval, ()),
        (alarm, ["InliveOutputOutdated"]),
        (course.second - course.interval, ()),
        ever=["InliveOutputOutdated"],
    )


def test_a_refused_key_is_a_ticket(tmp_path):
    one = refresher()
    course = Course(one)
    course.goes_on(30 * MINUTE)
    one.issuer = KEY_REFUSED
    course.goes_on(15 * MINUTE)
    one.issuer = None
    during = course.second - course.interval
    course.goes_on(10 * MINUTE)
    check(
        tmp_path,
        course,
        (25 * MINUTE, ()),
        (during, ["InliveKeyRefused"]),
        (course.second - course.interval, ()),
    )


def test_one_of_three_processes_that_is_killed_is_a_ticket_and_pages_when_its_token_is_due(tmp_path):
    """Each has a token of its own. Its series are stale from the first failed scrape on."""
    three = [refresher(name, name=f"token-{name}") for name in ("one", "two", "three")]
    course = Course(*three)
    course.goes_on(20 * MINUTE)
    three[1].is_up = False
    course.goes_on(HOUR)
    at_due = 48 * MINUTE  # a quarter of the 18 minutes after the due time have passed: 46 min 30 s
    check(
        tmp_path,
        course,
        (19 * MINUTE, ()),
        (25 * MINUTE, ["InliveRefresherDown"]),
        (at_due, ["InliveRefresherDown", "InliveTokenUnattended"]),
        (70 * MINUTE, ["InliveRefresherDown", "InliveTokenUnattended"]),
    )


def test_a_killed_process_that_comes_back_resolves_its_alerts(tmp_path):
    one = refresher()
    course = Course(one)
    course.goes_on(20 * MINUTE)
    one.is_up = False
    course.goes_on(5 * MINUTE)
    down = course.second - course.interval
    one.is_up = True
    course.goes_on(30 * MINUTE)
    gone = ["InliveRefresherDown", "InliveRefresherGone"]
    check(tmp_path, course, (down, gone), (course.second - course.interval, ()), ever=gone)


def test_a_deployment_whose_pods_are_all_gone_pages(tmp_path):
    """Its targets are gone, too: no `up` is left."""
    one = refresher()
    course = Course(one)
    course.goes_on(20 * MINUTE)
    one.is_up = one.is_target = False
    course.goes_on(30 * MINUTE)
    check(
        tmp_path,
        course,
        (21 * MINUTE, ()),
        (23 * MINUTE, ["InliveRefresherGone"]),
        (course.second - course.interval, ["InliveRefresherGone", "InliveTokenUnattended"]),
    )


def test_a_scheduler_that_hangs_pages(tmp_path):
    one = refresher()
    course = Course(one)
    course.goes_on(10 * MINUTE)
    one.hangs = True
    course.goes_on(5 * MINUTE)
    one.hangs = False
    hung = course.second - course.interval
    course.goes_on(5 * MINUTE)
    check(
        tmp_path,
        course,
        (11 * MINUTE, ()),
        (hung, ["InliveLoopStuck"]),
        (course.second - course.interval, ()),
    )


def test_a_lease_without_a_leader_pages(tmp_path):
    leader, standby = pair()
    course = Course(leader, standby)
    elect(leader, standby)
    course.goes_on(10 * MINUTE)
    leader.leads(leads=False)
    course.goes_on(5 * MINUTE)
    without = course.second - course.interval
    elect(standby)
    course.goes_on(5 * MINUTE)
    check(
        tmp_path,
        course,
        (without, ["InliveNoLeader"]),
        (course.second - course.interval, ()),
        ever=["InliveNoLeader"],
    )


def test_more_mints_than_promised_are_a_ticket(tmp_path):
    """Something requests a refresh every five minutes."""
    one = refresher()
    course = Course(one)
    course.goes_on(HOUR)
    normal = course.second - course.interval
    for _ in range(24):
        one.daemon.observe("studio", RefreshRequested())
        course.goes_on(5 * MINUTE)
    alarm = course.second - course.interval
    check(tmp_path, course, (normal, ()), (alarm, ["InliveTooManyMints"]), ever=["InliveTooManyMints"])


def restarts(course: Course, *, new_name: bool, keeps: bool) -> None:
    """Every ten minutes for five hours. `new_name`: as a new Pod. `keeps`: its output keeps the token."""
    for number in range(30):
        (old,) = course.refreshers
        new = refresher(f"pod-{number}" if new_name else old.instance)
        if keeps:
            (before,), (after,) = old.daemon.tokens.values(), new.daemon.tokens.values()
            after.contents = before.contents
        course.refreshers.clear()
        course.goes_on(MINUTE)
        course.add(new)
        course.goes_on(9 * MINUTE)


@pytest.mark.parametrize("new_name", [False, True], ids=["process", "Pod"])
def test_restarts_that_lose_the_token_each_time_are_a_ticket(tmp_path, new_name):
    """Each process mints before its first scrape, so its counter never grows."""
    course = Course(refresher(), interval=60)
    course.goes_on(10 * MINUTE)
    restarts(course, new_name=new_name, keeps=False)
    alert = ["InliveTooManyMints"]
    check(tmp_path, course, (30 * MINUTE, ()), (course.second - 60, alert), ever=alert)


@pytest.mark.parametrize("new_name", [False, True], ids=["process", "Pod"])
def test_restarts_that_keep_the_token_are_silent(tmp_path, new_name):
    course = Course(refresher(), interval=60)
    course.goes_on(10 * MINUTE)
    restarts(course, new_name=new_name, keeps=True)
    check(tmp_path, course, ever=())


def _skewed(one: Refresher) -> None:
    one.daemon.counters.clock_skew = -45.0


def _crashed(one: Refresher) -> None:
    one.daemon.counters.on_notification("studio", Crashed("Mint", ValueError()), NOW)


def _misconfigured(one: Refresher) -> None:
    one.daemon.counters.configuration = ConfigurationStatus(NOW.wall, "refresher.yaml:3: a mistake")


@pytest.mark.parametrize(
    ("act", "alert", "within"),
    [
        (_skewed, "InliveClockSkew", 17),
        (_crashed, "InliveRefresherCrashes", 1),
        (_misconfigured, "InliveConfigurationRefused", 6),
    ],
)
def test_a_small_problem_is_a_ticket(
    tmp_path: Path, act: Callable[[Refresher], None], alert: str, within: int
) -> None:
    one = refresher()
    course = Course(one)
    course.goes_on(10 * MINUTE)
    act(one)
    course.goes_on(20 * MINUTE)
    check(tmp_path, course, (9 * MINUTE, ()), ((10 + within) * MINUTE, [alert]), ever=[alert])


def test_dropped_log_lines_are_a_ticket(tmp_path):
    dropped: list[int] = []
    one = refresher()
    one.daemon.metrics._log_lines_dropped = lambda: sum(dropped)
    course = Course(one)
    course.goes_on(10 * MINUTE)
    dropped.append(3)
    course.goes_on(5 * MINUTE)
    during = course.second - course.interval
    course.goes_on(20 * MINUTE)
    alert = ["InliveLogLinesDropped"]
    check(
        tmp_path, course, (9 * MINUTE, ()), (during, alert), (course.second - course.interval, ()), ever=alert
    )


# --- `once --metrics-file`: node_exporter has the values of the last pass


def of_passes(tmp_path: Path, ends: str, success: str, expiry: str, *moments: tuple[str, str | None]) -> None:
    """Three series with one value a minute, passes every ten minutes, and which alert fires when."""
    label = 'job="node",instance="a",token="studio"'
    series = {
        f"{LAST_RUN.name}{{{label}}}": ends,
        f"{SUCCESS.name}{{{label}}}": success,
        f"{EVERY.name}{{{label}}}": "600x99",
        f'token_refresher_output_token_expiry_timestamp_seconds{{{label},output="file:/a"}}': expiry,
    }
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            _firing(COUNT, int(at[:-1]) * MINUTE, [alert] if alert else []) for at, alert in moments
        ],
    }
    evaluate(tmp_path, [test], "1m")


def test_a_pass_that_does_not_come_pages(tmp_path):
    """The last one ended after two minutes. One that is late by half its period is silent."""
    moments = [("17m", None), ("23m", None), ("24m", "InliveOnceMissed")]
    of_passes(tmp_path, "120x99", "1x99", "3600x99", *moments)


def test_failing_passes_page_before_the_token_ends(tmp_path):
    """Passes come, but fail. The token of an hour ends after 60 minutes."""
    moments = [("20m", None), ("34m", None), ("36m", "InliveOnceFailing"), ("59m", "InliveOnceFailing")]
    of_passes(tmp_path, "0+60x99", "0x99", "3600x99", *moments)


def test_a_first_pass_that_fails_pages(tmp_path):
    of_passes(tmp_path, "0+60x99", "0x99", "_x99", ("1m", "InliveOnceFailing"))


def test_passes_that_succeed_are_silent(tmp_path):
    of_passes(tmp_path, "0+60x99", "1x99", "3600+60x99", ("1m", None), ("59m", None))


# --- The file


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_severity_advice_and_a_section_in_the_runbook(alert):
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"].endswith(f"docs/runbook.md#{alert.lower()}")
    assert f"\n### {alert}\n" in RUNBOOK


def test_the_runbook_has_no_other_alerts():
    assert [line[4:] for line in RUNBOOK.splitlines() if line.startswith("### ")] == list(ALERTS)


@pytest.mark.parametrize("text", [RULES.read_text(), RUNBOOK], ids=["alerts", "runbook"])
def test_they_use_existing_metrics(text):
    used = set(re.findall(r"token_refresher_(\w+)", text))
    assert used
    of_once = {metric.name.removeprefix("token_refresher_") for metric in (LAST_RUN, SUCCESS, EVERY)}
    assert used <= {*PROMISED, *of_once, "leader"}
