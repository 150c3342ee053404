"""A real server on loopback."""

from collections.abc import Iterator

import pytest

from tests.http.server.site import Serve, serving


@pytest.fixture
def serve() -> Iterator[Serve]:
    with serving() as start:
        yield start
