"""An Inlive API with TLS, and a place for all files."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from refresher.emulator.server import Emulator
from tests.commands.daemon import KEY


@pytest.fixture
def place() -> Iterator[Path]:
    """Short enough for a socket. Workers of proxies that run as another user may enter it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def authority(place: Path) -> trustme.CA:
    """Issues Inlive's certificate. The proxies trust it."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(place / "authority.pem"))
    return made


@pytest.fixture
def inlive(authority: trustme.CA, place: Path) -> Iterator[Emulator]:
    certificate = issued(authority, place / "certificate.pem", "hub.inlive.app", "127.0.0.1")
    with Emulator(keys=[KEY], cert=certificate) as started:
        yield started


def issued(authority: trustme.CA, path: Path, *names: str) -> str:
    """A new certificate with its key, in the file `path`."""
    authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(str(path))
    return str(path)
