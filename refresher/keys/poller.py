"""Polls every key source and compares its content with the last reading."""

import threading
from collections.abc import Iterable, Iterator, Mapping

from refresher.core.events import KeyRead, KeyUnreadable
from refresher.core.machine import STALLED
from refresher.core.notifications import Notification
from refresher.core.process_notifications import Crashed
from refresher.errors import KeyUnreadableError, unforeseen
from refresher.ports import KeySource, Message


class KeyPoller:
    """Reads every key source and reports what changed since the last poll.

    Several threads may poll at once. Each reads the lanes that no other thread is reading: a directory that
    hangs blocks one thread, and the next poll skips it.
    """

    def __init__(self, sources: Iterable[tuple[str, KeySource]]) -> None:
        """`sources`: each token's name and the source of its key."""
        self._tokens: Mapping[str, list[str]] = {}  # by source
        self._lanes: Mapping[str, dict[str, KeySource]] = {}
        self._source_of: dict[str, KeySource] = {}
        self._last: dict[str, str] = {}  # by token: the fingerprint or error that was reported last
        self._reading: dict[str, tuple[float, KeySource]] = {}  # by lane: since when, and which source
        self._lock = threading.Lock()
        self.follow(sources)

    def follow(self, sources: Iterable[tuple[str, KeySource]]) -> None:
        """Read exactly these sources from the next poll on. For a token with a new source, report its content
        again."""
        before, self._source_of = self._source_of, dict(sources)
        tokens: dict[str, list[str]] = {}
        lanes: dict[str, dict[str, KeySource]] = {}
        for token, source in self._source_of.items():
            lanes.setdefault(source.lane, {})[source.name] = source
            tokens.setdefault(source.name, []).append(token)
        with self._lock:
            for token in before:
                if self._source_of.get(token) is not before[token]:
                    self._last.pop(token, None)
            self._tokens, self._lanes = tokens, lanes

    def poll(self, now: float) -> Iterator[Message]:
        """A message for each token whose key source has changed its content or its readability. `now`: boot
        seconds. Never raises."""
        for lane, sources in self._lanes.items():
            with self._lock:
                hanging = self._reading.get(lane)
                if hanging is None:
                    self._reading[lane] = now, next(iter(sources.values()))
            if hanging is None:
                yield from self._read_lane(lane, sources, now)
            elif now - hanging[0] >= STALLED:
                message = f"{hanging[1].name}: its directory does not answer; check its file system"
                yield from self._changes(hanging[1], KeyUnreadable(message))

    def _read_lane(self, lane: str, sources: Mapping[str, KeySource], now: float) -> Iterator[Message]:
        for source in sources.values():
            self._reading[lane] = now, source
            event, notifications = _read(source)
            yield from self._changes(source, event, notifications)
        del self._reading[lane]

    def _changes(
        self, source: KeySource, event: KeyRead | KeyUnreadable, notifications: tuple[Notification, ...] = ()
    ) -> Iterator[Message]:
        seen = event.key.fingerprint if isinstance(event, KeyRead) else event.message
        for token in self._tokens.get(source.name, ()):
            if self._last.get(token) != seen:
                self._last[token] = seen
                yield Message(token, event, notifications)
                notifications = ()  # only once, although several tokens may have this key


def _read(source: KeySource) -> tuple[KeyRead | KeyUnreadable, tuple[Notification, ...]]:
    try:
        return KeyRead(source.read()), ()
    except KeyUnreadableError as error:
        return KeyUnreadable(str(error)), ()
    except Exception as error:  # noqa: BLE001 -- as in Executor.perform
        return KeyUnreadable(f"{source.name}: {unforeseen(error)}"), (Crashed("reading a key", error),)
