"""`ports.Observer` that writes Kubernetes Events, so that operators see problems without reading our log.

The Events are about each Secret (`kubectl events --for secret/NAME`) and about our own Pod, because `kubectl
describe` shows the Events of a Pod, but not those of a Secret. They belong to the core API, and each is a new
object, so that the permission to create Events is enough.
"""

import logging
import queue
import threading
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

from refresher.core.instant import Instant
from refresher.core.model import Outcome
from refresher.core.notifications import (
    KeyLoaded,
    Notification,
    OutputFailed,
    OutputWritten,
    RefreshFailed,
    TokenMinted,
    TokenRemoved,
)
from refresher.core.rfc3339 import to_second
from refresher.core.values import distinct
from refresher.errors import KubeDeniedError, KubeError
from refresher.kube.api import FIELD_MANAGER, KubeApi
from refresher.kube.paths import events_path

EVERY = 300.0  # seconds between two Events of one sort on one object
TIMEOUT = 5.0  # seconds for the API server to take one
WAITING = 64  # reports that wait for it, before more are left out

_LONGEST_MESSAGE = 1024  # characters: the limit of events.k8s.io, kept although the core API has none
_log = logging.getLogger("refresher")


@distinct
class Subject(NamedTuple):
    """The object that an Event is about. `kubectl describe` looks for the uid of a Pod, too."""

    kind: str
    namespace: str
    name: str
    uid: str = ""


class _Report(NamedTuple):
    """Something of a token has failed, or does no longer. `trouble`: "key", or the output."""

    token: str
    trouble: str
    reason: str  # in CamelCase, for machines
    text: str
    is_over: bool = False


class EventRecorder:
    """`ports.Observer` that writes Events: the key is refused, a Secret cannot be written, it works again.

    The first is written at once, then one in five minutes with the number of failures, and one when it is
    over. A thread of its own does that, so that no API server holds up who announces. What cannot be written
    is left out; if that is for want of permission, the log says so, once per namespace.
    """

    def __init__(self, api: KubeApi, secrets: Callable[[str], Iterable[tuple[str, str]]]) -> None:
        """`secrets`: namespace and name of each Secret in which the token of this name is published."""
        self._pods = (Subject("Pod", api.namespace, api.pod.name, api.pod.uid),) if api.pod else ()
        self._secrets_of = secrets
        self._newest: dict[str, str] = {}  # of each token's keys the one read last, by fingerprint
        self._failing: set[tuple[str, str]] = set()
        self._writer = _Writer(api)

    def on_notification(self, token: str, notification: Notification, now: Instant) -> None:
        if isinstance(notification, KeyLoaded):
            self._newest[token] = notification.fingerprint
        elif isinstance(notification, TokenRemoved):
            self._newest.pop(token, None)
            self._failing = {each for each in self._failing if each[0] != token}
        secrets = self._secrets(token)
        report = self._report(token, notification, secrets, now)
        if report is None or (report.is_over and (token, report.trouble) not in self._failing):
            return
        change = self._failing.discard if report.is_over else self._failing.add
        change((token, report.trouble))
        concerned = (secrets[report.trouble],) if report.trouble in secrets else tuple(secrets.values())
        self._writer.submit(report, (*concerned, *self._pods), now)

    def flush(self, timeout: float) -> bool:
        """Wait until all that was noticed is written or left out; False if that takes over `timeout` s."""
        return self._writer.flush(timeout)

    def _secrets(self, token: str) -> dict[str, Subject]:
        """By the output's name."""
        return {
            f"secret:{namespace}/{name}": Subject("Secret", namespace, name)
            for namespace, name in self._secrets_of(token)
        }

    def _report(
        self, token: str, notification: Notification, secrets: Collection[str], now: Instant
    ) -> _Report | None:
        match notification:
            case RefreshFailed(outcome=Outcome.KEY_REFUSED) if secrets:
                return _Report(token, "key", "KeyRefused", _refused(notification, now))
            case TokenMinted(facts=facts) if self._newest.get(token) == facts.key_fingerprint:
                text = f"the issuer accepts the key {facts.key_fingerprint}"
                return _Report(token, "key", "KeyAccepted", text, is_over=True)
            case OutputFailed(output=output, message=message, writing=True) if output in secrets:
                return _Report(token, output, "WriteFailed", message)
            case OutputWritten(output=output) if output in secrets:
                return _Report(token, output, "Written", f"{output} is written again", is_over=True)
        return None


