"""The mode and group of a file: setting them, and what the file system makes of that.

Some file systems keep neither: SMB shares (Azure Files), vboxsf and FUSE mounts show every file with the mode
and group of the mount, and ignore or refuse to change them. A default ACL of a directory (acl(5)) lets more
users read a file than its mode says. No I/O but on the descriptor given. Raises OSError.
"""

import errno
import os
import re
import stat
import struct
from collections.abc import Iterator
from typing import NamedTuple

from refresher.core.values import distinct

_REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP)
_ACL = "system.posix_acl_access"
_ACL_HEADER, _ACL_ENTRY = struct.Struct("<I"), struct.Struct("<HHI")  # linux/posix_acl_xattr.h
_USER, _GROUP, _MASK = 0x02, 0x08, 0x10  # tags of entries, linux/posix_acl.h
_READ = 4
_CONFIGURABLE, _NEEDED = 0o775, 0o600  # of a mode, see config/value_types.py


@distinct
class Permissions(NamedTuple):
    """`gid` is None where any group will do."""

    mode: int
    gid: int | None = None

    def __str__(self) -> str:
        return f"{self.mode:04o}" if self.gid is None else f"{self.mode:04o} {self.gid}"


class GroupError(OSError):
    """A file cannot be given to the group that is wanted."""


def parse(text: str) -> Permissions | None:
    """The permissions whose `str` that is; None if it is nothing of the kind."""
    match = re.fullmatch(r"([0-7]{4})(?: (\d{1,10}))?", text, re.ASCII)
    return match and Permissions(int(match[1], 8), int(match[2]) if match[2] else None)


def shown(status: os.stat_result, wanted: Permissions) -> Permissions:
    """What a file has, as far as it is comparable with what is wanted."""
    return Permissions(stat.S_IMODE(status.st_mode), None if wanted.gid is None else status.st_gid)


def at_first(wanted: Permissions, directory: int) -> int:
    """The mode with which to create a file in a directory: the one that is wanted, as some file systems
    refuse to change it later. But for no moment may a group open the file that is not to read it."""
    if wanted.gid is None:
        return wanted.mode
    around = os.fstat(directory)
    group = around.st_gid if around.st_mode & stat.S_ISGID else os.getegid()
    return wanted.mode if group == wanted.gid else 0o600


def give(file: int, wanted: Permissions) -> None:
    """Give the file of this descriptor the mode and group that are wanted, unless it has them.

    No error if the file system refuses what we are entitled to: `shown` then differs. Raises GroupError for
    a group that we may not set.
    """
    status = os.fstat(file)
    if wanted.gid is not None and status.st_gid != wanted.gid:
        _give_group(file, wanted.gid)
        status = os.fstat(file)
    if stat.S_IMODE(status.st_mode) != wanted.mode:
        try:
            os.fchmod(file, wanted.mode)  # the file is ours: nothing but the file system can object
        except OSError as error:
            if error.errno not in _REFUSED:
                raise


def _give_group(file: int, gid: int) -> None:
    try:
        os.fchown(file, -1, gid)
    except OSError as error:
        entitled = gid in (os.getegid(), *os.getgroups())
        if not entitled or error.errno not in _REFUSED:
            raise GroupError(error.errno, error.strerror) from error


def not_kept(wanted: Permissions, kept: Permissions) -> str | None:
    """What the file system made of the permissions `wanted`, and what to do; None if it kept them."""
    if wanted == kept:
        return None
    parts = []
    if kept.mode != wanted.mode:
        parts.append(f"mode {kept.mode:04o} instead of {wanted.mode:04o}{_effect(wanted.mode, kept.mode)}")
    if kept.gid != wanted.gid:
        parts.append(f"group {kept.gid} instead of {wanted.gid}")
    configurable = not kept.mode & ~_CONFIGURABLE and kept.mode & _NEEDED == _NEEDED
    accept = f', or configure `mode: "{kept.mode:04o}"` to accept it' if configurable else ""
    return (
        f"its file system does not keep permissions: it shows {' and '.join(parts)}; "
        f"mount it with the right ones (uid=, gid=, file_mode=){accept}"
    )


def _effect(wanted: int, kept: int) -> str:
    """What that means for readers of the token."""
    if kept & ~wanted & stat.S_IROTH:
        return " (every user can read the token)"
    if kept & ~wanted & stat.S_IRGRP:
        return " (its group can read the token)"
    return " (its group cannot read the token)" if wanted & ~kept & stat.S_IRGRP else ""


def other_readers(file: int) -> str | None:
    """Who else an access control list lets read the file of this descriptor; None if it lets nobody."""
    try:
        acl = os.getxattr(file, _ACL)
    except (OSError, AttributeError):  # it has none, or there are none here
        return None
    entries = list(_ACL_ENTRY.iter_unpack(acl[_ACL_HEADER.size :]))
    mask = next((permitted for tag, permitted, _ in entries if tag == _MASK), _READ)
    readers = list(_named(entries)) if mask & _READ else []
    return ", ".join(readers) or None


def _named(entries: list[tuple[int, int, int]]) -> Iterator[str]:
    for tag, permitted, number in entries:
        if permitted & _READ and tag in (_USER, _GROUP):
            yield f"{'user' if tag == _USER else 'group'} {number}"
