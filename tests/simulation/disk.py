"""Real files under the real `outputs/file.py`: every change of the file system can fail, or be the last.

Python tells an audit hook (sys.addaudithook) of every open, rename, unlink and chmod before it is done, and
what the hook raises takes its place. So a process is killed between any two effects, and a disk is full,
without a line of the program being replaced: from the fatal effect on, its clean-up code is as dead as it is.
"""

import errno
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from refresher.config.output_kinds import LOCK_FILE
from refresher.core.instant import Instant
from refresher.core.model import Holding, Token
from refresher.core.seal import Sealer
from refresher.errors import OutputHeldError
from refresher.outputs.file import FileOutput
from tests.simulation.process import Process
from tests.simulation.virtual import KilledError

_CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_EFFECTS = {"os.rename": "rename", "os.remove": "unlink", "os.chmod": "chmod"}
_SHARED_MEMORY = "/dev/shm"  # where it exists: what is lost with the machine needs no disk to be tried


class Hang(NamedTuple):
    """Every step hangs at one of its calls until `until` (true time); then the call goes on, or `fails`.

    `for_ever`: it does neither, as on a server that is gone for good. Later steps go well, as after another
    server was mounted in its place.
    """

    outputs: tuple[str, ...]
    until: float
    fails: bool = False
    for_ever: bool = False


class Disk:
    """A folder. `fails_with`: the errno of every change, by output; `fails_reads`: of a look too."""

    def __init__(self) -> None:
        base = _SHARED_MEMORY if os.path.isdir(_SHARED_MEMORY) else None
        self._folder = tempfile.TemporaryDirectory(prefix="simulation-", dir=base)
        self.path = os.path.realpath(self._folder.name)
        self.fails_with: dict[str, int] = {}  # by output
        self.fails_reads = False
        self.held_elsewhere: set[str] = set()  # outputs that another process owns
        self.hang: Hang | None = None
        self._process: Process | None = None
        self._output = ""
        self._calls_left: int | None = None  # that go well before one hangs; None: none does

    def close(self) -> None:
        self._folder.cleanup()

    def hangs(self, output: str) -> bool:
        return self.hang is not None and output in self.hang.outputs

    @contextmanager
    def used_by(self, process: Process, output: str) -> Iterator[None]:
        """In the block every system call on files is that process's."""
        global _in_use  # noqa: PLW0603 -- an audit hook is the interpreter's, and stays
        _install()
        _in_use, self._process, self._output = self, process, output
        self._calls_left = process.world.dice.choice((0, 0, *range(12))) if self.hangs(output) else None
        try:
            yield
            if self._calls_left is not None:
                self._hang()  # it has done everything, and nobody knows
        except KilledError:
            _in_use = None
            self._close_descriptors()
            raise
        finally:
            _in_use = None

    def before(self, event: str, arguments: tuple) -> None:
        """Raises KilledError or OSError in place of what is about to be done."""
        process = self._process
        if process is None:
            return
        if event == "fcntl.flock":
            self._lock(arguments[0])
            return
        what = _EFFECTS.get(event)
        if event == "open":
            flags = arguments[2] or 0
            changes = bool(flags & _CHANGES)
            if self._output in self.fails_with and (changes or self.fails_reads):
                self._fail(arguments[0])
            what = "create" if changes else None
        is_lock_file = os.path.basename(str(arguments[0])) == LOCK_FILE  # a mutex keeps other strands out
        if (event == "open" or what is not None) and not is_lock_file:
            self._perhaps_hang(str(arguments[0]))
        if what is None:
            return
        if what == "rename" and self._output in self.fails_with:
            self._fail(arguments[0])
        process.effect(f"{what} {_sort(str(arguments[0]))}")

    def _perhaps_hang(self, path: str) -> None:
        if self._calls_left:
            self._calls_left -= 1
        elif self._calls_left == 0 and self._hang():
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    def _hang(self) -> bool:
        """Let other strands go on meanwhile; whether the call fails in the end."""
        global _in_use  # noqa: PLW0603 -- as in `used_by`
        process, output, hang, self._calls_left = self._process, self._output, self.hang, None
        assert process is not None
        if hang is None or process.world.now >= hang.until:
            return False
        _in_use = None
        process.here.look(output)
        try:
            process.world.hang(float("inf") if hang.for_ever else hang.until)
            process.stay_suspended()
        finally:
            _in_use, self._process, self._output, self._calls_left = self, process, output, None
        return hang.fails

    def _lock(self, descriptor: int) -> None:
        """Whoever finds the record locked by what hangs goes on without a lock after a while: at once here,
        as that while is in real time."""
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if not path.endswith(".meta.json"):
            return
        if any(file == path for other, file in self._descriptors() if other != descriptor):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def _fail(self, path: object) -> None:
        code = self.fails_with[self._output]
        raise OSError(code, os.strerror(code), str(path))

    def _close_descriptors(self) -> None:
        """As the kernel does for the dead. The lock file's goes with the output that has opened it."""
        for descriptor, file in self._descriptors():
            if os.path.basename(file) != LOCK_FILE:
                os.close(descriptor)

    def _descriptors(self) -> list[tuple[int, str]]:
        """Those of files of this disk, and which."""
        found = []
        for name in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):  # the one of this very listing
                file = os.readlink(f"/proc/self/fd/{name}")
                if file.startswith(self.path):
                    found.append((int(name), file))
        return found


