"""Troubles of the outputs."""

import errno

from refresher.core.backoff import INSPECT_EVERY, INSPECT_WATCHED
from refresher.core.machine import STALLED
from refresher.executor import GIVE_UP
from refresher.lanes import COUNTS_FOR
from tests.simulation import design
from tests.simulation.disk import Hang
from tests.simulation.happenings.base import Base
from tests.simulation.machine import Machine
from tests.simulation.promise import REQUESTED
from tests.simulation.troubles import Trouble

HANGS = ("goes on", "fails", "for ever")
REPORTED = INSPECT_EVERY + STALLED + 5.0  # seconds, the longest until an output that hangs is reported
LONG_FOR_EVER = 3 * GIVE_UP  # what hangs on a server that is gone holds its thread, and there are four
NEVER = 1e9
REQUESTED_AHEAD = (0.0, 0.0, -10.0, 30.0, 300.0, NEVER)  # seconds
BETWEEN_REQUESTS = 20.0
MISSED = 0.2  # `Trouble.lasts` below which no poll reports a change
DISK_ERRORS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO)


class OfTheOutputs(Base):
    """An output hangs, cannot be written, or another program changes it."""

    def output_hangs(self, trouble: Trouble) -> float:
        """A step in flight is given up after a while at the latest, and tried anew within half a minute."""
        files = tuple(name for name, place in self.here.configured.items() if place.kind == "file")
        which = self._pick(trouble, (*((name,) for name in files), files))
        how = self._pick(trouble._replace(pick=trouble.pick * 7 % 1), HANGS)
        spare = 40.0
        if how == "for ever":
            holder = self.here.leader().name
            before = self._hung_for_ever[holder]
            self._hung_for_ever[holder] += 1
            spare += GIVE_UP + before * 8 * COUNTS_FOR  # it is the longer, the more threads are lost already
        lasts = trouble.lasts * self._bearable(spare=spare)
        if how == "for ever":
            lasts = min(lasts, LONG_FOR_EVER) if before < 2 else 0.0
        for process in self.here.living():
            process.poll_outputs()
        self.here.disk.hang = Hang(which, self.world.now + lasts, how == "fails", how == "for ever")
        self._along_with(trouble, lasts)
        if trouble.also is None and lasts > REPORTED:
            told = self.promise.seen["OutputFailed"]
            self.world.plan(self.world.now + REPORTED, lambda: self.promise.check_told("OutputFailed", told))
        undo = lambda: setattr(self.here.disk, "hang", None)  # noqa: E731
        return self._until(lasts, f"{len(which)} of the files hang; what hangs {how}", undo)

    def output_cannot_be_written(self, trouble: Trouble) -> float:
        name = self._pick(trouble, tuple(self.here.configured))
        code = self._pick(trouble._replace(pick=trouble.pick * 7 % 1), DISK_ERRORS)
        disk = self.here.disk
        disk.fails_with[name], disk.fails_reads = code, code == errno.EIO
        lasts = trouble.lasts * self._bearable(spare=20.0)
        text = f"{self.here.outputs[name].name} cannot be written: {errno.errorcode[code]}"
        return self._until(lasts, text, disk.fails_with.clear)

    def output_is_deleted(self, trouble: Trouble) -> float:
        return self._damage(trouble, None)

    def output_is_altered(self, trouble: Trouble) -> float:
        return self._damage(trouble, b"something else")

    def refresh_is_requested(self, trouble: Trouble) -> float:
        """Once or several times, also for a time to come. Nothing is requested while the clock is behind the
        token: such a request counts as fulfilled."""
        name = self._pick(trouble, tuple(self.here.configured))
        ahead = self._pick(trouble._replace(pick=trouble.pick * 7 % 1), REQUESTED_AHEAD)
        token, leader = self.here.owner_of(name), self.here.leader()
        machine, state = leader.machine, self.here.state_of(leader, token)
        if state is None or state.facts is None or state.facts.issued.wall > machine.now().wall:
            return 0.0
        times = 1 + int(3 * trouble.lasts)
        for number in range(times):
            self.world.plan(
                self.world.now + number * BETWEEN_REQUESTS, lambda: self._request(name, machine, ahead)
            )
        last = self.world.now + (times - 1) * BETWEEN_REQUESTS
        if ahead == NEVER:
            return last - self.world.now + 1.0
        obeyed = max(0.0, ahead) + design.request_pause(token) + INSPECT_EVERY + 30.0
        since = last + ahead - 1.0
        if ahead >= 0:
            self.world.plan(last + obeyed, lambda: self.promise.check_minted_since(since, token.number))
        return last + obeyed - self.world.now

    def _request(self, name: str, machine: Machine, ahead: float) -> None:
        self.promise.tell(f"a new token is requested at {self.here.outputs[name].name}, for {ahead:+.0f} s")
        self.here.request_refresh(name, machine.now().wall + ahead)
        self._requested_for.append(machine.now().wall + ahead)
        owner = self.here.owner_of(name).number
        self.world.disturb()
        # A write meanwhile counts as an inspection there, but does not see the request.
        self.world.plan(self.world.now + INSPECT_EVERY, self.world.disturb)
        if ahead != NEVER:
            # A second early, because the clock of the machine may be fast.
            self.world.plan(
                self.world.now + max(0.0, ahead - 1.0), lambda: self.promise.may_cost_a_mint(REQUESTED, owner)
            )

    def _damage(self, trouble: Trouble, content: bytes | None) -> float:
        name = self._pick(trouble, tuple(self.here.configured))
        self.promise.tell(f"{self.here.outputs[name].name} is {'deleted' if content is None else 'altered'}")
        missed = trouble.lasts < MISSED
        lasts = 60.0 + (INSPECT_WATCHED if missed else 0.0)
        self.promise.excuse(lasts, name)
        self.promise.may_cost_a_mint("where the value of an adopted token is not known")
        self.here.damage(name, content, missed=missed)
        return lasts