def _refused(event: RefreshFailed, now: Instant) -> str:
    served = "consumers have no valid token"
    if event.left > 0:
        served = f"consumers are served until {to_second(now.wall + event.left)}"
    refused = f"the issuer refuses the key {event.key_fingerprint}: {event.message}"
    return f"{refused}; {served}; put a valid key into the key's file"


class _Episode(NamedTuple):
    """Failures in a row. `first`: when the first was, in wall seconds. `last_event`: when the last Event
    about such failures was written, in boot seconds. `has_event`: whether these failures have one."""

    failures: int = 0
    first: float = 0.0
    last_event: float = float("-inf")
    has_event: bool = False


class _Writer:
    """Writes Events on a thread of its own. The first report starts it, or the first for which the system has
    a thread."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._reports: queue.Queue[tuple[_Report, tuple[Subject, ...], Instant]] = queue.Queue(WAITING)
        self._episodes: dict[tuple[str, str, Subject], _Episode] = {}
        self._denied: set[str] = set()
        self._thread: threading.Thread | None = None

    def submit(self, report: _Report, subjects: tuple[Subject, ...], now: Instant) -> None:
        """Never blocks and never raises. From one thread only."""
        try:
            self._reports.put_nowait((report, subjects, now))
        except queue.Full:
            _log.debug(
                "%s: too many Events wait for the API server, %s is left out", report.token, report.reason
            )
        self._start()

    def flush(self, timeout: float) -> bool:
        reports = self._reports
        if reports.unfinished_tasks:
            self._start()
        with reports.all_tasks_done:
            return reports.all_tasks_done.wait_for(lambda: not reports.unfinished_tasks, timeout)

    def _start(self) -> None:
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._work, name="kube-events", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:  # the next report tries again
            _log.debug("no Events are written for now: %s", error)
        else:
            self._thread = thread

    def _work(self) -> None:
        while True:
            report, subjects, at = self._reports.get()
            try:
                for subject in subjects:
                    key = (report.token, report.trouble, subject)
                    self._episodes[key] = self._reported(
                        report, subject, at, self._episodes.get(key, _Episode())
                    )
            except Exception:  # noqa: BLE001 -- a bug with one Event must not stop the Events after it
                _log.exception("%s: the Event %s is not written", report.token, report.reason)
            finally:
                self._reports.task_done()

    def _reported(self, report: _Report, subject: Subject, at: Instant, before: _Episode) -> _Episode:
        """Write an Event about this report if one is due. Returns the episode after it."""
        if report.is_over:
            if before.has_event:
                self._write(report, subject, at, _Episode(1, at.wall))
            return _Episode(last_event=before.last_event)
        now = before._replace(
            failures=before.failures + 1, first=before.first if before.failures else at.wall
        )
        if at.boot - before.last_event < EVERY or not self._write(report, subject, at, now):
            return now
        return now._replace(last_event=at.boot, has_event=True)

    def _write(self, report: _Report, subject: Subject, at: Instant, episode: _Episode) -> bool:
        """Write an Event. Returns False if the next failure has to try again."""
        try:
            self._api.create(
                events_path(subject.namespace), _event(report, subject, at, episode), timeout=TIMEOUT
            )
        except KubeDeniedError as error:
            if subject.namespace not in self._denied:
                self._denied.add(subject.namespace)
                _log.info("no Events are written in namespace %s: %s", subject.namespace, error)
        except KubeError as error:
            _log.debug("%s: the Event %s is not written: %s", report.token, report.reason, error)
            return False
        return True


def _event(report: _Report, subject: Subject, at: Instant, episode: _Episode) -> dict[str, Any]:
    """`count` and the two times are what `kubectl` shows as ``5m (x12 over 1h)``."""
    about = {each: text for each, text in subject._asdict().items() if text}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{subject.name}.", "namespace": subject.namespace},
        "involvedObject": {"apiVersion": "v1", **about},
        "type": "Normal" if report.is_over else "Warning",
        "reason": report.reason,
        "message": f"token {report.token}: {report.text}"[:_LONGEST_MESSAGE],
        "count": episode.failures,
        "firstTimestamp": to_second(episode.first),
        "lastTimestamp": to_second(at.wall),
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
    }
