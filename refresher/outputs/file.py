"""A token in a file. Readers see the old value or the new one, even if the writer is killed at any point."""

import logging
import os
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from refresher.config.output_kinds import hook_owed_path, record_path, refresh_path
from refresher.config.quoting import shown
from refresher.core import formats
from refresher.core.formats import Format
from refresher.core.instant import Instant
from refresher.core.model import Holding, Token
from refresher.core.seal import Sealer
from refresher.errors import OutputError, OutputHeldError
from refresher.outputs import atomic, links, obstacles, permissions, reading, record, refresh_file
from refresher.outputs.directories import Directories, Directory
from refresher.outputs.permissions import Permissions
from refresher.outputs.problems import explained
from refresher.outputs.record import DEFAULT_OWNER, Entry, Kept, Record, Writer
from refresher.outputs.unchanged import Condition, LastReading, condition_of

_PAGE = 4096  # bytes: the size of a small file on most file systems

_log = logging.getLogger("refresher")


class Plan(NamedTuple):
    """What one installation publishes in a file."""

    path: str  # absolute
    issuer_url: str
    format: Format = Format("token")
    mode: int = 0o600
    group: str | None = None  # name or number; None leaves the group alone
    owner: str = DEFAULT_OWNER  # the installation
    deletes: bool = False  # when it is no longer configured


