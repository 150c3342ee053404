"""Follows a collection of objects at the API server: lists it, and then watches how it changes.

        list ──► watch ──► watch ──► …          each watch begins where the one before ended
         ▲         │ 410, or RESYNC has passed
         └─────────┘

The API server ends each watch after `Timing.session`. A watch whose end does not come is dead, and is given
up `Timing.grace` later. Bookmarks move the point at which the next watch begins while nothing changes.
After 410 the API server has forgotten that point: list again. While a request fails, the objects stay as they
were.
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from operator import is_not
from typing import Any, Generic, NamedTuple, TypeVar

from refresher.errors import (
    KubeDeniedError,
    KubeError,
    KubeExpiredError,
    KubeThrottledError,
    KubeUnreachableError,
    unforeseen,
)
from refresher.kube.api import TIMEOUT, KubeApi
from refresher.kube.responses import JSON, METADATA, METADATA_LIST, Request

PAGE = 500  # objects of one response of a list, as client-go asks for

Kept = TypeVar("Kept")
Name = tuple[str, str]  # namespace and name of an object


class Timing(NamedTuple):
    """Seconds. `session`: how long the API server keeps a watch open. `grace`: how much later a watch without
    an end counts as dead. `resync`: how often everything is listed anew, in case an event was missed.
    `longest_wait`: between two attempts while the API server fails."""

    session: float = 60.0
    grace: float = 10.0
    resync: float = 1800.0
    longest_wait: float = 30.0


BY_DEFAULT = Timing()


class Collection(NamedTuple):
    """What is watched. `noun`: for messages, such as ``the AccessTokens in namespace studio``.
    `metadata_only`: the documents have nothing but metadata."""

    noun: str
    path: str
    label_selector: str = ""
    metadata_only: bool = False


class Watch(Generic[Kept]):
    """Keeps the objects of one collection, as far as `keep` wants them.

    `keep` turns a document of the API server into what is kept in memory; `before` is what was kept of the
    object until now. It returns None to drop the object, and must not raise. `changed` is called after each
    change of the objects. Another version of an object is a change if `differs(before, kept)`. `judged` is
    called with the reason while attempts fail, and with None while they succeed; a connection that breaks and
    comes back at once is no failure. All of these are called on the thread of `run`. `roll` returns a random
    number from 0 to 1.
    """

    def __init__(  # noqa: PLR0913 -- all but the first two are keywords
        self,
        api: KubeApi,
        collection: Collection,
        *,
        keep: Callable[[Mapping[str, Any], Kept | None], Kept | None],
        changed: Callable[[], None],
        judged: Callable[[Collection, KubeError | None], None],
        roll: Callable[[], float],
        timing: Timing = BY_DEFAULT,
        differs: Callable[[Kept, Kept], bool] = is_not,
    ) -> None:
        self.collection = collection
        self.has_listed = False  # since then `objects` is what the API server has
        self.failure: KubeError | None = None  # why attempts fail; None while they succeed
        self._api, self._keep, self._changed, self._judged = api, keep, changed, judged
        self._roll, self._timing, self._differs = roll, timing, differs
        self._objects: dict[Name, Kept] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._version = ""  # where the next watch begins; empty: list first
        self._listed_at = 0.0  # monotonic

    def objects(self) -> dict[Name, Kept]:
        """All objects now. From any thread."""
        with self._lock:
            return dict(self._objects)

    def get(self, name: Name) -> Kept | None:
        """The object with this name. From any thread."""
        return self._objects.get(name)

    def run(self) -> None:
        """Follow the collection until `stop`. It may take `session` more until this returns: run it on a
        daemon thread."""
        failures = 0
        while not self._stop.is_set():
            began = time.monotonic()
            error = self._attempt()
            # A server that ends each watch at once must not be asked in a loop either.
            is_short = time.monotonic() - began < 1.0
            failures = failures + 1 if error is not None or is_short else 0
            if error is not None and (failures > 1 or not self.has_listed):
                self._judge(error)
            if failures:
                self._stop.wait(self._pause(failures, error))

    def stop(self) -> None:
        """Begin no further request."""
        self._stop.set()

    def _pause(self, failures: int, error: KubeError | None) -> float:
        """Seconds before the next attempt. Random, so that many watches do not come back at once."""
        if isinstance(error, KubeThrottledError) and error.retry_after is not None:
            return min(error.retry_after, self._timing.longest_wait) * (1 + self._roll()) / 2
        return float(min(2.0 ** min(failures - 1, 16), self._timing.longest_wait)) * (1 + self._roll()) / 2

    def _attempt(self) -> KubeError | None:
        """List if necessary, and watch once. Returns why that failed; None after a success."""
        try:
            if not self._version or time.monotonic() - self._listed_at > self._timing.resync:
                self._list()
            self._follow()
        except KubeExpiredError:
            self._version = ""  # not a failure: the next attempt lists
        except KubeDeniedError as error:
            self._version = ""  # a list renews credentials, and says what is missing
            return error
        except KubeError as error:
            return error
        except Exception as error:  # noqa: BLE001 -- a bug must not end the watch for good
            self._version = ""
            return KubeUnreachableError(f"{self.collection.noun}: {unforeseen(error)}")
        return None

    def _list(self) -> None:
        began = time.monotonic()
        listed: dict[Name, Kept] = {}
        version, more = "", ""
        accept = METADATA_LIST if self.collection.metadata_only else JSON
        while True:
            rest = (("continue", more),) if more else ()
            page = self._api.call(self._request(accept, ("limit", str(PAGE)), *rest), TIMEOUT)
            metadata, items = _parts(page)
            for document in items:
                name = _name_of(document)
                kept = self._keep(document, self._objects.get(name))
                if kept is not None:
                    listed[name] = kept
            version, more = str(metadata.get("resourceVersion", "")), str(metadata.get("continue") or "")
            if not more:
                break
        with self._lock:
            self._objects = listed
        self._version, self._listed_at, self.has_listed = version, began, True
        self._judge(None)
        self._changed()

    def _follow(self) -> None:
        """Watch until the API server ends it."""
        session = self._timing.session * (0.9 + 0.1 * self._roll())
        request = self._request(
            METADATA if self.collection.metadata_only else JSON,
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", self._version),
            ("timeoutSeconds", str(max(1, round(session)))),
        )
        lines = self._api.lines(request, session + self._timing.grace)
        for line in lines:
            if self._stop.is_set():
                return
            if line:
                self._apply(*_event(line))
            else:
                self._judge(None)

    def _judge(self, error: KubeError | None) -> None:
        self.failure = error
        self._judged(self.collection, error)

    def _apply(self, kind: str, document: Mapping[str, Any]) -> None:
        if kind == "ERROR":
            raise _error(document)
        version = str(document.get("metadata", {}).get("resourceVersion", ""))
        if kind != "BOOKMARK":
            name = _name_of(document)
            before = self._objects.get(name)
            kept = None if kind == "DELETED" else self._keep(document, before)
            with self._lock:
                if kept is None:
                    self._objects.pop(name, None)
                else:
                    self._objects[name] = kept
            if kept is not before and (kept is None or before is None or self._differs(before, kept)):
                self._changed()
        self._version = version

    def _request(self, accept: str, *query: tuple[str, str]) -> Request:
        selector = self.collection.label_selector
        if selector:
            query += (("labelSelector", selector),)
        return Request("GET", self.collection.path, query=query, accept=accept)


def _parts(page: Mapping[str, Any]) -> tuple[Mapping[str, Any], Iterator[Mapping[str, Any]]]:
    """Metadata and items of a list. Raises KubeUnreachableError if `page` is no list."""
    metadata, items = page.get("metadata"), page.get("items")
    if not isinstance(metadata, dict) or not isinstance(items, list | None):
        raise KubeUnreachableError("the response is no list: is this an API server that has this API?")
    return metadata, iter(items or ())


def _event(line: bytes) -> tuple[str, Mapping[str, Any]]:
    """The kind of an event of a watch, and its object. Raises KubeUnreachableError."""
    try:
        event = json.loads(line)
        return str(event["type"]), dict(event["object"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise KubeUnreachableError("the response is no watch: is this an API server?") from error


def _name_of(document: Mapping[str, Any]) -> Name:
    metadata = document.get("metadata") or {}
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))


def _error(status: Mapping[str, Any]) -> KubeError:
    """The error in an event ERROR, whose object is a Status."""
    message = f"the API server ends the watch: {str(status.get('message'))[:200]} ({status.get('code')})"
    return KubeExpiredError(message) if status.get("code") == 410 else KubeUnreachableError(message)