def _sort(path: str) -> str:
    return ("of the record" if "meta.json" in path else "of the value") + (
        " (temporary)" if ".tmp" in path else ""
    )


class FileOnDisk:
    """`ports.Output`: a real FileOutput whose system calls are one process's on one disk."""

    def __init__(self, output: FileOutput, disk: Disk, process: Process) -> None:
        self.name, self.lane, self.includes_refresh_token = (
            output.name,
            output.lane,
            output.includes_refresh_token,
        )
        self._output, self._disk, self._process = output, disk, process

    def inspect(self, now: Instant) -> Holding:
        with self._disk.used_by(self._process, self.name):
            return self._output.inspect(now)

    def write(self, token: Token, now: Instant, sealer: Sealer) -> None:
        self._require_free()
        try:
            with self._disk.used_by(self._process, self.name):
                self._output.write(token, now, sealer)
            self._process.here.exclusivity.proven(self.name)
        finally:  # dead or alive: what do readers see now?
            self._process.here.look(self.name)

    def request_refresh(self, at: float) -> None:
        self._output.request_refresh(at)

    def has_changed(self) -> bool:
        """A comparison that hangs is reported like a change."""
        return self._disk.hangs(self.name) or self._output.has_changed()

    def request_seen(self) -> float | None:
        return self._output.request_seen()

    def claim(self) -> None:
        self._require_free()
        with self._disk.used_by(self._process, self.name):
            self._output.claim()

    def release(self, wanted: Callable[[], Collection[str]]) -> bool:
        try:
            with self._disk.used_by(self._process, self.name):
                return self._output.release(wanted)
        finally:
            self._process.here.look(self.name)

    def dry_run(self) -> tuple[str, ...]:
        with self._disk.used_by(self._process, self.name):
            caveats = self._output.dry_run()
        self._require_free()
        self._process.here.exclusivity.proven(self.name)
        return caveats

    def _require_free(self) -> None:
        """Locks of files do not exclude the processes here, which are one."""
        if self.name in self._disk.held_elsewhere:
            raise OutputHeldError("belongs to another process, which is running")


_in_use: Disk | None = None
_installed = False


def _install() -> None:
    global _installed  # noqa: PLW0603 -- once per interpreter
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True


def _hook(event: str, arguments: tuple) -> None:
    if _in_use is not None:
        _in_use.before(event, arguments)
