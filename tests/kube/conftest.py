"""One API server for all tests here, started when the first of them asks for it; `make kube` obtains it."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from refresher.emulator.server import Emulator
from tests import needs
from tests.kube.cluster import Cluster
from tests.kube.installation import Installation

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


@pytest.fixture
def installed(cluster: Cluster, namespace: str, issuer: Emulator, tmp_path: Path) -> Iterator[Installation]:
    with Installation(cluster, namespace, issuer, tmp_path) as installation:
        yield installation
        cluster.restore()


@pytest.fixture
def minute_long(cluster: Cluster, namespace: str, issuer: Emulator, tmp_path: Path) -> Iterator[Installation]:
    """Whose tokens outlive calls that time out."""
    with Installation(cluster, namespace, issuer, tmp_path, lifetime="60s") as installation:
        yield installation
        cluster.restore()
