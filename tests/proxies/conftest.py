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
def inlive(place: Path) -> Iterator[Emulator]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(place / "authority.pem"))
    certificate = place / "certificate.pem"
    authority.issue_cert("hub.inlive.app", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(certificate)
    )
    with Emulator(keys=[KEY], cert=str(certificate)) as started:
        yield started
