"""A system that refuses threads, as a Pod's pid limit makes it do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_threads() -> Iterator[None]:
    """The system refuses every new thread of this process: it has no room for a stack of that size."""
    before = threading.stack_size(2**46)
    try:
        yield
    finally:
        threading.stack_size(before)
