"""The units in deploy/systemd, and systemd's reading of them."""

import re
import subprocess
from functools import cache
from pathlib import Path

from tests import needs

SYSTEMD = Path(__file__).parents[2] / "deploy" / "systemd"
HARDENING = SYSTEMD / "inlive-token-.service.d" / "hardening.conf"
SERVICES = ("inlive-token-refresher.service", "inlive-token-once.service")
INSTALLED = "/opt/inlive-token-refresher/bin/refresher"


def settings(path: Path) -> dict[str, list[str]]:
    """The values of each key of a unit, in their order."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def command(service: str) -> list[str]:
    """The arguments of a service."""
    (line,) = settings(SYSTEMD / service)["ExecStart"]
    program, *words = line.split()
    assert program == INSTALLED
    return words


def allowed_calls() -> set[str]:
    """The system calls that the hardening allows."""
    allowed: set[str] = set()
    for line in settings(HARDENING)["SystemCallFilter"]:
        named = {call for word in line.removeprefix("~").split() for call in _calls(word)}
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


@cache
def _calls(name: str) -> frozenset[str]:
    """The system calls of a group (``@chown``), or the one of that name."""
    if not name.startswith("@"):
        return frozenset([name])
    ask = [needs.tool("systemd-analyze"), "syscall-filter", "--no-pager", name]
    told = subprocess.run(ask, capture_output=True, text=True, timeout=30, check=True).stdout
    inside = re.findall(r"^    (@?\w[\w-]*)$", told, re.MULTILINE)
    assert inside
    return frozenset(call for each in inside for call in _calls(each))
