"""Sets the mode and group of a file, and reports what the file system keeps of them.

Some file systems keep neither. SMB shares (Azure Files), vboxsf and FUSE mounts show every file with the mode
and group of the mount, and ignore or refuse a change. A default ACL of a directory (acl(5)) lets more users
read a file than its mode does. All I/O is on the given descriptor. Raises OSError.
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
    """The mode and group of a file. `gid` is None if any group is accepted."""

    mode: int
    gid: int | None = None

    def __str__(self) -> str:
        return f"{self.mode:04o}" if self.gid is None else f"{self.mode:04o} {self.gid}"


class GroupError(OSError):
    """The group of a file cannot be changed."""


def parse(text: str) -> Permissions | None:
    """The inverse of `str`; None if `text` is malformed."""
    match = re.fullmatch(r"([0-7]{4})(?: (\d{1,10}))?", text, re.ASCII)
    return match and Permissions(int(match[1], 8), int(match[2]) if match[2] else None)


def shown(status: os.stat_result, wanted: Permissions) -> Permissions:
    """The permissions of a file. Leaves out the group if `wanted` has none."""
    return Permissions(stat.S_IMODE(status.st_mode), None if wanted.gid is None else status.st_gid)


def at_first(wanted: Permissions, directory: int) -> int:
    """The mode to create a file with. It is the wanted one, because some file systems refuse a later change.
    But if the file starts in another group, it is 0600, so that this group can never read it."""
    if wanted.gid is None:
        return wanted.mode
    parent = os.fstat(directory)
    group = parent.st_gid if parent.st_mode & stat.S_ISGID else os.getegid()
    return wanted.mode if group == wanted.gid else 0o600


def give(file: int, wanted: Permissions) -> None:
    """Give the file of this descriptor the wanted mode and group, unless it has them.

    If the file system refuses a change that we are entitled to, this is no error: `shown` then differs.
    Raises GroupError for a group that we must not set.
    """
    status = os.fstat(file)
    if wanted.gid is not None and status.st_gid != wanted.gid:
        _give_group(file, wanted.gid)
        status = os.fstat(file)
    if stat.S_IMODE(status.st_mode) != wanted.mode:
        try:
            os.fchmod(file, wanted.mode)  # the file is ours: only the file system can refuse
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
    """How the permissions of the file differ from `wanted`, and what to do; None if they are the same."""
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
    """The effect on readers of the token."""
    if kept & ~wanted & stat.S_IROTH:
        return " (every user can read the token)"
    if kept & ~wanted & stat.S_IRGRP:
        return " (its group can read the token)"
    return " (its group cannot read the token)" if wanted & ~kept & stat.S_IRGRP else ""


def caveats(file: int, folder: str, wanted: Permissions) -> tuple[str, ...]:
    """Warnings about a file that can be written, but not exactly as configured."""
    found = []
    if problem := not_kept(wanted, shown(os.fstat(file), wanted)):
        found.append(problem)
    if readers := other_readers(file):
        found.append(
            f"the default access control list of {folder} lets {readers} read the token, whatever its mode "
            f"says; `setfacl -k {folder}` removes it"
        )
    return tuple(found)


def other_readers(file: int) -> str | None:
    """The other users and groups that an access control list lets read this file; None if there are none."""
    try:
        acl = os.getxattr(file, _ACL)
    except (OSError, AttributeError):  # the file has none, or this system has none
        return None
    entries = list(_ACL_ENTRY.iter_unpack(acl[_ACL_HEADER.size :]))
    mask = next((permitted for tag, permitted, _ in entries if tag == _MASK), _READ)
    readers = list(_named(entries)) if mask & _READ else []
    return ", ".join(readers) or None


def _named(entries: list[tuple[int, int, int]]) -> Iterator[str]:
    for tag, permitted, number in entries:
        if permitted & _READ and tag in (_USER, _GROUP):
            yield f"{'user' if tag == _USER else 'group'} {number}"


def group_number(group: str) -> int:
    """The number of a group, given by name or number. Raises KeyError for an unknown name."""
    if group.isascii() and group.isdecimal():  # the digits of other scripts may be a name
        return int(group)
    import grp  # noqa: PLC0415 - most files have no group of their own

    return grp.getgrnam(group).gr_gid
