"""A daemon whose configuration changes, at the real API server: Secrets that come and go, and Events."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from refresher.emulator.server import Emulator
from tests.commands.daemon import Daemon, eventually
from tests.kube.administrator import Rule
from tests.kube.cluster import Cluster

RULES: list[Rule] = [
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "patch", "create"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
]


class Site:
    """A daemon of a service account, and its configuration file."""

    def __init__(self, cluster: Cluster, namespace: str, issuer: Emulator, place: Path) -> None:
        self.cluster, self.namespace, self.issuer = cluster, namespace, issuer
        self.account = cluster.service_account(namespace, "refresher", RULES)
        self.path, self.key = place / "refresher.yaml", place / "key"
        self.key.write_text(issuer.keys[0].reveal())
        self.daemon: Daemon

    def write(self, *outputs: dict[str, str]) -> None:
        tokens = [
            {"name": f"token-{number}", "key_file": "key", "outputs": [output]}
            for number, output in enumerate(outputs)
        ]
        self.path.write_text(json.dumps({"issuer": {"url": self.issuer.url}, "tokens": tokens}))

    def reload(self, *outputs: dict[str, str]) -> None:
        seen = len(self.daemon.entries("ConfigurationApplied"))
        self.write(*outputs)
        self.daemon.send(signal.SIGHUP)
        self.daemon.wait_for("ConfigurationApplied", times=seen + 1)

    def secret(self, name: str) -> dict[str, Any]:
        return dict(self.cluster.must("GET", f"/api/v1/namespaces/{self.namespace}/secrets/{name}"))

    def events(self) -> set[tuple[str, str]]:
        """The reasons of all Events, each with the object that it is about."""
        found = self.cluster.must("GET", f"/api/v1/namespaces/{self.namespace}/events")["items"]
        return {(each["reason"], each["involvedObject"]["name"]) for each in found}


@pytest.fixture
def site(cluster: Cluster, namespace: str, issuer: Emulator, tmp_path: Path) -> Iterator[Site]:
    """A daemon that has published a token in a file."""
    site = Site(cluster, namespace, issuer, tmp_path)
    site.write({"file": "token"})
    with Daemon("--config", site.path, KUBECONFIG=str(site.account.kubeconfig)) as site.daemon:
        site.daemon.wait_for("OutputWritten")
        yield site


def test_a_secret_that_goes_is_emptied_of_what_we_wrote_only_if_that_is_demanded(site):
    in_namespace = f"--namespace={site.namespace}"
    for name in ("emptied", "kept"):
        site.cluster.kubectl("create", "secret", "generic", name, "--from-literal=theirs=1", in_namespace)
    file = {"file": "token"}
    site.reload(file, {"secret": "emptied", "on_remove": "delete"}, {"secret": "kept"})
    for name in ("emptied", "kept"):
        site.daemon.wait_for("OutputWritten", output=f"secret:{site.namespace}/{name}")
    before = site.secret("kept")
    assert before["data"].keys() == {"theirs", "access-token"} == site.secret("emptied")["data"].keys()
    site.reload(file)
    site.daemon.wait_for("OutputDeleted", output=f"secret:{site.namespace}/emptied")
    emptied = site.secret("emptied")
    assert emptied["data"].keys() == {"theirs"}
    assert not emptied["metadata"].get("annotations")
    assert not emptied["metadata"].get("labels")
    assert site.secret("kept") == before
    assert site.daemon.entries("OutputDeleted", output=f"secret:{site.namespace}/kept") == []


def test_events_are_written_from_the_first_secret_on(site):
    assert site.events() == set()
    site.reload({"file": "token"}, {"secret": "first"})
    site.daemon.wait_for("OutputWritten", output=f"secret:{site.namespace}/first")
    site.key.write_text("no-such-key")
    eventually(lambda: ("KeyRefused", "first") in site.events(), "the Event about the Secret")
