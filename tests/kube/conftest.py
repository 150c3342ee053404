"""One API server for all tests here. The first test that uses it starts it. `make kube` builds it."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from refresher.emulator.server import Emulator
from release import crd
from tests import needs
from tests.commands.daemon import KEY
from tests.deploy.rendering import Objects
from tests.kube.cluster import Cluster
from tests.kube.installation import Installation
from tests.kube.pods import variables

_COUNTED = itertools.count(1)


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster]:
    """For fixtures that outlive a test. Tests use `cluster`."""
    with Cluster(needs.kubernetes()) as serving:
        yield serving


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """The shared cluster. Each test uses its own `namespace`. Its faults are repaired afterwards."""
    yield shared_cluster
    shared_cluster.restore()


@pytest.fixture(scope="session")
def with_access_tokens(shared_cluster: Cluster) -> Cluster:
    """The shared cluster with the custom resource AccessToken."""
    file = f"--filename={crd.CRD}"
    shared_cluster.kubectl("apply", "--server-side", file)
    shared_cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", file)
    return shared_cluster


@pytest.fixture
def namespace() -> str:
    """A unique name. `cluster.namespace` or `cluster.service_account` creates the namespace."""
    return f"test-{next(_COUNTED)}"


@pytest.fixture
def place(cluster: Cluster, namespace: str) -> str:
    """A namespace under the restricted standard, with the account that a controller would create."""
    cluster.namespace(namespace, enforce="restricted")
    cluster.service_account(namespace, "default")
    return namespace


@pytest.fixture
def operator(cluster: Cluster) -> Iterator[None]:
    """The custom resources of the Prometheus operator."""
    names = [
        needs.prometheus_operator() / f"monitoring.coreos.com_{each}.yaml"
        for each in ("podmonitors", "prometheusrules")
    ]
    files = [f"--filename={name}" for name in names]
    cluster.kubectl("apply", "--server-side", *files)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *files)
    yield
    cluster.kubectl("delete", "--wait=false", *files)


@pytest.fixture
def in_its_pod(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[[Objects], Mapping[str, str]]]:
    """The variables of a process that runs as in the installed Pod."""
    with Emulator(keys=[KEY]) as inlive:
        yield lambda objects: variables(objects, cluster, tmp_path, inlive.url)


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
    """An installation with tokens that live longer than calls that time out."""
    with Installation(cluster, namespace, issuer, tmp_path, lifetime="60s") as installation:
        yield installation
        cluster.restore()
