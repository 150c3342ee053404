"""One refresher process: the real engine and executor, on a machine's clocks, mortal at every effect."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from refresher.core.effects import Effect, Inspect, Mint, Verify
from refresher.core.events import KeysPolled
from refresher.core.instant import Instant
from refresher.core.machine import attempts
from refresher.engine import KEY_POLL, Engine
from refresher.executor import KEYS, Executor
from refresher.keys.poller import KeyPoller
from refresher.lanes import Work
from refresher.ports import ManagedToken, Message
from tests.simulation.virtual import Happening, KilledError, Strand, World

if TYPE_CHECKING:
    from tests.simulation.installation import Installation

EPOCH = 1_800_000_000.0
NOT_SOON = float("inf")
TICK = 0.0001  # seconds that waiting takes at least: else rounding would have time stand still


class Machine:
    """Two clocks that need not agree with the true time. `rate`: boot seconds in a true one; `wall_rate`: of
    the wall clock, 1 where it is kept right (NTP)."""

    def __init__(self, world: World, rate: float, wall_rate: float, wall_ahead: float = 0.0) -> None:
        self._world, self.rate, self._wall_rate = world, rate, wall_rate
        self.wall_ahead = EPOCH + wall_ahead
        self._booted = world.now - 1000.0

    def now(self) -> Instant:
        true = self._world.now
        return Instant(self.wall_ahead + true * self._wall_rate, (true - self._booted) * self.rate)

    def reboot(self) -> None:
        self._booted = self._world.now


class Process:
    """From its start until it is killed; another one takes its place then.

    `fuse`: how many effects it still performs before it is killed; None: it is not to be.
    """

    def __init__(self, here: "Installation", machine: Machine, name: str) -> None:
        self.here, self.world, self.machine, self.name = here, here.world, machine, name
        self.alive = True
        self.suspended_until = self.world.now
        self.fuse: int | None = None
        self.fuse_waits_for: type | None = None
        self.fuse_lit_for: type | None = None
        self.died_before = ""
        self.mailbox = VirtualMailbox(self)
        self._strands: dict[Strand, None] = {}  # in order: a set's is another each time

    def start(self, managed_tokens: list[ManagedToken], observers: list) -> None:
        self.workers = VirtualWorkers(self)
        executor = VirtualExecutor(self)
        self.engine = Engine(
            managed_tokens,
            executor=executor,
            clock=self.machine,
            mailbox=self.mailbox,
            observers=observers,
        )
        self.spawn(self._run)

    def _run(self) -> None:
        self.mailbox.strand = self.world.strand
        self.engine.run()
        self.here.promise.violated(f"{self.name} has ended by itself")

    def spawn(self, work: Happening) -> Strand:
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
        """Of the strand that runs, by the machine's clock. It is longer if the process is suspended."""
        self.world.sleep(max(seconds / self.machine.rate, TICK))
        self.stay_suspended()

    def stay_suspended(self) -> None:
        while self.world.now < self.suspended_until:
            self.world.sleep(self.suspended_until - self.world.now + self.world.dice.uniform(0, 0.01))

    def after(self, seconds: float, happening: Happening) -> None:
        """What the process does later, unless it is killed before; suspended, it does it on waking."""

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
        if not self.alive:
            return
        self.alive = False
        self.fuse = self.fuse_waits_for = None
        self.here.buried(self)
        for strand in tuple(self._strands):
            self.world.doom(strand)

    def effect(self, what: str) -> None:
        """It is about to change the world. Raises KilledError instead when the fuse has burnt down."""
        if not self.alive:
            raise KilledError
        if self.fuse is not None and self.fuse_waits_for is None:
            if self.fuse == 0:
                self.died_before = self.died_before or what
                raise KilledError
            self.fuse -= 1

    def light_fuse(self, effect: type, effects: int) -> None:
        """Die at the given effect of the next effect of this kind."""
        self.fuse, self.fuse_waits_for, self.fuse_lit_for = effects, effect, effect

    def begins(self, effect: Effect) -> None:
        if self.fuse_waits_for is not None and isinstance(effect, self.fuse_waits_for):
            self.fuse_waits_for = None

    def ends(self, effect: Effect) -> None:
        if self.fuse_lit_for is not None and isinstance(effect, self.fuse_lit_for):
            self.fuse = self.fuse_waits_for = self.fuse_lit_for = None  # it was too long

    # --- Lulls: while nothing goes on, looking again and again at what nobody touches is left out.

    def quiet_until(self) -> float:
        """Until when (true time) this process would do nothing but look; now, if something is going on."""
        if not self.engine.view():
            return NOT_SOON
        policy, state = self.engine.view()[0]
        now = self.machine.now()
        since = now.boot - (self.world.now - self.world.disturbed_at) * self.machine.rate
        facts = state.facts
        is_burning = self.fuse is not None and self.fuse_waits_for is None
        if facts is None or state.is_busy or self.mailbox or is_burning:
            return self.world.now
        for output in state.outputs:
            held = output.holding.facts if output.holding is not None and output.holding.intact else None
            is_as_wanted = held is not None and (held.fingerprint == facts.fingerprint or not state.leads)
            if not is_as_wanted or output.inspected_at < since:
                return self.world.now
        due = min((at for _, _, at in attempts(state, policy, now)), default=NOT_SOON)
        return self.world.now + (due - now.boot) / self.machine.rate


