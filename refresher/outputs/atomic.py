"""Whole files or none: how a file is put in place so that nobody ever reads half of it. Raises OSError.

A temporary file is made in the same directory, as rename(2) is atomic only within a file system, and locked
while in use. The lock goes with its process, however that ends: what can be locked is debris.
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
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_TO_LOCK = (
    os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
)  # NFS locks no other
_RANDOM_BYTES = 6
_TEMPORARY = re.compile(rf"\.(.+)\.[0-9a-f]{{{2 * _RANDOM_BYTES}}}\.tmp", re.DOTALL)
_PATIENCE = 2.0  # seconds, with another writer of a file: none takes as long, unless it hangs
_PAUSE = 0.002  # seconds, between two looks at its lock


class Prepared(NamedTuple):
    """A temporary file, whole and locked, ready to take the place of the file `name` beside it."""

    directory: int
    temporary: str
    name: str
    file: int

    def put_in_place(self) -> None:
        """Rename it. On an error the old file is still in place, but for one that the directory's fsync
        reports: then it is not certain which of the two a power cut leaves."""
        os.rename(self.temporary, self.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        _sync_directory(self.directory)


@contextmanager
def prepared(path: str, content: bytes, wanted: Permissions, *, lasting: bool = True) -> Iterator[Prepared]:
    """The file that is to take the place of `path`. It has the mode and group that are `wanted`, whatever the
    umask, as far as the file system keeps them. The end of the block removes it unless it was put in place.

    Unless `lasting`, it need not survive a power cut.
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
    """Put `content` at `path` in one step. In the block the new file is locked: it is nobody else's turn to
    be `alone` with it."""
    with prepared(path, content, wanted) as file:
        file.put_in_place()
        yield


@contextmanager
def alone(path: str) -> Iterator[None]:
    """While in the block, keep out all others who want to be alone with `path`, in this process or another.

    The file at `path` is what is locked, an empty one meanwhile if there is none. Where there are no locks,
    or the holder of one hangs, one goes on without: two at once may cost a mint, but tear nothing.
    """
    lock = _lock(path)
    try:
        yield
    finally:
        if lock is not None:
            if os.fstat(lock).st_size == 0 and _is_at(path, lock):  # nothing has come of it
                os.unlink(path)
            os.close(lock)


def _lock(path: str) -> int | None:
    """A descriptor with the lock, None if it is not to be had."""
    by = time.monotonic() + _PATIENCE
    while time.monotonic() < by:
        try:
            descriptor = os.open(path, _TO_LOCK, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                return descriptor
        except BlockingIOError:
            time.sleep(_PAUSE)
        except OSError:
            by = 0.0
        os.close(descriptor)
    return None


def _is_at(path: str, descriptor: int) -> bool:
    """Whether it still is: the last holder of a lock has put a new file there."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def read(path: str, most: int) -> tuple[bytes, os.stat_result]:
    """The content of a regular file, one byte more than `most` at most, and the status it had then.

    Never waits, as a named pipe would have it: what is no regular file is an error, also a symbolic link.
    """
    with open(path, "rb", opener=_to_look) as file:
        status = os.fstat(file.fileno())
        require_regular(status)
        return file.read(most + 1), status


def require_regular(status: os.stat_result) -> None:
    """Raises OSError unless it is the status of a regular file."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "It is a pipe, a socket or a device")


def temporaries(folder: str) -> dict[str, list[str]]:
    """The temporary files in `folder`, by the name of the file whose place each was to take."""
    found: dict[str, list[str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if match := _TEMPORARY.fullmatch(entry.name):
                found.setdefault(match[1], []).append(entry.name)
    return found


def remove_dead(folder: str, names: list[str]) -> None:
    """Remove those of these temporary files that no living process is writing."""
    with suppress(FileNotFoundError), _opened(folder, _DIRECTORY) as directory:
        for name in names:
            with suppress(FileNotFoundError, BlockingIOError):  # its writer lives
                _remove_dead(directory, name)


def _remove_dead(directory: int, name: str) -> None:
    if stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        with _opened(name, _LOOK, directory) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name, dir_fd=directory)


@contextmanager
def _temporary(directory: int, name: str, wanted: Permissions) -> Iterator[tuple[str, int]]:
    """A locked temporary file and its descriptor; removed in the end unless it was renamed."""
    temporary = f".{name}.{os.urandom(_RANDOM_BYTES).hex()}.tmp"
    with _opened(temporary, _CREATE, directory, permissions.at_first(wanted, directory)) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_nlink == 0:  # between creation and lock, another process took it for debris
                raise BlockingIOError(errno.EAGAIN, "Another process is clearing up here")
            yield temporary, file
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=directory)


def _write_whole(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        written = os.write(file, rest)
        if written == 0:  # a broken file system: trying again would never end
            raise OSError(errno.ENOSPC, "The file system takes no more bytes")
        rest = rest[written:]


def _sync_directory(directory: int) -> None:
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems have no fsync of directories
            raise


def _to_look(path: str, flags: int) -> int:
    return os.open(path, flags | _LOOK)


@contextmanager
def _opened(path: str, flags: int, directory: int | None = None, mode: int = 0o600) -> Iterator[int]:
    descriptor = os.open(path, flags, mode, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
