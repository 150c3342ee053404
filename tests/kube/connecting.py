"""Ways to an API server, real or not: a kubeconfig, and the files of a Pod."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from refresher.clock import SystemClock
from refresher.kube.api import KubeApi, connect
from tests.issuer.peer import Peer, Script, peer

TOKEN = "header.c2VydmljZS1hY2NvdW50.signature"


def kubeconfig(directory: Path, url: str, namespace: str | None = None, **user: Any) -> Path:
    """A kubeconfig file with these fields of a user, such as ``token="…"``."""
    context = {"cluster": "c", "user": "u"} | ({"namespace": namespace} if namespace else {})
    written = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": context}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": user}],
    }
    path = directory / "kubeconfig"
    path.write_text(json.dumps(written))
    return path


def by_kubeconfig(path: Path) -> KubeApi:
    return connect(SystemClock(), {"KUBECONFIG": str(path)})


@contextmanager
def asking(
    directory: Path, *scripts: Script, tls: ssl.SSLContext | None = None, ca: bytes = b""
) -> Iterator[tuple[KubeApi, Peer]]:
    """A client and its peer on loopback: by kubeconfig and HTTP, or with `tls` as in a Pod."""
    with peer(*scripts, tls=tls) as server:
        if tls is None and not ca:
            api = by_kubeconfig(kubeconfig(directory, server.url, token=TOKEN))
        else:
            api = in_pod(service_account(directory, ca=ca), server.port)
        yield api, server


def service_account(directory: Path, token: str = TOKEN, ca: bytes = b"", namespace: str = "ours") -> Path:
    """The files of a service account, as mounted into a Pod."""
    for name, content in (("token", token.encode()), ("ca.crt", ca), ("namespace", namespace.encode())):
        (directory / name).write_bytes(content)
    return directory


def in_pod(directory: Path, port: int, host: str = "127.0.0.1") -> KubeApi:
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port)}
    return connect(SystemClock(), environ, str(directory))


def status(code: int, message: str, **more: Any) -> bytes:
    """The body of an error response of Kubernetes."""
    said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
    return json.dumps(said | more).encode()
