"""Our permissions at the real API server, and the Role to apply."""

import pytest

from refresher.errors import KubeDeniedError
from refresher.kube import access, rbac
from refresher.kube.api import KubeApi
from refresher.kube.rbac import Permission
from tests.issuer.peer import answering
from tests.kube.administrator import Account
from tests.kube.cluster import Cluster
from tests.kube.connecting import asking, by_kubeconfig, status

SECRETS = {"apiGroups": [""], "resources": ["secrets"]}


@pytest.fixture
def account(cluster: Cluster, namespace: str) -> Account:
    return cluster.service_account(namespace, "refresher")


@pytest.fixture
def api(account: Account) -> KubeApi:
    return by_kubeconfig(account.kubeconfig)


def test_an_account_without_rights_lacks_all_permissions_in_the_given_order(api, namespace):
    needed = (*rbac.for_secret(namespace, "mine"), *rbac.for_lease(namespace, "l"))
    assert access.missing(api, needed) == needed


def test_a_granted_permission_is_not_missing(api, cluster, account, namespace):
    cluster.grant(
        account, [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["mine"]}]
    )
    assert access.missing(api, rbac.for_secret(namespace, "mine")) == (
        Permission("patch", "secrets", namespace, "mine"),
    )


def test_a_permission_for_another_object_is_missing(api, cluster, account, namespace):
    cluster.grant(
        account, [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["other"]}]
    )
    needed = (Permission("get", "secrets", namespace, "mine"),)
    assert access.missing(api, needed) == needed


def test_a_permission_in_another_group_is_missing(api, cluster, account, namespace):
    cluster.grant(account, [{"apiGroups": [""], "resources": ["leases"], "verbs": ["get"]}])
    assert Permission("get", "leases", namespace, "l", "coordination.k8s.io") in access.missing(
        api, rbac.for_lease(namespace, "l")
    )


def test_a_permission_in_another_namespace_is_missing(api, cluster, account, namespace):
    cluster.grant(account, [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}])
    elsewhere = (Permission("get", "secrets", "default", "mine"),)
    assert access.missing(api, (*elsewhere, Permission("get", "secrets", namespace, "mine"))) == elsewhere


def test_a_repeated_permission_is_reviewed_once(api, namespace):
    needed = Permission("get", "secrets", namespace, "mine")
    assert access.missing(api, (needed, needed)) == (needed,)


def test_a_forbidden_review_is_an_error(tmp_path):
    with asking(tmp_path, answering(403, status(403, "no"))) as (api, _), pytest.raises(KubeDeniedError):
        access.missing(api, [Permission("get", "secrets", "ns", "s")])


@pytest.mark.parametrize(
    "body", [b"{}", b'{"status": {}}', b'{"status": {"allowed": "yes"}}', b'{"status": 1}']
)
def test_any_other_response_is_a_denial(tmp_path, body):
    needed = (Permission("get", "secrets", "ns", "s"),)
    with asking(tmp_path, answering(201, body)) as (api, _):
        assert access.missing(api, needed) == needed


def test_the_api_server_knows_who_we_are(api, account):
    assert access.user(api) == account.user


@pytest.mark.parametrize("answer", [(404, b"404 page not found"), (201, b"{}"), (201, b'{"status": null}')])
def test_an_unknown_user_name_is_no_error(tmp_path, answer):
    with asking(tmp_path, answering(*answer)) as (api, _):
        assert access.user(api) is None


# The Role


def test_the_printed_role_grants_the_missing_permissions(api, cluster, namespace):
    needed = (
        *rbac.for_secret(namespace, "mine"),
        *rbac.for_lease(namespace, "l"),
        *rbac.for_events(namespace),
    )
    cluster.kubectl("apply", "-f", "-", stdin=access.role(needed, needed, access.user(api)))
    assert wait_for_none(api, needed) == ()


def test_the_printed_role_grants_nothing_else(api, cluster, namespace):
    needed = rbac.for_secret(namespace, "mine")
    cluster.kubectl("apply", "-f", "-", stdin=access.role(needed, needed, access.user(api)))
    wait_for_none(api, needed)
    verbs = ("get", "list", "watch", "create", "update", "patch", "delete")
    every = [Permission(verb, "secrets", namespace, name) for verb in verbs for name in ("mine", "other", "")]
    assert set(every) - set(access.missing(api, every)) == set(needed)


