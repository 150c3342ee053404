"""A machine in virtual time: its clocks, and processes with a mailbox and workers.

`refresher.engine` and `refresher.executor` run in such a process unchanged. Only what would block a real
thread is replaced: the mailbox (`VirtualMailbox`) and the worker threads (`VirtualWorkers`).
"""

from collections import deque
from collections.abc import Callable, Iterable

from refresher.core.instant import Instant
from refresher.engine import MOMENT
from refresher.ports import Message
from tests.simulation.virtual import Happening, KilledError, Strand, World

EPOCH = 1_800_000_000.0
TICK = 0.0001  # seconds that waiting takes at least: else rounding would have time stand still


class Machine:
    """Two clocks that need not agree with the true time. `rate`: boot seconds in a true one; `wall_rate`: of
    the wall clock, 1 where it is kept right (NTP)."""

    def __init__(
        self, world: World, rate: float = 1.0, wall_rate: float = 1.0, wall_ahead: float = 0.0
    ) -> None:
        self._world, self.rate, self._wall_rate = world, rate, wall_rate
        self.wall_ahead = EPOCH + wall_ahead
        self._booted = world.now - 1000.0

    def now(self) -> Instant:
        true = self._world.now
        return Instant(self.wall_ahead + true * self._wall_rate, (true - self._booted) * self.rate)

    def reboot(self) -> None:
        self._booted = self._world.now


class VirtualProcess:
    """A process: its strands end when it is killed, and wait while it is suspended."""

    threads_refused = False  # by the system: jobs for workers wait

    def __init__(self, world: World, machine: Machine) -> None:
        self.world, self.machine = world, machine
        self.alive = True
        self.suspended_until = world.now
        self.mailbox = VirtualMailbox(self)
        self.workers = VirtualWorkers(self)
        self._strands: dict[Strand, None] = {}  # in order: a set's is another each time

    def idle_until(self) -> float:
        """True time until which a mailbox that is waited for anyway need not wake its process."""
        return 0.0

    def killed(self) -> None:
        """Called once, when the process dies."""

    def spawn(self, work: Happening) -> Strand:
        """Run `work` in a strand of this process, from now on."""

        def guarded() -> None:
            try:
                work()
            except KilledError:
                self.kill()
            finally:
                self._strands.pop(strand, None)

        strand = self.world.spawn(guarded)
        self._strands[strand] = None
        return strand

    def sleep(self, seconds: float) -> None:
        """Let the current strand wait, by the machine's clock; longer if the process is suspended."""
        self.world.sleep(max(seconds / self.machine.rate, TICK))
        self.stay_suspended()

    def stay_suspended(self) -> None:
        while self.world.now < self.suspended_until:
            self.world.sleep(self.suspended_until - self.world.now + self.world.dice.uniform(0, 0.01))

    def after(self, seconds: float, happening: Happening) -> None:
        """Do something later, unless the process is killed before; a suspended process does it on waking."""

        def guarded() -> None:
            if not self.alive:
                return
            if self.world.now < self.suspended_until:
                self.world.at(self.suspended_until + self.world.dice.uniform(0, 0.01), guarded)
                return
            try:
                happening()
            except KilledError:
                self.kill()

        self.world.after(seconds / self.machine.rate, guarded)

    def kill(self) -> None:
        """As kill -9 does."""
        if not self.alive:
            return
        self.alive = False
        self.killed()
        for strand in tuple(self._strands):
            self.world.doom(strand)


class VirtualMailbox:
    """Taking from it is what makes time pass."""

    def __init__(self, process: VirtualProcess) -> None:
        self._process = process
        self._messages: deque[Message] = deque()
        self._reader: Strand | None = None

    def __len__(self) -> int:
        return len(self._messages)

    def post(self, message: Message) -> None:
        self._messages.append(message)
        if self._reader is not None:
            self._process.world.wake(self._reader)

    def take(self, timeout: float) -> Message | None:
        if not self._messages and timeout > 0:
            world = self._process.world
            until = world.now + timeout / self._process.machine.rate
            if timeout >= MOMENT:
                until = max(until, self._process.idle_until())
            self._reader = world.strand
            world.sleep(max(until - world.now, TICK))
            self._process.stay_suspended()
        return self._messages.popleft() if self._messages else None


class VirtualWorkers:
    """The workers' threads, as strands in virtual time or entries of the agenda.

    While the process's `threads_refused`, jobs wait in line; `tend` starts them when that is over.
    """

    def __init__(self, process: VirtualProcess) -> None:
        self._process = process
        self._line: list[tuple[str, Happening]] = []
        self.takes_time: Callable[[], bool] = lambda: True  # whether the job that is submitted next does

    def prepare(self, pools: Iterable[str]) -> None:
        """There are no threads here."""

    def submit(self, job: Happening, pool: str) -> None:
        process, takes_time = self._process, self.takes_time

        def slowly() -> None:
            process.sleep(process.world.dice.uniform(0.0, 0.01))
            job()

        def soon() -> None:
            if takes_time():  # by now
                process.spawn(job)
            else:
                job()

        def begin() -> None:
            if takes_time():
                process.spawn(slowly)
            else:
                process.after(process.world.dice.uniform(0.001, 0.02), soon)

        self._line.append((pool, begin))
        self._start()

    def tend(self) -> str | None:
        self._start()
        return f"no thread for: {', '.join(pool for pool, _ in self._line)}" if self._line else None

    def stuck(self) -> str | None:
        return None

    def _start(self) -> None:
        if self._line and not self._process.threads_refused:
            line, self._line = self._line, []
            for _, begin in line:
                begin()
