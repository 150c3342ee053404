"""Keeps the parts that a changed configuration still needs, so that nothing is built, read or minted anew."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Part = TypeVar("Part")


class Parts:
    """Parts by their settings. One thread at a time begins a set of parts, builds it, and commits it."""

    def __init__(self) -> None:
        self._present: dict[Hashable, Any] = {}
        self._next: dict[Hashable, Any] = {}

    def begin(self) -> None:
        """Begin a new set. Forgets one that was never committed."""
        self._next = {}

    def get(self, settings: Hashable, make: Callable[[], Part]) -> Part:
        """The part with these settings: the one of the present set, or else a new one from `make`."""
        if settings not in self._next:
            self._next[settings] = self._present[settings] if settings in self._present else make()
        part: Part = self._next[settings]
        return part

    def commit(self) -> None:
        """Make the parts requested since `begin` the present set. Forget all others."""
        self._present, self._next = self._next, {}
