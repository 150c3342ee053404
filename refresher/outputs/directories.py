"""The state that all file outputs of a process share per directory: a lock file and a listing at the start.

A process locks one byte of `LOCK_FILE` for each file that it writes. So one descriptor is enough for a
directory with ten thousand tokens. The locks are POSIX record locks (fcntl(2)). They end with the process,
even if it is killed. They work between containers, and on NFS between machines, and they name their holder.
"""

import errno
import fcntl
import hashlib
import os
import stat
import struct
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from weakref import WeakValueDictionary

from refresher.config.output_kinds import LOCK_FILE
from refresher.outputs import atomic

_MUTEX_TIMEOUT = 2.0  # seconds to wait for another thread: a longer wait means that it hangs
_SAFE_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FLOCK = "hhqqi0q"  # struct flock: type, whence, start, len, pid


class Directories:
    """Every `Directory` in use, each once: a process that closes a lock file loses all its locks in it."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[str, Directory] = WeakValueDictionary()
        self._mutex = threading.Lock()
        self._targets: tuple[Collection[str], frozenset[str]] = (), frozenset()

    def at(self, path: str) -> "Directory":
        with self._mutex:
            found = self._known.get(path)
            if found is None:
                found = self._known[path] = Directory(path)
            return found

    def has_target(self, outputs: Collection[str], target: str) -> bool:
        """Whether any of these outputs, given by name, is the file `target` or a link to it."""
        known, targets = self._targets
        if known is not outputs:  # ten thousand paths are resolved once for each change of the configuration
            paths = (name.removeprefix("file:") for name in outputs if name.startswith("file:"))
            targets = frozenset(map(os.path.realpath, paths))
            self._targets = outputs, targets
        return target in targets


class Directory:
    """One directory. Safe for several threads."""

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
        """Lock the file `name` until `release` or the end of this process. If another process holds the lock,
        return its process number, or 0 if that is not visible here, for example in another container.

        Returns None if the lock is ours, or if the directory has no locks.
        """
        position = _position(name)
        with self._exclusive() as has_mutex:
            if not has_mutex:
                return None
            if not self._is_open():
                self._open(os.O_RDWR | os.O_CREAT)
            if self._lock_file is None or position in self._claimed:
                return None
            try:
                fcntl.lockf(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, position)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    return None
                return _holder(self._lock_file, position) or 0
            self._claimed.add(position)
            return None

    def release(self, name: str) -> None:
        """Unlock the file `name`, if it is locked."""
        position = _position(name)
        with self._exclusive() as has_mutex:
            if has_mutex and self._lock_file is not None and position in self._claimed:
                fcntl.lockf(self._lock_file, fcntl.LOCK_UN, 1, position)
                self._claimed.discard(position)

    def holder(self, name: str) -> int | None:
        """The other process that has claimed the file `name`, as `claim` returns it. Claims nothing."""
        with self._exclusive() as has_mutex:
            if not has_mutex:
                return None
            if not self._is_open():
                self._open(os.O_RDWR)
            position = _position(name)
            if self._lock_file is None or position in self._claimed:
                return None
            return _holder(self._lock_file, position)

    def clear(self, *names: str) -> bool:
        """Remove the temporary files of the files `names` that no running process is writing. Lists the
        directory once per process.

        Returns False if another thread hangs in this directory. Call it again then, and after an OSError.
        """
        with self._exclusive() as has_mutex:
            if not has_mutex:
                return False
            if self._temporaries is None:
                with suppress(FileNotFoundError):
                    self._temporaries = atomic.temporaries(self.path)
            found = self._temporaries or {}
            candidates = [temporary for name in names for temporary in found.get(name, ())]
        if candidates:
            atomic.remove_stale(self.path, candidates)
            for name in names:
                found.pop(name, None)
        return True

    @contextmanager
    def _exclusive(self) -> Iterator[bool]:
        """Exclude other threads. Yields False if one of them hangs: callers then continue without locks."""
        has_mutex = self._mutex.acquire(timeout=_MUTEX_TIMEOUT)
        try:
            yield has_mutex
        finally:
            if has_mutex:
                self._mutex.release()

    def _is_open(self) -> bool:
        """Whether the lock file that we have open is still in the directory."""
        if self._lock_file is None:
            return False
        try:
            return os.path.samestat(os.lstat(self._lock_path), os.fstat(self._lock_file))
        except OSError:
            return False

    def _open(self, flags: int) -> None:
        self._close()
        with suppress(OSError):  # continue without locks: a write reports the problem of the directory
            file = os.open(self._lock_path, flags | _SAFE_FLAGS, 0o600)
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
    """Whether the lock file was made by us, root or the directory's owner. In /tmp any user could otherwise
    block our writes."""
    return stat.S_ISREG(file.st_mode) and file.st_uid in (0, os.geteuid(), folder.st_uid)


def _position(name: str) -> int:
    """The position of the byte in the lock file that stands for the file `name`."""
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:7], "big")


def _holder(lock_file: int, position: int) -> int | None:
    query = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, position, 1, 0)
    try:
        kind, _, _, _, process = struct.unpack(_FLOCK, fcntl.fcntl(lock_file, fcntl.F_GETLK, query))
    except OSError:
        return None
    return None if kind == fcntl.F_UNLCK else max(0, process)
