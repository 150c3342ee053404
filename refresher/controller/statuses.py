"""Writes the status of each `AccessToken` object when it has changed.

A notification about a token marks its object. A thread computes the status of the marked objects and, because
time alone changes a status too, of all others in turn. It writes only what differs from what the API server
has, and an object no more than once in `PAUSE`. A message in which only a number differs, such as the seconds
for which something hangs, waits for `PATIENCE`.
"""

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from refresher.controller.conditions import object_status
from refresher.controller.known import Known
from refresher.controller.spec import GROUP, KIND, VERSION
from refresher.core import rfc3339
from refresher.core.instant import Instant
from refresher.core.notifications import Notification
from refresher.core.object_notifications import ObjectNotification, StatusNotWritten, StatusWritten
from refresher.core.process_notifications import Crashed
from refresher.core.state import State, TokenPolicy
from refresher.core.status import TokenStatus, status_of
from refresher.errors import KubeConflictError, KubeError, KubeNotFoundError
from refresher.kube.api import KubeApi
from refresher.kube.paths import status_path
from refresher.ports import Clock, Mailbox, Message

PERIOD = 0.5  # seconds between two rounds
ROUND = 60.0  # seconds in which every object has its turn
PAUSE = 1.0  # seconds between two writes of one status
PATIENCE = 60.0  # seconds between two writes that differ only in the numbers of a message
AFTER_FAILURE = 5.0  # seconds until a status that could not be written is tried again
STEADY = 2.0  # seconds by which a time may differ without being another one: two clocks are read

_NUMBER = re.compile(r"[0-9]+")
_TIMES = ("expiresAt", "refreshDue")


class Subject(NamedTuple):
    """An object, and why it cannot be used as it is."""

    known: Known
    mistakes: tuple[str, ...]


class Written(NamedTuple):
    """The status of an object as the API server has it. `tried_at`: the last attempt to write it, in
    monotonic seconds."""

    uid: str
    version: int
    status: Mapping[str, Any]
    tried_at: float = float("-inf")


