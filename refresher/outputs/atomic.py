"""Replaces files atomically, so that a reader never sees half a file. Raises OSError.

The new content goes into a temporary file in the same directory, because rename(2) is atomic only within a
file system. Its writer holds a lock on it. The lock ends with the process, even if it is killed. So a
temporary file that can be locked is stale.
"""

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from refresher.outputs import permissions
from refresher.outputs.permissions import Permissions

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# Open for writing, because NFS locks no other files.
_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_RANDOM_BYTES = 6
_TEMPORARY = re.compile(rf"\.(.+)\.[0-9a-f]{{{2 * _RANDOM_BYTES}}}\.tmp", re.DOTALL)
_LOCK_TIMEOUT = 2.0  # seconds to wait for another writer: a longer wait means that it hangs
_POLL = 0.002  # seconds between two attempts to lock


class Prepared(NamedTuple):
    """A complete and locked temporary file, ready to replace the file `name` in the same directory."""

    directory: int
    temporary: str
    name: str
    file: int

    def put_in_place(self) -> None:
        """Replace the file. After an error the old file is still in place, with one exception: if the fsync
        of the directory fails, either file may remain after a power cut."""
        os.rename(self.temporary, self.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        _sync_directory(self.directory)


@contextmanager
def prepared(path: str, content: bytes, wanted: Permissions, *, lasting: bool = True) -> Iterator[Prepared]:
    """A temporary file that can replace `path`. It has the `wanted` mode and group despite the umask, if the
    file system keeps permissions. The end of the block removes it unless it was put in place.

    With `lasting`, its content survives a power cut.
    """
    folder, name = os.path.split(path)
    with _opened(folder, _DIRECTORY) as directory, _temporary(directory, name, wanted) as (temporary, file):
        permissions.give(file, wanted)
        _write_whole(file, content)
        if lasting:
            os.fsync(file)
        yield Prepared(directory, temporary, name, file)


@contextmanager
def replaced(path: str, content: bytes, wanted: Permissions) -> Iterator[None]:
    """Replace the file at `path` with `content` in one step. The new file stays locked during the block: no
    other writer enters `alone`."""
    with prepared(path, content, wanted) as file:
        file.put_in_place()
        yield


@contextmanager
def alone(path: str) -> Iterator[None]:
    """Exclude other `alone` blocks for `path`, in this process and others, during this block.

    It locks the file at `path`, and creates an empty file if none exists. If the file system has no locks, or
    the holder hangs, the block runs without the lock. Two writers at once may cost a mint, but each file
    stays complete.
    """
    lock = _lock(path)
    try:
        yield
    finally:
        if lock is not None:
            if os.fstat(lock).st_size == 0 and _is_at(path, lock):  # still our empty file
                os.unlink(path)
            os.close(lock)


def _lock(path: str) -> int | None:
    """A descriptor that holds the lock; None if it cannot be locked."""
    deadline = time.monotonic() + _LOCK_TIMEOUT
    while time.monotonic() < deadline:
        try:
            descriptor = os.open(path, _LOCK, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                return descriptor
        except BlockingIOError:
            time.sleep(_POLL)
        except OSError:
            deadline = 0.0
        os.close(descriptor)
    return None


def _is_at(path: str, descriptor: int) -> bool:
    """Whether this file is still at `path`. The last holder of the lock may have replaced it."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def read(path: str, longest: int) -> tuple[bytes, os.stat_result]:
    """The first `longest` + 1 bytes of a regular file, and its status.

    Never blocks. Anything but a regular file is an error, including a named pipe and a symbolic link.
    """
    with open(path, "rb", opener=_open_to_read) as file:
        status = os.fstat(file.fileno())
        require_regular(status)
        return file.read(longest + 1), status


def require_regular(status: os.stat_result) -> None:
    """Raises OSError unless `status` is that of a regular file."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "It is a pipe, a socket or a device")


def temporaries(folder: str) -> dict[str, list[str]]:
    """The temporary files in `folder`, by the name of the file that each should replace."""
    found: dict[str, list[str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if match := _TEMPORARY.fullmatch(entry.name):
                found.setdefault(match[1], []).append(entry.name)
    return found


def remove_stale(folder: str, names: list[str]) -> None:
    """Remove the stale ones of these temporary files: no running process is writing them."""
    with suppress(FileNotFoundError), _opened(folder, _DIRECTORY) as directory:
        for name in names:
            with suppress(FileNotFoundError, BlockingIOError):  # its writer still runs
                _remove_stale(directory, name)


def _remove_stale(directory: int, name: str) -> None:
    if stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        with _opened(name, _READ, directory) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name, dir_fd=directory)


@contextmanager
def _temporary(directory: int, name: str, wanted: Permissions) -> Iterator[tuple[str, int]]:
    """Create and lock a temporary file. Yields its name and descriptor. Removes it at the end of the block,
    unless it was renamed."""
    temporary = f".{name}.{os.urandom(_RANDOM_BYTES).hex()}.tmp"
    with _opened(temporary, _CREATE, directory, permissions.at_first(wanted, directory)) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_nlink == 0:  # another process removed it as stale before we locked it
                raise BlockingIOError(errno.EAGAIN, "Another process is removing temporary files")
            yield temporary, file
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=directory)


def _write_whole(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        written = os.write(file, rest)
        if written == 0:  # a broken file system: a retry would loop for ever
            raise OSError(errno.ENOSPC, "The file system takes no more bytes")
        rest = rest[written:]


def _sync_directory(directory: int) -> None:
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot fsync a directory
            raise


def _open_to_read(path: str, flags: int) -> int:
    return os.open(path, flags | _READ)


@contextmanager
def _opened(path: str, flags: int, directory: int | None = None, mode: int = 0o600) -> Iterator[int]:
    descriptor = os.open(path, flags, mode, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
