"""Holding a Lease, so that of several processes one mints and writes. The rules are in `core.election`."""

import threading
from collections.abc import Callable
from typing import Any

from refresher.core.election import LONGEST, Election, LeaseRecord, Pause, ReadLease, WriteLease
from refresher.core.events import LeadershipChanged
from refresher.core.notifications import Crashed, LeaderChanged, LeaseFailed
from refresher.core.rfc3339 import to_microsecond
from refresher.errors import KubeConflictError, KubeError, KubeNotFoundError, KubeUnreachableError
from refresher.kube.api import KubeApi
from refresher.kube.paths import NEVER, lease_path
from refresher.ports import Clock, Mailbox, Message

LONGEST_NAME = 253  # characters of a holder's name that are passed on: more is no Pod's

_FAREWELL = 1.0  # seconds that letting go of the Lease may take: SIGTERM leaves five for everything


class Elector:
    """One candidate. Tells every change as a message: `LeadershipChanged`, and what observers are to know.

    `lease`: NAMESPACE/NAME. The identity in `election` is unique among all processes, also after a restart.
    """

    def __init__(self, api: KubeApi, lease: str, election: Election, clock: Clock, mailbox: Mailbox) -> None:
        self._api, self._clock, self._mailbox = api, clock, mailbox
        self._namespace, _, self._name = lease.rpartition("/")
        self.lease = lease
        self._election = election
        self._object: dict[str, Any] = {}  # the Lease as last seen, with what others have put into it
        self._told: tuple[bool, str] | None = None
        self._doubted: tuple[str, float] | None = None  # holder and duration that were reported
        self._failing = self._tell_again = False
        self._stop = threading.Event()
        self._ended = threading.Event()

    def start(self, spawn: Callable[[Callable[[], None], str], object]) -> None:
        """Stand for election from now on, on a thread that `spawn` starts: `Workers.run`, for one."""
        spawn(self._run, "elector")

    def time_left(self) -> float:
        """Seconds for which it is certain that nobody else leads; not positive when we do not."""
        return self._election.leading_until - self._clock.now().boot

    def release(self) -> None:
        """Let go of the Lease, if it is ours, so that others need not wait until it runs out."""
        self._stop.set()
        has_ended = self._ended.wait(_FAREWELL)
        farewell = self._election.release()
        if farewell is None or not has_ended:  # a call hangs: it runs out by itself
            return
        try:
            self._put(farewell, timeout=_FAREWELL)
        except KubeError as error:
            self._say(LeaseFailed(self.lease, str(error), leads=False))

    def _run(self) -> None:
        while not self._stop.is_set():
            now = self._clock.now().boot
            self._tell(leads=self._election.leads(now))
            match self._election.next_step(now):
                case Pause(until=until):
                    self._stop.wait(until - now)
                case step:
                    self._perform(step, now)
        self._ended.set()

    def _perform(self, step: ReadLease | WriteLease, began: float) -> None:
        election = self._election
        patience = election.patience(began)
        try:
            if isinstance(step, ReadLease):
                self._election = election.observed(self._get(patience), began, self._clock.now().boot)
            else:
                written = self._put(step.record, timeout=patience)
                self._election = election.acquired(written, began, self._clock.now().boot)
            self._recovered()
        except KubeConflictError:
            self._election = election.conflicted(began)
            self._recovered()
        except KubeError as error:
            self._election = election.failed(began)
            self._failing = True
            self._say(LeaseFailed(self.lease, str(error), leads=election.leads(self._clock.now().boot)))
        except Exception as error:  # noqa: BLE001 -- a mistake of ours must not end every later election
            self._election = election.failed(began)
            self._say(Crashed("standing for election", error))

    def _recovered(self) -> None:
        """How matters stand is told again after a failure: that is how it is known to be over."""
        if self._failing:
            self._failing, self._tell_again = False, True

    def _get(self, timeout: float) -> LeaseRecord | None:
        try:
            lease = self._api.get(lease_path(self._namespace, self._name), timeout=timeout)
        except KubeNotFoundError:
            self._object = {}
            return None
        return self._seen(lease)

    def _put(self, record: LeaseRecord, timeout: float) -> LeaseRecord:
        body = document(self._object, record, self._namespace, self._name, self._clock.now().wall)
        path = lease_path(self._namespace, self._name)
        return self._seen(self._api.replace(path, body, timeout=timeout))

    def _seen(self, lease: dict[str, Any]) -> LeaseRecord:
        """What it says; it is kept only if it says something."""
        record = record_of(lease)
        self._object = lease
        self._doubt(record)
        return record

    def _doubt(self, record: LeaseRecord) -> None:
        """Report a Lease that says it is held for longer than any of ours, once for each that says so."""
        doubted = (record.holder, record.duration)
        if record.duration <= LONGEST or doubted == self._doubted:
            return
        self._doubted = doubted
        message = f"{record.holder or 'nobody'} holds it for {record.duration:.0f} s, it says"
        message += f"; no more than {LONGEST:.0f} s are believed"
        self._say(LeaseFailed(self.lease, message, leads=self._election.leads(self._clock.now().boot)))

    def _tell(self, *, leads: bool) -> None:
        """Tell when that is news: whether we lead, and if not, who does. Nothing before either is known."""
        seen = self._election.seen
        holder = seen.holder if seen and not leads else ""
        is_news = (leads, holder) != self._told or self._tell_again
        if not is_news or (self._told is None and not leads and not holder):
            return
        self._told, self._tell_again = (leads, holder), False
        self._mailbox.post(
            Message(None, LeadershipChanged(leads), (LeaderChanged(self.lease, leads, holder),))
        )

    def _say(self, notifications: LeaseFailed | Crashed) -> None:
        self._mailbox.post(Message(None, None, (notifications,)))


