"""The emulator, and a place for a daemon's files with a path short enough for a socket."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from refresher.emulator.server import Emulator
from tests.commands.daemon import KEY


@pytest.fixture
def inlive() -> Iterator[Emulator]:
    with Emulator(keys=[KEY]) as started:
        yield started


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
