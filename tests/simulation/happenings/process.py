"""Troubles of a process: kills, suspensions, clocks, threads, and an operator."""

from refresher.core.effects import Mint, Write
from refresher.core.events import RefreshRequested
from refresher.engine import MOMENT
from refresher.executor import MINT_GRACE
from refresher.ports import Message
from tests.simulation.happenings.base import NOT_SOON, Base
from tests.simulation.promise import EFFECT, REQUESTED
from tests.simulation.troubles import Trouble

JUMPS = (-7200.0, -600.0, -30.0, -1.0, 1.0, 30.0, 600.0, 7200.0)


class OfAProcess(Base):
    """A process dies or waits, or its machine does."""

    def kill(self, trouble: Trouble) -> float:
        victim = self._victim(trouble)
        if victim is None:
            return 0.0
        self.here.downtime = 0.1 + 5.0 * trouble.pick
        victim.kill()
        return self.here.downtime

    def kill_in_a_write(self, trouble: Trouble) -> float:
        return self._light_fuse(trouble, Write, 11)  # a file takes ten, and one to tell

    def kill_in_a_mint(self, trouble: Trouble) -> float:
        return self._light_fuse(trouble, Mint, 3)

    def _light_fuse(self, trouble: Trouble, effect: type, most: int) -> float:
        victim = self._victim(trouble)
        if victim is not None:
            effects = int(trouble.pick * most)
            self.promise.tell(
                f"{victim.name} is to be killed at effect {effects} of its next {effect.__name__}"
            )
            victim.light_fuse(effect, effects)
        return 0.9 * self.lives

    def _victim(self, trouble: Trouble) -> object:
        """Whose clock was set back while it held a token is spared: its successor would believe that the
        token is younger than it is, or of the future. That is two troubles."""
        if self.world.now - self._set_back_at < self._remembers_for:
            return None
        living = self.here.living()
        return self.here.leader() or (living[0] if living else None)

    def suspended(self, trouble: Trouble) -> float:
        victim = self.here.leader()
        if victim is None:
            return 0.0
        spare = min(self._spare, self._bearable(spare=15.0))
        self._spare = NOT_SOON
        return self._suspend(victim, self._at_most(trouble.lasts * spare))

    def suspended_too_long(self, trouble: Trouble) -> float:
        lasts = self._at_most(trouble.lasts * 2 * self.lives)
        if self.plan.wants.processes == 1:
            self.promise.excuse(
                lasts + EFFECT + 2 * self.plan.wants.slow + self.plan.wants.propagation_delay + 10.0
            )
        return self._suspend(self.here.leader(), lasts)

    def _suspend(self, victim: object, lasts: float) -> float:
        self.here.last_suspension[victim.name] = lasts
        victim.suspended_until = self.world.now + lasts
        self.here.lost_mints(victim, "suspended between a mint and its first write", unpublished=False)
        return self._until(lasts, f"{victim.name} is suspended", lambda: None)

    def threads_refused(self, trouble: Trouble) -> float:
        """What was not begun meanwhile is begun a moment later; what was given up is tried anew."""
        lasts = trouble.lasts * self._bearable(spare=MINT_GRACE + 2 * MOMENT)
        self.here.threads_refused = True
        self._along_with(trouble, lasts)
        undo = lambda: setattr(self.here, "threads_refused", False)  # noqa: E731
        return self._until(lasts, "the system refuses threads", undo)

    def reboot(self, trouble: Trouble) -> float:
        """The boot clock begins anew."""
        victim = self._victim(trouble)
        if victim is None:
            return 0.0
        lasts = trouble.lasts * self._bearable(spare=15.0)
        self.here.downtime = lasts
        machine = victim.machine
        victim.kill()
        return self._until(lasts, "the machine is down", machine.reboot)

    def wall_clock_jumps(self, trouble: Trouble) -> float:
        """With two processes, whose clocks must agree to a second or so, only by that."""
        by = self._pick(trouble, JUMPS if self.plan.wants.processes == 1 else (-1.0, 1.0))
        self.promise.tell(f"the wall clock jumps by {by:+.0f} s")
        for machine in self.here.machines:
            machine.wall_ahead += by
        self.promise.may_cost_a_mint("the wall clock was set")
        if by < 0:
            self._set_back_at = self.world.now
            wall = self.here.machines[0].now().wall
            # A process that starts, or whose output is made anew, does not remember that they were fulfilled.
            for ahead in (time - wall for time in self._requested_for if wall < time < wall - by):
                self.world.plan(self.world.now + ahead, lambda: self.promise.may_cost_a_mint(REQUESTED))
        return 1.0

    def operator_asks(self, trouble: Trouble) -> float:
        self.promise.tell("SIGUSR1")
        self.promise.may_cost_a_mint("an operator asked")
        for process in self.here.living():
            process.mailbox.post(Message(None, RefreshRequested()))
        return 1.0
