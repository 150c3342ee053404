"""Pods without a kubelet: their admission by the API server, and their program as a local process."""

from collections.abc import Mapping
from pathlib import Path

import requests

from tests.commands.daemon import KEY
from tests.deploy.rendering import Document, Objects, environ, loaded
from tests.kube.cluster import Cluster


def taken(cluster: Cluster, namespace: str, pod: Document) -> requests.Response:
    """The API server's answer to this Pod alone. The test cluster has no controller that creates Pods."""
    body = {"apiVersion": "v1", "kind": "Pod", **pod}
    body["metadata"] = pod["metadata"] | {"name": "a-pod"}
    return cluster.ask("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", body)


def variables(objects: Objects, cluster: Cluster, directory: Path, issuer_url: str) -> Mapping[str, str]:
    """Those of a process that runs as in the Pod of what is installed: with the very configuration and
    rights, but for Inlive's address and for the paths that only a Pod has, which are in this directory."""
    loaded(objects, directory)  # which puts the configuration there
    (directory / "key").write_text(KEY)
    account = objects.the("ServiceAccount")["metadata"]
    token = cluster.token(account["namespace"], account["name"])
    config = directory / "kubeconfig"
    cluster.credentials.kubeconfig(config, cluster.url, namespace=account["namespace"], token=token)
    return environ(objects.ours) | {
        "REFRESHER_CONFIG": str(directory / "refresher.yaml"),
        "REFRESHER_KEY_FILE": str(directory / "key"),
        "REFRESHER_ISSUER_URL": issuer_url,
        "KUBECONFIG": str(config),
    }
