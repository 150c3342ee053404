"""The client at the real API server, and how it finds one."""

import base64
import json
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme

from refresher import __version__
from refresher.clock import SystemClock
from refresher.errors import (
    KubeConfigError,
    KubeConflictError,
    KubeDeniedError,
    KubeError,
    KubeNotFoundError,
    KubeRejectedError,
    KubeThrottledError,
    KubeUnreachableError,
)
from refresher.kube.api import FIELD_MANAGER, KubeApi, connect
from refresher.kube.paths import lease_path, leases_path, secret_path, secrets_path
from tests.issuer.peer import Caller, answering
from tests.kube.administrator import Account
from tests.kube.cluster import Cluster
from tests.kube.connecting import TOKEN, asking, by_kubeconfig, in_pod, kubeconfig, service_account, status

CORE, LEASES = "", "coordination.k8s.io"
ONLY_MINE = {"resourceNames": ["mine"]}
RULES = [
    {"apiGroups": [CORE], "resources": ["secrets"], "verbs": ["get", "patch", "create"]} | ONLY_MINE,
    {"apiGroups": [LEASES], "resources": ["leases"], "verbs": ["get", "create", "update"]},
]
NOT_OURS = [RULES[0] | {"resourceNames": ["another"]}]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret(name: str = "mine", **values: str) -> dict[str, object]:
    content = {key: encoded(value) for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": content}


def lease(name: str, **metadata: str) -> dict[str, object]:
    meta = {"name": name} | metadata
    return {"apiVersion": f"{LEASES}/v1", "kind": "Lease", "metadata": meta, "spec": {"holderIdentity": "me"}}


@pytest.fixture
def account(cluster: Cluster, namespace: str) -> Account:
    return cluster.service_account(namespace, "refresher", RULES)


@pytest.fixture
def api(account: Account) -> KubeApi:
    return by_kubeconfig(account.kubeconfig)


@pytest.fixture
def mine(namespace: str) -> str:
    return secret_path(namespace, "mine")


# Success


def test_an_applied_object_can_be_read(api, mine):
    api.apply(mine, secret(k="v"), force=True)
    assert api.get(mine)["data"] == {"k": encoded("v")}


def test_applied_fields_belong_to_our_field_manager(api, mine):
    (managed,) = api.apply(mine, secret(k="v"), force=True)["metadata"]["managedFields"]
    assert (managed["manager"], managed["operation"]) == (FIELD_MANAGER, "Apply")


def test_an_apply_keeps_fields_of_others_and_removes_our_former_ones(api, mine, cluster, namespace):
    cluster.must("POST", secrets_path(namespace), secret(theirs="v"))
    api.apply(mine, secret(old="v"), force=True)
    assert set(api.apply(mine, secret(new="v"), force=True)["data"]) == {"theirs", "new"}


def test_a_forced_apply_takes_over_a_field(api, mine, cluster, namespace):
    cluster.must("POST", secrets_path(namespace), secret(k="theirs"))
    assert api.apply(mine, secret(k="ours"), force=True)["data"] == {"k": encoded("ours")}


def test_an_unforced_apply_names_the_owner_of_a_field(api, mine, cluster):
    cluster.must(
        "PATCH",
        f"{mine}?fieldManager=somebody-else",
        secret(k="theirs"),
        media_type="application/apply-patch+yaml",
    )
    with pytest.raises(KubeConflictError, match=r'"somebody-else".*\.data\.k'):
        api.apply(mine, secret(k="ours"), force=False)
    assert api.get(mine)["data"] == {"k": encoded("theirs")}


def test_a_dry_run_stores_nothing(api, mine):
    api.apply(mine, secret(k="old"), force=True)
    assert api.apply(mine, secret(k="new"), force=True, dry_run=True)["data"] == {"k": encoded("new")}
    assert api.get(mine)["data"] == {"k": encoded("old")}


def test_a_lease_is_created_and_replaced(api, namespace):
    made = api.create(leases_path(namespace), lease("l"))
    made["spec"]["holderIdentity"] = "another"
    api.replace(lease_path(namespace, "l"), made)
    assert api.get(lease_path(namespace, "l"))["spec"]["holderIdentity"] == "another"


def test_the_second_replacement_of_a_version_conflicts(api, namespace):
    made = api.create(leases_path(namespace), lease("l"))
    api.replace(lease_path(namespace, "l"), made | {"spec": {"holderIdentity": "first"}})
    with pytest.raises(KubeConflictError, match="the object has been modified"):
        api.replace(lease_path(namespace, "l"), made | {"spec": {"holderIdentity": "second"}})
    assert api.get(lease_path(namespace, "l"))["spec"]["holderIdentity"] == "first"


def test_the_second_creation_of_an_object_conflicts(api, namespace):
    api.create(leases_path(namespace), lease("l"))
    with pytest.raises(KubeConflictError, match="already exists"):
        api.create(leases_path(namespace), lease("l"))


def test_several_threads_may_share_a_client(api, namespace):
    with ThreadPoolExecutor(8) as threads:
        names = [f"l-{number}" for number in range(24)]
        made = threads.map(lambda name: api.create(leases_path(namespace), lease(name)), names)
        assert [each["metadata"]["name"] for each in made] == names


# Refusals


def test_a_missing_object_is_not_found(api, mine):
    with pytest.raises(KubeNotFoundError, match='secrets "mine" not found'):
        api.get(mine)


def test_a_missing_permission_is_named(api, namespace, account):
    with pytest.raises(KubeDeniedError) as raised:
        api.get(secret_path(namespace, "other"))
    told = str(raised.value)
    assert told.startswith(f"not permitted (403): get secrets/other in namespace {namespace}; ")
    assert account.user in told


def test_an_apply_that_would_create_names_that_permission(api, mine, cluster, account, namespace):
    cluster.grant(account, [RULES[0] | {"verbs": ["get", "patch"]}])
    with pytest.raises(KubeDeniedError, match=rf"\(403\): create secrets/mine in namespace {namespace}; "):
        api.apply(mine, secret(k="v"), force=True)


def test_restored_permissions_work_at_once(api, mine, cluster, account):
    api.apply(mine, secret(k="v"), force=True)
    cluster.grant(account, NOT_OURS)
    with pytest.raises(KubeDeniedError):
        api.get(mine)
    cluster.grant(account, RULES)
    assert api.get(mine)["data"] == {"k": encoded("v")}


def test_a_terminating_namespace_is_not_reported_as_a_missing_permission(api, mine, cluster, namespace):
    cluster.must("DELETE", f"/api/v1/namespaces/{namespace}")
    with pytest.raises(KubeDeniedError, match="being terminated") as raised:
        api.apply(mine, secret(k="v"), force=True)
    assert "refresher check" not in str(raised.value)


def test_an_oversized_secret_is_rejected(api, mine):
    with pytest.raises(KubeRejectedError, match="Too long"):
        api.apply(mine, secret(k="v" * 1_100_000), force=True)


def test_malformed_data_is_rejected_without_quoting_it(api, mine):
    odd = secret() | {"data": {"k": ["open-sesame-01"]}}
    with pytest.raises(KubeError) as raised:
        api.apply(mine, odd, force=True)
    assert "open-sesame-01" not in str(raised.value)


def test_a_throttled_request_has_the_wait(tmp_path):
    with asking(tmp_path, answering(429, status(429, "slow down"), "Retry-After: 7")) as (api, _):
        with pytest.raises(KubeThrottledError, match="slow down") as raised:
            api.get(secret_path("ns", "s"))
        assert raised.value.retry_after == 7.0


# Faults of the API server


def test_a_hung_api_server_is_a_time_out(api, mine, cluster):
    api.apply(mine, secret(k="v"), force=True)
    cluster.pause()
    with pytest.raises(KubeUnreachableError, match=r"no complete response from .* within 0\.5 s"):
        api.get(mine, timeout=0.5)
    cluster.resume()
    assert api.get(mine)["data"] == {"k": encoded("v")}


def test_a_restarted_api_server_is_reached_again(api, mine, cluster):
    api.apply(mine, secret(k="v"), force=True)
    cluster.kill_apiserver()
    with pytest.raises(KubeUnreachableError, match="Connection refused"):
        api.get(mine)
    cluster.start_apiserver()
    assert api.get(mine)["data"] == {"k": encoded("v")}


def test_an_api_server_without_etcd_is_an_error(api, mine, cluster):
    api.apply(mine, secret(k="v"), force=True)
    cluster.stop_etcd()
    with pytest.raises(KubeUnreachableError):
        api.apply(mine, secret(k="w"), force=True, timeout=2)
    cluster.start_etcd()
    assert api.apply(mine, secret(k="x"), force=True)["data"] == {"k": encoded("x")}


# Credentials


def test_a_pod_uses_its_service_account_and_namespace(account, cluster, mine):
    api = in_pod(account.directory, cluster.port)
    assert api.namespace == account.namespace
    assert api.apply(mine, secret(k="v"), force=True)["metadata"]["namespace"] == account.namespace


def test_an_expired_token_is_reported(account, cluster, mine):
    (account.directory / "token").write_text(cluster.expired(account))
    api = in_pod(account.directory, cluster.port)
    with pytest.raises(KubeDeniedError, match=r"does not accept our credentials \(401\)"):
        api.get(mine)
    (account.directory / "token").write_text(cluster.token(account.namespace, account.name))
    with pytest.raises(KubeNotFoundError):  # only users with permission get a 404
        api.get(mine)


def test_a_token_file_that_is_briefly_empty_changes_nothing(account, cluster, mine):
    api = in_pod(account.directory, cluster.port)
    (account.directory / "token").write_text("")
    api.apply(mine, secret(k="v"), force=True)
    (account.directory / "token").unlink()
    assert api.get(mine)["data"] == {"k": encoded("v")}


def test_the_administrator_has_a_certificate_and_no_token(cluster, namespace):
    cluster.namespace(namespace)
    api = by_kubeconfig(cluster.kubeconfig)
    assert api.create(secrets_path(namespace), secret())["kind"] == "Secret"


def refusing_the_first(renew) -> object:
    """Accepts only the credentials that are present after the first refusal."""

    def script(caller: Caller) -> None:
        caller.request()
        renew()
        caller.answer(401, status(401, "Unauthorized"))
        while caller.request():
            caller.answer(200, b'{"kind": "Secret"}')

    return script


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def authorizations(server) -> list[str]:
    return [
        line[15:] for each in server.requests for line in each.splitlines() if line.startswith("Authoriz")
    ]


def test_a_changed_token_is_retried_after_a_401(tmp_path, tls, authority):
    script = refusing_the_first(lambda: (tmp_path / "token").write_text("renewed"))
    with asking(tmp_path, script, tls=tls, ca=authority.cert_pem.bytes()) as (api, server):
        assert api.get(secret_path("ns", "s")) == {"kind": "Secret"}
        assert authorizations(server) == [f"Bearer {TOKEN}", "Bearer renewed"]


def test_an_unchanged_token_is_not_retried_after_a_401(tmp_path, tls, authority):
    with asking(tmp_path, answering(401, b"{}"), tls=tls, ca=authority.cert_pem.bytes()) as (api, server):
        with pytest.raises(KubeDeniedError):
            api.get(secret_path("ns", "s"))
        assert len(server.requests) == 1


def test_a_token_file_of_a_kubeconfig_is_read_again_after_a_401(tmp_path):
    file = tmp_path / "its-token"
    file.write_text("first")
    with asking(tmp_path, refusing_the_first(lambda: file.write_text("second"))) as (_, server):
        api = by_kubeconfig(kubeconfig(tmp_path, server.url, tokenFile="its-token"))
        assert api.get(secret_path("ns", "s")) == {"kind": "Secret"}
        assert authorizations(server) == ["Bearer first", "Bearer second"]


def test_a_token_program_of_a_kubeconfig_runs_again_after_a_401(tmp_path):
    said = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    printed = tmp_path / "printed"

    def prints(token: str) -> None:
        printed.write_text(json.dumps(said | {"status": {"token": token}}))

    prints("first")
    program = {"apiVersion": said["apiVersion"], "command": "cat", "args": [str(printed)]}
    with asking(tmp_path, refusing_the_first(lambda: prints("second"))) as (_, server):
        api = by_kubeconfig(kubeconfig(tmp_path, server.url, exec=program))
        assert api.get(secret_path("ns", "s")) == {"kind": "Secret"}
        assert authorizations(server) == ["Bearer first", "Bearer second"]


def test_requests_have_our_user_agent(tmp_path):
    with asking(tmp_path, answering(200, b"{}")) as (api, server):
        api.get(secret_path("ns", "s"))
        assert f"User-Agent: inlive-token-refresher/{__version__}\r\n" in server.requests[0]


def test_no_repr_contains_the_token(tmp_path):
    with asking(tmp_path, answering(200, b"{}")) as (api, _):
        assert TOKEN not in f"{api!r} {api}"


# Finding the API server


def test_the_namespace_of_a_kubeconfig_is_that_of_its_context(tmp_path):
    assert by_kubeconfig(kubeconfig(tmp_path, "http://api.test", "studio", token="t")).namespace == "studio"
    assert by_kubeconfig(kubeconfig(tmp_path, "http://api.test", token="t")).namespace == "default"


def test_kubeconfig_in_the_environment_wins_over_the_pod(tmp_path):
    environ = {
        "KUBECONFIG": str(kubeconfig(tmp_path, "http://api.test", "named", token="t")),
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": "6443",
    }
    assert connect(SystemClock(), environ, str(service_account(tmp_path))).namespace == "named"


def test_the_pod_wins_over_the_kubeconfig_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path / ".kube", "http://api.test", "at-home", token="t").rename(tmp_path / ".kube/config")
    assert connect(SystemClock(), {}).namespace == "at-home"
    assert in_pod(service_account(tmp_path), 6443).namespace == "ours"


