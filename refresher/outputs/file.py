"""A token in a file: every reader sees the old value or the new one, whole, whatever is killed whenever."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from refresher.config.declarations import FileOutputSettings
from refresher.core import formats
from refresher.core.formats import Format
from refresher.core.instant import Instant
from refresher.core.model import Holding, Token
from refresher.errors import OutputError
from refresher.outputs import atomic, record
from refresher.outputs.record import Entry

_PAGE = 4096  # bytes: what a small file takes on most file systems
LARGEST = 1024 * 1024  # bytes; the issuer's whole answer is no larger

_NAME_ANOTHER = "an output is a regular file: name another path"
_ADVICE = {
    errno.ENOENT: "create {folder}, or mount the volume there",
    errno.ENOTDIR: "{folder} is no directory: correct the path",
    errno.EISDIR: "an output is a file: add the file's name to the path",
    errno.EINVAL: _NAME_ANOTHER,
    errno.ENXIO: _NAME_ANOTHER,
    errno.ELOOP: "its symbolic links lead to each other: correct them",
    errno.ENAMETOOLONG: "choose a shorter name: temporary files beside it have names 29 bytes longer",
    errno.EACCES: "let {user} read the file, and list and write {folder}",
    errno.EPERM: "make {user} a member of the group to be set; where none is set, look for a sticky bit or "
    "an immutable attribute in {folder}",
    errno.EROFS: "mount the volume of {folder} writable",
    errno.ENOSPC: "free space or inodes in {folder}, or enlarge the volume",
    errno.EDQUOT: "free space in {folder}, or raise the quota of {user}",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f, systemd's LimitFSIZE=)",
    errno.EMFILE: "raise the limit on open files (ulimit -n, systemd's LimitNOFILE=)",
    errno.ENOLCK: "the file system of {folder} has no locks (flock): choose another",
    errno.EOPNOTSUPP: "the file system of {folder} has no locks (flock): choose another",
    errno.EIO: "look into the kernel's log for errors of the disk",
}


class FileOutput:
    """`ports.Output` in a file, with a record beside it of what is in it (`record`).

    A symbolic link stays one: the file it leads to is the output, and is looked up anew each time.
    """

    def __init__(self, settings: FileOutputSettings, issuer_url: str) -> None:
        self.name = f"file:{settings.path}"
        self.lane = f"file:{os.path.dirname(settings.path)}"
        self._settings = settings
        self._format = Format(settings.format, settings.template)
        self._identity = self._format.identity(issuer_url)
        self._issuer_url = issuer_url
        self.needs_refresh = formats.needs_refresh(self._format)

    def inspect(self, now: Instant) -> Holding:
        """See `ports.Output`. Content that the record does not describe has no known end."""
        with self._telling("read"):
            target = self._target()
            try:
                content, status = atomic.read(target, LARGEST)
            except FileNotFoundError:
                return Holding()
        entry = _recorded(target, now).get(record.digest(content))
        if entry is None:
            return Holding()
        intact = entry.format == self._identity and self._has_permissions(status)
        return _holding(entry, content, intact=intact)

    def write(self, token: Token, now: Instant) -> None:
        """See `ports.Output`. The record goes ahead, and describes both this value and the one in place."""
        mode, gid = self._settings.mode, self._gid()
        content = formats.render(self._format, token, now, self._issuer_url)
        entries = {record.digest(content): Entry(self._identity, token.facts)}
        with self._telling("written"):
            target = self._target()
            with atomic.alone(_record_path(target)):
                recorded, in_place = _recorded(target, now), _digest_in_place(target)
                if in_place in recorded:
                    entries.setdefault(in_place, recorded[in_place])
                with atomic.replaced(_record_path(target), record.dump(entries), mode, gid):
                    atomic.replace(target, content, mode, gid)
                    found, _ = atomic.read(self._settings.path, LARGEST)
        if found != content:
            raise OutputError(
                f"{self.name} does not hold what was just written: look for another writer of it"
            )

    def rehearse(self) -> None:
        """Do all that a write does but putting a value in place, and leave nothing behind.

        Raises OutputError where a write would for want of a directory, rights, a group, or space for a page.
        """
        mode, gid = self._settings.mode, self._gid()
        with self._telling("written"):
            atomic.rehearse(_record_path(self._target()), _PAGE, mode, gid)  # it has the longest name

    def clear_debris(self) -> None:
        """See `ports.Output`. Only files of our naming, and only those whose writer is gone."""
        with self._telling("cleared of temporary files"):
            target = self._target()
            atomic.clear(target)
            atomic.clear(_record_path(target))

    def _target(self) -> str:
        """The path of the file itself, all links followed. Raises OSError if anything but a file is there."""
        target = os.path.realpath(self._settings.path)
        with suppress(FileNotFoundError):
            atomic.require_regular(os.stat(target))
        return target

    def _has_permissions(self, status: os.stat_result) -> bool:
        """Whether mode and group are as configured; never with an unknown group, of which a write tells."""
        try:
            gid = self._gid()
        except OutputError:
            return False
        return stat.S_IMODE(status.st_mode) == self._settings.mode and gid in (None, status.st_gid)

    def _gid(self) -> int | None:
        """The number of the configured group. Raises OutputError if this machine has none of that name."""
        group = self._settings.group
        if group is None:
            return None
        if group.isascii() and group.isdecimal():  # the digits of other scripts may be a name
            return int(group)
        import grp  # noqa: PLC0415 - most files have no group of their own

        try:
            return grp.getgrnam(group).gr_gid
        except KeyError as error:
            raise OutputError(
                f"{self.name} cannot be given to the group {group}: this machine has none of that name; "
                "create it, or configure the number of one"
            ) from error

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """Turns an OSError into an OutputError that says which output, why, and what to do."""
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self.name} cannot be {what}: {_explained(error, self._settings.path)}"
            ) from error


def _explained(error: OSError, path: str) -> str:
    target = os.path.realpath(path)
    code = errno.errorcode.get(error.errno or 0, "no error number")
    advice = _ADVICE.get(error.errno or 0, "").format(
        folder=os.path.dirname(target), user=f"user {os.geteuid()}"
    )
    led = f", which leads to {target}" if target != path else ""
    return f"{error.strerror} ({code}){led}" + (f"; {advice}" if advice else "")


def _holding(entry: Entry, content: bytes, *, intact: bool) -> Holding:
    form = formats.of_identity(entry.format)
    credentials = formats.read_back(form, content)
    if credentials is None:
        return Holding(entry.facts, None, intact) if form.name == "template" else Holding()
    access, refresh = credentials
    if access.fingerprint != entry.facts.fingerprint:
        return Holding()
    return Holding(entry.facts, Token(entry.facts, access, refresh), intact)


def _record_path(target: str) -> str:
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{name}.meta.json")


def _recorded(target: str, now: Instant) -> dict[str, Entry]:
    try:
        content, _ = atomic.read(_record_path(target), record.LARGEST)
    except OSError:  # as good as no record: the token's end is not known, and it is replaced
        return {}
    return record.load(content, now)


def _digest_in_place(target: str) -> str | None:
    try:
        content, _ = atomic.read(target, LARGEST)
    except (FileNotFoundError, PermissionError):  # another user's file is replaced as well
        return None
    return record.digest(content)