class StatusWriter:
    """`ports.Observer`. One thread runs `run`; another one calls `follow`.

    `view` returns every token with its state. `is_current` returns whether the engine has the present token
    of an object with this name. `leads` returns whether this process may write.
    """

    def __init__(  # noqa: PLR0913 -- the sources of a status
        self,
        api: KubeApi,
        clock: Clock,
        mailbox: Mailbox,
        *,
        view: Callable[[], Iterable[tuple[TokenPolicy, State]]],
        is_current: Callable[[str], bool],
        leads: Callable[[], bool],
    ) -> None:
        self._api, self._clock, self._mailbox = api, clock, mailbox
        self._view, self._is_current, self._leads = view, is_current, leads
        self._lock = threading.Lock()
        self._marked: set[str] = set()
        self._subjects: Mapping[str, Subject] = {}
        self._written: dict[str, Written] = {}
        self._due: Iterator[str] = iter(())

    def on_notification(self, token: str, notification: Notification, now: Instant) -> None:  # noqa: ARG002
        if token and not isinstance(notification, ObjectNotification):
            with self._lock:
                self._marked.add(token)

    def follow(self, objects: Mapping[str, Known], mistakes: Mapping[str, tuple[str, ...]]) -> None:
        """Write the status of exactly these objects, by the names of their tokens. `mistakes`: by uid."""
        subjects = {name: Subject(known, mistakes.get(known.uid, ())) for name, known in objects.items()}
        with self._lock:
            before, self._subjects = self._subjects, subjects
            self._marked |= {name for name, subject in subjects.items() if before.get(name) != subject}

    def run(self) -> None:
        """Write for ever."""
        led = False
        while True:
            time.sleep(PERIOD)
            leads = self._leads()
            if leads and not led:
                with self._lock:
                    self._marked |= self._subjects.keys()
            led = leads
            if leads:
                try:
                    self._round()
                except Exception as error:  # noqa: BLE001 -- a bug must not end the statuses for good
                    self._mailbox.post(Message(None, None, (Crashed("writing statuses", error),)))

    def _round(self) -> None:
        with self._lock:
            marked, self._marked = self._marked, set()
            subjects = self._subjects
        names = marked | set(self._in_turn(subjects))
        if not names:
            return
        states = {policy.name: (policy, state) for policy, state in self._view()}
        for name in names & subjects.keys():
            if not self._leads():
                break
            if not self._serve(name, subjects[name], states.get(name)):
                with self._lock:
                    self._marked.add(name)
        self._written = {name: kept for name, kept in self._written.items() if name in subjects}

    def _in_turn(self, subjects: Mapping[str, Subject]) -> Iterator[str]:
        """Some objects, so that each has its turn within ROUND."""
        for _ in range(1 + int(len(subjects) * PERIOD / ROUND)):
            name = next(self._due, None)
            if name is None:
                self._due = iter(tuple(subjects))
                return
            yield name

    def _serve(self, name: str, subject: Subject, found: tuple[TokenPolicy, State] | None) -> bool:
        """Write the status of one object if that is due. Returns False to come back to it soon."""
        known = subject.known
        if not self._is_current(name):
            return False
        now = self._clock.now()
        token = status_of(found[1], found[0], now) if found is not None else None
        kept = self._kept(name, known)
        wanted = self._wanted(known, kept.status, token, subject.mistakes, now)
        if wanted == kept.status:
            return True
        is_minor = _without_numbers(wanted) == _without_numbers(kept.status)
        if time.monotonic() - kept.tried_at < (PATIENCE if is_minor else PAUSE):
            return is_minor  # if so, it waits for its turn
        return self._write(name, known, wanted, kept)

    def _kept(self, name: str, known: Known) -> Written:
        """What the API server has, by the newer of the watch and our own last write."""
        version = int(known.version) if known.version.isdigit() else 0
        kept = self._written.get(name)
        if kept is None or kept.uid != known.uid:
            return Written(known.uid, version, known.status)
        return kept if kept.version >= version else kept._replace(version=version, status=known.status)

    def _wanted(
        self,
        known: Known,
        before: Mapping[str, Any],
        token: TokenStatus | None,
        mistakes: tuple[str, ...],
        now: Instant,
    ) -> dict[str, Any]:
        document = {"metadata": {"generation": known.generation}, "status": before}
        wanted = object_status(document, token, mistakes, now.wall)
        return wanted | {field: before[field] for field in _TIMES if _is_steady(before, wanted, field)}

    def _write(self, name: str, known: Known, wanted: Mapping[str, Any], kept: Written) -> bool:
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": {"namespace": known.namespace, "name": known.name, "uid": known.uid},
            "status": wanted,
        }
        kept = kept._replace(tried_at=time.monotonic())
        result: StatusNotWritten | StatusWritten = StatusWritten()
        try:
            answer = self._api.apply(status_path(known.namespace, known.name), body, force=True)
        except (KubeNotFoundError, KubeConflictError):  # it was deleted; the watch reports that
            return True
        except KubeError as error:
            result = StatusNotWritten(str(error))
            kept = kept._replace(tried_at=time.monotonic() + AFTER_FAILURE - PAUSE)
        else:
            version = str(answer.get("metadata", {}).get("resourceVersion", ""))
            kept = kept._replace(version=int(version) if version.isdigit() else kept.version, status=wanted)
        self._written[name] = kept
        self._mailbox.post(Message(name, None, (result,)))
        return isinstance(result, StatusWritten)


def _is_steady(before: Mapping[str, Any], wanted: Mapping[str, Any], field: str) -> bool:
    """Whether this time is the same as before, but for how it was computed."""
    try:
        return abs(rfc3339.parse(before[field]) - rfc3339.parse(wanted[field])) <= STEADY
    except (KeyError, ValueError, TypeError):
        return False


def _without_numbers(status: Mapping[str, Any]) -> dict[str, Any]:
    conditions = status.get("conditions")
    listed = conditions if isinstance(conditions, list) else []
    bare = [
        {**each, "message": _NUMBER.sub("", str(each.get("message")))}
        for each in listed
        if isinstance(each, Mapping)
    ]
    return {**status, "conditions": bare}
