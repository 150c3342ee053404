"""Leader election with a Lease: only its holder mints and writes. The rules are in `core.election`."""

import threading
from collections.abc import Callable
from typing import Any

from refresher.core.election import LONGEST, Election, LeaseRecord, Pause, ReadLease, WriteLease
from refresher.core.events import LeadershipChanged
from refresher.core.process_notifications import Crashed, LeaderChanged, LeaseFailed
from refresher.core.rfc3339 import to_microsecond
from refresher.errors import KubeConflictError, KubeError, KubeNotFoundError, KubeUnreachableError
from refresher.kube.api import KubeApi
from refresher.kube.paths import NEVER, lease_path
from refresher.ports import Clock, Mailbox, Message

LONGEST_NAME = 253  # characters of a holder's name, as for a Pod: longer names are cut

_RELEASE_TIMEOUT = 1.0  # seconds to release the Lease: after SIGTERM the whole process has five


class Elector:
    """One candidate. Posts a message for each change: `LeadershipChanged`, and notifications for observers.

    `lease`: NAMESPACE/NAME. The identity in `election` is unique among all processes, even after a restart.
    """

    def __init__(self, api: KubeApi, lease: str, election: Election, clock: Clock, mailbox: Mailbox) -> None:
        self._api, self._clock, self._mailbox = api, clock, mailbox
        self._namespace, _, self._name = lease.rpartition("/")
        self.lease = lease
        self._election = election
        self._object: dict[str, Any] = {}  # the Lease as last read, with the fields of other clients
        self._posted: tuple[bool, str] | None = None  # whether we lead and the holder, as last posted
        self._doubted: tuple[str, float] | None = None  # holder and duration, as last reported
        self._failing = self._post_again = False
        self._stop = threading.Event()
        self._ended = threading.Event()

    def start(self, spawn: Callable[[Callable[[], None], str], object]) -> None:
        """Run the election on a thread that `spawn` starts, for example `Workers.run`."""
        spawn(self._run, "elector")

    def time_left(self) -> float:
        """Seconds for which we certainly are the only leader; 0 or less if we do not lead."""
        return self._election.leading_until - self._clock.now().boot

    def release(self) -> None:
        """Stop the election, and release the Lease if we hold it. So the next leader need not wait for its
        end."""
        self._stop.set()
        has_ended = self._ended.wait(_RELEASE_TIMEOUT)
        released = self._election.release()
        if released is None or not has_ended:  # a call hangs: let the Lease run out
            return
        try:
            self._put(released, timeout=_RELEASE_TIMEOUT)
        except KubeError as error:
            self._notify(LeaseFailed(self.lease, str(error), leads=False))

    def _run(self) -> None:
        while not self._stop.is_set():
            now = self._clock.now().boot
            self._post_change(leads=self._election.leads(now))
            match self._election.next_step(now):
                case Pause(until=until):
                    self._stop.wait(until - now)
                case step:
                    self._perform(step, now)
        self._ended.set()

    def _perform(self, step: ReadLease | WriteLease, began: float) -> None:
        election = self._election
        timeout = election.patience(began)
        try:
            if isinstance(step, ReadLease):
                self._election = election.observed(self._get(timeout), began, self._clock.now().boot)
            else:
                written = self._put(step.record, timeout=timeout)
                self._election = election.acquired(written, began, self._clock.now().boot)
            self._recovered()
        except KubeConflictError:
            self._election = election.conflicted(began)
            self._recovered()
        except KubeError as error:
            self._election = election.failed(began)
            self._failing = True
            self._notify(LeaseFailed(self.lease, str(error), leads=election.leads(self._clock.now().boot)))
        except Exception as error:  # noqa: BLE001 -- a bug must not end the election for good
            self._election = election.failed(began)
            self._notify(Crashed("standing for election", error))

    def _recovered(self) -> None:
        """After a failure, post the state again: observers see from it that the failure is over."""
        if self._failing:
            self._failing, self._post_again = False, True

    def _get(self, timeout: float) -> LeaseRecord | None:
        try:
            lease = self._api.get(lease_path(self._namespace, self._name), timeout=timeout)
        except KubeNotFoundError:
            self._object = {}
            return None
        return self._parsed(lease)

    def _put(self, record: LeaseRecord, timeout: float) -> LeaseRecord:
        body = document(self._object, record, self._namespace, self._name, self._clock.now().wall)
        path = lease_path(self._namespace, self._name)
        return self._parsed(self._api.replace(path, body, timeout=timeout))

    def _parsed(self, lease: dict[str, Any]) -> LeaseRecord:
        """The record in `lease`. Keeps the object for the next write, if it is a Lease."""
        record = record_of(lease)
        self._object = lease
        self._doubt(record)
        return record

    def _doubt(self, record: LeaseRecord) -> None:
        """Report a Lease with a duration longer than we ever set, once for each holder and duration."""
        doubted = (record.holder, record.duration)
        if record.duration <= LONGEST or doubted == self._doubted:
            return
        self._doubted = doubted
        message = (
            f"the Lease names {record.holder or 'no holder'} with a duration of {record.duration:.0f} s: the "
            f"refresher waits {LONGEST:.0f} s at most"
        )
        self._notify(LeaseFailed(self.lease, message, leads=self._election.leads(self._clock.now().boot)))

    def _post_change(self, *, leads: bool) -> None:
        """If the leader has changed, post whether we lead, or else who does. Skip an unknown first leader."""
        seen = self._election.seen
        holder = seen.holder if seen and not leads and seen.holder != self._election.identity else ""
        has_changed = (leads, holder) != self._posted or self._post_again
        if not has_changed or (self._posted is None and not leads and not holder):
            return
        self._posted, self._post_again = (leads, holder), False
        self._mailbox.post(
            Message(
                None, LeadershipChanged(leads), (LeaderChanged(self.lease, leads, holder, self._failing),)
            )
        )

    def _notify(self, notification: LeaseFailed | Crashed) -> None:
        self._mailbox.post(Message(None, None, (notification,)))


