"""A real server on loopback with the limits of the endpoints."""

from collections.abc import Callable, Iterator

import pytest

from refresher.web.endpoints import Endpoints, server_of
from tests.http.server.site import Site, running

ServeEndpoints = Callable[[Endpoints], Site]


@pytest.fixture
def serve_endpoints() -> Iterator[ServeEndpoints]:
    with running() as run:
        yield lambda endpoints: run(lambda listening: server_of(endpoints, listening))
