"""Writes the status of each `AccessToken` object when it has changed.

A notification about a token marks its object. Threads compute the status of the marked objects and, because
time alone changes a status too, of all others in turn. They write only what differs from what the API server
has, and an object no more than once in `PAUSE`. A message in which only a number differs, such as the seconds
for which something hangs, waits for `PATIENCE`.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from refresher.controller.conditions import NOT_STARTED, object_status
from refresher.controller.known import Known, Stored, status_text, version_of
from refresher.controller.spec import GROUP, KIND, VERSION
from refresher.core import rfc3339
from refresher.core.advice import Code
from refresher.core.instant import Instant
from refresher.core.notifications import Notification
from refresher.core.object_notifications import ObjectNotification, StatusNotWritten, StatusWritten
from refresher.core.process_notifications import Crashed
from refresher.core.state import State, TokenPolicy
from refresher.core.status import TokenStatus, status_of
from refresher.errors import KubeError, KubeNotFoundError
from refresher.kube.api import KubeApi
from refresher.kube.paths import status_path
from refresher.ports import Clock, Mailbox, Message

WRITERS = 4  # threads, each for its share of the objects
PERIOD = 0.5  # seconds between two rounds
ROUND = 60.0  # seconds in which every object has its turn
PAUSE = 1.0  # seconds between two writes of one status
PATIENCE = 60.0  # seconds between two writes that differ only in the numbers of a message
AFTER_FAILURE = 5.0  # seconds until a status that could not be written is tried again
FIRST = 60.0  # seconds from the first look within which an object without a status waits for its token
STEADY = 2.0  # seconds by which a time may differ without being another one: two clocks are read

_NOT_YET = (NOT_STARTED, Code.NOT_INSPECTED.value, Code.NO_TOKEN.value)
_NUMBER = re.compile(r"[0-9]+")
_TIMES = ("expiresAt", "refreshDue")


class Written(NamedTuple):
    """The status of an object as the API server has it (`known.status_text`). `tried_at`: the last attempt to
    write it, in monotonic seconds."""

    version: int
    status: str
    tried_at: float = float("-inf")


class StatusWriter:
    """`ports.Observer`. One thread calls `follow`, and WRITERS threads write.

    `stored` returns the object of the token with this name, as the watch has seen it last. `state` returns
    the token with this name and its state. `is_current` returns whether the engine has the present token of
    an object with this name. `leads` returns whether this process may write.
    """

    def __init__(  # noqa: PLR0913 -- the sources of a status
        self,
        api: KubeApi,
        clock: Clock,
        mailbox: Mailbox,
        *,
        stored: Callable[[str], Stored | None],
        state: Callable[[str], tuple[TokenPolicy, State] | None],
        is_current: Callable[[str], bool],
        leads: Callable[[], bool],
    ) -> None:
        self._api, self._clock, self._mailbox = api, clock, mailbox
        self._stored, self._state, self._is_current, self._leads = stored, state, is_current, leads
        self._lock = threading.Lock()
        self._marked: list[set[str]] = [set() for _ in range(WRITERS)]
        self._objects: Mapping[str, Known] = {}
        self._mistakes: Mapping[str, tuple[str, ...]] = {}  # by uid
        self._written: dict[str, Written] = {}
        self._first_seen: dict[str, float] = {}  # monotonic seconds, of objects without a status

    def on_notification(self, token: str, notification: Notification, now: Instant) -> None:  # noqa: ARG002
        if token and not isinstance(notification, ObjectNotification):
            self._mark((token,))

    def follow(self, objects: Mapping[str, Known], mistakes: Mapping[str, tuple[str, ...]]) -> None:
        """Write the status of exactly these objects, by the names of their tokens. `mistakes`: by uid."""
        before, mistakes_before = self._objects, self._mistakes
        self._objects, self._mistakes = objects, mistakes
        self._mark(
            name
            for name, known in objects.items()
            if before.get(name) is not known or mistakes.get(known.uid) != mistakes_before.get(known.uid)
        )
        for name in before.keys() - objects.keys():
            self._written.pop(name, None)
            self._first_seen.pop(name, None)

    def _mark(self, names: Iterable[str]) -> None:
        with self._lock:
            for name in names:
                self._marked[_share(name)].add(name)

    def start(self, spawn: Callable[[Callable[[], None], str], object]) -> None:
        """Write on threads that `spawn` starts, for example `Workers.run`."""
        for share in range(WRITERS):
            spawn(partial(self._run, share), f"statuses-{share + 1}")

    def _run(self, share: int) -> None:
        """Write the statuses of a share of the objects for ever."""
        led, turns = False, iter(list[str]())
        while True:
            time.sleep(PERIOD)
            leads = self._leads()
            if leads and not led:
                self._mark(tuple(self._objects))
            led = leads
            if not leads:
                continue
            with self._lock:
                names, self._marked[share] = self._marked[share], set()
            for _ in range(1 + int(len(self._objects) / WRITERS * PERIOD / ROUND)):
                name = next(turns, None)
                if name is None:
                    turns = iter([name for name in self._objects if _share(name) == share])
                    break
                names.add(name)
            for name in names:
                self._try(name)

    def _try(self, name: str) -> None:
        known, stored = self._objects.get(name), self._stored(name)
        if known is None or stored is None or not self._leads():
            return
        try:
            # If the watch has seen another demand since, `follow` comes next and marks the object.
            is_done = known is not stored.known or self._serve(name, stored)
        except Exception as error:  # noqa: BLE001 -- a bug must not end the statuses of other objects
            self._mailbox.post(Message(None, None, (Crashed("writing a status", error),)))
        else:
            if not is_done:
                self._mark((name,))

    def _serve(self, name: str, stored: Stored) -> bool:
        """Write the status of one object if that is due. Returns False to come back to it soon."""
        if not self._is_current(name):
            return False
        known, now, found = stored.known, self._clock.now(), self._state(name)
        token = status_of(found[1], found[0], now) if found is not None else None
        kept = self._kept(name, stored)
        before = json.loads(kept.status)
        wanted = self._wanted(known, before, token, now)
        if wanted == before:
            return True
        if not before.get("conditions") and _is_in_the_making(wanted):
            began = self._first_seen.setdefault(name, time.monotonic())
            if time.monotonic() - began < FIRST:
                return True  # its token marks it, or it has its turn
        is_minor = _without_numbers(wanted) == _without_numbers(before)
        if time.monotonic() - kept.tried_at < (PATIENCE if is_minor else PAUSE):
            return is_minor  # if so, it waits for its turn
        return self._write(name, known, wanted, kept)

    def _kept(self, name: str, stored: Stored) -> Written:
        """What the API server has, by the newer of the watch and our own last write."""
        kept = self._written.get(name)
        if kept is None:
            return Written(stored.version, stored.status)
        if kept.version > stored.version:
            return kept
        kept = self._written[name] = kept._replace(version=stored.version, status=stored.status)
        return kept

    def _wanted(
        self, known: Known, before: Mapping[str, Any], token: TokenStatus | None, now: Instant
    ) -> dict[str, Any]:
        document = {"metadata": {"generation": known.generation}, "status": before}
        wanted = object_status(document, token, self._mistakes.get(known.uid, ()), now.wall)
        return wanted | {field: before[field] for field in _TIMES if _is_steady(before, wanted, field)}

    def _write(self, name: str, known: Known, wanted: Mapping[str, Any], kept: Written) -> bool:
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            # The API server ignores a uid here. After a re-creation, the new object is marked, and put right.
            "metadata": {"namespace": known.namespace, "name": known.name},
            "status": wanted,
        }
        kept = kept._replace(tried_at=time.monotonic())
        result: StatusNotWritten | StatusWritten = StatusWritten()
        try:
            answer = self._api.apply(status_path(known.namespace, known.name), body, force=True)
        except KubeNotFoundError:  # it was deleted; the watch reports that
            return True
        except KubeError as error:
            result = StatusNotWritten(str(error))
            kept = kept._replace(tried_at=time.monotonic() + AFTER_FAILURE - PAUSE)
        else:
            kept = kept._replace(version=version_of(answer) or kept.version, status=status_text(wanted))
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


def _share(name: str) -> int:
    return hash(name) % WRITERS


def _is_in_the_making(status: Mapping[str, Any]) -> bool:
    """Whether nothing is wrong with the object, and it only has no token yet."""
    return status["conditions"][0]["reason"] in _NOT_YET
