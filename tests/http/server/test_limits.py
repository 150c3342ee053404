"""The number of connections that a server allows."""

import resource

import pytest

from refresher.http.server.limits import affordable_connections


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [(3, 1), (24, 1), (28, 2), (32, 4), (64, 20), (88, 32), (1024, 32), (resource.RLIM_INFINITY, 32)],
)
def test_connections_leave_the_refresher_its_descriptors(descriptors: int, connections: int) -> None:
    assert affordable_connections(32, descriptors) == connections
