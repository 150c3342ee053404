"""Troubles of the API server and the Lease."""

from tests.simulation.apiserver import FAULTS
from tests.simulation.happenings.base import LONG_ENOUGH, Base
from tests.simulation.installation import LEASE_DURATION, lease
from tests.simulation.troubles import Trouble


class OfTheApiServer(Base):
    """The API server fails, for everybody or for the leader alone; the Lease is deleted."""

    def api_fault(self, trouble: Trouble) -> float:
        fault = self._pick(trouble, FAULTS)
        self.here.api.fault = fault
        lasts = self._at_most(trouble.lasts * self._bearable(spare=40.0))
        return self._until(lasts, f"the API server: {fault}", lambda: setattr(self.here.api, "fault", None))

    def leader_cut_off(self, trouble: Trouble) -> float:
        lasts = trouble.lasts * LONG_ENOUGH
        return self._cut_off(self.here.leader(), self._pick(trouble, FAULTS), lasts)

    def _cut_off(self, leader: object, fault: object, lasts: float) -> float:
        self._may_change_leader(leader)
        self.here.api.cut_off[leader.name] = fault
        return self._until(
            lasts,
            f"{leader.name} and the API server: {fault}",
            lambda: self.here.api.cut_off.pop(leader.name),
        )

    def leadership_flaps(self, trouble: Trouble) -> float:
        times = 2 + int(trouble.lasts * 6)

        def flap(left: int) -> None:
            leader = self.here.leader()
            if leader is not None:
                self._cut_off(leader, self._pick(trouble, FAULTS), LEASE_DURATION + 10.0)
            if left > 1:
                self.world.plan(self.world.now + LEASE_DURATION + 15.0, lambda: flap(left - 1))

        flap(times)
        return times * (LEASE_DURATION + 15.0)

    def lease_is_deleted(self, trouble: Trouble) -> float:
        self.promise.tell("the Lease is deleted")
        self.here.api.delete(lease())
        return 30.0