def test_without_a_cluster_the_error_names_all_places(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(KubeConfigError, match=r"KUBECONFIG.*KUBERNETES_SERVICE_HOST.*~/\.kube/config"):
        connect(SystemClock(), {})


def test_an_ipv6_address_gets_brackets(tmp_path, tls, authority):
    (mounted := tmp_path / "mounted").mkdir()
    service_account(mounted, ca=authority.cert_pem.bytes())
    api = in_pod(mounted, 9, "::1")
    with pytest.raises(KubeUnreachableError, match=r"\[::1\]:9: "):
        api.get(secret_path("ns", "s"))


def test_a_pod_without_authorities_is_an_error(tmp_path):
    (service_account(tmp_path) / "ca.crt").unlink()
    with pytest.raises(KubeConfigError, match=r"ca\.crt"):
        in_pod(tmp_path, 6443)


def test_a_pod_without_a_namespace_file_is_in_default(tmp_path):
    (service_account(tmp_path) / "namespace").unlink()
    assert in_pod(tmp_path, 6443).namespace == "default"


def test_a_proxy_of_the_environment_is_used(tmp_path, monkeypatch):
    with asking(tmp_path, answering(200, b"{}")) as (_, proxy):
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        api = by_kubeconfig(kubeconfig(tmp_path, "http://api.test", token="t"))
        api.get(secret_path("ns", "s"))
        assert proxy.requests[0].startswith("GET http://api.test/api/v1/namespaces/ns/secrets/s HTTP/1.1\r\n")


def test_no_proxy_is_used_for_an_api_server_on_this_machine(tmp_path, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.invalid:3128")
    with asking(tmp_path, answering(200, b"{}")) as (api, _):
        assert api.get(secret_path("ns", "s")) == {}


USER = {"user": {"token": TOKEN}}
CONTEXTS = {"current-context": "x", "contexts": [{"name": "x", "context": {"user": "u", "cluster": "c"}}]}
BROKEN = {
    "not there": (None, "No configuration found"),
    "empty": ("", "cannot be used"),
    "no YAML": ("{", "cannot be used"),
    "a list": ("[]", "cannot be used"),
    "no context": ('{"current-context": "x"}', "Expected object with name x"),
    "no cluster": (json.dumps(CONTEXTS | {"users": [{"name": "u"} | USER]}), "Expected object with name c"),
    "a user without a name": (json.dumps(CONTEXTS | {"users": [USER]}), "cannot be used"),
    "a user without a user": (
        json.dumps(CONTEXTS | {"users": [{"name": "u", "token": TOKEN}]}),
        "Expected key",
    ),
}


@pytest.mark.parametrize(("content", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_an_unusable_kubeconfig_is_described_without_its_token(tmp_path: Path, content, expected):
    path = tmp_path / "broken"
    if content is not None:
        path.write_text(content)
    with pytest.raises(KubeConfigError, match=f"^the kubeconfig {path} ") as raised:
        by_kubeconfig(path)
    assert expected in str(raised.value)
    assert TOKEN not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_token_that_is_invalid_in_a_header_is_neither_sent_nor_shown(tmp_path):
    with asking(tmp_path, answering(200, b"{}")) as (_, server):
        api = by_kubeconfig(kubeconfig(tmp_path, server.url, token="two\r\nlines-of-it"))
        with pytest.raises(KubeConfigError) as raised:
            api.get(secret_path("ns", "s"))
        assert "lines-of-it" not in str(raised.value)
        assert server.requests == []
