"""An observer that writes Kubernetes Events, so that operators see problems without reading our log.

The Events are about each Secret (`kubectl events --for secret/NAME`) and about our own Pod. `kubectl
describe` shows the Events of a Pod, but not those of a Secret. They belong to the core API, and each is a new
object. So the permission to create Events is enough.
"""

import logging
import queue
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from refresher.core.instant import Instant
from refresher.core.model import Outcome
from refresher.core.notifications import (
    KeyLoaded,
    KeySourceFailed,
    Notification,
    OutputFailed,
    OutputWritten,
    RefreshFailed,
    TokenMinted,
    TokenRemoved,
)
from refresher.core.object_notifications import ObjectAccepted, ObjectRefused
from refresher.core.process_notifications import LeaderChanged
from refresher.core.rfc3339 import to_second
from refresher.core.values import distinct
from refresher.errors import KubeDeniedError, KubeError
from refresher.kube.api import FIELD_MANAGER, KubeApi
from refresher.kube.paths import events_path

EVERY = 300.0  # seconds between two Events about one failing output or key of one object
TIMEOUT = 5.0  # seconds for the API server to accept an Event
WAITING = 64  # reports in the queue: further reports are dropped

_LONGEST_MESSAGE = 1024  # characters: the limit of events.k8s.io; the core API has none
_log = logging.getLogger("refresher")


@distinct
class Subject(NamedTuple):
    """The object that an Event is about. `kubectl describe` finds the Events of an object by its uid, if the
    object has one here."""

    kind: str
    namespace: str
    name: str
    uid: str = ""
    apiVersion: str = "v1"  # noqa: N815 -- the names of the fields are those of the API


class _Report(NamedTuple):
    """A failure of a token, or its end. `problem`: "key", "key source", "object", or an output's name."""

    token: str
    problem: str
    reason: str  # in CamelCase, for machines
    text: str
    is_over: bool = False


# the only notifications for Events
_REPORTED = (
    KeySourceFailed,
    KeyLoaded,
    RefreshFailed,
    TokenMinted,
    OutputFailed,
    OutputWritten,
    ObjectRefused,
    ObjectAccepted,
)


class EventRecorder:
    """`ports.Observer` that writes Events: a key cannot be read or is refused, a Secret cannot be written, it
    works again.

    It writes one Event at once, then one every five minutes with the number of failures, and one at the end.
    A thread of its own writes them, so that a slow API server does not delay the engine. Events that cannot
    be written are dropped. If permission is missing, the log says so once per namespace.
    """

    def __init__(
        self, api: KubeApi, subjects: Callable[[str], Mapping[str, Subject]], *, about_pod: bool = True
    ) -> None:
        """`subjects` returns what an Event about each Secret of the named token is about, by the name of the
        output; nothing while another process writes them. `about_pod`: write each Event about our own Pod,
        too."""
        pod = api.pod if about_pod else None
        self._pods = (Subject("Pod", api.namespace, pod.name, pod.uid),) if pod else ()
        self._subjects_of = subjects
        self._newest: dict[str, str] = {}  # token -> fingerprint of its key that was read last
        self._failing: set[tuple[str, str]] = set()
        self._unsent: dict[tuple[str, str], _Report] = {}  # failures that have had no subject yet
        self._writer = _Writer(api)

    def on_notification(self, token: str, notification: Notification, now: Instant) -> None:
        if isinstance(notification, KeyLoaded):
            self._newest[token] = notification.fingerprint
        elif isinstance(notification, TokenRemoved):
            self._newest.pop(token, None)
            self._failing = {failing for failing in self._failing if failing[0] != token}
            self._unsent = {
                failing: report for failing, report in self._unsent.items() if failing[0] != token
            }
        elif isinstance(notification, LeaderChanged) and notification.leads:
            for unsent in tuple(self._unsent.values()):
                self._submit(unsent, self._subjects_of(unsent.token), now)
        if isinstance(notification, _REPORTED):
            subjects = self._subjects_of(token)
            if (report := self._report(token, notification, subjects, now)) is not None:
                self._submit(report, subjects, now)

    def _submit(self, report: _Report, subjects: Mapping[str, Subject], now: Instant) -> None:
        """Write Events about `subjects`. Without any, a failure waits until this process leads: some failures
        are reported only once."""
        failing = report.token, report.problem
        self._unsent.pop(failing, None)
        if report.is_over and failing not in self._failing:
            return
        if not subjects and not report.is_over:
            self._unsent[failing] = report
            return
        change = self._failing.discard if report.is_over else self._failing.add
        change(failing)
        affected = (subjects[report.problem],) if report.problem in subjects else tuple(subjects.values())
        self._writer.submit(report, (*affected, *self._pods), now)

    def flush(self, timeout: float) -> bool:
        """Wait until every report is written or dropped. Returns False after `timeout` seconds."""
        return self._writer.flush(timeout)

    def _report(
        self, token: str, notification: Notification, secrets: Collection[str], now: Instant
    ) -> _Report | None:
        match notification:
            case ObjectRefused(problems=problems):
                return _Report(token, "object", "Invalid", "; ".join(problems))
            case ObjectAccepted():
                return _Report(token, "object", "Valid", "the object has no mistakes any more", is_over=True)
            case KeySourceFailed(message=message, kept=kept):
                then = "the last key stays in use until a restart" if kept else "no token can be minted"
                return _Report(token, "key source", "KeyUnreadable", f"{message}; {then}")
            case KeyLoaded(fingerprint=fingerprint):
                text = f"the key {fingerprint} is read"
                return _Report(token, "key source", "KeyRead", text, is_over=True)
        return self._report_about_token(token, notification, secrets, now)

    def _report_about_token(
        self, token: str, notification: Notification, secrets: Collection[str], now: Instant
    ) -> _Report | None:
        match notification:
            case RefreshFailed(outcome=Outcome.KEY_REFUSED) if secrets:
                return _Report(token, "key", "KeyRefused", _refusal(notification, now))
            case TokenMinted(facts=facts) if self._newest.get(token) == facts.key_fingerprint:
                text = f"the issuer accepts the key {facts.key_fingerprint}"
                return _Report(token, "key", "KeyAccepted", text, is_over=True)
            case OutputFailed(output=output, message=message, writing=True) if output in secrets:
                return _Report(token, output, "WriteFailed", f"{output} {message}")
            case OutputWritten(output=output) if output in secrets:
                return _Report(token, output, "Written", f"{output} is written again", is_over=True)
        return None


