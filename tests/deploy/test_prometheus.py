"""The components for the Prometheus operator and for Grafana: scraping, alerts, dashboard."""

import json

import pytest
import yaml

from release import alerts
from tests.deploy.rendering import OVERLAYS, component, used


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
