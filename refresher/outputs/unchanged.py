"""Remembers what a file output held, so that an inspection need not read files that have not changed.

Timestamps have a granularity: a change in the same tick as the change before it leaves no trace. So a content
is remembered only if it was read `SETTLED` seconds or more after its files were first seen in this condition.
Any later change then has another timestamp. Only differences count, so the clock of a file server may be
wrong.
"""

import os
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from refresher.core.instant import Instant, from_wall
from refresher.core.model import Holding
from refresher.outputs.permissions import Permissions

SETTLED = 2.0  # seconds; the coarsest timestamps are those of FAT
SAME = 0.001  # seconds: two clocks that are read one after the other never agree exactly

_STATUS = "QQqqq"


class Condition(NamedTuple):
    """What decides about a holding: the status of the files, and the permissions that are configured. Every
    change of a content, mode, owner or access control list changes the time of the inode (st_ctime)."""

    files: bytes
    wanted: Permissions


def condition_of(paths: tuple[str, ...], wanted: Permissions) -> Condition:
    """The present condition of these files. Raises OSError."""
    return Condition(b"".join(_packed(os.lstat(path)) for path in paths), wanted)


def _packed(status: os.stat_result) -> bytes:
    times = status.st_mtime_ns, status.st_ctime_ns
    return struct.pack(_STATUS, status.st_dev, status.st_ino, status.st_size, *times)


class LastReading:
    """What one output held when it was read last. Several threads may use it: one may hang."""

    def __init__(self) -> None:
        self._known: tuple[Condition, float, Holding | None] | None = None

    def holding(self, condition: Condition | None, now: Instant) -> Holding | None:
        """What the output holds; None if it must be read. Call it before each reading."""
        known = self._known
        if condition is None:
            self._known = None
            return None
        if known is None or known[0] != condition:
            self._known = condition, now.boot, None
            return None
        return None if known[2] is None else as_of(known[2], now)

    def kept(self, condition: Condition | None, holding: Holding, now: Instant) -> Holding:
        """Remember `holding`, which was read after `holding` was called, if the condition is settled. Then
        `has_changed` reports changes, and the returned holding is `watched`."""
        known = self._known
        if known is None or known[0] != condition or now.boot - known[1] < SETTLED:
            return holding
        holding = holding._replace(watched=True)
        self._known = condition, known[1], holding
        return holding

    def has_changed(self, present: Callable[[], Condition | None]) -> bool:
        """Whether the `present` condition differs from that of the `watched` holding. False without one."""
        known = self._known
        if known is None or known[2] is None:
            return False
        with suppress(OSError):
            return known[0] != present()
        return True


def as_of(holding: Holding, now: Instant) -> Holding:
    """`holding` as if it were read now: files record only the wall time."""
    if holding.facts is None:
        return holding
    issued = from_wall(holding.facts.issued.wall, now)
    if abs(issued.boot - holding.facts.issued.boot) < SAME:
        return holding  # the same objects, so that ten thousand tokens are in memory once
    facts = holding.facts._replace(issued=issued)
    return holding._replace(facts=facts, token=holding.token and holding.token._replace(facts=facts))
