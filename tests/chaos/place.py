"""The directory that one daemon writes to, and the faults of its disk."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from enum import Enum
from pathlib import Path

from tests.chaos import tasks

SIZE = 64 * 1024  # bytes: sixteen pages, of which six files take one each
PAGE = 4096
ALLOWED = "CHAOS_MAY_MOUNT"
MOUNTED_WITHIN = 10.0  # seconds

# Root may access everything, so `setpriv` removes that right; mounts end with their namespace.
_NO_OVERRIDE = "-dac_override,-dac_read_search"
_OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private")
_NO_PRIVILEGE = ("setpriv", f"--inh-caps={_NO_OVERRIDE}", f"--bounding-set={_NO_OVERRIDE}")


def enter_namespace(command: list[str]) -> None:
    """As root: continue as `command` in a mount namespace and without root's right to ignore permissions, if
    this machine allows both. Other users need no such step, and cannot mount."""
    if os.geteuid() != 0 or ALLOWED in os.environ:
        return
    before = [each for each in (_OWN_MOUNTS, _NO_PRIVILEGE) if _works(*each)]
    may_mount = "1" if _OWN_MOUNTS in before else ""
    argv = [word for each in before for word in each] + command
    sys.stdout.flush()
    with tasks.group() as group:
        ran = subprocess.run(argv, env=os.environ | {ALLOWED: may_mount} | group, check=False)
    sys.exit(ran.returncode)


def _works(*command: str) -> bool:
    with suppress(FileNotFoundError):
        return subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return False


class Disk(Enum):
    PLAIN = "a directory like any other"
    SMALL = "a file system of its own that can be filled"
    HANGING = "a file system in a process (FUSE) that can be stopped"

    def is_to_be_had(self) -> bool:
        """Whether this machine allows it."""
        if self is Disk.HANGING and not (shutil.which("bindfs") and os.path.exists("/dev/fuse")):
            return False
        return self is Disk.PLAIN or bool(os.environ.get(ALLOWED))


class Place:
    """A directory for outputs, on a `disk` of this kind or on a plain one. `path`: as the daemon sees it.
    `behind`: as all others see it, even while the disk hangs."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path = self.behind = path
        self.disk = disk if disk.is_to_be_had() else Disk.PLAIN
        self.path.mkdir()
        self._server: subprocess.Popen[bytes] | None = None
        self._end: threading.Timer | None = None
        if self.disk is Disk.SMALL:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path)], check=True)
        elif self.disk is Disk.HANGING:
            self.behind = path.with_name(f"{path.name}-behind")
            self.behind.mkdir()
            self._server = subprocess.Popen(["bindfs", "-f", "--no-allow-other", self.behind, path])
            self._await_mount()
        self._ballast = self.behind / "ballast"

    def _await_mount(self) -> None:
        by = time.monotonic() + MOUNTED_WITHIN
        while not self.path.is_mount():
            assert time.monotonic() < by, "bindfs has mounted nothing"
            time.sleep(0.01)

    def fill(self, free: int) -> None:
        """Leave only so many free pages: perhaps enough for a record, but not for a value."""
        with open(self._ballast, "wb", buffering=0) as ballast, suppress(OSError):
            while ballast.write(bytes(PAGE)):
                pass
        os.truncate(self._ballast, max(0, os.path.getsize(self._ballast) - free * PAGE))

    def forbid(self) -> None:
        """Forbid creating, renaming and removing files here."""
        self.behind.chmod(0o555)

    def hang(self, seconds: float) -> None:
        """Hang for so long. It ends by itself, because kill -9 may not end a process in a system call."""
        assert self._server is not None
        self._server.send_signal(signal.SIGSTOP)
        self._end = threading.Timer(seconds, self._server.send_signal, (signal.SIGCONT,))
        self._end.start()

    def mend(self) -> None:
        """Undo all faults."""
        if self._end is not None and self._server is not None:
            self._end.cancel()
            self._server.send_signal(signal.SIGCONT)
        self.behind.chmod(0o755)
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        self.mend()
        if self.disk is not Disk.PLAIN:
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)
        if self._server is not None:
            self._server.kill()
            self._server.wait()


def limit_file_size(process: subprocess.Popen[str], size: int | None) -> None:
    """Limit the files that this process writes to so many bytes. A longer write ends with EFBIG after the
    bytes that fit, as on a disk that fills up within a value. None: no limit."""
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))