class FileOutput:
    """`ports.Output` in a file, with a record of its content beside it (`record`).

    A symbolic link stays one: the file it leads to is the output, and is resolved again each time (`links`).
    The process that writes a file first owns it while it lives. After that the installation owns it.
    """

    __slots__ = (
        "_directories",
        "_directory",
        "_identity",
        "_is_released",
        "_last_reading",
        "_may_have_stale",
        "_plan",
        "_reported",
        "_requests_at",
        "includes_refresh_token",
        "lane",
        "name",
    )

    secret: tuple[str, str] | None = None

    def __init__(self, plan: Plan, directories: Directories | None = None) -> None:
        """All file outputs of a process share `directories`."""
        self.name = f"file:{plan.path}"
        self.lane = sys.intern(f"file:{os.path.dirname(plan.path)}")  # of many outputs
        self.includes_refresh_token = formats.includes_refresh_token(plan.format)
        self._plan = plan
        self._identity = plan.format.identity(plan.issuer_url)
        self._directories = directories or Directories()
        self._directory: Directory | None = None  # of the resolved path; shared while in use
        self._last_reading = LastReading()
        self._reported: tuple[str, ...] = ()
        self._requests_at: str | None = None
        self._is_released = False
        self._may_have_stale = False  # temporary files of a killed process, to remove as soon as possible

    def inspect(self, now: Instant) -> Holding:
        """See `ports.Output`. If the record does not describe the content, its expiry is unknown."""
        with self._output_errors("read"):
            target = self._target()
            self._try_clear(target)
            condition = self._condition(target)
            self._last_reading.begins(condition, now)
            found = self._found(target, now)
            is_readable = found.facts is not None  # a record may be unreadable for now
            watched = is_readable and self._last_reading.counts(condition, now)
            self._requests_at = None if found.owner else target
            return found._replace(watched=watched, refresh_requested=self.request_seen())

    def has_changed(self) -> bool:
        """See `ports.Output`."""
        return self._last_reading.has_changed(lambda: self._condition(self._target()))

    def _condition(self, target: str) -> Condition | None:
        """The condition of the file and its record; None if one is missing or the group is unknown."""
        try:
            return condition_of((target, record_path(target)), self._permissions())
        except (OSError, OutputError):
            return None

    def _found(self, target: str, now: Instant) -> Holding:
        try:
            content, status = atomic.read(target, reading.LARGEST_FILE)
        except FileNotFoundError:
            return Holding()
        recorded = reading.recorded(target, now)
        owner = recorded.owner if self._is_foreign(recorded) else ""
        entry = recorded.entries.get(record.digest(content))
        if entry is None:
            return Holding(owner=owner)
        intact = entry.format == self._identity and self._has_permissions(status, entry) and not owner
        return reading.holding(entry, content, intact=intact)._replace(owner=owner)

    def write(self, token: Token, now: Instant, sealer: Sealer) -> None:
        """See `ports.Output`. Writes the record first. It describes the new value and the present one."""
        wanted = self._permissions()
        content = formats.render(self._plan.format, token, now, self._plan.issuer_url)
        with self._output_errors("written"):
            target = self._target()
            self._claim(target)
            obstacles.require_removable(os.path.dirname(target))
            with atomic.alone(record_path(target)), atomic.prepared(target, content, wanted) as value:
                if self._is_released:  # this write was under way
                    raise OutputError("is not written: it is no longer configured")
                described, in_place = reading.recorded(target, now), reading.digest_in_place(target)
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
                    found, _ = atomic.read(target, reading.LARGEST_FILE)
                caveats = permissions.caveats(value.file, os.path.dirname(target), wanted)
            self._try_clear(target)
        if found != content:
            raise OutputError("does not hold the value that was just written: check for another writer of it")
        self._report(caveats)

    def dry_run(self) -> tuple[str, ...]:
        """See `ports.Output`. Raises OutputHeldError only if nothing else would prevent a write."""
        wanted = self._permissions()
        with self._output_errors("written"):
            target = self._target()
            record_file = record_path(target)  # it has the longest name
            obstacles.require_removable(os.path.dirname(target))
            for path in (target, record_file):
                obstacles.probe(path)
            self._require_ours(reading.recorded(target, Instant(0.0, 0.0)))
            with atomic.prepared(record_file, bytes(_PAGE), wanted, lasting=False) as trial:
                caveats = permissions.caveats(trial.file, os.path.dirname(target), wanted)
        folder, name = os.path.split(target)
        self._require_free(target, self._at(folder).holder(name))
        return caveats

    def request_refresh(self, at: float) -> None:
        """See `ports.Output`."""
        with self._output_errors("asked for a new token"):
            refresh_file.place(self._target(), at)

    def request_seen(self) -> float | None:
        """See `ports.Output`. Looks beside the file that was inspected last, if it is not another
        installation's."""
        with suppress(OSError):
            return refresh_file.placed(self._requests_at) if self._requests_at is not None else None
        return None

    def claim(self) -> None:
        """See `ports.Output`. Removes only our own temporary files, and only if their writer has ended."""
        with self._output_errors("cleared of temporary files"):
            target = self._target()
            self._claim(target)
            self._may_have_stale = True
            self._clear(target)

    def release(self, wanted: Callable[[], Collection[str]]) -> bool:
        """See `ports.Output`. Deletes a file only if its record, with our owner, describes its content."""
        with self._output_errors("released"):
            target = self._target()
            with atomic.alone(record_path(target)):
                self._is_released = True
                if self._directories.has_target(wanted(), target):
                    return False
                folder, name = os.path.split(target)
                deletes = self._plan.deletes and self._at(folder).holder(name) is None
                deleted = deletes and self._delete(target)
                self._at(folder).release(name)
        return deleted

    def _delete(self, target: str) -> bool:
        recorded, in_place = reading.recorded(target, Instant(0.0, 0.0)), reading.digest_in_place(target)
        if in_place is not None and (self._is_foreign(recorded) or in_place not in recorded.entries):
            raise OutputError("is not what this installation wrote there; delete it yourself")
        for path in (target, record_path(target), hook_owed_path(target), refresh_path(target)):
            with suppress(FileNotFoundError):
                os.unlink(path)
        return in_place is not None

    def _clear(self, target: str) -> None:
        folder, name = os.path.split(target)
        beside = (os.path.basename(path(target)) for path in (record_path, refresh_path))
        if self._at(folder).clear(name, *beside):
            self._may_have_stale = False

    def _try_clear(self, target: str) -> None:
        """Remove what `claim` could not remove: the directory was read-only, or another thread hung in it."""
        if self._may_have_stale:
            with suppress(OSError):  # `claim` has reported it
                self._clear(target)

    def _target(self) -> str:
        """The path of the file, with links resolved. Raises OSError if it exists and is no regular file."""
        target = links.resolve(self._plan.path)
        with suppress(FileNotFoundError):
            atomic.require_regular(os.lstat(target))
        return self._plan.path if target == self._plan.path else target  # a path is in memory once

    def _at(self, folder: str) -> Directory:
        if self._directory is None or self._directory.path != folder:
            self._directory = self._directories.at(folder)
        return self._directory

    def _claim(self, target: str) -> None:
        """Lock the file for this process. Raises OutputHeldError if another process holds the lock."""
        folder, name = os.path.split(target)
        self._require_free(target, self._at(folder).claim(name))

    def _require_free(self, target: str, holder: int | None) -> None:
        if holder is None:
            return
        who = f"the refresher with process {holder}"
        if not holder:
            last = reading.recorded(target, Instant(0.0, 0.0)).writer
            who = "a refresher in another container or on another machine"
            who += f" (it was last written by {last})" if last else ""
        raise OutputHeldError(
            f"belongs to {who}, which is running: give each its own file, or stop one of them"
        )

    def _is_foreign(self, recorded: Record) -> bool:
        return recorded.owner not in ("", DEFAULT_OWNER, self._plan.owner)

    def _require_ours(self, recorded: Record) -> None:
        if self._is_foreign(recorded):
            raise OutputError(
                f"cannot be written: it belongs to {recorded.owner!r}, and this installation is "
                f"{self._plan.owner!r}: name another file, or hand this one over by deleting "
                f"{record_path(os.path.realpath(self._plan.path))}"
            )

    def _report(self, caveats: tuple[str, ...]) -> None:
        """Log caveats that are new since the last write."""
        for caveat in caveats:
            if caveat not in self._reported:
                _log.warning("%s: %s", self.name, caveat)
        self._reported = caveats

    def _has_permissions(self, status: os.stat_result, entry: Entry) -> bool:
        """Whether mode and group are as configured, or as the file system changed them at the write. False if
        the group is unknown: a write reports that."""
        try:
            wanted = self._permissions()
        except OutputError:
            return False
        shown = permissions.shown(status, wanted)
        return shown == wanted or entry.kept == (wanted, shown)

    def _permissions(self) -> Permissions:
        """The configured permissions. Raises OutputError if this machine does not know the group's name."""
        group = self._plan.group
        try:
            return Permissions(self._plan.mode, None if group is None else permissions.group_number(group))
        except KeyError as error:
            raise OutputError(
                f"cannot be given to the group {shown(str(group))}: this machine has no such "
                "group; create it, or configure the number of a group"
            ) from error

    @contextmanager
    def _output_errors(self, action: str) -> Iterator[None]:
        """Turns an OSError into an OutputError with the output, the reason, and what to do."""
        try:
            yield
        except OSError as error:
            message = f"cannot be {action}: {explained(error, self._plan.path)}"
            raise OutputError(message) from error


def _this_process() -> Writer:
    return Writer(os.getpid(), os.uname().nodename)