def test_a_second_printed_role_removes_nothing(api, cluster, namespace):
    first, second = rbac.for_secret(namespace, "one"), rbac.for_secret(namespace, "two")
    user = access.user(api)
    cluster.kubectl("apply", "-f", "-", stdin=access.role(first, first, user))
    wait_for_none(api, first)
    both = (*first, *second)
    cluster.kubectl("apply", "-f", "-", stdin=access.role(both, access.missing(api, both), user))
    assert wait_for_none(api, both) == ()


def test_several_namespaces_get_a_role_each(api, cluster, namespace):
    cluster.namespace(f"{namespace}-too")
    needed = (*rbac.for_secret(namespace, "mine"), *rbac.for_secret(f"{namespace}-too", "mine"))
    cluster.kubectl("apply", "-f", "-", stdin=access.role(needed, needed, access.user(api)))
    assert wait_for_none(api, needed) == ()


def wait_for_none(api: KubeApi, needed: tuple[Permission, ...]) -> tuple[Permission, ...]:
    """The permissions that are still missing after the cache of the authorizer had time to update."""
    for _ in range(200):
        if not (denied := access.missing(api, needed)):
            return ()
    return denied


def test_the_printed_yaml_has_this_form():
    needed = (
        *rbac.for_secret("studio", "one"),
        *rbac.for_secret("studio", "two"),
        *rbac.for_secret("stage", "three"),
        *rbac.for_events("studio"),
    )
    denied = (Permission("patch", "secrets", "studio", "two"),)
    assert (
        access.role(needed, denied, "system:serviceaccount:inlive:refresher")
        == """\
apiVersion: "rbac.authorization.k8s.io/v1"
kind: "Role"
metadata:
  name: "refresher-needs"
  namespace: "studio"
rules:
  - apiGroups: [""]
    resources: ["secrets"]
    resourceNames: ["one", "two"]
    verbs: ["get", "patch"]
  - apiGroups: [""]
    resources: ["events"]
    verbs: ["create"]
---
apiVersion: "rbac.authorization.k8s.io/v1"
kind: "RoleBinding"
metadata:
  name: "refresher-needs"
  namespace: "studio"
roleRef:
  apiGroup: "rbac.authorization.k8s.io"
  kind: "Role"
  name: "refresher-needs"
subjects:
  - kind: "ServiceAccount"
    name: "refresher"
    namespace: "inlive"
"""
    )


@pytest.mark.parametrize(("user", "subject"), [("admin", "admin"), (None, "WHO-WE-ARE")])
def test_the_role_is_bound_to_a_user_without_a_service_account(user, subject):
    needed = rbac.for_secret("studio", "one")
    expected = f'  - apiGroup: "rbac.authorization.k8s.io"\n    kind: "User"\n    name: "{subject}"\n'
    assert access.role(needed, needed, user).endswith(expected)


def test_nothing_is_printed_without_a_missing_permission():
    assert access.role(rbac.for_secret("studio", "one"), (), "admin") == ""
    assert access.empty_secrets(()) == ""


# Missing Secrets


def test_a_missing_or_unreadable_secret_is_absent(api, cluster, account, namespace):
    mine = (namespace, "mine")
    cluster.kubectl("create", "secret", "generic", "mine", f"--namespace={namespace}")
    assert not access.is_there(api, mine)  # we have no permission to read it
    seeing = SECRETS | {"verbs": ["get"], "resourceNames": ["mine", "other"]}
    cluster.grant(account, [seeing])
    wait_for_none(api, (Permission("get", "secrets", namespace, "mine"),))
    assert access.is_there(api, mine)
    assert not access.is_there(api, (namespace, "other"))


def test_printed_secrets_are_empty_and_keep_existing_data(cluster, namespace):
    cluster.namespace(namespace)
    mine = f"/api/v1/namespaces/{namespace}/secrets/mine"
    pasted = access.empty_secrets([(namespace, "mine"), (namespace, "other")])
    cluster.kubectl("apply", "-f", "-", stdin=pasted)
    empty = cluster.must("GET", mine)
    assert (empty["type"], empty.get("data")) == ("Opaque", None)
    kept = {"data": {"key": "dmFsdWU="}}
    cluster.must("PATCH", mine, kept, media_type="application/merge-patch+json")
    cluster.kubectl("apply", "-f", "-", stdin=pasted)
    assert cluster.must("GET", mine)["data"] == kept["data"]
