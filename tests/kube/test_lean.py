"""Only a part of the Kubernetes client is imported, and it works."""

import json
import os
import subprocess
import sys

import pytest

from tests.kube.connecting import kubeconfig

ASKED = """\
import json, sys
from refresher.clock import SystemClock
from refresher.errors import KubeNotFoundError
from refresher.kube.lean import connect
from refresher.kube.paths import secret_path
api = connect(SystemClock())
try:
    api.get(secret_path(api.namespace, "absent"))
except KubeNotFoundError:
    print(json.dumps(list(sys.modules)))
"""


@pytest.fixture
def loaded(cluster, namespace) -> set[str]:
    """The modules in a process that has sent a request to the API server."""
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    account = cluster.service_account(namespace, "asks", rules)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", ASKED],
        env=os.environ | {"KUBECONFIG": str(account.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return set(json.loads(ended.stdout))


UNUSED = ("dynamic", "informer", "leaderelection", "stream", "watch", "utils.create_from_yaml")


def unused(loaded: set[str]) -> set[str]:
    models = {name for name in loaded if name.startswith("kubernetes.client.models.")}
    return models | ({f"kubernetes.{part}" for part in UNUSED} & loaded)


def test_unused_parts_of_the_client_are_not_imported(loaded):
    assert "kubernetes.client.api_client" in loaded
    assert unused(loaded) == set()


ELECTING = """\
import json, sys
from refresher.config.loader import load
from refresher.wiring import installation
given = {"key_file": "key", "to_secret": ["studio/access-token"], "lease": "studio/refresher"}
installation(load(given, {}, "/").settings, [])
print(json.dumps(list(sys.modules)))
"""


def test_a_daemon_with_leader_election_does_not_import_them_either(tmp_path):
    """Its elector uses the client before any Secret does."""
    ended = subprocess.run(
        [sys.executable, "-c", ELECTING],
        env=os.environ | {"KUBECONFIG": str(kubeconfig(tmp_path, "https://127.0.0.1:1"))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    loaded = set(json.loads(ended.stdout))
    assert "kubernetes.client.api_client" in loaded
    assert unused(loaded) == set()
