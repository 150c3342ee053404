"""Compares a file output with its last reading, so that an output that has not changed need not be inspected.

Timestamps have a granularity: a change in the same tick as the change before it leaves no trace. So a reading
counts only if it began `SETTLED` seconds or more after its files were first seen in this condition. Any later
change then has another timestamp. Only differences count, so the clock of a file server may be wrong.

What was read is not kept: the state of the token has it, and ten thousand tokens would be in memory twice. An
inspection, every few minutes, reads the files.
"""

import hashlib
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from refresher.core.instant import Instant
from refresher.core.state import NEVER
from refresher.outputs.permissions import Permissions

SETTLED = 2.0  # seconds; the coarsest timestamps are those of FAT

_STATUS = "QQqqq"

Condition = bytes
"""A digest of what decides about a holding: the status of the files, and the permissions that are configured.
Every change of a content, mode, owner or access control list changes the time of the inode (st_ctime)."""


def condition_of(paths: tuple[str, ...], wanted: Permissions) -> Condition:
    """The present condition of these files. Raises OSError."""
    described = b"".join(_packed(os.lstat(path)) for path in paths) + str(wanted).encode()
    return hashlib.sha256(described).digest()


def _packed(status: os.stat_result) -> bytes:
    times = status.st_mtime_ns, status.st_ctime_ns
    return struct.pack(_STATUS, status.st_dev, status.st_ino, status.st_size, *times)


class _Seen(NamedTuple):
    """`since`: when (boot seconds) the files were first seen so; NEVER once a reading counts."""

    condition: Condition
    since: float

    @property
    def is_settled(self) -> bool:
        return self.since == NEVER


class LastReading:
    """When a reading of one output counts. Several threads may use it: one may hang."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: _Seen | None = None

    def begins(self, condition: Condition | None, now: Instant) -> None:
        """A reading begins in this condition; None if that is unknown."""
        if condition is None:
            self._seen = None
        elif self._seen is None or self._seen.condition != condition:
            self._seen = _Seen(condition, now.boot)

    def counts(self, condition: Condition | None, now: Instant) -> bool:
        """Whether the reading that began in this condition, at `now`, counts. Then `has_changed` reports any
        change after it."""
        seen = self._seen
        if seen is None or seen.condition != condition or now.boot - seen.since < SETTLED:
            return False
        self._seen = seen._replace(since=NEVER)
        return True

    def has_changed(self, present: Callable[[], Condition | None]) -> bool:
        """Whether the `present` condition differs from that of the reading that counts. False without one."""
        seen = self._seen
        if seen is None or not seen.is_settled:
            return False
        with suppress(OSError):
            return seen.condition != present()
        return True
