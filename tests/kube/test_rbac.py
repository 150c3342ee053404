"""The permissions for requests and for each use of the API server."""

import pytest

from refresher.kube import paths, rbac
from refresher.kube.rbac import Permission

LEASES = "coordination.k8s.io"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", paths.secret_path("ns", "s"), Permission("get", "secrets", "ns", "s")),
        ("GET", paths.secrets_path("ns"), Permission("list", "secrets", "ns")),
        ("POST", paths.secrets_path("ns"), Permission("create", "secrets", "ns")),
        ("PATCH", paths.secret_path("ns", "s"), Permission("patch", "secrets", "ns", "s")),
        ("PUT", paths.lease_path("ns", "l"), Permission("update", "leases", "ns", "l", LEASES)),
        ("GET", "/api/v1/namespaces/ns", Permission("get", "namespaces", "", "ns")),
        ("GET", "/version", None),
    ],
)
def test_a_request_needs_this_permission(method, path, expected):
    assert rbac.permission(method, path) == expected


@pytest.mark.parametrize(
    ("permission", "text"),
    [
        (Permission("patch", "secrets", "ns", "s"), "patch secrets/s in namespace ns"),
        (Permission("create", "secrets", "ns"), "create secrets in namespace ns"),
        (
            Permission("update", "leases", "ns", "l", LEASES),
            "update leases.coordination.k8s.io/l in namespace ns",
        ),
        (Permission("get", "nodes", "", "n"), "get nodes/n"),
    ],
)
def test_a_permission_is_printed_like_this(permission, text):
    assert str(permission) == text


def test_a_secret_needs_only_get_and_patch():
    assert [each.verb for each in rbac.for_secret("ns", "s")] == ["get", "patch"]


def test_a_permission_has_a_name_unless_the_object_is_posted():
    named, posted = (*rbac.for_secret("ns", "o"), *rbac.for_lease("ns", "o")), rbac.for_events("ns")
    assert {each.name for each in named} == {"o"}
    assert {each.name for each in posted} == {""}
