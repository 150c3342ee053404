"""A token in a file: every reader sees the old value or the new one, whole, whatever is killed whenever."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from refresher.config.output_kinds import record_path
from refresher.config.quoting import shown
from refresher.core import formats
from refresher.core.formats import Format
from refresher.core.instant import Instant
from refresher.core.model import Holding, Token
from refresher.core.seal import Sealer
from refresher.errors import OutputError, OutputHeldError
from refresher.outputs import atomic, links, obstacles, permissions, record
from refresher.outputs.directories import Directories, Directory
from refresher.outputs.permissions import Permissions
from refresher.outputs.record import DEFAULT_OWNER, Entry, Kept, Record, Writer
from refresher.outputs.trouble import explained

_PAGE = 4096  # bytes: what a small file takes on most file systems
LARGEST_FILE = 1024 * 1024  # bytes; the issuer's whole answer is no larger

_log = logging.getLogger("refresher")


class Plan(NamedTuple):
    """What one installation keeps in one file."""

    path: str  # absolute
    issuer_url: str
    format: Format = Format("token")
    mode: int = 0o600
    group: str | None = None  # name or number; None leaves the group alone
    owner: str = DEFAULT_OWNER  # the installation


class FileOutput:
    """`ports.Output` in a file, with a record of its content beside it (`record`).

    A symbolic link stays one: the file it leads to is the output, and is resolved anew each time (`links`).
    The process that writes a file first owns it while it lives. After that the installation owns it.
    """

    def __init__(self, plan: Plan, directories: Directories | None = None) -> None:
        """All file outputs of a process share `directories`."""
        self.name = f"file:{plan.path}"
        self.lane = f"file:{os.path.dirname(plan.path)}"
        self.secret: tuple[str, str] | None = None
        self.includes_refresh_token = formats.includes_refresh_token(plan.format)
        self._plan = plan
        self._identity = plan.format.identity(plan.issuer_url)
        self._directories = directories or Directories()
        self._directory: Directory | None = None  # the one that the path leads to: it is shared while in use
        self._reported: tuple[str, ...] = ()

    def inspect(self, now: Instant) -> Holding:
        """See `ports.Output`. Content that the record does not describe has no known end."""
        with self._telling("read"):
            target = self._target()
            try:
                content, status = atomic.read(target, LARGEST_FILE)
            except FileNotFoundError:
                return Holding()
        recorded = _recorded(target, now)
        owner = recorded.owner if self._is_foreign(recorded) else ""
        entry = recorded.entries.get(record.digest(content))
        if entry is None:
            return Holding(owner=owner)
        intact = entry.format == self._identity and self._has_permissions(status, entry) and not owner
        return _holding(entry, content, intact=intact)._replace(owner=owner)

    def write(self, token: Token, now: Instant, sealer: Sealer) -> None:
        """See `ports.Output`. The record goes ahead, and describes both this value and the one in place."""
        wanted = self._permissions()
        content = formats.render(self._plan.format, token, now, self._plan.issuer_url)
        with self._telling("written"):
            target = self._target()
            self._claim(target)
            obstacles.require_removable(os.path.dirname(target))
            with atomic.alone(record_path(target)), atomic.prepared(target, content, wanted) as value:
                described, in_place = _recorded(target, now), _digest_in_place(target)
                self._require_ours(described)
                shown = permissions.shown(os.fstat(value.file), wanted)
                kept = Kept(wanted, shown) if shown != wanted else None
                digest, entry = record.digest(content), Entry(self._identity, token.facts, kept)
                entries = {digest: record.sealed(digest, entry, sealer)}
                if in_place is not None and in_place in described.entries:
                    entries.setdefault(in_place, described.entries[in_place])
                after = record.dump(Record(entries, self._plan.owner, _this_process()))
                with atomic.replaced(record_path(target), after, wanted):
                    value.put_in_place()
                    found, _ = atomic.read(target, LARGEST_FILE)
                caveats = _caveats(value.file, os.path.dirname(target), wanted)
        if found != content:
            raise OutputError(
                f"{self.name} does not hold what was just written: look for another writer of it"
            )
        self._report(caveats)

    def dry_run(self) -> tuple[str, ...]:
        """See `ports.Output`. Raises OutputHeldError only if nothing else keeps a write from going well."""
        wanted = self._permissions()
        with self._telling("written"):
            target = self._target()
            beside = record_path(target)  # it has the longest name
            obstacles.require_removable(os.path.dirname(target))
            for path in (target, beside):
                obstacles.probe(path)
            self._require_ours(_recorded(target, Instant(0.0, 0.0)))
            with atomic.prepared(beside, bytes(_PAGE), wanted, lasting=False) as tried:
                caveats = _caveats(tried.file, os.path.dirname(target), wanted)
        folder, name = os.path.split(target)
        self._require_free(target, self._at(folder).holder(name))
        return caveats

    def claim(self) -> None:
        """See `ports.Output`. Only files of our naming, and only those whose writer is gone."""
        with self._telling("cleared of temporary files"):
            target = self._target()
            self._claim(target)
            folder, name = os.path.split(target)
            self._at(folder).clear(name, os.path.basename(record_path(target)))

    def _target(self) -> str:
        """The path of the file itself, all links followed. Raises OSError if anything but a file is there."""
        target = links.resolve(self._plan.path)
        with suppress(FileNotFoundError):
            atomic.require_regular(os.lstat(target))
        return target

    def _at(self, folder: str) -> Directory:
        if self._directory is None or self._directory.path != folder:
            self._directory = self._directories.at(folder)
        return self._directory

    def _claim(self, target: str) -> None:
        """Keep other processes from writing the file while this one lives. Raises OutputHeldError if one has
        done so before."""
        folder, name = os.path.split(target)
        self._require_free(target, self._at(folder).claim(name))

    def _require_free(self, target: str, holder: int | None) -> None:
        if holder is None:
            return
        who = f"the refresher with process {holder}"
        if not holder:
            last = _recorded(target, Instant(0.0, 0.0)).writer
            who = "a refresher in another container or on another machine"
            who += f" (it was last written by {last})" if last else ""
        raise OutputHeldError(
            f"{self.name} belongs to {who}, which is running: let each write a file of its own, or stop one"
        )

    def _is_foreign(self, recorded: Record) -> bool:
        return recorded.owner not in ("", DEFAULT_OWNER, self._plan.owner)

    def _require_ours(self, recorded: Record) -> None:
        if self._is_foreign(recorded):
            raise OutputError(
                f"{self.name} cannot be written: it belongs to {recorded.owner!r}, and this installation is "
                f"{self._plan.owner!r}: name another file, or hand this one over by deleting "
                f"{record_path(os.path.realpath(self._plan.path))}"
            )

    def _report(self, caveats: tuple[str, ...]) -> None:
        """Log what is new since the last write."""
        for caveat in caveats:
            if caveat not in self._reported:
                _log.warning("%s: %s", self.name, caveat)
        self._reported = caveats

    def _has_permissions(self, status: os.stat_result, entry: Entry) -> bool:
        """Whether mode and group are as configured, or what the file system has made of that when it was
        written; never with an unknown group, which a write reports."""
        try:
            wanted = self._permissions()
        except OutputError:
            return False
        shown = permissions.shown(status, wanted)
        return shown == wanted or entry.kept == (wanted, shown)

    def _permissions(self) -> Permissions:
        """Raises OutputError if this machine has no group of the configured name."""
        return Permissions(self._plan.mode, self._gid())

    def _gid(self) -> int | None:
        """The number of the configured group. Raises OutputError if this machine has none of that name."""
        group = self._plan.group
        if group is None:
            return None
        if group.isascii() and group.isdecimal():  # the digits of other scripts may be a name
            return int(group)
        import grp  # noqa: PLC0415 - most files have no group of their own

        try:
            return grp.getgrnam(group).gr_gid
        except KeyError as error:
            raise OutputError(
                f"{self.name} cannot be given to the group {shown(group)}: this machine has none of that "
                "name; create it, or configure the number of one"
            ) from error

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """Turns an OSError into an OutputError that says which output, why, and what to do."""
        try:
            yield
        except OSError as error:
            raise OutputError(f"{self.name} cannot be {what}: {explained(error, self._plan.path)}") from error


def _this_process() -> Writer:
    return Writer(os.getpid(), os.uname().nodename)


def _caveats(file: int, folder: str, wanted: Permissions) -> tuple[str, ...]:
    """What is otherwise than configured with this file, although it can be written."""
    caveats = []
    if problem := permissions.not_kept(wanted, permissions.shown(os.fstat(file), wanted)):
        caveats.append(problem)
    if readers := permissions.other_readers(file):
        caveats.append(
            f"the default access control list of {folder} lets {readers} read the token, whatever its mode "
            f"says; `setfacl -k {folder}` removes it"
        )
    return tuple(caveats)


def _holding(entry: Entry, content: bytes, *, intact: bool) -> Holding:
    form = formats.of_identity(entry.format)
    credentials = formats.read_back(form, content)
    if credentials is None:
        is_opaque = form.name == "template"
        return Holding(entry.facts, None, intact, proof=entry.proof) if is_opaque else Holding()
    access, refresh = credentials
    if access.fingerprint != entry.facts.fingerprint:
        return Holding()
    return Holding(entry.facts, Token(entry.facts, access, refresh), intact, proof=entry.proof)


def _recorded(target: str, now: Instant) -> Record:
    try:
        content, _ = atomic.read(record_path(target), record.LARGEST_RECORD)
    except OSError:  # as good as no record: the token's end is not known, and it is replaced
        return Record()
    return record.load(content, now)


def _digest_in_place(target: str) -> str | None:
    try:
        content, _ = atomic.read(target, LARGEST_FILE)
    except (FileNotFoundError, PermissionError):  # another user's file is replaced as well
        return None
    return record.digest(content)
