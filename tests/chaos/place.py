"""The directory that one daemon writes to, and what can be wrong with a disk."""

import os
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

SIZE = 64 * 1024  # bytes: sixteen pages, of which six files take one each
PAGE = 4096
ALLOWED = "CHAOS_MAY_MOUNT"

# Root is let in everywhere, but for what `setpriv` takes from it; mounts end with their namespace.
_NO_OVERRIDE = "-dac_override,-dac_read_search"
_OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private")
_NO_PRIVILEGE = ("setpriv", f"--inh-caps={_NO_OVERRIDE}", f"--bounding-set={_NO_OVERRIDE}")


def enter_namespace(command: list[str]) -> None:
    """As root: go on as `command` in a mount namespace and without root's way around permissions, as far as
    both are to be had here. Anybody else has no need for it, and no mounts."""
    if os.geteuid() != 0 or ALLOWED in os.environ:
        return
    before = [each for each in (_OWN_MOUNTS, _NO_PRIVILEGE) if _works(*each)]
    may_mount = "1" if _OWN_MOUNTS in before else ""
    argv = [word for each in before for word in each] + command
    sys.stdout.flush()
    os.execvpe(argv[0], argv, os.environ | {ALLOWED: may_mount})


def _works(*command: str) -> bool:
    with suppress(FileNotFoundError):
        return subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return False


class Place:
    """A directory for outputs; a `small` one is on a file system of its own where mounting is allowed."""

    def __init__(self, path: Path, *, small: bool) -> None:
        self.path = path
        self.path.mkdir()
        self.is_mounted = small and bool(os.environ.get(ALLOWED))
        self._ballast = path / "ballast"
        if self.is_mounted:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path)], check=True)

    def fill(self, free: int) -> None:
        """Leave no more than so many free pages, for a record perhaps but not for a value."""
        with open(self._ballast, "wb", buffering=0) as ballast, suppress(OSError):
            while ballast.write(bytes(PAGE)):
                pass
        os.truncate(self._ballast, max(0, os.path.getsize(self._ballast) - free * PAGE))

    def forbid(self) -> None:
        """Let nobody make, rename or remove anything here."""
        self.path.chmod(0o555)

    def mend(self) -> None:
        """All of it is as it was."""
        self.path.chmod(0o755)
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        self.mend()
        if self.is_mounted:
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)


def limit_file_size(process: subprocess.Popen[str], size: int | None) -> None:
    """Let no write of this process go beyond so many bytes of a file; it is told EFBIG, after the bytes that
    still fit. A disk that fills up within a value does the same. None: no limit."""
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))
