"""A system that refuses more threads to one daemon: a Pod's pid limit, ``TasksMax=``, ``ulimit -u``."""

import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

CONTROLLERS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/pids"))  # cgroups(7): v2, v1
NO_LIMIT = "max"
GROUP = "CHAOS_GROUP"
ITSELF = "1"  # a limit below the present number ends no task; it only prevents new ones


class Tasks(Protocol):
    """The limit for one daemon, kept over restarts."""

    def hold(self, process: subprocess.Popen[str]) -> None:
        """Apply the limit to this process from now on."""

    def refuse(self) -> None:
        """Refuse new threads; running threads continue."""

    def allow(self) -> None:
        """Allow any number of threads."""

    def close(self) -> None:
        """Clean up, once its last process has ended."""


@contextmanager
def group() -> Iterator[dict[str, str]]:
    """A control group for all daemons, as an environment variable for `made`; empty if there is no usable
    controller of tasks."""
    for controller in CONTROLLERS:
        with suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=controller))
            if (folder / "pids.max").exists():
                break
            folder.rmdir()
    else:
        yield {}
        return
    folder.chmod(0o755)
    try:
        yield {GROUP: str(folder)}
    finally:
        folder.rmdir()


class Group:
    """`Tasks` by a control group, for root: other limits do not apply to root."""

    def __init__(self, parent: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="daemon-", dir=parent))

    def hold(self, process: subprocess.Popen[str]) -> None:
        (self._folder / "cgroup.procs").write_text(str(process.pid))

    def refuse(self) -> None:
        (self._folder / "pids.max").write_text(ITSELF)

    def allow(self) -> None:
        (self._folder / "pids.max").write_text(NO_LIMIT)

    def close(self) -> None:
        self._folder.rmdir()


class Limited:
    """`Tasks` by RLIMIT_NPROC, which counts all tasks of the user; a process with this limit gets no more."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._is_refused = False

    def hold(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._apply()

    def refuse(self) -> None:
        self._is_refused = True
        self._apply()

    def allow(self) -> None:
        self._is_refused = False
        self._apply()

    def close(self) -> None:
        """Nothing to clean up."""

    def _apply(self) -> None:
        if self._process is not None:
            _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_NPROC)
            soft = 0 if self._is_refused else hard
            resource.prlimit(self._process.pid, resource.RLIMIT_NPROC, (soft, hard))


def made() -> Tasks | None:
    """The way to limit tasks on this machine; None if there is no way."""
    if os.geteuid() != 0:
        return Limited()
    return Group(os.environ[GROUP]) if GROUP in os.environ else None
