"""Real servers on loopback: the endpoints, and the consumers' listener."""

from collections.abc import Callable, Iterator

import pytest

from refresher.web.endpoints import Endpoints, server_of
from tests.http.server.site import Site, running
from tests.web.listener import Listener, a_listener

ServeEndpoints = Callable[[Endpoints], Site]


@pytest.fixture
def serve_endpoints() -> Iterator[ServeEndpoints]:
    with running() as run:
        yield lambda endpoints: run(lambda listening: server_of(endpoints, listening))


@pytest.fixture
def listener() -> Iterator[Listener]:
    yield from a_listener("studio")


@pytest.fixture
def several() -> Iterator[Listener]:
    yield from a_listener("studio", "refreshing")


@pytest.fixture
def impatient() -> Iterator[Listener]:
    yield from a_listener("studio", wait=0.1)
