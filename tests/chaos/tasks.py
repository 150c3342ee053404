"""A system that starts no more threads for one daemon: a Pod's pid limit, ``TasksMax=``, ``ulimit -u``."""

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
ITSELF = "1"  # a process with so many tasks is left alone: it just gets no more


class Tasks(Protocol):
    """The limit for one daemon, also when it is started again."""

    def hold(self, process: subprocess.Popen[str]) -> None:
        """From now on the limit is this process's."""

    def refuse(self) -> None:
        """No thread is started any more; those that run go on."""

    def allow(self) -> None:
        """As many as it wants."""

    def close(self) -> None:
        """Once its last process has ended."""


@contextmanager
def group() -> Iterator[dict[str, str]]:
    """A control group for all daemons, as a variable of the environment for `made`; none where there is no
    controller of tasks, or none for us."""
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
    """`Tasks` by a control group: for root, whom no other limit concerns."""

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
    """`Tasks` by RLIMIT_NPROC, which counts all tasks of the user: the process that has it gets no more."""

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
        """Nothing is left of it."""

    def _apply(self) -> None:
        if self._process is not None:
            _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_NPROC)
            soft = 0 if self._is_refused else hard
            resource.prlimit(self._process.pid, resource.RLIMIT_NPROC, (soft, hard))


def made() -> Tasks | None:
    """What limits tasks here; None where nothing does."""
    if os.geteuid() != 0:
        return Limited()
    return Group(os.environ[GROUP]) if GROUP in os.environ else None
