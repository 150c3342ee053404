"""The API server of the tests is the real one, and its faults are real."""

import json
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.kube import binaries
from tests.kube.cluster import Cluster
from tests.kube.credentials import claims_of

SECRETS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "patch"], "resourceNames": ["mine"]}
DEADLINE = 30.0
PORTS: set[int] = set()  # used by the clusters of these tests


def secrets(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/secrets/{name}".rstrip("/")


def secret(name: str, **values: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def pod(user: int) -> dict[str, object]:
    """A Pod that the restricted standard admits, unless its user is root."""
    context = {
        "runAsUser": user,
        "runAsNonRoot": user != 0,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "c", "image": "nowhere.invalid/none", "securityContext": context}
    spec = {"containers": [container], "serviceAccountName": "runs", "automountServiceAccountToken": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"user-{user}"}, "spec": spec}


# The server


def test_the_cluster_has_the_pinned_version(cluster: Cluster) -> None:
    if "KUBEBUILDER_ASSETS" in os.environ:
        pytest.skip("another one was given in KUBEBUILDER_ASSETS")
    assert cluster.version == binaries.version()
    client = json.loads(cluster.kubectl("version", "--client", "--output=json").stdout)
    assert client["clientVersion"]["gitVersion"] == binaries.version()


@pytest.mark.parametrize("_test", ["one", "another"])
def test_one_start_serves_all_tests(cluster: Cluster, _test: str) -> None:
    PORTS.add(cluster.port)
    assert len(PORTS) == 1


def test_an_anonymous_request_is_refused(cluster: Cluster, namespace: str) -> None:
    refused = cluster.ask("GET", secrets(namespace), token="")
    assert refused.status_code == 403
    assert 'User "system:anonymous" cannot list resource "secrets"' in refused.json()["message"]


# Permissions


def test_an_account_has_only_the_permissions_of_its_role(cluster: Cluster, namespace: str) -> None:
    account = cluster.service_account(namespace, "refresher", [SECRETS])
    cluster.must("POST", secrets(namespace), secret("mine", a="1"))
    cluster.must("POST", secrets(namespace), secret("other", a="1"))
    asked = [
        cluster.ask("GET", secrets(namespace, "mine"), token=account.token),
        cluster.ask("GET", secrets(namespace, "other"), token=account.token),
        cluster.ask("GET", secrets(namespace), token=account.token),
        cluster.ask("DELETE", secrets(namespace, "mine"), token=account.token),
        cluster.ask("GET", secrets("kube-system", "mine"), token=account.token),
    ]
    assert [response.status_code for response in asked] == [200, 403, 403, 403, 403]
    assert f'User "{account.user}" cannot list resource "secrets"' in asked[2].json()["message"]


def test_grants_and_revocations_take_effect_at_once(cluster: Cluster, namespace: str) -> None:
    account = cluster.service_account(namespace, "refresher", [SECRETS])
    for _ in range(5):
        cluster.grant(account, [])
        assert cluster.ask("GET", secrets(namespace, "mine"), token=account.token).status_code == 403
        cluster.grant(account, [SECRETS])
        assert cluster.ask("GET", secrets(namespace, "mine"), token=account.token).status_code == 404


def test_a_token_has_the_requested_lifetime(cluster: Cluster, namespace: str) -> None:
    account = cluster.service_account(namespace, "refresher", lifetime=600)
    claims = claims_of(account.token)
    assert claims["exp"] - claims["iat"] == 600
    claims = claims_of(cluster.token(namespace, "refresher", 1200))
    assert claims["exp"] - claims["iat"] == 1200
    assert claims["sub"] == account.user


def test_an_invalid_token_is_refused(cluster: Cluster, namespace: str) -> None:
    account = cluster.service_account(namespace, "refresher", [SECRETS])
    altered = cluster.credentials.altered
    bad = {
        "expired": cluster.expired(account),
        "for somebody else": altered(account.token, aud=["https://elsewhere.invalid"]),
        "not signed": account.token.rpartition(".")[0] + ".AAAA",
        "no token": "garbage",
    }
    for what, token in bad.items():
        assert cluster.ask("GET", secrets(namespace, "mine"), token=token).status_code == 401, what
    signed = altered(account.token, exp=int(time.time()) + 60)  # proof that the signature is valid
    assert cluster.ask("GET", secrets(namespace, "mine"), token=signed).status_code == 404


def test_an_account_has_the_files_of_a_pod(cluster: Cluster, namespace: str) -> None:
    account = cluster.service_account(namespace, "refresher")
    host, port = cluster.environ["KUBERNETES_SERVICE_HOST"], cluster.environ["KUBERNETES_SERVICE_PORT"]
    response = requests.post(
        f"https://{host}:{port}/apis/authentication.k8s.io/v1/selfsubjectreviews",
        json={},
        headers={"Authorization": f"Bearer {(account.directory / 'token').read_text()}"},
        verify=str(account.directory / "ca.crt"),
        timeout=DEADLINE,
    )
    assert response.json()["status"]["userInfo"]["username"] == account.user
    assert (account.directory / "namespace").read_text() == namespace


def test_kubectl_acts_as_the_given_account(cluster: Cluster, namespace: str) -> None:
    account = cluster.service_account(namespace, "refresher")
    who = "auth", "whoami", "--output=jsonpath={.status.userInfo.username}"
    assert cluster.kubectl(*who).stdout == "admin"
    assert cluster.kubectl(*who, account=account).stdout == account.user
    refused = cluster.kubectl("get", "secrets", account=account, check=False)
    assert refused.returncode == 1
    assert f'in the namespace "{namespace}"' in refused.stderr  # its kubeconfig names it
    with pytest.raises(AssertionError, match="Forbidden"):
        cluster.kubectl("get", "secrets", account=account)


# Objects


def test_server_side_apply_tracks_field_owners(cluster: Cluster, namespace: str) -> None:
    cluster.namespace(namespace)
    apply = "apply", "--server-side", "--namespace", namespace, "--filename=-"
    cluster.kubectl(*apply, "--field-manager=one", stdin=secret("shared", a="1"))
    cluster.kubectl(*apply, "--field-manager=two", stdin=secret("shared", b="2"))
    both = cluster.must("GET", secrets(namespace, "shared"))
    assert both["data"] == {"a": "MQ==", "b": "Mg=="}
    assert [entry["manager"] for entry in both["metadata"]["managedFields"]] == ["one", "two"]
    conflict = cluster.kubectl(*apply, "--field-manager=two", stdin=secret("shared", a="3"), check=False)
    assert 'conflict with "one"' in conflict.stderr
    assert cluster.must("GET", secrets(namespace, "shared")) == both


def test_a_label_enforces_pod_security(cluster: Cluster, namespace: str) -> None:
    cluster.namespace(namespace, enforce="restricted")
    cluster.service_account(namespace, "runs")  # this keeps the label
    apply = "apply", "--server-side", "--namespace", namespace, "--filename=-"
    cluster.kubectl(*apply, stdin=pod(user=1000))
    refused = cluster.kubectl(*apply, stdin=pod(user=0), check=False)
    assert 'violates PodSecurity "restricted:latest"' in refused.stderr
    assert "runAsNonRoot" in refused.stderr
    cluster.namespace(namespace, enforce="privileged")
    cluster.kubectl(*apply, stdin=pod(user=0))


# Faults


def test_stored_objects_survive_a_kill(cluster: Cluster, namespace: str) -> None:
    account = cluster.service_account(namespace, "refresher", [SECRETS])
    before = cluster.must("POST", secrets(namespace), secret("mine", a="1"))
    cluster.kill_apiserver()
    with pytest.raises(requests.ConnectionError, match="refused"):
        cluster.ask("GET", "/readyz")
    cluster.start_apiserver()
    assert cluster.must("GET", secrets(namespace, "mine"), token=account.token) == before


def test_a_resumed_server_responds_again(cluster: Cluster) -> None:
    cluster.pause()
    with pytest.raises(requests.ReadTimeout):  # the kernel accepts the connection
        cluster.ask("GET", "/readyz", timeout=1)
    assert not cluster.ready()
    cluster.resume()
    assert cluster.ask("GET", "/readyz").ok


def test_without_etcd_requests_fail_and_no_data_is_lost(cluster: Cluster, namespace: str) -> None:
    cluster.namespace(namespace)
    before = cluster.must("POST", secrets(namespace), secret("mine", a="1"))
    cluster.stop_etcd()
    with suppress(requests.ReadTimeout):
        assert cluster.ask("POST", secrets(namespace), secret("lost", a="1"), timeout=2).status_code >= 500
    assert not cluster.ready()
    cluster.start_etcd()
    assert cluster.must("GET", secrets(namespace, "mine")) == before


@pytest.mark.parametrize(
    "faults",
    [
        ("pause",),
        ("kill_apiserver",),
        ("stop_etcd",),
        ("pause", "stop_etcd"),
        ("stop_etcd", "kill_apiserver"),
    ],
)
def test_every_fault_is_repaired_after_its_test(cluster: Cluster, faults: tuple[str, ...]) -> None:
    for fault in faults:
        getattr(cluster, fault)()
    assert not cluster.ready()
    cluster.restore()
    assert cluster.ready()


def test_a_failed_start_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "etcd").symlink_to("/bin/false")
    cluster = Cluster(tmp_path)
    with pytest.raises(RuntimeError, match="etcd has ended"), cluster:
        pass
    assert not cluster.kubeconfig.parent.exists()
