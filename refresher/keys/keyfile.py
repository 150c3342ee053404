"""A secret in a file, usually the key of a token. The file is an ordinary one, a systemd credential, or a
mounted Kubernetes Secret."""

import os
import stat
from typing import BinaryIO

from refresher.config.quoting import shown_path
from refresher.core.keytext import LONGEST_KEY, parse_key
from refresher.core.model import SecretStr
from refresher.errors import KeyUnreadableError

_REMEDIES: dict[type[Exception], str] = {
    FileNotFoundError: "create or mount it, or name another file",
    PermissionError: "make it readable for the user of this process",
    IsADirectoryError: "name the file in it",
}


class KeyFile:
    """`ports.KeySource` that reads the file at `path`.

    Each reading opens the file anew and follows symbolic links. kubelet replaces a mounted Secret by pointing
    the link ``..data`` to another directory, so each reading finds the old content or the new one, whole.
    `kind`: how messages name the content.
    """

    def __init__(self, path: str, kind: str = "key") -> None:
        self.path, self._kind = path, kind
        self.name = f"file:{path}"
        self.lane = f"key:{os.path.dirname(path)}"

    def read(self) -> SecretStr:
        """The present key. Raises KeyUnreadableError, which says what to do and shows no content."""
        try:
            with open(self.path, "rb", opener=_open) as file:
                self._expect_regular(file)
                raw = file.read(LONGEST_KEY + 1)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        try:
            return parse_key(raw)
        except ValueError as error:
            raise KeyUnreadableError(
                f"the {self._kind} file {self.path} holds no {self._kind}: {error}"
            ) from error

    def permissions_warning(self) -> str | None:
        """A sentence for `check` if others than the owner may read the file, else None.

        It is only a hint: kubelet mounts Secrets with mode 0644, in a directory that only the pod sees.
        Raises KeyUnreadableError.
        """
        try:
            mode = stat.S_IMODE(os.stat(self.path).st_mode)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        if not mode & 0o077:
            return None
        file = f"the {self._kind} file {self.path}"
        return f"{file} is open to others than its owner (mode {mode:04o}): chmod 600 it"

    def _expect_regular(self, file: BinaryIO) -> None:
        """Refuse pipes and devices: they can be read only once, and a key file is read every few seconds."""
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("not a regular file")

    def _unreadable(self, error: OSError | ValueError) -> KeyUnreadableError:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        remedy = _REMEDIES.get(type(error), "name a file that can be read")
        return KeyUnreadableError(
            f"the {self._kind} file {shown_path(self.path)} cannot be read: {why}; {remedy}"
        )


def _open(path: str, flags: int) -> int:
    """Open without blocking: otherwise a named pipe would wait for its writer for ever.

    Try twice if the file is missing: kubelet removes the old directory right after the swap, perhaps while we
    open a file in it.
    """
    flags |= os.O_NONBLOCK | os.O_NOCTTY
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        return os.open(path, flags)
