"""The component for the Prometheus operator: it scrapes the refresher, and its alerts fire correctly."""

import re
import subprocess

import pytest
import yaml

from tests import needs
from tests.deploy.rendering import DEPLOY, OVERLAYS, component, used

README = (DEPLOY.parent / "README.md").read_text()
LABELS = 'token="studio", output="secret:studio/token"'
EXPIRY = f"token_refresher_output_token_expiry_timestamp_seconds{{{LABELS}}}"
WRITES = f'token_refresher_output_writes_total{{{LABELS}, result="success"}}'
ACCEPTED = 'token_refresher_key_accepted{token="studio"}'
LOOP = "token_refresher_last_loop_timestamp_seconds"
OTHER = EXPIRY.replace("studio/token", "studio/other")  # another output of the same token
WELL = {  # one sample a minute, from 0
    OTHER: "3600+0x10",
    EXPIRY: "3600+0x10",
    WRITES: "1+0x10",
    ACCEPTED: "1+0x10",
    LOOP: "0+60x10",
}


@pytest.fixture
def objects(tmp_path):
    return used("deployment", tmp_path, components=[component("prometheus", tmp_path)])


@pytest.fixture
def rules(objects, tmp_path):
    """The rule file that the operator gives to Prometheus."""
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": objects.the("PrometheusRule")["spec"]["groups"]}))
    return path


def promtool(*words: object) -> str:
    command = [needs.tool("promtool"), *map(str, words)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("name", [name for name in OVERLAYS if name != "cronjob"])
def test_the_monitor_scrapes_a_port_of_the_refresher(name, tmp_path):
    scraped = used(name, tmp_path, components=[component("prometheus", tmp_path)])
    monitor = scraped.the("PodMonitor")["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint == {"port": scraped.ours["ports"][0]["name"], "path": "/metrics"}
    assert monitor["selector"] == {}  # it skips Pods with other ports


def test_prometheus_accepts_the_rules(rules):
    assert "4 rules found" in promtool("check", "rules", rules)


def test_the_alerts_are_those_of_the_readme(rules):
    (group,) = yaml.safe_load(rules.read_text())["groups"]
    (shown,) = re.findall(r"^```yaml\n(- alert:.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert [(each["alert"], each["expr"]) for each in group["rules"]] == [
        (each["alert"], each["expr"]) for each in yaml.safe_load(shown)
    ]


def test_every_alert_has_advice(rules):
    for rule in yaml.safe_load(rules.read_text())["groups"][0]["rules"]:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description"}


@pytest.mark.parametrize(
    ("series", "alert"),
    [
        ({}, None),
        ({EXPIRY: "900+0x10"}, "InliveTokenEndsSoon"),
        ({EXPIRY: "_x10"}, "InliveOutputWithoutToken"),
        ({ACCEPTED: "0+0x10"}, "InliveKeyRefused"),
        ({LOOP: "0+0x10"}, "InliveRefresherGone"),
        ({LOOP: "_x10"}, "InliveRefresherGone"),
    ],
)
def test_an_alert_fires_only_for_its_own_problem(rules, tmp_path, series, alert):
    given = [{"series": name, "values": values} for name, values in (WELL | series).items()]
    names = [each["alert"] for each in yaml.safe_load(rules.read_text())["groups"][0]["rules"]]
    expected = [
        {"expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)', "eval_time": "9m"}
        | {"exp_samples": [{"labels": "{}", "value": int(name == alert)}]}
        for name in names
    ]
    test = {"interval": "1m", "input_series": given, "promql_expr_test": expected}
    path = tmp_path / "test.yaml"
    path.write_text(
        yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [test]})
    )
    promtool("test", "rules", path)
