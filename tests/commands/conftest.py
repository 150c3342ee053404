"""What the tests of several commands start from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from refresher.emulator.server import Emulator
from tests.commands.daemon import KEY


@pytest.fixture
def issuer() -> Iterator[Emulator]:
    with Emulator(keys=[KEY]) as inlive:
        yield inlive


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a key and a path for the token."""
    (tmp_path / "key").write_text(KEY)
    return tmp_path
