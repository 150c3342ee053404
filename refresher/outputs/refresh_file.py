"""A request to replace the token in a file: an empty file beside it, `.NAME.refresh`.

Its time of modification is the request (`Holding.refresh_requested`), so ``touch`` places one too. There is
no content to parse, and a link is not followed. Raises OSError.
"""

import os
import stat
from contextlib import suppress

from refresher.config.output_kinds import refresh_path
from refresher.outputs import atomic
from refresher.outputs.permissions import Permissions

_NANOSECONDS = 1_000_000_000
_FOR_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def place(target: str, at: float) -> None:
    """Request a token for the file `target` that is issued at wall time `at` or later."""
    with atomic.prepared(refresh_path(target), b"", Permissions(0o600), lasting=False) as file:
        nanoseconds = int(at * _NANOSECONDS)
        os.utime(file.file, ns=(nanoseconds, nanoseconds))
        file.put_in_place()


def placed(target: str) -> float | None:
    """The wall time of the request for the file `target`; None without one that counts."""
    with suppress(FileNotFoundError):
        status = os.lstat(refresh_path(target))
        if _is_trusted(status, os.stat(os.path.dirname(target))):
            return status.st_mtime
    return None


def _is_trusted(file: os.stat_result, folder: os.stat_result) -> bool:
    """Whether only users who may replace the token can have placed this request.

    In a directory with the sticky bit, such as /tmp, every user may create a file, but only the owners of the
    directory and of the token's file may replace the token.
    """
    if not stat.S_ISREG(file.st_mode):
        return False
    if folder.st_mode & stat.S_ISVTX:
        trusted = file.st_uid in (0, os.geteuid(), folder.st_uid)
        return trusted and not file.st_mode & _FOR_OTHERS
    return not file.st_mode & ~folder.st_mode & _FOR_OTHERS
