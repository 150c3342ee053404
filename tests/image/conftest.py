"""One image for all tests in this directory, built on first use."""

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
    """A directory to mount: any user may write to it and read the key in it."""
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    (volume / "key").write_text(KEY)
    return volume
