"""A real Kubernetes API server for the tests, with faults.

kube-apiserver and etcd on loopback, with TLS, RBAC, Pod Security, and service accounts whose tokens it signs.
Nothing else of a cluster is there: no controller makes `default` service accounts or empties a namespace that
is deleted (it stays Terminating for ever), no scheduler or kubelet runs a Pod. What is allowed, admitted and
stored is what production allows, admits and stores.
"""

import random
import socket
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from tests.kube.administrator import Administrator
from tests.kube.credentials import ISSUER, Credentials
from tests.kube.servers import Home, Server

HOST = "127.0.0.1"


class Cluster(Administrator):
    """Serves during `with`. Address, files and stored objects survive a kill of either server.

    `assets` is a directory with kube-apiserver, etcd and kubectl.
    """

    def __init__(self, assets: Path) -> None:
        self._assets = assets
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as cleanup:
            home = Home()
            cleanup.callback(home.close)
            self.port, etcd = _free_port(), _free_port()
            self._etcd_url = f"http://{HOST}:{etcd}"
            credentials = Credentials(home.path, HOST)
            super().__init__(f"https://{HOST}:{self.port}", credentials, self._assets / "kubectl", home.path)
            self._etcd = Server(home, self._etcd_argv(home.path, etcd), lambda: _well(etcd))
            self._apiserver = Server(home, self._apiserver_argv(home.path, etcd), self.ready)
            for server in (self._etcd, self._apiserver):
                cleanup.callback(server.kill)
                server.start()
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def _etcd_argv(self, home: Path, port: int) -> list[str]:
        return [
            str(self._assets / "etcd"),
            f"--data-dir={home / 'etcd'}",
            f"--listen-client-urls=http://{HOST}:{port}",
            f"--advertise-client-urls=http://{HOST}:{port}",
            f"--listen-peer-urls=http://{HOST}:0",
            "--unsafe-no-fsync",  # what is written survives kill -9, not a power failure
            "--log-level=warn",
        ]

    def _apiserver_argv(self, home: Path, etcd: int) -> list[str]:
        keys = self.credentials
        return [
            str(self._assets / "kube-apiserver"),
            f"--etcd-servers=http://{HOST}:{etcd}",
            f"--bind-address={HOST}",
            f"--secure-port={self.port}",
            f"--advertise-address={HOST}",
            "--endpoint-reconciler-type=none",  # the default refuses to advertise a loopback address
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--cert-dir={home}",
            f"--tls-cert-file={keys.serving}",
            f"--tls-private-key-file={keys.serving}",
            f"--client-ca-file={keys.ca}",
            "--authorization-mode=RBAC",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={keys.signing}",
            f"--service-account-signing-key-file={keys.signing}",
        ]

    @property
    def environ(self) -> dict[str, str]:
        """The variables that tell a program in a Pod the address of its API server."""
        return {"KUBERNETES_SERVICE_HOST": HOST, "KUBERNETES_SERVICE_PORT": str(self.port)}

    # Faults

    def kill_apiserver(self) -> None:
        """Kill it with SIGKILL. Connections are refused until it starts again."""
        self._apiserver.kill()

    def start_apiserver(self) -> None:
        """Start it again on the same port with the same etcd. It is ready on return."""
        self._apiserver.start()

    def pause(self) -> None:
        """Stop the process. Connections stay, the kernel accepts new ones, and no response comes."""
        self._apiserver.pause()

    def resume(self) -> None:
        """Continue the stopped process."""
        self._apiserver.resume()

    def stop_etcd(self) -> None:
        """Kill etcd with SIGKILL. The API server keeps running but can neither read nor write."""
        self._etcd.kill()

    def start_etcd(self) -> None:
        """Start etcd again with its data. A running API server is ready on return."""
        self._etcd.start()
        if self._apiserver.running:
            self._apiserver.wait()

    def compact(self) -> None:
        """Have etcd forget everything but the present state, and start the API server anew, which remembers
        more. A watch that begins earlier gets 410."""
        with requests.Session() as session:
            session.trust_env = False
            kv = f"{self._etcd_url}/v3/kv"
            ranged = session.post(f"{kv}/range", json={"key": "AA==", "limit": 1}, timeout=5)
            revision = ranged.json()["header"]["revision"]
            session.post(f"{kv}/compaction", json={"revision": revision, "physical": True}, timeout=5)
        self.kill_apiserver()
        self.start_apiserver()

    def restore(self) -> None:
        """Repair all faults and keep the stored objects. Without a fault this costs one request."""
        if self._apiserver.paused:
            self._apiserver.resume()
        if not self._etcd.running:
            self._etcd.start()
        if self._apiserver.running:
            self._apiserver.wait()
        else:
            self._apiserver.start()


def _free_port() -> int:
    """A TCP port below the range of outgoing connections (from 32768). So no connection takes the port while
    its server restarts."""
    for port in random.sample(range(20000, 32000), 200):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((HOST, port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free TCP port in 200 tries")


def _well(etcd: int) -> bool:
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(f"http://{HOST}:{etcd}/health", timeout=2).ok
        except requests.RequestException:
            return False
