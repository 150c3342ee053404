"""A real Prometheus that scrapes and evaluates on loopback."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import yaml

from tests import needs
from tests.commands.daemon import eventually, free_port

SCRAPE = "1s"  # between two scrapes, and the longest that one takes: the machine may be busy
EVALUATION = "500ms"  # between two evaluations of the rules


class Series(NamedTuple):
    """Labels, and the values with their times."""

    labels: dict[str, str]
    values: list[tuple[float, float]]


class Prometheus:
    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"
        self._opener = build_opener(ProxyHandler({}))

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer. An error of Prometheus raises HTTPError."""
        with self._opener.open(f"{self._url}/{path}?{urlencode(parameters)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def is_ready(self) -> bool:
        try:
            return bool(self.get("status/runtimeinfo"))
        except URLError:
            return False

    def query(self, expression: str) -> list[Series]:
        """The series of an instant or range vector, now."""
        return [
            Series(
                found["metric"], [(at, float(value)) for at, value in found.get("values") or [found["value"]]]
            )
            for found in self.get("query", query=expression)["result"]
        ]

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire now: name and instance or, without one, job."""
        firing = self.query('ALERTS{alertstate="firing"}')
        return {(labels["alertname"], labels.get("instance") or labels["job"]) for labels, _ in firing}


@contextmanager
def prometheus(jobs: dict[str, list[str]], rules: str, folder: Path) -> Iterator[Prometheus]:
    """Scrapes these targets (HOST:PORT) of each job, and evaluates the `rules`."""
    program = needs.tool("prometheus")
    (folder / "rules.yaml").write_text(rules)
    configuration = {
        "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": EVALUATION},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": targets}]} for job, targets in jobs.items()
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    command = [program, "--config.file=prometheus.yaml", "--storage.tsdb.path=data", "--log.level=warn"]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    with (
        open(folder / "prometheus.log", "wb") as log,
        subprocess.Popen(command, cwd=folder, stderr=log) as process,
    ):
        try:
            site = Prometheus(port)
            eventually(site.is_ready, "Prometheus is ready")
            yield site
        finally:
            process.kill()
