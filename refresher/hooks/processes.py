"""What /proc says about processes. See proc(5)."""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from refresher.core.disclosure import printable

_LONGEST_NAME = 64  # bytes that are read


class Process(NamedTuple):
    """A process, perhaps a zombie. `began`: seconds after the boot of the machine."""

    parent: int
    began: float
    is_zombie: bool


def numbers() -> Iterator[int]:
    """The numbers of all processes that we see."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def name_of(number: int) -> str:
    """The name of a process, as the kernel keeps it; empty if it has ended."""
    with suppress(OSError), open(f"/proc/{number}/comm", "rb") as file:
        return printable(file.read(_LONGEST_NAME).decode("utf-8", "replace").removesuffix("\n"))
    return ""


def find(number: int) -> Process | None:
    """None if there is no such process."""
    try:
        with open(f"/proc/{number}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before may contain anything
    except OSError:
        return None
    began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return Process(int(fields[1]), began, is_zombie=fields[0] in (b"Z", b"X"))
