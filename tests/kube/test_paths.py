"""Where things are, and what a request is in the words of RBAC."""

import pytest

from refresher.kube import paths
from refresher.kube.paths import Permission

LEASES = "coordination.k8s.io"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (paths.secret_path("ns", "s"), "/api/v1/namespaces/ns/secrets/s"),
        (paths.secrets_path("ns"), "/api/v1/namespaces/ns/secrets"),
        (paths.lease_path("ns", "l"), "/apis/coordination.k8s.io/v1/namespaces/ns/leases/l"),
        (paths.leases_path("ns"), "/apis/coordination.k8s.io/v1/namespaces/ns/leases"),
        (paths.events_path("ns"), "/api/v1/namespaces/ns/events"),
    ],
)
def test_where_it_is(path, expected):
    assert path == expected


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
def test_what_a_request_needs(method, path, expected):
    assert paths.permission(method, path) == expected


@pytest.mark.parametrize(
    ("permission", "told"),
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
def test_how_a_permission_is_told(permission, told):
    assert str(permission) == told


def test_a_secret_takes_no_list_no_watch_no_update_and_no_create():
    assert [each.verb for each in paths.for_secret("ns", "s")] == ["get", "patch"]


def test_what_goes_to_its_own_path_has_a_name_and_what_is_posted_has_none_yet():
    named, posted = (*paths.for_secret("ns", "o"), *paths.for_lease("ns", "o")), paths.for_events("ns")
    assert {each.name for each in named} == {"o"}
    assert {each.name for each in posted} == {""}
