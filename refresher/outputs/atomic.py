"""Whole files or none: how a file is put in place so that nobody ever reads half of it. Raises OSError.

A temporary file is made in the same directory, as rename(2) is atomic only within a file system, and locked
while in use. The lock goes with its process, however that ends: what can be locked is debris.
"""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_TO_LOCK = (
    os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
)  # NFS locks no other
_RANDOM_BYTES = 6
_PATIENCE = 2.0  # seconds, with another writer of a file: none takes as long, unless it hangs
_PAUSE = 0.002  # seconds, between two looks at its lock


def replace(path: str, content: bytes, mode: int, gid: int | None) -> None:
    """Put `content` at `path` in one step, with exactly this mode whatever the umask, and this group if any.

    On an error the old file is still in place, but for one that the directory's fsync reports: then it is not
    certain which of the two a power cut leaves.
    """
    with replaced(path, content, mode, gid):
        pass


@contextmanager
def replaced(path: str, content: bytes, mode: int, gid: int | None) -> Iterator[None]:
    """`replace`, and in the block the new file is locked: it is nobody else's turn to be `alone` with it."""
    with _prepared(path, content, mode, gid) as (directory, temporary):
        os.rename(temporary, os.path.basename(path), src_dir_fd=directory, dst_dir_fd=directory)
        _sync_directory(directory)
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


def rehearse(path: str, size: int, mode: int, gid: int | None) -> None:
    """Do all that `replace` does with `size` bytes but the renaming, and leave nothing behind."""
    with _prepared(path, bytes(size), mode, gid):
        pass


def read(path: str, most: int) -> tuple[bytes, os.stat_result]:
    """The content of a regular file, one byte more than `most` at most, and the status it had then.

    Never waits, as a named pipe would have it: what is no regular file is an error.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        status = os.fstat(file.fileno())
        require_regular(status)
        return file.read(most + 1), status


def require_regular(status: os.stat_result) -> None:
    """Raises OSError unless it is the status of a regular file."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "It is a pipe, a socket or a device")


def clear(path: str) -> None:
    """Remove the temporary files of `path` that no living process is writing, and nothing else."""
    folder, name = os.path.split(path)
    with suppress(FileNotFoundError), _opened(folder, _DIRECTORY) as directory:
        for entry in os.listdir(directory):
            if _is_temporary(entry, name):
                with suppress(FileNotFoundError, BlockingIOError):  # its writer lives
                    _clear_one(directory, entry)


def _clear_one(directory: int, name: str) -> None:
    if stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        with _opened(name, _LOOK, directory) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name, dir_fd=directory)


@contextmanager
def _prepared(path: str, content: bytes, mode: int, gid: int | None) -> Iterator[tuple[int, str]]:
    """The directory of `path`, and the temporary file in it that is ready to take the place of `path`."""
    folder, name = os.path.split(path)
    with _opened(folder, _DIRECTORY) as directory, _temporary(directory, name) as (temporary, file):
        if gid is not None and os.fstat(file).st_gid != gid:
            os.fchown(file, -1, gid)
        os.fchmod(file, mode)
        _write_whole(file, content)
        os.fsync(file)
        yield directory, temporary


@contextmanager
def _temporary(directory: int, name: str) -> Iterator[tuple[str, int]]:
    """A locked temporary file and its descriptor; removed in the end unless it was renamed."""
    temporary = f".{name}.{os.urandom(_RANDOM_BYTES).hex()}.tmp"
    with _opened(temporary, _CREATE, directory) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_nlink == 0:  # between creation and lock, another process took it for debris
                raise BlockingIOError(errno.EAGAIN, "Another process is clearing up here")
            yield temporary, file
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=directory)


def _is_temporary(entry: str, name: str) -> bool:
    before, after = f".{name}.", ".tmp"
    digits = entry.removeprefix(before).removesuffix(after)
    return (
        entry == before + digits + after
        and len(digits) == 2 * _RANDOM_BYTES
        and all(digit in "0123456789abcdef" for digit in digits)
    )


def _write_whole(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sync_directory(directory: int) -> None:
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems have no fsync of directories
            raise


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


@contextmanager
def _opened(path: str, flags: int, directory: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o600, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
