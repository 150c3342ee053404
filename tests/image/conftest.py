"""One image for all tests here, built when the first of them asks for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from refresher.emulator.server import Emulator
from tests.commands.daemon import KEY
from tests.image.engine import IMAGE, Engine
from tests.kube.conftest import cluster, namespace, shared_cluster

__all__ = ["cluster", "namespace", "shared_cluster"]  # fixtures


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine() as running:
        running.build(IMAGE)
        yield running


@pytest.fixture
def issuer() -> Iterator[Emulator]:
    with Emulator(keys=[KEY]) as inlive:
        yield inlive


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that any user may write to, with a key in it that any may read: it is mounted."""
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    (volume / "key").write_text(KEY)
    return volume
