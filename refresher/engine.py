"""The only loop: wakes tokens when they are due, starts their effects on worker threads, applies the results.

One thread does all of that, so no lock is anywhere near a rule. Others may call `view` at any time: it is a
snapshot of frozen values.

Which tokens there are is a value too. `apply` posts a new set of them; the loop compares it with the present
one, keeps what has not changed, and says of each state what the change means for it (core/changes.py).

A step begins when its lane has room (`lanes`). One that has not ended for longer than it can take counts as
failed, is reported, and is tried anew; what becomes of it in the end is applied as `Late`.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from refresher.alarms import Alarms
from refresher.core.changes import adapted
from refresher.core.effects import Adopt, Effect, Inspect, RaiseAlarm, Slot, Step, Wait
from refresher.core.events import (
    Ending,
    Event,
    KeysPolled,
    KeyUnreadable,
    Late,
    LeadershipChanged,
    Stalled,
    Started,
    Stopping,
)
from refresher.core.instant import Instant
from refresher.core.machine import STALLED, next_step, observe
from refresher.core.model import SecretStr, secrets_in
from refresher.core.notifications import Crashed, Notification, ThreadsRefused, TokenRemoved
from refresher.core.schedule import attempt_budget
from refresher.core.state import State, TokenPolicy
from refresher.executor import LIMITS, POLLS, Executor, kind_of
from refresher.keys.poller import KeyPoller
from refresher.lanes import WEDGED, Lanes, Limit, Work
from refresher.managed import Desired, ManagedToken
from refresher.ports import Clock, Mailbox, Message, Observer

SLICE = 30.0  # the longest sleep: clocks jump and machines are suspended, and nobody tells us (design §3)
KEY_POLL = (
    2.0  # kubelet swaps a symlink, so content is compared; leaves 8 s of "in use within 10 s" to the mint
)
POLL_PATIENCE = 3.0  # after which the other keys are read without the directory that does not answer
NOT_SOON, NEVER_YET = float("inf"), float("-inf")
MOMENT = 1.0  # until the system is asked for threads again
GRACE = 4.0  # for what is in flight at SIGTERM: a whole stop fits into 5 s


class Token(NamedTuple):
    """One token as the engine keeps it: what it needs, and how it stands."""

    managed: ManagedToken
    state: State


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
        hold: Callable[[str, Iterable[SecretStr]], None] = lambda _token, _secrets: None,
    ) -> None:
        """`hold` is called with all secrets of a token before observers are notified of anything that may
        repeat a new one."""
        self._tokens = {
            managed.policy.name: Token(managed, State.initial(managed.policy)) for managed in managed_tokens
        }
        self._keys = KeyPoller((name, token.managed.key) for name, token in self._tokens.items())
        self._executor, self._clock, self._mailbox = executor, clock, mailbox
        self._observers = observers
        self._hold = hold
        self._lanes = Lanes(limits)
        self._alarms = Alarms()
        self._next_poll = NEVER_YET
        self._polls = 0  # under way
        self._refused: str | None = None  # what waits for a thread that the system does not start
        self._unsettled = set(self._tokens)
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
            (attempt_budget(policy.timeout, policy.lifetime) for policy, _ in self.view()), default=0
        )
        while self._unsettled and not self._is_over():
            self._turn()
            if self._clock.now().boot - self._last_news > patience:
                self._settle_without_answers()

    def view(self) -> tuple[tuple[TokenPolicy, State], ...]:
        """Every token with its state: a snapshot, from any thread."""
        tokens = self._tokens.copy()  # at once: no other thread sees a half-changed set
        return tuple((token.managed.policy, token.state) for token in tokens.values())

    def managed(self, name: str) -> ManagedToken | None:
        """What the token of this name needs, as of now, from any thread; None if there is none."""
        token = self._tokens.get(name)
        return token.managed if token else None

    def apply(self, managed_tokens: Iterable[ManagedToken]) -> None:
        """Have these tokens managed from now on, and no others; from any thread.

        A part that is the same object as before goes on as it is. Nothing is minted or written for a token
        whose parts are all the same.
        """
        desired = Desired({managed.policy.name: managed for managed in managed_tokens})
        self._mailbox.post(Message(None, desired))

    def stuck(self) -> str | None:
        """Why only a restart may help although the loop turns; None if nothing is stuck for good."""
        return self._executor.stuck()

    def _settle_without_answers(self) -> None:
        now = self._clock.now()
        for name in tuple(self._unsettled):
            state = self._tokens[name].state
            if state.newest is None and state.key_problem is None:
                self._apply(name, KeyUnreadable("the source of the key does not answer"), now, goes_on=False)
            for work in self._lanes.of(name):
                self._give_up(work, now, goes_on=False)
        self._unsettled.clear()

    def _begin(self) -> None:
        now = self._clock.now()
        self._executor.prepare(token.managed for token in self._tokens.values())
        self._poll_keys(now)
        for name in self._tokens:
            self._apply(name, None, now)

    def _follow(self, desired: Mapping[str, ManagedToken], now: Instant) -> None:
        """Manage these tokens from now on."""
        before, after = self._tokens, dict[str, Token]()
        for name, managed in desired.items():
            known = before.get(name)
            state = State.initial(managed.policy) if known is None else self._adapted(known, managed, now)
            after[name] = Token(managed, state)
        self._tokens = after
        for name in before.keys() - after.keys():
            self._forget(name, before[name].managed, now)
        self._keys.follow((name, token.managed.key) for name, token in after.items())
        self._executor.prepare(token.managed for token in after.values())
        if self._stop_by == NOT_SOON:
            self._next_poll = now.boot
        for name, token in after.items():
            if name not in before or token.managed != before[name].managed:
                leads = LeadershipChanged(token.managed.may_act())
                self._apply(name, Stopping() if self._stop_by != NOT_SOON else leads, now)

    def _adapted(self, known: Token, managed: ManagedToken, now: Instant) -> State:
        if known.managed == managed:
            return known.state
        replaced = known.managed.replaced_by(managed)
        self._abandon(managed.policy.name, replaced, now)
        same_key = known.managed.key is managed.key
        return adapted(known.state, known.managed.policy, managed.policy, replaced, same_key=same_key)

    def _forget(self, name: str, managed: ManagedToken, now: Instant) -> None:
        self._abandon(name, managed.lanes(), now)
        self._lanes.forget(name)
        self._alarms.clear(name)
        self._unsettled.discard(name)
        self._notify(name, TokenRemoved(), now)
        self._hold(name, ())

    def _abandon(self, name: str, slots: Iterable[Slot], now: Instant) -> None:
        """Do not wait for what is in flight there: what it was begun for is no longer wanted."""
        slots = set(slots)
        for work in self._lanes.of(name):
            if work.step.slot in slots:
                self._lanes.give_up(work, now.boot)

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
            self._notify("", ThreadsRefused(refused), now)
        self._refused = refused

    def _check_silent(self, name: str, now: Instant) -> None:
        """Report the steps of a token that hang, and give up those that cannot end any more by themselves."""
        for work in self._lanes.of(name):
            if now.boot >= work.began + self._patience(work):
                self._give_up(work, now)
            elif kind_of(work.step).reports_stalls and now.boot >= _next_report(work):
                work.reported_at = now.boot
                writing = not isinstance(work.step, Inspect)
                stalled = Stalled(work.step.slot.target, now.boot - work.began, writing)
                self._apply(name, stalled, now, goes_on=False)

    def _patience(self, work: Work) -> float:
        """Seconds for which a step may be in flight."""
        patience: float = kind_of(work.step).patience(self._tokens[work.token].managed.policy, work.step)
        return patience

    def _next_check(self, work: Work) -> float:
        """When (boot seconds) to check next whether a step hangs."""
        end = work.began + self._patience(work)
        return min(end, _next_report(work)) if kind_of(work.step).reports_stalls else end

    def _give_up(self, work: Work, now: Instant, *, goes_on: bool = True) -> None:
        self._lanes.give_up(work, now.boot)
        message = f"{_subject(work.step)} has not answered for {now.boot - work.began:.0f} s: given up"
        self._apply(work.token, self._executor.failure(work.step, message), now, goes_on=goes_on)

    def _leave_stuck_lines(self, now: Instant) -> None:
        """Fail what waits for a lane in which nothing moves: it must not hold back the rest of its token."""
        for lane, names in self._lanes.stuck(now.boot, STALLED):
            for name in names:
                managed, state = self._tokens[name]
                elsewhere = {slot for slot, its_lane in managed.lanes().items() if its_lane != lane}
                step = next_step(state, managed.policy, now, elsewhere)
                if not isinstance(step, Wait | Adopt | RaiseAlarm):
                    message = f"{_subject(step)} is not asked: others before it in {lane} do not answer"
                    self._apply(name, self._executor.failure(step, message), now)

    def _is_over(self) -> bool:
        if self._stop_by == NOT_SOON:
            return False
        busy = any(token.state.is_busy for token in self._tokens.values())
        return not busy or self._clock.now().boot >= self._stop_by

    def _poll_keys(self, now: Instant) -> None:
        if now.boot < self._next_poll:
            return
        self._polls += 1
        self._next_poll = now.boot + POLL_PATIENCE if self._polls < POLLS else NOT_SOON
        self._executor.read_keys(self._keys)

    def _deliver(self, message: Message, now: Instant) -> None:
        match message.event:
            case KeysPolled():
                self._polls -= 1
                self._next_poll = now.boot + KEY_POLL if self._stop_by == NOT_SOON else NOT_SOON
                return
            case Desired(tokens=tokens):
                self._follow(tokens, now)
                return
            case Stopping():
                self._stop_by = now.boot + (GRACE if self._stop_by == NOT_SOON else 0)
                self._next_poll = NOT_SOON
        self._last_news = now.boot
        self._deliver_to_tokens(message, message.event, now)

    def _deliver_to_tokens(self, message: Message, event: Event | None, now: Instant) -> None:
        if message.work is not None:
            self._lanes.end(message.work)
            if message.work.given_up and isinstance(event, Ending):
                event = Late(event)
        if message.token is None:
            names: Iterable[str] = tuple(self._tokens)
        else:
            names = (message.token,) if message.token in self._tokens else ()  # it may be gone by now
            for name in names:
                self._hold(name, secrets_in((self._tokens[name].state, event)))
        for notification in message.notifications:
            self._notify(message.token or "", notification, now)
        for name in names:
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
            self._notify(name, Crashed("applying the rules", error), now)
            managed, state = self._tokens[name]
            in_flight = {work.step.slot for work in self._lanes.of(name)}
            lost = {flight.effect.slot for flight in state.in_flight} - in_flight
            self._tokens[name] = Token(managed, state.without_flights(lost))
            self._alarms.set(name, now.boot + SLICE)

    def _advance(self, name: str, now: Instant) -> None:
        """Begin whatever this token needs now, and set its alarm."""
        managed = self._tokens[name].managed
        held_back: set[Slot] = set()  # whose lanes have no room
        while not isinstance(step := self._next_step(name, now, held_back), Wait):
            if isinstance(step, Adopt | RaiseAlarm):
                self._observe(name, Started(step), now)
            elif not self._take_up(managed, step, now):
                lane = managed.lane(step.slot)
                held_back |= {slot for slot, its_lane in managed.lanes().items() if its_lane == lane}
        checks = (self._next_check(work) for work in self._lanes.of(name))
        self._alarms.set(name, min(step.until, now.boot + SLICE, *checks))
        state = self._tokens[name].state
        has_key = state.newest is not None or state.key_problem is not None
        awaited = state.awaits_another(now) and now.boot < self._began + STALLED
        if has_key and not state.is_busy and not self._lanes.is_waiting(name) and not awaited:
            self._unsettled.discard(name)
        else:
            self._unsettled.add(name)

    def _next_step(self, name: str, now: Instant, held_back: set[Slot]) -> Step:
        managed, state = self._tokens[name]
        return next_step(state, managed.policy, now, held_back, may_mint=managed.may_act())

    def _take_up(self, managed: ManagedToken, step: Effect, now: Instant) -> bool:
        """Begin a step; False if it has to stand in line."""
        name, lane = managed.policy.name, managed.lane(step.slot)
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
        managed, state = self._tokens[name]
        after, notifications = observe(state, managed.policy, event, now)
        self._tokens[name] = Token(managed, after)
        for notification in notifications:
            self._notify(name, notification, now)

    def _notify(self, name: str, notification: Notification, now: Instant) -> None:
        for observer in self._observers:
            try:
                observer.on_notification(name, notification, now)
            except Exception as error:  # noqa: BLE001 -- an observer's bug must not end the loop
                sys.excepthook(type(error), error, error.__traceback__)


def _subject(step: Effect) -> str:
    subject: str = kind_of(step).subject(step)
    return subject


def _next_report(work: Work) -> float:
    """When (boot seconds) to report next that a step hangs: once it stalls, and then each half minute."""
    return work.reported_at + (STALLED if work.reported_at == work.began else SLICE)
