"""The only loop: wakes tokens when they are due, starts their effects on worker threads, applies the results.

One thread does all of that, so no lock is anywhere near a rule. Others may read `view` at any time: states
are frozen values.

A step begins when its lane has room (`lanes`). One that has not ended for longer than it can take counts as
failed, is reported, and is tried anew; what becomes of it in the end is applied as `Late`.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from refresher.alarms import Alarms
from refresher.core import schedule
from refresher.core.effects import Adopt, Effect, Inspect, Mint, RaiseAlarm, Wait
from refresher.core.events import (
    Event,
    KeysPolled,
    KeyUnreadable,
    Late,
    Stalled,
    Started,
    Stopping,
)
from refresher.core.instant import Instant
from refresher.core.machine import STALLED, next_step, observe, target_of
from refresher.core.model import SecretStr, secrets_in
from refresher.core.notifications import Crashed, Notification, ThreadsRefused
from refresher.core.state import State, TokenPolicy
from refresher.executor import LIMITS, POLLS, Executor, ManagedToken
from refresher.keys.poller import KeyPoller
from refresher.lanes import WEDGED, Lanes, Limit, Work
from refresher.ports import Clock, Mailbox, Message, Observer

SLICE = 30.0  # the longest sleep: clocks jump and machines are suspended, and nobody tells us (design §3)
KEY_POLL = (
    2.0  # kubelet swaps a symlink, so content is compared; leaves 8 s of "in use within 10 s" to the mint
)
POLL_PATIENCE = 3.0  # after which the other keys are read without the directory that does not answer
NOT_SOON, NEVER_YET = float("inf"), float("-inf")
MOMENT = 1.0  # until it is asked again whether this process leads, and whether there are threads
MINT_GRACE = 5.0  # beyond its budget, which an attempt keeps unless the system hangs (resolving a name, say)
GIVE_UP = 60.0  # for a step on an output: a file system may be slow, and two calls to an API server take 20 s
GRACE = 4.0  # for what is in flight at SIGTERM: a whole stop fits into 5 s


class Engine:
    """Drives every token from its first inspection until it is told to stop."""

    def __init__(  # noqa: PLR0913 -- all by name but the first
        self,
        managed_tokens: Iterable[ManagedToken],
        *,
        executor: Executor,
        clock: Clock,
        mailbox: Mailbox,
        observers: Sequence[Observer],
        limits: Mapping[str, Limit] = LIMITS,
        leads: Callable[[], bool] = lambda: True,
        hold: Callable[[str, Iterable[SecretStr]], None] = lambda _token, _secrets: None,
    ) -> None:
        """`leads`: whether this process leads this very moment, which an elected one is asked before a mint:
        after a suspension the news that it does not is still on its way. `hold` is called with all secrets of
        a token before anything is announced that may repeat a new one."""
        self._managed = {managed.policy.name: managed for managed in managed_tokens}
        self._states = {name: State.initial(managed.policy) for name, managed in self._managed.items()}
        self._keys = KeyPoller((name, managed.key) for name, managed in self._managed.items())
        self._executor, self._clock, self._mailbox = executor, clock, mailbox
        self._observers = observers
        self._leads, self._hold = leads, hold
        self._lanes = Lanes(limits)
        self._alarms = Alarms()
        self._next_poll = NEVER_YET
        self._polls = 0  # under way
        self._refused: str | None = None  # what waits for a thread that the system does not start
        self._unsettled = set(self._managed)
        self._stop_by = NOT_SOON
        self._began = self._last_news = clock.now().boot
        self.last_turn = clock.now()

    def run(self) -> None:
        """Refresh until a `Stopping` message comes, then finish what is in flight within `GRACE` seconds.
        A second one ends it at once."""
        self._begin()
        while not self._is_over():
            self._turn()

    def settle(self) -> None:
        """Do what is due now, each thing once, and return (``refresher once``).

        An issuer always answers within its budget, but a file system or the resolution of a name may hang.
        When nothing has come back for as long as anything may take, what is in flight counts as failed.
        """
        self._begin()
        patience = STALLED + max(
            (schedule.attempt_budget(policy.timeout, policy.lifetime) for policy, _ in self.view()), default=0
        )
        while self._unsettled and not self._is_over():
            self._turn()
            if self._clock.now().boot - self._last_news > patience:
                self._settle_without_answers()

    def view(self) -> Iterator[tuple[TokenPolicy, State]]:
        """Every token with its present state; from any thread."""
        for name, managed in self._managed.items():
            yield managed.policy, self._states[name]

    def stuck(self) -> str | None:
        """Why only a restart may help although the loop turns; None if nothing is stuck for good."""
        return self._executor.stuck()

    def _settle_without_answers(self) -> None:
        now = self._clock.now()
        for name in tuple(self._unsettled):
            state = self._states[name]
            if state.newest is None and state.key_problem is None:
                self._apply(name, KeyUnreadable("the source of the key does not answer"), now, goes_on=False)
            for work in self._lanes.of(name):
                self._give_up(work, now, goes_on=False)
        self._unsettled.clear()

    def _begin(self) -> None:
        now = self._clock.now()
        self._executor.prepare(self._managed.values())
        self._poll_keys(now)
        for name in self._managed:
            self._apply(name, None, now)

    def _turn(self) -> None:
        now = self._clock.now()
        nearest = min(self._next_poll, self._stop_by, self._alarms.nearest())
        patience = SLICE if self._refused is None else MOMENT
        message = self._mailbox.take(min(patience, nearest - now.boot))
        self.last_turn = now = self._clock.now()
        while message is not None:
            self._deliver(message, now)
            message = self._mailbox.take(0)
        self._poll_keys(now)
        for name in self._alarms.due(now.boot):
            self._check_silent(name, now)
            self._apply(name, None, now)
        self._leave_stuck_lines(now)
        refused = self._executor.tend()
        if refused is not None and refused != self._refused:
            self._tell("", ThreadsRefused(refused), now)
        self._refused = refused

    def _check_silent(self, name: str, now: Instant) -> None:
        """Report the steps of a token that hang, and give up those that cannot end any more by themselves."""
        for work in self._lanes.of(name):
            if now.boot >= work.began + self._patience(work):
                self._give_up(work, now)
            elif not isinstance(work.step, Mint) and now.boot >= _next_report(work):
                work.reported_at = now.boot
                writing = not isinstance(work.step, Inspect)
                stalled = Stalled(work.step.output, now.boot - work.began, writing)
                self._apply(name, stalled, now, goes_on=False)

    def _patience(self, work: Work) -> float:
        """Seconds for which a step may be in flight."""
        policy = self._managed[work.token].policy
        is_mint = isinstance(work.step, Mint)
        return schedule.attempt_budget(policy.timeout, policy.lifetime) + MINT_GRACE if is_mint else GIVE_UP

    def _next_check(self, work: Work) -> float:
        """When (boot seconds) it is to be looked whether a step hangs."""
        end = work.began + self._patience(work)
        return end if isinstance(work.step, Mint) else min(end, _next_report(work))

    def _give_up(self, work: Work, now: Instant, *, goes_on: bool = True) -> None:
        self._lanes.give_up(work, now.boot)
        message = f"{_subject(work.step)} has not answered for {now.boot - work.began:.0f} s: given up"
        self._apply(work.token, self._executor.failure(work.step, message), now, goes_on=goes_on)

    def _leave_stuck_lines(self, now: Instant) -> None:
        """Fail what waits for a lane in which nothing moves: it must not hold back the rest of its token."""
        for lane, names in self._lanes.stuck(now.boot, STALLED):
            for name in names:
                managed = self._managed[name]
                elsewhere = managed.targets() - managed.targets(lane)
                step = next_step(self._states[name], managed.policy, now, elsewhere)
                if not isinstance(step, Wait | Adopt | RaiseAlarm):
                    message = f"{_subject(step)} is not asked: others before it in {lane} do not answer"
                    self._apply(name, self._executor.failure(step, message), now)

    def _is_over(self) -> bool:
        if self._stop_by == NOT_SOON:
            return False
        busy = any(state.is_busy for state in self._states.values())
        return not busy or self._clock.now().boot >= self._stop_by

    def _poll_keys(self, now: Instant) -> None:
        if now.boot < self._next_poll:
            return
        self._polls += 1
        self._next_poll = now.boot + POLL_PATIENCE if self._polls < POLLS else NOT_SOON
        self._executor.read_keys(self._keys)

    def _deliver(self, message: Message, now: Instant) -> None:
        event = message.event
        if isinstance(event, KeysPolled):
            self._polls -= 1
            self._next_poll = now.boot + KEY_POLL if self._stop_by == NOT_SOON else NOT_SOON
            return
        self._last_news = now.boot
        if message.work is not None:
            self._lanes.end(message.work)
            if message.work.given_up and event is not None:
                event = Late(event)  # type: ignore[arg-type]  # a step ends with no other events
        if isinstance(event, Stopping):
            self._stop_by = now.boot + (GRACE if self._stop_by == NOT_SOON else 0)
            self._next_poll = NOT_SOON
        if message.token is not None:
            self._hold(message.token, secrets_in((self._states[message.token], event)))
        for notification in message.notifications:
            self._tell(message.token or "", notification, now)
        for name in self._managed if message.token is None else (message.token,):
            self._apply(name, event, now)
        for name in self._lanes.admitted(now.boot):
            self._apply(name, None, now)

    def _apply(self, name: str, event: Event | None, now: Instant, *, goes_on: bool = True) -> None:
        """Apply `event`, if there is one, and if it `goes_on` have done what follows from it."""
        try:
            if event is not None:
                self._observe(name, event, now)
            if goes_on:
                self._advance(name, now)
        except Exception as error:  # noqa: BLE001 -- a mistake in one token's rules must not end the others'
            self._tell(name, Crashed("applying the rules", error), now)
            in_flight = {target_of(work.step) for work in self._lanes.of(name)}
            self._states[name] = self._states[name].waiting_for(in_flight)
            self._alarms.set(name, now.boot + SLICE)

    def _advance(self, name: str, now: Instant) -> None:
        """Have done whatever this token needs now, and set its alarm."""
        managed = self._managed[name]
        held_back: set[str] = set()  # the outputs whose lanes have no room
        while not isinstance(step := next_step(self._states[name], managed.policy, now, held_back), Wait):
            if isinstance(step, Mint) and managed.policy.elected and not self._leads():
                step = Wait(now.boot + MOMENT, "being told that another process leads")
                break
            if isinstance(step, Adopt | RaiseAlarm):
                self._observe(name, Started(step), now)
            elif not self._take_up(managed, step, now):
                held_back |= managed.targets(managed.lane(step))
        checks = (self._next_check(work) for work in self._lanes.of(name))
        self._alarms.set(name, min(step.until, now.boot + SLICE, *checks))
        state = self._states[name]
        has_key = state.newest is not None or state.key_problem is not None
        awaited = state.awaits_another(now) and now.boot < self._began + STALLED
        if has_key and not state.is_busy and not self._lanes.is_waiting(name) and not awaited:
            self._unsettled.discard(name)
        else:
            self._unsettled.add(name)

    def _take_up(self, managed: ManagedToken, step: Effect, now: Instant) -> bool:
        """Begin a step; False if it has to stand in line."""
        name, lane = managed.policy.name, managed.lane(step)
        if self._lanes.is_wedged(name, step, lane, now.boot):
            message = f"{_subject(step)} is not asked: {WEDGED} steps before this one still hang"
            self._observe(name, self._executor.failure(step, message), now)
        elif self._lanes.has_room(lane, now.boot):
            self._observe(name, Started(step), now)
            self._executor.start(managed, self._lanes.begin(name, step, lane, now.boot))
        else:
            self._lanes.wait(name, lane)
            return False
        return True

    def _observe(self, name: str, event: Event, now: Instant) -> None:
        self._states[name], notifications = observe(
            self._states[name], self._managed[name].policy, event, now
        )
        for notification in notifications:
            self._tell(name, notification, now)

    def _tell(self, name: str, notification: Notification, now: Instant) -> None:
        for observer in self._observers:
            try:
                observer.on_notification(name, notification, now)
            except Exception as error:  # noqa: BLE001 -- whoever only looks on must not end the loop
                sys.excepthook(type(error), error, error.__traceback__)


def _subject(step: Effect) -> str:
    return "the issuer, or the resolver of its name," if isinstance(step, Mint) else step.output


def _next_report(work: Work) -> float:
    """When (boot seconds) to report next that a step hangs: once it stalls, and then each half minute."""
    return work.reported_at + (STALLED if work.reported_at == work.began else SLICE)
