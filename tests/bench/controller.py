"""`refresher controller` with many AccessTokens at the tests' API server: all are new at its start."""

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import requests

from release import crd
from tests.bench.scale import cpu_of
from tests.bench.secret import resident_of
from tests.commands.daemon import free_port
from tests.kube import binaries
from tests.kube.cluster import Cluster
from tests.kube.team import ELECTING, GROUP, LABEL, LEASE, WATCHING

COUNTS = (100, 1_000, 5_000)
NAMESPACE = "bench"
OBJECTS = f"/apis/{GROUP}/v1alpha1/namespaces/{NAMESPACE}/accesstokens"
PATIENCE = 900.0  # seconds until all objects are ready
CLIENTS = 4  # threads that create objects
SETTLED = 70.0  # seconds after all are ready: every status has had its turn
REST = 60.0  # seconds to measure what it uses at rest
COMMAND = (sys.executable, "-m", "refresher", "controller")


class Figures(NamedTuple):
    """`ready`: seconds from the start of the process until all objects are ready. `cpu`: CPU seconds until
    then. `requests`: until then at the API server, by verb and resource. `idle`: share of a core at rest.
    `resident`: bytes at rest. `stop`: seconds from SIGTERM to the end of the process."""

    ready: float
    cpu: float
    requests: Counter[str]
    idle: float
    resident: int
    stop: float


class Site:
    """A namespace with a key for `count` objects that do not exist yet."""

    def __init__(self, cluster: Cluster, key: str) -> None:
        self.cluster = cluster
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify, self.session.cert = str(cluster.credentials.ca), str(cluster.credentials.admin)
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=CLIENTS + 1)
        self.session.mount("https://", adapter)
        definition = f"--filename={crd.CRD}"
        cluster.kubectl("apply", "--server-side", definition)
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", definition)
        self.account = cluster.service_account(NAMESPACE, "refresher", [*WATCHING, ELECTING])
        data = {"application-key": base64.b64encode(key.encode()).decode()}
        secret = {"metadata": {"name": "key", "labels": {LABEL: "true"}}, "data": data}
        cluster.must("POST", f"/api/v1/namespaces/{NAMESPACE}/secrets", secret)

    def create(self, count: int) -> None:
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(self._create, range(count)))

    def _create(self, number: int) -> None:
        name = f"token-{number:05}"
        body = {
            "apiVersion": f"{GROUP}/v1alpha1",
            "kind": "AccessToken",
            "metadata": {"name": name},
            "spec": {"applicationKeySecretRef": {"name": "key"}, "secret": {"name": name}},
        }
        self.session.post(self.cluster.url + OBJECTS, json=body).raise_for_status()

    def until_ready(self, count: int) -> None:
        """Watch until so many objects are ready."""
        ready: set[str] = set()
        query = {"watch": "true", "timeoutSeconds": str(int(PATIENCE))}
        url = self.cluster.url + OBJECTS
        with self.session.get(url, params=query, stream=True, timeout=PATIENCE) as answer:
            for line in answer.iter_lines(chunk_size=None):
                found = json.loads(line)["object"]
                if _is_ready(found):
                    ready.add(found["metadata"]["name"])
                if len(ready) == count:
                    return
        raise RuntimeError(f"only {len(ready)} of {count} objects are ready after {PATIENCE:g} s")

    def requests_so_far(self) -> Counter[str]:
        """What the API server has counted, by verb and resource."""
        seen: Counter[str] = Counter()
        text = self.session.get(f"{self.cluster.url}/metrics").text
        for labels, number in re.findall(r"^apiserver_request_total\{(.*)\} (\S+)$", text, re.MULTILINE):
            label = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            resource = "/".join(filter(None, (label["resource"], label["subresource"])))
            seen[f"{label['verb']} {resource}"] += int(float(number))
        return seen


def _is_ready(document: dict[str, Any]) -> bool:
    conditions = document.get("status", {}).get("conditions", [])
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


@contextmanager
def running(site: Site, url: str, command: Sequence[str] = COMMAND) -> Iterator[subprocess.Popen[bytes]]:
    """A controller with leader election and endpoints."""
    words = ["--issuer-url", url, "--lease", LEASE, "--listen", f"127.0.0.1:{free_port()}"]
    environ = os.environ | {"KUBECONFIG": str(site.account.kubeconfig)}
    log = Path(site.account.directory / "controller.log")
    with (
        log.open("wb") as stream,
        subprocess.Popen([*command, *words], env=environ, stderr=stream) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def figures(url: str, key: str, count: int, command: Sequence[str] = COMMAND) -> Figures:
    with Cluster(binaries.directory()) as cluster:
        site = Site(cluster, key)
        site.create(count)
        before, began = site.requests_so_far(), time.monotonic()
        with running(site, url, command) as process:
            site.until_ready(count)
            ready, cpu = time.monotonic() - began, cpu_of(process.pid)
            made = site.requests_so_far() - before
            time.sleep(SETTLED)
            cpu_before, began = cpu_of(process.pid), time.monotonic()
            time.sleep(REST)
            idle = (cpu_of(process.pid) - cpu_before) / (time.monotonic() - began)
            resident, began = resident_of(process.pid), time.monotonic()
            process.terminate()
            process.wait(PATIENCE)
            return Figures(ready, cpu, made, idle, resident, time.monotonic() - began)


def measured(url: str, key: str, report: Callable[[str, str, str], None]) -> None:
    seen = {count: figures(url, key, count) for count in COUNTS}
    for count, found in seen.items():
        report(f"{count:,} new AccessTokens: until all are ready", f"{found.ready:.1f} s", "")
        report("the same: CPU until then", f"{found.cpu:.1f} s", "")
        for verb, number in found.requests.most_common():
            if number >= count // 2:
                report(f"the same: {verb}, for each object", f"{number / count:.2f}", "")
        report("the same: at rest, share of a core", f"{found.idle:.2%}", "at most 5 %")
        report("the same: resident", f"{found.resident / 2**20:.1f} MiB", "")
        report("the same: SIGTERM to the end", f"{found.stop:.1f} s", "less than 5 s")
    fewest, most = COUNTS[0], COUNTS[-1]
    each = (seen[most].resident - seen[fewest].resident) / (most - fewest)
    report("memory for each further AccessToken", f"{each / 1024:.2f} KiB", "")
