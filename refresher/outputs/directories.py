"""What the file outputs of one process share of each directory: a lock file, and one listing at the start.

A process locks one byte of `LOCK_FILE` for each file that it writes, and so needs one descriptor for a
directory with ten thousand tokens in it. The locks are POSIX record locks (fcntl(2)): they end with their
process, however that ends, work between containers and on NFS between machines, and name their holder.
"""

import errno
import fcntl
import hashlib
import os
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from weakref import WeakValueDictionary

from refresher.config.output_kinds import LOCK_FILE
from refresher.outputs import atomic

_PATIENCE = 2.0  # seconds, with another thread that uses the lock file: none takes as long, unless it hangs
_CAREFULLY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FLOCK = "hhqqi0q"  # struct flock: type, whence, start, len, pid


class Directories:
    """Every `Directory` in use, each once: a process that closes a lock file loses all its locks in it."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[str, Directory] = WeakValueDictionary()
        self._mutex = threading.Lock()

    def at(self, path: str) -> "Directory":
        with self._mutex:
            found = self._known.get(path)
            if found is None:
                found = self._known[path] = Directory(path)
            return found


class Directory:
    """One directory. Used from several threads."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock_path = os.path.join(path, LOCK_FILE)
        self._mutex = threading.Lock()
        self._lock_file: int | None = None
        self._claimed: set[int] = set()
        self._temporaries: dict[str, list[str]] | None = None

    def __del__(self) -> None:
        self._close()

    def claim(self, name: str) -> int | None:
        """Lock the file `name` for as long as this process lives. If another process has it, who: its process
        number, or 0 if that is not visible from here, as of a process in another container.

        None once it is ours; also where there are no locks, which hold up nobody.
        """
        place = _place(name)
        with self._taken() as is_taken:
            if not is_taken:
                return None
            if not self._is_open():
                self._open(os.O_RDWR | os.O_CREAT)
            if self._lock_file is None or place in self._claimed:
                return None
            try:
                fcntl.lockf(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    return None
                return _holder(self._lock_file, place) or 0
            self._claimed.add(place)
            return None

    def holder(self, name: str) -> int | None:
        """Which other process has claimed the file `name`, as from `claim`. Claims nothing itself."""
        with self._taken() as is_taken:
            if not is_taken:
                return None
            if not self._is_open():
                self._open(os.O_RDWR)
            return None if self._lock_file is None else _holder(self._lock_file, _place(name))

    def clear(self, *names: str) -> None:
        """Remove the temporary files of the files `names` that no living process is writing, and nothing
        else. The directory is listed once in a process."""
        with self._taken() as is_taken:
            if not is_taken:
                return
            if self._temporaries is None:
                with suppress(FileNotFoundError):
                    self._temporaries = atomic.temporaries(self.path)
            found = self._temporaries or {}
            dead = [temporary for name in names for temporary in found.pop(name, ())]
        if dead:
            atomic.remove_dead(self.path, dead)

    @contextmanager
    def _taken(self) -> Iterator[bool]:
        """Keep other threads out. False if one of them hangs, perhaps for ever: then go on without locks."""
        is_taken = self._mutex.acquire(timeout=_PATIENCE)
        try:
            yield is_taken
        finally:
            if is_taken:
                self._mutex.release()

    def _is_open(self) -> bool:
        """Whether we have the lock file open that is there now: somebody may have deleted it."""
        if self._lock_file is None:
            return False
        try:
            return os.path.samestat(os.lstat(self._lock_path), os.fstat(self._lock_file))
        except OSError:
            return False

    def _open(self, flags: int) -> None:
        self._close()
        with suppress(OSError):  # there can be no locks: what is wrong with the directory, a write reports
            file = os.open(self._lock_path, flags | _CAREFULLY, 0o600)
            if _is_trusted(os.fstat(file), os.stat(self.path)):
                self._lock_file = file
            else:
                os.close(file)

    def _close(self) -> None:
        self._claimed.clear()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


def _is_trusted(file: os.stat_result, folder: os.stat_result) -> bool:
    """Whether no stranger made the lock file: else anybody could keep us from writing in /tmp."""
    return stat.S_ISREG(file.st_mode) and file.st_uid in (0, os.geteuid(), folder.st_uid)


def _place(name: str) -> int:
    """Which byte of the lock file stands for the file `name`."""
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:7], "big")


def _holder(lock_file: int, place: int) -> int | None:
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
    try:
        kind, _, _, _, process = struct.unpack(_FLOCK, fcntl.fcntl(lock_file, fcntl.F_GETLK, asked))
    except OSError:
        return None
    return None if kind == fcntl.F_UNLCK else max(0, process)
