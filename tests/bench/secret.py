"""Secrets compared with files, on the tests' API server: from the start of a process to its token."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import requests

from tests.kube import binaries
from tests.kube.cluster import Cluster

NAMESPACE = "bench"
RULES = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "patch", "create"]}]
SETTLED = 5.0  # seconds until the memory of a daemon is stable
PATIENCE = 60.0  # seconds for a Secret to appear


class Start(NamedTuple):
    """Seconds until the Secret existed, and the resident bytes of its process some time later."""

    seconds: float
    resident: int


class Secrets:
    """An API server, and a service account for the measured processes."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        account = cluster.service_account(NAMESPACE, "refresher", RULES)
        self._environ = os.environ | {"KUBECONFIG": str(account.kubeconfig)}

    def until_written(self, arguments: list[str], name: str, *, settle: bool = False) -> Start:
        """Start a process with these arguments and wait for the Secret `name` in a watch: polling
        would slow down the API server."""
        with self._watched(name) as seen:
            began = time.perf_counter()
            with subprocess.Popen(
                [sys.executable, *arguments], stderr=subprocess.DEVNULL, env=self._environ
            ) as process:
                next(line for line in seen if json.loads(line)["type"] == "ADDED")
                took = time.perf_counter() - began
                time.sleep(SETTLED if settle else 0.0)
                resident = resident_of(process.pid)
                process.kill()
        return Start(took, resident)

    @contextmanager
    def _watched(self, name: str) -> Iterator[Iterator[bytes]]:
        with requests.Session() as session:
            session.trust_env = False
            session.verify = str(self._cluster.credentials.ca)
            session.cert = str(self._cluster.credentials.admin)
            url = f"{self._cluster.url}/api/v1/namespaces/{NAMESPACE}/secrets"
            query = {"watch": "true", "resourceVersion": "0", "fieldSelector": f"metadata.name={name}"}
            with session.get(url, params=query, stream=True, timeout=PATIENCE) as answer:
                yield answer.iter_lines(chunk_size=1)


@contextmanager
def served() -> Iterator[Secrets]:
    with Cluster(binaries.directory()) as cluster:
        yield Secrets(cluster)


def resident_of(pid: int) -> int:
    """Bytes (proc(5))."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
