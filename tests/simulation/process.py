"""One refresher process: the real engine and executor, on a machine's clocks, mortal at every effect."""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from refresher.core.backoff import INSPECT_EVERY, INSPECT_WATCHED
from refresher.core.effects import Effect, Inspect, Mint, RunHook, Verify
from refresher.core.events import KeysPolled
from refresher.core.instant import Instant
from refresher.core.machine import attempts
from refresher.core.state import OutputState, State
from refresher.engine import KEY_POLL, MOMENT, Engine
from refresher.executor import KEYS, LIMITS, Executor
from refresher.keys.poller import KeyPoller
from refresher.lanes import Limit, Work
from refresher.outputs.poller import OutputPoller
from refresher.ports import ManagedToken, Message, Output
from tests.simulation.machine import Machine, VirtualProcess
from tests.simulation.virtual import KilledError

if TYPE_CHECKING:
    from tests.simulation.installation import Installation

NOT_SOON = float("inf")
NARROW = {"issuer": Limit(1, 4), "file": Limit(1, 4), "secret": Limit(1, 4)}


class Process(VirtualProcess):
    """From its start until it is killed; another one takes its place then.

    `fuse`: how many effects it still performs before it is killed; None: it is not to be.
    """

    def __init__(self, here: "Installation", machine: Machine, name: str) -> None:
        super().__init__(here.world, machine)
        self.here, self.name = here, name
        self.fuse: int | None = None
        self.fuse_waits_for: type | None = None
        self.fuse_lit_for: type | None = None
        self.died_before = ""
        self.polls_pending = 0  # of outputs that have changed

    def start(self, managed_tokens: list[ManagedToken], observers: list) -> None:
        self.engine = Engine(
            managed_tokens,
            executor=VirtualExecutor(self),
            clock=self.machine,
            mailbox=self.mailbox,
            observers=observers,
            limits=LIMITS | NARROW if self.here.wants.narrow else LIMITS,
        )
        self.spawn(self._run)

    def _run(self) -> None:
        try:
            self.engine.run()
            self.here.promise.violated(f"{self.name} has ended by itself")
        except Exception as error:  # noqa: BLE001 -- a bug of the program is what we look for
            self.here.promise.violated(f"{self.name} has ended by a bug: {error!r}")

    @property
    def threads_refused(self) -> bool:  # type: ignore[override]
        return self.here.threads_refused

    def idle_until(self) -> float:
        if self.threads_refused and not self.here.wants.dense:
            return self._idle_without_threads()
        return self.here.lull_until()

    def _idle_without_threads(self) -> float:
        """Asking for threads every second is left out while they are refused: until that may be over."""
        over = self.world.next_planned + MOMENT * self.world.dice.random()
        nearest = min(self.engine._next_poll, self.engine._tokens.alarms.nearest())
        return min(over, self.world.now + (nearest - self.machine.now().boot) / self.machine.rate)

    def killed(self) -> None:
        self.fuse = self.fuse_waits_for = None
        self.here.buried(self)

    def effect(self, what: str) -> None:
        """It is about to change the world. Raises KilledError instead when the fuse has burnt down."""
        if not self.alive:
            raise KilledError
        if self.fuse is not None and self.fuse_waits_for is None:
            if self.fuse == 0:
                self.died_before = self.died_before or what
                raise KilledError
            self.fuse -= 1

    def poll_outputs(self) -> None:
        """Compare the outputs after a while, because one has changed: late, with its messages in any
        order, and some of them twice. Polls that would find nothing are left out."""
        dice = self.world.dice

        def poll() -> None:
            self.polls_pending -= 1
            messages = list(self.engine._outputs.poll(self.machine.now().boot))
            messages += dice.sample(messages, len(messages) // 2)
            for message in dice.sample(messages, len(messages)):
                self.mailbox.post(message)

        self.polls_pending += 1
        self.after(dice.uniform(0, INSPECT_EVERY), poll)

    def miss_change(self) -> None:
        """No poll reports a change: the next inspection has to find it."""

        def found() -> None:
            self.polls_pending -= 1

        self.polls_pending += 1
        self.after(INSPECT_WATCHED, found)

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
        now = self.machine.now()
        since = now.boot - (self.world.now - self.world.disturbed_at) * self.machine.rate
        is_burning = self.fuse is not None and self.fuse_waits_for is None
        if self.mailbox or is_burning:
            return self.world.now
        due = NOT_SOON
        for policy, state in self.engine.view():
            if not self._is_quiet(state, since, now):
                return self.world.now
            due = min([due, *(at for _, _, at in attempts(state, policy, now))])
        return self.world.now + (due - now.boot) / self.machine.rate

    def _is_quiet(self, state: State, since: float, now: Instant) -> bool:
        """Whether nothing goes on about this token, and all its outputs were looked at since then."""
        facts = state.facts
        if facts is None or state.is_busy:
            return False
        for output in state.outputs:
            held = output.holding.facts if output.holding is not None and output.holding.intact else None
            is_as_wanted = held is not None and (
                held.fingerprint == facts.fingerprint or not state.leads or keeps_better(state, output, now)
            )
            if not is_as_wanted or output.hook.is_owed:
                return False
            if output.inspected_at < since and (self.polls_pending or not output.holding.watched):
                return False
        return True


def keeps_better(state: State, output: OutputState, now: Instant) -> bool:
    """Whether the output keeps a better token, perhaps of another key, until the next mint: the token in hand
    was adopted."""
    return (
        not state.minted_here
        and state.facts is not None
        and output.holding is not None
        and output.holding.remaining(now) > state.facts.remaining(now)
    )


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

    def release(self, token: str, output: Output, wanted: Callable[[], Collection[str]]) -> None:
        self._process.workers.takes_time = lambda: self._process.here.releasing_takes_time(output.name)
        super().release(token, output, wanted)

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
        elif isinstance(step, RunHook):
            process.effect("the end of a hook is told")
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

    def poll_outputs(self, outputs: OutputPoller) -> None:
        """Left out: see `Process.poll_outputs`."""

    def read_keys(self, keys: KeyPoller) -> None:
        """Reading that would find nothing new is left out: it comes back within a poll of the next change."""
        process, here = self._process, self._process.here
        hangs = lambda: any(token.key.hangs for token in here.tokens)  # noqa: E731

        def read() -> None:
            messages = list(keys.poll(process.machine.now().boot))
            for message in messages:
                process.mailbox.post(message)
            if messages or hangs():
                process.mailbox.post(Message(None, KeysPolled()))
            else:
                soon = lambda: process.after(process.world.dice.uniform(0, KEY_POLL), begin)  # noqa: E731
                here.key_watchers.append(soon)

        def begin() -> None:
            process.workers.takes_time = hangs
            process.workers.submit(read, KEYS)

        begin()
