"""Resolves a path, and follows only symbolic links that no other user can have made.

The kernel does that only in sticky directories (fs.protected_symlinks). systemd calls it CHASE_SAFE.
"""

import errno
import os
import stat

_MOST_LINKS = 40  # on one path, as in path_resolution(7)
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class UntrustedLinkError(OSError):
    """A symbolic link is not followed. The text has its path, the reason, and what to do."""


def resolve(path: str) -> str:
    """The absolute `path` with its symbolic links resolved. Parts that do not exist are kept.

    Raises UntrustedLinkError if a user other than root and ours may have made a link, and OSError for a loop
    of links.
    """
    resolved, links = "/", 0
    rest = path.split("/")[::-1]
    while rest:
        name = rest.pop()
        if name in ("", "."):
            continue
        if name == "..":
            resolved = os.path.dirname(resolved)
            continue
        step = f"{resolved.rstrip('/')}/{name}"
        try:
            status = os.lstat(step)
        except FileNotFoundError:
            resolved = step
            continue
        if not stat.S_ISLNK(status.st_mode):
            resolved = step
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        _require_trusted(step, status, resolved)
        target = os.readlink(step)
        resolved = "/" if target.startswith("/") else resolved
        rest += target.split("/")[::-1]
    return resolved


def _require_trusted(link: str, status: os.stat_result, folder: str) -> None:
    trusted = (0, os.geteuid())
    parent = os.lstat(folder)
    if status.st_uid not in trusted:
        reason = f"it belongs to user {status.st_uid}; delete it"
    elif parent.st_uid not in trusted:
        reason = f"its directory {folder} belongs to user {parent.st_uid}; chown it to root or {trusted[1]}"
    elif parent.st_mode & _WRITABLE_BY_OTHERS and not parent.st_mode & stat.S_ISVTX:
        reason = f"other users can write its directory {folder}; remove that permission (chmod go-w)"
    else:
        return
    raise UntrustedLinkError(
        errno.ENOLINK, f"the symbolic link {link} is not followed: {reason}, or name a path without it"
    )
