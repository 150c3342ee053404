"""Keys and tokens are only in the data of the configured Secrets: not in the daemon's output, and not in
other data of the API server. That includes the service account's own token."""

import base64
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from refresher.emulator.server import Emulator
from tests.commands.daemon import Daemon, eventually
from tests.kube.administrator import Account, Rule
from tests.kube.cluster import Cluster
from tests.leaks import leaks
from tests.tapped import Wire, tapped

PAGES = ("/metrics", "/readyz", "/status")
SECRETS = {"apiGroups": [""], "resources": ["secrets"]}
EVENTS = {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}
ENOUGH: list[Rule] = [SECRETS | {"verbs": ["get", "patch", "create"]}, EVENTS]
TOO_LITTLE: list[Rule] = [SECRETS | {"verbs": ["get"]}, EVENTS]


@pytest.fixture
def issuer() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def wire(issuer: Emulator) -> Iterator[Wire]:
    with tapped(issuer.port) as wire:
        yield wire


@pytest.fixture
def account(cluster: Cluster, namespace: str) -> Account:
    return cluster.service_account(namespace, "refresher", ENOUGH)


@pytest.fixture
def daemon(wire: Wire, issuer: Emulator, account: Account, tmp_path: Path) -> Iterator[Daemon]:
    (tmp_path / "key").write_text(issuer.keys[0].reveal())
    words = ("--key-file", tmp_path / "key", "--to-secret", "access-token", "--issuer-url", wire.url)
    words += ("--log-level", "debug", "--lifetime", "10m")
    with Daemon(*words, endpoints=True, KUBECONFIG=str(account.kubeconfig)) as running:
        running.wait_for("OutputWritten")
        yield running


def kept(cluster: Cluster, namespace: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """All objects in the namespace, by kind, without the data of Secrets; and that data."""
    beside, data = dict[str, bytes](), dict[str, bytes]()
    for path in ("api/v1/namespaces/{}/secrets", "api/v1/namespaces/{}/events"):
        listed: dict[str, Any] = cluster.must("GET", "/" + path.format(namespace))
        for item in listed["items"]:
            for name, value in (item.pop("data", None) or {}).items():
                data[name] = base64.b64decode(value)
        beside[path] = json.dumps(listed).encode()
    return beside, data


def test_no_secret_is_written_anywhere_else_whatever_the_api_server_does(
    daemon: Daemon, cluster: Cluster, account: Account, wire: Wire, issuer: Emulator
) -> None:
    told: dict[str, bytes] = {}

    def fails(when: str) -> None:
        """A token that cannot be written, and the reports about it."""
        failed = len(daemon.entries("OutputFailed"))
        daemon.send(signal.SIGUSR1)
        eventually(lambda: len(daemon.entries("OutputFailed")) > failed, f"it fails, {when}", within=40.0)
        told.update({f"{page}, {when}": daemon.get(page).body.encode() for page in PAGES})

    cluster.grant(account, TOO_LITTLE)
    fails("without permission")
    cluster.grant(account, ENOUGH)
    cluster.kill_apiserver()
    fails("without an API server")
    cluster.start_apiserver()
    written = len(daemon.entries("OutputWritten"))
    daemon.send(signal.SIGUSR1)
    eventually(lambda: len(daemon.entries("OutputWritten")) > written, "all is well again", within=40.0)
    assert daemon.end() == 0
    beside, data = kept(cluster, account.namespace)
    told |= {"log": daemon.said.encode()} | beside
    assert leaks(told, {issuer.keys[0].reveal(), account.token, *wire.tokens}) == []
    assert leaks(data, wire.tokens), "where a token belongs, it is found"
    assert b"owner" in beside["api/v1/namespaces/{}/secrets"]