def _refusal(event: RefreshFailed, now: Instant) -> str:
    effect = "consumers have no valid token"
    if event.left > 0:
        effect = f"consumers are served until {to_second(now.wall + event.left)}"
    refusal = f"the issuer refuses the key {event.key_fingerprint}: {event.message}"
    return f"{refusal}; {effect}; put a valid key into its file or Secret"


class _Episode(NamedTuple):
    """Failures in a row. `first`: wall time of the first. `last_event`: boot time of the last Event about
    this problem, perhaps before these failures. `has_event`: whether these failures have an Event."""

    failures: int = 0
    first: float = 0.0
    last_event: float = float("-inf")
    has_event: bool = False


class _Writer:
    """Writes Events on a thread of its own. The first report starts it. If the system has no thread left, the
    next report tries again."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._reports: queue.Queue[tuple[_Report, tuple[Subject, ...], Instant]] = queue.Queue(WAITING)
        self._episodes: dict[tuple[str, str, Subject], _Episode] = {}
        self._denied: set[str] = set()
        self._thread: threading.Thread | None = None

    def submit(self, report: _Report, subjects: tuple[Subject, ...], now: Instant) -> None:
        """Queue a report. Never blocks and never raises. Call it from one thread only."""
        try:
            self._reports.put_nowait((report, subjects, now))
        except queue.Full:
            _log.debug("%s: the Event %s is dropped: the queue is full", report.token, report.reason)
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
            _log.debug("cannot start the thread that writes Events: %s", error)
        else:
            self._thread = thread

    def _work(self) -> None:
        while True:
            report, subjects, at = self._reports.get()
            try:
                for subject in subjects:
                    key = (report.token, report.problem, subject)
                    self._episodes[key] = self._reported(
                        report, subject, at, self._episodes.get(key, _Episode())
                    )
            except Exception:  # noqa: BLE001 -- a bug with one Event must not stop the Events after it
                _log.exception("%s: cannot write the Event %s (a bug)", report.token, report.reason)
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
                _log.info("cannot write Events in namespace %s: %s", subject.namespace, error)
        except KubeError as error:
            _log.debug("%s: cannot write the Event %s: %s", report.token, report.reason, error)
            return False
        return True


def _event(report: _Report, subject: Subject, at: Instant, episode: _Episode) -> dict[str, Any]:
    """`kubectl` shows `count` and the two times as ``5m (x12 over 1h)``."""
    about = {field: value for field, value in subject._asdict().items() if value}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{subject.name}.", "namespace": subject.namespace},
        "involvedObject": about,
        "type": "Normal" if report.is_over else "Warning",
        "reason": report.reason,
        "message": f"token {report.token}: {report.text}"[:_LONGEST_MESSAGE],
        "count": episode.failures,
        "firstTimestamp": to_second(episode.first),
        "lastTimestamp": to_second(at.wall),
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
    }
