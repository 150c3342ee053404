"""One API server for all tests here, started when the first of them asks for it; `make kube` obtains it."""

import itertools
from collections.abc import Iterator

import pytest

from refresher.emulator.server import Emulator
from tests import needs
from tests.kube.cluster import Cluster

_COUNTED = itertools.count(1)


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster]:
    """For fixtures that last longer than a test; a test asks for `cluster`."""
    with Cluster(needs.kubernetes()) as serving:
        yield serving


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """The one of all tests: a test stores in its own `namespace`; what it breaks is mended after it."""
    yield shared_cluster
    shared_cluster.restore()


@pytest.fixture
def namespace() -> str:
    """A name that no other test has; `cluster.namespace` or `cluster.service_account` makes it."""
    return f"test-{next(_COUNTED)}"


@pytest.fixture
def issuer() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running
