"""An API server with state, and the way to it, where time passes and answers get lost.

What the real `outputs/secret.py` and `kube/elector.py` ask of `KubeApi` is answered as tests/kube sees a real
kube-apiserver answer: versions, and conflicts with what has changed meanwhile.
"""

import itertools
from collections.abc import Mapping
from typing import Any

from refresher.core.election import Election
from refresher.errors import (
    KubeConflictError,
    KubeDeniedError,
    KubeNotFoundError,
    KubeThrottledError,
    KubeUnreachableError,
)
from refresher.kube.elector import Elector
from refresher.outputs.secret_body import REFRESH
from tests.simulation.process import Process
from tests.simulation.virtual import World

FAULTS = ("unreachable", "hangs", "500", "answers get lost", "writes arrive late", "403", "429")
TIMEOUT = 10.0
MOST_AT_ONCE = 100  # requests of a process at one moment; with more it pauses nowhere


class ApiServer:
    """Objects by path. `fault`: how it fails everybody; `cut_off`: those that it fails, and how."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.fault: str | None = None
        self.cut_off: dict[str, str] = {}  # by process's name
        self.denied: set[tuple[str, str]] = set()  # paths, and the process that may not write there; "": none
        self.objects: dict[str, dict[str, Any]] = {}
        self._versions = itertools.count(2)

    def fault_for(self, process: Process) -> str | None:
        return self.fault or self.cut_off.get(process.name)

    def get(self, path: str) -> dict[str, Any]:
        if path not in self.objects:
            raise KubeNotFoundError(f"there is no {path}")
        return _copied(self.objects[path])

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Store `body`, unless the object is of another version than it names; of one that is not there
        that does not count (k8s.io/apiserver, registry/store.go, Update)."""
        stored = self.objects.get(path)
        asked = body["metadata"].get("resourceVersion")
        if stored is not None and asked != stored["metadata"]["resourceVersion"]:
            raise KubeConflictError(f"{path} has been modified")
        new = _copied(body)
        if stored is not None and REFRESH in stored["metadata"].get("annotations", {}):
            kept = {REFRESH: stored["metadata"]["annotations"][REFRESH]}  # another manager's: apply leaves it
            new["metadata"]["annotations"] = kept | new["metadata"].get("annotations", {})
        new["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[path] = new
        return _copied(new)

    def delete(self, path: str) -> None:
        self.objects.pop(path, None)


def _copied(document: Mapping[str, Any]) -> dict[str, Any]:
    """As deep as anybody here changes it."""
    return {name: dict(part) if isinstance(part, dict) else part for name, part in document.items()}


class ApiLine:
    """What `KubeApi` is to one process."""

    def __init__(self, server: ApiServer, process: Process) -> None:
        self._server, self._process = server, process
        self._asked_at, self._asked = 0.0, 0  # the moment of the last request, and how many there were then

    def get(self, path: str, *, timeout: float = TIMEOUT) -> dict[str, Any]:
        self._pass_time(0.03 if "/secrets/" in path else 0.0)
        self._fail_before(timeout)
        if self._server.fault_for(self._process) == "answers get lost":
            self._hang(timeout)
        return self._server.get(path)

    def replace(self, path: str, body: Mapping[str, Any], *, timeout: float = TIMEOUT) -> dict[str, Any]:
        return self._change(path, body, timeout)

    def apply(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        force: bool,
        dry_run: bool = False,
        timeout: float = TIMEOUT,
    ) -> dict[str, Any]:
        self._process.here.sending_a_write(self._process)
        if dry_run:
            return self._try_out(path, body, timeout)
        return self._change(path, body, timeout)

    def _try_out(self, path: str, body: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Nothing is stored: not before, not after the answer was lost."""
        self._pass_time(0.05)
        self._fail_before(timeout, path)
        if self._server.fault_for(self._process) == "answers get lost":
            self._hang(timeout)
        self._process.here.proven_at_path(path)
        return _copied(body)

    def _change(self, path: str, body: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        here, server = self._process.here, self._server
        self._process.effect(f"a write is sent to {_sort(path)}")
        latency = (
            0.05 if "/secrets/" in path else 0.0
        )  # the Lease is asked for every second: it costs to play
        self._pass_time(latency)
        fault = server.fault_for(self._process)
        if fault == "writes arrive late":
            late = server.world.dice.uniform(0, 2 * TIMEOUT)
            server.world.after(timeout + late, lambda: self._arrive_late(path, body))
        self._fail_before(timeout, path)
        try:
            stored = server.put(path, body)
        except KubeConflictError:
            if fault == "answers get lost":
                self._hang(timeout)
            raise
        here.look_at_path(path)
        self._process.effect(f"a write to {_sort(path)} is answered")
        if fault == "answers get lost":
            self._hang(timeout)
        self._pass_time(latency)
        self._process.here.proven_at_path(path)
        return stored

    def _arrive_late(self, path: str, body: Mapping[str, Any]) -> None:
        try:
            self._server.put(path, body)
        except KubeConflictError:
            return  # as it should be: somebody was there meanwhile
        self._process.here.look_at_path(path)

    def _fail_before(self, timeout: float, changed: str = "") -> None:
        self._expect_pauses()
        if {(changed, ""), (changed, self._process.name)} & self._server.denied:
            raise KubeDeniedError("not permitted (403)")
        match self._server.fault_for(self._process):
            case "unreachable":
                raise KubeUnreachableError("the API server: connection refused")
            case "hangs" | "writes arrive late":
                self._hang(timeout)
            case "500":
                raise KubeUnreachableError("the API server failed (500)")
            case "403":
                raise KubeDeniedError("not permitted (403)")
            case "429":
                raise KubeThrottledError("the API server asks us to wait (429)", 1.0)

    def _expect_pauses(self) -> None:
        now = self._server.world.now
        self._asked_at, self._asked = now, self._asked + 1 if now == self._asked_at else 1
        if self._asked > MOST_AT_ONCE:
            self._process.here.promise.violated(f"{self._asked} requests to the API server without a pause")
            self._pass_time(3600.0, exactly=True)  # otherwise the scenario would never end

    def _hang(self, timeout: float) -> None:
        self._pass_time(timeout, exactly=True)
        raise KubeUnreachableError(f"no complete response from the API server within {timeout:.3g} s")

    def _pass_time(self, most: float, *, exactly: bool = False) -> None:
        if most > 0 and self._server.world.strand is not None:
            self._process.sleep(most if exactly else self._server.world.dice.uniform(0, most))


def _sort(path: str) -> str:
    return "the Lease" if "/leases/" in path else "a Secret"


class VirtualElector(Elector):
    """The real one; where its thread pauses, a strand does."""

    def __init__(self, process: Process, api: ApiLine, lease: str, election: Election) -> None:
        super().__init__(api, lease, election, process.machine, process.mailbox)  # type: ignore[arg-type]
        self._stop = _Pause(process, self)  # type: ignore[assignment]
        self._process = process
        self.is_pausing = False

    def start(self) -> None:
        self.strand = self._process.spawn(self._run)

    @property
    def election(self) -> Election:
        return self._election

    def leads(self) -> bool:
        return self._election.leads(self._clock.now().boot)

    def move_on(self, seconds: float) -> None:
        """The rules know no time but differences: moved along as a whole, an election goes on as before."""
        moved = self._election
        self._election = moved._replace(
            seen_at=moved.seen_at + seconds,
            asked_at=moved.asked_at + seconds,
            leading_until=moved.leading_until + seconds,
        )


class _Pause:
    """Stands where the elector has a threading.Event."""

    def __init__(self, process: Process, elector: VirtualElector) -> None:
        self._process, self._elector = process, elector

    def is_set(self) -> bool:
        return False

    def wait(self, seconds: float) -> None:
        self._elector.is_pausing = True
        self._process.here.perhaps_a_lull(self._process)
        lull = max(0.0, self._process.here.lull - self._process.world.now)
        self._process.sleep(seconds + lull * self._process.machine.rate)
        self._elector.is_pausing = False
