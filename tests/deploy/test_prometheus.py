"""The component for the Prometheus operator: it scrapes the refresher, and it has the alerts."""

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
