"""Detects what prevents replacing a file, although a new file beside it can be written. Raises OSError."""

import errno
import fcntl
import os
import stat
import struct
from contextlib import suppress

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_GETFLAGS = 2 << 30 | struct.calcsize("l") << 16 | ord("f") << 8 | 1  # FS_IOC_GETFLAGS, linux/fs.h
_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20
_REFUSALS = (errno.EPERM, errno.EROFS, errno.EOVERFLOW)


def probe(path: str) -> None:
    """Raises the OSError that rename(2) of a new file to `path` would raise. Changes nothing.

    rmdir(2) of a file always fails. First the kernel makes the same checks as for rename: the sticky bit,
    attributes, read-only mounts (may_delete(), fs/namei.c). Only then it fails with ENOTDIR. Other errors do
    not concern rename.
    """
    folder = os.path.dirname(path)
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno in _REFUSALS:
            raise
    with suppress(FileNotFoundError):
        if _mount(path) != _mount(folder):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def require_removable(folder: str) -> None:
    """Raises PermissionError if `folder` is append-only: files created there cannot be removed."""
    if _attributes(folder) & _APPEND_ONLY:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def remedy(*paths: str) -> str | None:
    """What to do if one of `paths`, all in one directory, cannot be replaced (EPERM); None if unknown."""
    folder = os.path.dirname(paths[0])
    if attribute := _attribute(folder):
        return f"the directory has the attribute {attribute}: chattr -{attribute} {folder}"
    for path in paths:
        if attribute := _attribute(path):
            return f"{path} has the attribute {attribute}: chattr -{attribute} {path}"
        with suppress(OSError):
            parent, owner = os.stat(folder), os.lstat(path).st_uid
            if parent.st_mode & stat.S_ISVTX and os.geteuid() not in (owner, parent.st_uid):
                return (
                    f"{path} belongs to user {owner}, and in a sticky directory only its owner may replace "
                    "it: delete it, or name a file in a directory of your own"
                )
    return None


def _attribute(path: str) -> str | None:
    attributes = _attributes(path)
    if attributes & _IMMUTABLE:
        return "i"
    return "a" if attributes & _APPEND_ONLY else None


def _attributes(path: str) -> int:
    """The attributes of chattr(1); 0 if unknown."""
    try:
        file = os.open(path, _READ)
    except OSError:
        return 0
    try:
        return int(struct.unpack("=i", fcntl.ioctl(file, _GETFLAGS, bytes(8))[:4])[0])
    except OSError:
        return 0
    finally:
        os.close(file)


def _mount(path: str) -> bytes | None:
    """Identifies the mount of this file; None if unknown."""
    file = os.open(path, _PATH)
    try:
        with open(f"/proc/self/fdinfo/{file}", "rb") as lines:
            return next((line for line in lines if line.startswith(b"mnt_id:")), None)
    except OSError:  # /proc is missing or not readable
        return None
    finally:
        os.close(file)
