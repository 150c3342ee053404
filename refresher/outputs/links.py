"""Where a path leads, following only symbolic links that nobody else can have put there.

The kernel does the same in part (fs.protected_symlinks, in sticky directories); systemd calls it CHASE_SAFE.
"""

import errno
import os
import stat

_MOST = 40  # links on one path, as in path_resolution(7)
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class UntrustedLinkError(OSError):
    """A symbolic link is not followed. The text says which, why, and what to do."""


def resolve(path: str) -> str:
    """The absolute `path` without symbolic links in it. What does not exist yet is left as it is.

    Raises UntrustedLinkError for a link that another user than root or ours may have made, and OSError for
    links that lead in a circle.
    """
    here, links = "/", 0
    rest = path.split("/")[::-1]
    while rest:
        name = rest.pop()
        if name in ("", "."):
            continue
        if name == "..":
            here = os.path.dirname(here)
            continue
        step = f"{here.rstrip('/')}/{name}"
        try:
            status = os.lstat(step)
        except FileNotFoundError:
            here = step
            continue
        if not stat.S_ISLNK(status.st_mode):
            here = step
            continue
        links += 1
        if links > _MOST:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        _require_trusted(step, status, here)
        aim = os.readlink(step)
        here = "/" if aim.startswith("/") else here
        rest += aim.split("/")[::-1]
    return here


def _require_trusted(link: str, status: os.stat_result, folder: str) -> None:
    trusted = (0, os.geteuid())
    around = os.lstat(folder)
    if status.st_uid not in trusted:
        why = f"it belongs to user {status.st_uid}; delete it"
    elif around.st_uid not in trusted:
        why = f"its directory {folder} belongs to user {around.st_uid}; give it to root or user {trusted[1]}"
    elif around.st_mode & _WRITABLE_BY_OTHERS and not around.st_mode & stat.S_ISVTX:
        why = f"others may write its directory {folder}; take that right away (chmod go-w)"
    else:
        return
    raise UntrustedLinkError(
        errno.ENOLINK, f"the symbolic link {link} is not followed: {why}, or name a path without it"
    )
