"""Paths of the REST API."""

import pytest

from refresher.kube import paths


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
def test_an_object_has_this_path(path, expected):
    assert path == expected
