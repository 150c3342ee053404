"""Logging belongs to the whole process: every test leaves it as it was."""

import logging
import sys
import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root, urllib3 = logging.getLogger(), logging.getLogger("urllib3")
    before = root.handlers[:], root.level, urllib3.level, sys.excepthook, threading.excepthook
    for handler in root.handlers[:]:  # configure() closes the handlers that it finds
        root.removeHandler(handler)
    yield
    root.handlers[:], level, of_urllib3, sys.excepthook, threading.excepthook = before
    root.setLevel(level)
    urllib3.setLevel(of_urllib3)
