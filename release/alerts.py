"""Copies of the alerts and the dashboard for Kubernetes. `make alerts` writes them; a test compares them."""

from pathlib import Path

DEPLOY = Path(__file__).parents[1] / "deploy"
SOURCE = DEPLOY / "alerts.yaml"
COMPONENT = DEPLOY / "components" / "prometheus" / "rules.yaml"
CHART = DEPLOY / "helm" / "inlive-token-refresher" / "files" / "alerts.yaml"
DASHBOARD = DEPLOY / "dashboard.json"
# Neither Helm nor kustomize reads a file outside its directory.
DASHBOARDS = (CHART.with_name(DASHBOARD.name), DEPLOY / "components" / "grafana" / DASHBOARD.name)

HEAD = """\
# Made from deploy/alerts.yaml by `make alerts`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: inlive-token-refresher
  labels:
    app.kubernetes.io/name: inlive-token-refresher
    app.kubernetes.io/part-of: inlive-token-refresher
spec:
"""


def groups() -> str:
    """The groups of rules, without the comments above them."""
    text = SOURCE.read_text()
    return text[text.index("groups:\n") :]


def copies() -> dict[Path, str]:
    """The content of each copy."""
    indented = "".join(f"  {line}" for line in groups().splitlines(keepends=True))
    return {COMPONENT: HEAD + indented, CHART: groups()} | dict.fromkeys(DASHBOARDS, DASHBOARD.read_text())


def main() -> None:
    for path, content in copies().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)


if __name__ == "__main__":
    main()
