"""A Kubernetes API server of one's own, the real one, and what can go wrong with it.

kube-apiserver and etcd on loopback, with TLS, RBAC, and service accounts whose tokens it signs. Nothing else of a
cluster is there: no controller makes default service accounts or empties a namespace that is deleted (it stays
`Terminating`), no scheduler or kubelet runs a Pod. What is admitted and stored is as in production.
"""

import base64
import contextlib
import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import requests
import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.kube import binaries
from tests.kube.servers import Home, Server

HOST = "127.0.0.1"
ISSUER = "https://kubernetes.default.svc.cluster.local"
TIMEOUT = 10.0  # seconds for one request to a server that is well
Rule = Mapping[str, Sequence[str]]  # one of a Role: apiGroups, resources, resourceNames, verbs


class Account(NamedTuple):
    """A service account, as a program meets it."""

    namespace: str
    name: str
    token: str
    kubeconfig: Path  # with the token in it
    directory: Path  # token, ca.crt, namespace: what a Pod has in /var/run/secrets/kubernetes.io/serviceaccount

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.name}"


class Cluster:
    """Serves from `with` to its end. Paths, the URL and every stored object outlive a kill of either server."""

    def __init__(self, assets: Path) -> None:
        self._assets = assets

    def __enter__(self) -> Self:
        self._home = Home()
        try:
            self.port, etcd = _free_port(), _free_port()
            self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            self._write_keys()
            self._etcd = Server(self._home, self._etcd_argv(etcd), lambda: _says_yes(f"http://{HOST}:{etcd}/health"))
            self._apiserver = Server(self._home, self._apiserver_argv(etcd), self._is_ready)
            self._etcd.start()
            self._apiserver.start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        for server in ("_apiserver", "_etcd"):
            if hasattr(self, server):
                getattr(self, server).kill()
        self._home.close()

    # Where it is

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        """By which a program in a Pod finds its API server."""
        return {"KUBERNETES_SERVICE_HOST": HOST, "KUBERNETES_SERVICE_PORT": str(self.port)}

    @property
    def ca(self) -> Path:
        return self._home.path / "ca.pem"

    @property
    def admin(self) -> Path:
        """A kubeconfig that may do everything, by a client certificate."""
        return self._home.path / "admin.kubeconfig"

    @property
    def version(self) -> str:
        """What the server says that it is, such as v1.34.4."""
        return str(self.ask("GET", "/version").json()["gitVersion"])
