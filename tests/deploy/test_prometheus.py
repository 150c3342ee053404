"""The components for the Prometheus operator and for Grafana: scraping, alerts, dashboard."""

import itertools
import json
import re
from pathlib import Path

import pytest
import yaml

from release import alerts
from tests import needs
from tests.deploy.rendering import OVERLAYS, component, used

# The panels show the tokens in the outputs instead.
BY_TIMES_OF_OUTPUTS = {
    "token_refresher_token_expiry_timestamp_seconds",
    "token_refresher_token_issued_timestamp_seconds",
}


@pytest.fixture
def objects(tmp_path):
    return used("deployment", tmp_path, components=[component("prometheus", tmp_path)])


@pytest.mark.parametrize("name", [name for name in OVERLAYS if name != "cronjob"])
def test_the_monitor_scrapes_a_port_of_the_refresher(name, tmp_path):
    scraped = used(name, tmp_path, components=[component("prometheus", tmp_path)])
    monitor = scraped.the("PodMonitor")["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint == {"port": scraped.ours["ports"][0]["name"], "path": "/metrics"}
    assert monitor["selector"] == {}  # it skips Pods with other ports


def test_the_operator_gets_the_alerts(objects):
    assert (
        objects.the("PrometheusRule")["spec"]["groups"] == yaml.safe_load(alerts.SOURCE.read_text())["groups"]
    )


def test_the_copies_of_the_alerts_are_up_to_date():
    """If not: make alerts."""
    assert {path: path.read_text() for path in alerts.copies()} == alerts.copies()


def test_the_sidecar_of_grafana_gets_the_dashboard(tmp_path):
    objects = used("deployment", tmp_path, components=[component("grafana", tmp_path)])
    (dashboard,) = [each for each in objects.of("ConfigMap") if "dashboard.json" in each["data"]]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["data"]["dashboard.json"] == alerts.DASHBOARD.read_text()


def test_the_dashboard_fits_grafana_s_schema():
    checked = needs.go(Path(__file__).with_name("grafana"), "run", ".", str(alerts.DASHBOARD))
    assert checked.returncode == 0, checked.stderr


def test_no_panels_of_the_dashboard_overlap():
    places = [panel["gridPos"] for panel in json.loads(alerts.DASHBOARD.read_text())["panels"]]
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert all(place["x"] + place["w"] <= 24 for place in places)


def test_the_dashboard_answers_for_every_alert_of_a_daemon():
    """Each metric that an alert reads is in a panel."""
    dashboard = alerts.DASHBOARD.read_text()
    used = set(re.findall(r"token_refresher_\w+", alerts.SOURCE.read_text()))
    absent = {metric for metric in used if f"{metric}{{" not in dashboard}
    assert absent == {metric for metric in used if "_once_" in metric} | BY_TIMES_OF_OUTPUTS


def test_a_person_chooses_the_source_of_data_job_instance_and_token_of_the_dashboard():
    dashboard = json.loads(alerts.DASHBOARD.read_text())
    assert [each["name"] for each in dashboard["templating"]["list"]] == [
        "datasource",
        "job",
        "instance",
        "token",
    ]
    sources = {target["datasource"]["uid"] for panel in dashboard["panels"] for target in panel["targets"]}
    assert sources == {"${datasource}"}