class VirtualMailbox:
    """Taking from it is what makes time pass."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._messages: deque[Message] = deque()
        self.strand: Strand | None = None

    def __len__(self) -> int:
        return len(self._messages)

    def post(self, message: Message) -> None:
        self._messages.append(message)
        if self.strand is not None:
            self._process.world.wake(self.strand)

    def take(self, timeout: float) -> Message | None:
        if not self._messages and timeout > 0:
            world = self._process.world
            until = world.now + timeout / self._process.machine.rate
            if timeout > 1.0:
                until = max(until, self._process.here.lull_until())
            world.sleep(max(until - world.now, TICK))
            self._process.stay_suspended()
        return self._messages.popleft() if self._messages else None


class VirtualWorkers:
    """Stands where the real one has threads: these are strands in virtual time, or entries of the agenda.

    While the installation's `threads_refused`, jobs wait in line; `tend` starts them when that is over.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._line: list[tuple[str, Happening]] = []
        self.takes_time: Callable[[], bool] = lambda: False  # whether the job that is submitted next does

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
        if not self._process.here.threads_refused:
            line, self._line = self._line, []
            for _, begin in line:
                begin()


class VirtualExecutor(Executor):
    """The real executor with virtual workers, mortal at every effect."""

    def __init__(self, process: Process) -> None:
        super().__init__(
            process.machine,
            process.mailbox,
            process.workers,  # type: ignore[arg-type]
            process.world.dice.random,
        )
        self._process = process

    def start(self, managed: ManagedToken, work: Work) -> None:
        self._process.workers.takes_time = lambda: self._process.here.takes_time(work.step)
        super().start(managed, work)

    def perform(self, managed: ManagedToken, step: Effect) -> Message:
        process = self._process
        process.begins(step)
        began = process.world.now
        message = super().perform(managed, step)
        if isinstance(step, Mint):
            self._check_duration(managed, process.world.now - began)
            process.effect("the answer of the issuer is told")
        elif isinstance(step, Verify):
            process.effect("a verdict is told")
        elif not isinstance(step, Inspect):
            process.effect("a write is told")
        process.ends(step)
        return message

    def _check_duration(self, managed: ManagedToken, took: float) -> None:
        """The two owners of retries are not nested: an attempt ends within its budget, all in all. What the
        resolver of a name takes beyond that is not its fault."""
        budget = max(1.0, min(managed.policy.timeout, managed.policy.lifetime / 10))  # the design's
        strand = self._process.world.strand
        took -= strand.hung if strand is not None else 0.0
        if took > budget * 1.01 + self._process.here.time_suspended(self._process):
            self._process.here.promise.violated(f"an attempt took {took:.1f} s of {budget:.1f} s")

    def read_keys(self, keys: KeyPoller) -> None:
        """Reading that would find nothing new is left out: it comes back within a poll of the next change."""
        process, key = self._process, self._process.here.key

        def read() -> None:
            messages = list(keys.poll(process.machine.now().boot))
            for message in messages:
                process.mailbox.post(message)
            if messages or key.hangs:
                process.mailbox.post(Message(None, KeysPolled()))
            else:
                key.watchers.append(lambda: process.after(process.world.dice.uniform(0, KEY_POLL), begin))

        def begin() -> None:
            process.workers.takes_time = lambda: key.hangs
            process.workers.submit(read, KEYS)

        begin()