def record_of(lease: dict[str, Any]) -> LeaseRecord:
    """What a Lease says; what is missing or strange in it is as if nobody had ever held it.

    Raises KubeUnreachableError for what is no object of Kubernetes: it cannot be taken, even from nobody.
    """
    match lease:
        case {"metadata": {"resourceVersion": str(version)}} if version:
            spec = _fields(lease, "spec")
        case _:
            raise KubeUnreachableError("what it gives is no Lease: is this an API server?")
    return LeaseRecord(
        holder=str(spec.get("holderIdentity") or "")[:LONGEST_NAME],
        duration=float(_whole(spec.get("leaseDurationSeconds"), 0)),
        transitions=_whole(spec.get("leaseTransitions"), -1),
        version=version,
    )


def _whole(value: object, otherwise: int) -> int:
    """An int32 as it stands in a Lease, none of which is negative."""
    return value if isinstance(value, int) and 0 <= value < 2**31 else otherwise


def _fields(lease: dict[str, Any], name: str) -> dict[str, Any]:
    found = lease.get(name)
    return found if isinstance(found, dict) else {}


def document(
    before: dict[str, Any], record: LeaseRecord, namespace: str, name: str, now_wall: float
) -> dict[str, Any]:
    """The Lease that says `record`, with everything else as it was `before`; one that does not exist yet is
    made by a PUT with a version that none has, so that RBAC gets to see its name (see `rbac.for_lease`).

    Its times are for people: nobody decides by another machine's clock. MicroTime wants six digits.
    """
    spec = dict(_fields(before, "spec"))
    now = to_microsecond(now_wall)
    if spec.get("holderIdentity") != record.holder:
        spec["acquireTime"] = now
    spec |= {
        "holderIdentity": record.holder or None,  # an empty one is not valid
        "leaseDurationSeconds": int(record.duration),
        "leaseTransitions": record.transitions,
        "renewTime": now,
    }
    metadata = dict(before.get("metadata") or {"namespace": namespace, "name": name})
    metadata["resourceVersion"] = record.version or NEVER
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