def record_of(lease: dict[str, Any]) -> LeaseRecord:
    """The record in a Lease. A missing or malformed field counts as in a Lease that was never held.

    Raises KubeUnreachableError if `lease` has no resourceVersion: no write could replace it.
    """
    match lease:
        case {"metadata": {"resourceVersion": str(version)}} if version:
            spec = _fields(lease, "spec")
        case _:
            raise KubeUnreachableError("the response is no Lease: is this an API server?")
    return LeaseRecord(
        holder=str(spec.get("holderIdentity") or "")[:LONGEST_NAME],
        duration=float(_whole(spec.get("leaseDurationSeconds"), 0)),
        transitions=_whole(spec.get("leaseTransitions"), -1),
        version=version,
    )


def _whole(value: object, default: int) -> int:
    """`value` if it is an int32 and not negative, as every number in a Lease is."""
    return value if isinstance(value, int) and 0 <= value < 2**31 else default


def _fields(lease: dict[str, Any], name: str) -> dict[str, Any]:
    found = lease.get(name)
    return found if isinstance(found, dict) else {}


def document(
    before: dict[str, Any], record: LeaseRecord, namespace: str, name: str, now_wall: float
) -> dict[str, Any]:
    """The Lease with `record` in it and all other fields as `before`. A new Lease gets a resourceVersion that
    no Lease has, so that a PUT creates it (`rbac.for_lease` has the reason).

    Its times are only for people: no candidate trusts another machine's clock. MicroTime needs six digits.
    """
    spec = dict(_fields(before, "spec"))
    now = to_microsecond(now_wall)
    if spec.get("holderIdentity") != record.holder:
        spec["acquireTime"] = now
    spec |= {
        "holderIdentity": record.holder or None,  # Kubernetes rejects ""
        "leaseDurationSeconds": int(record.duration),
        "leaseTransitions": record.transitions,
        "renewTime": now,
    }
    metadata = dict(before.get("metadata") or {"namespace": namespace, "name": name})
    metadata["resourceVersion"] = record.version or NEVER
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
