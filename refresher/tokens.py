"""The managed tokens and their states: applies events and begins the effects that follow.

Only the engine's thread uses this module, except for `view` and `get`. No function waits.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

from refresher.alarms import Alarms, Clocks
from refresher.core.changes import adapted
from refresher.core.effects import HOOK, OUTPUT, Adopt, Effect, Inspect, RaiseAlarm, Slot, Step, Wait
from refresher.core.events import (
    Ending,
    Event,
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
from refresher.core.notifications import Hanging, OutputRemoved, TokenRemoved
from refresher.core.process_notifications import Crashed
from refresher.core.state import State, TokenPolicy
from refresher.core.urgency import urgency_of
from refresher.executor import Executor, kind_of, subject_of
from refresher.lanes import WEDGED, Lanes, Limit, Work
from refresher.ports import ManagedToken, Message, Observer, Output, intervals_of, notify

AFTER_A_BUG = 30.0  # seconds until the rules are applied again to a token with which they failed


class Token(NamedTuple):
    """One token: its configuration and adapters, and its state."""

    managed: ManagedToken
    state: State


class Tokens:
    """Every managed token. `unsettled`: the tokens that still have something to do now."""

    def __init__(  # noqa: PLR0913 -- all are parts of the engine
        self,
        managed_tokens: Iterable[ManagedToken],
        executor: Executor,
        observers: Sequence[Observer],
        limits: Mapping[str, Limit],
        hold: Callable[[str, Iterable[SecretStr]], None],
        began: Instant,
    ) -> None:
        """`hold`: see `Engine`. `began`: when the process began."""
        self._tokens = {
            managed.policy.name: Token(managed, State.initial(managed.policy)) for managed in managed_tokens
        }
        self._executor, self._hold, self._began = executor, hold, began.boot
        self._clocks = Clocks(began)
        self.notify = partial(notify, observers)
        self._lanes = Lanes(limits)
        self._lanes.pace(intervals_of(self.all_managed()))
        self.alarms = Alarms()
        self._wanted: Collection[str] = ()  # the outputs after the last change
        self.unsettled = set(self._tokens)

    def view(self) -> tuple[tuple[TokenPolicy, State], ...]:
        """Every token with its state: a snapshot, from any thread."""
        # A changed set of tokens is a new dictionary, so no thread ever sees half of a change.
        return tuple((token.managed.policy, token.state) for token in self._tokens.values())

    def get(self, name: str) -> Token | None:
        """This token; None if it is unknown. From any thread."""
        return self._tokens.get(name)

    def all_managed(self) -> list[ManagedToken]:
        """The configuration and adapters of every token."""
        return [token.managed for token in self._tokens.values()]

    def is_busy(self) -> bool:
        """Whether anything is in flight."""
        return any(token.state.is_busy for token in self._tokens.values())

    def begin(self, now: Instant) -> None:
        """Begin the first steps of every token."""
        for name in self._tokens:
            self._apply(name, None, now)

    def nearest(self, now: Instant) -> float:
        """The boot second at which something is due next."""
        return min(self.alarms.nearest(), self._lanes.next_opening(now.boot))

    def wake(self, now: Instant) -> None:
        """Begin what is due, and handle what hangs."""
        for name in chain(self._tokens if self._clocks.were_set(now) else (), self.alarms.due(now.boot)):
            self._check_silent(name, now)
            self._apply(name, None, now)
        self._leave_stuck_queues(now)
        for name in self._lanes.admitted(now.boot):
            self._apply(name, None, now)

    def settle_without_answers(self, now: Instant) -> None:
        """Count everything in flight as failed."""
        for name in tuple(self.unsettled):
            state = self._tokens[name].state
            if state.newest is None and state.key_problem is None:
                self._apply(name, KeyUnreadable("the source of the key does not answer"), now, goes_on=False)
            for work in self._lanes.of(name):
                self._give_up(work, now, goes_on=False)
        self.unsettled.clear()

    def follow(self, desired: Mapping[str, ManagedToken], now: Instant, *, stopping: bool) -> None:
        """Manage exactly these tokens from now on."""
        before, after = self._tokens, dict[str, Token]()
        kept = {
            name for name in before.keys() & desired.keys() if desired[name].continues(before[name].managed)
        }
        for name, managed in desired.items():
            known = before[name] if name in kept else None
            state = self._adapted(known, managed, now) if known else State.initial(managed.policy)
            after[name] = Token(managed, state)
        self._tokens = after
        self._lanes.pace(intervals_of(desired.values()))
        self._release_outputs(before, after, now)
        for name in before.keys() - kept:
            self._forget(name, before[name].managed, now)
        for name, token in after.items():
            if name not in kept or token.managed != before[name].managed:
                leads = LeadershipChanged(token.managed.may_act())
                self._apply(name, Stopping() if stopping else leads, now)

    def _release_outputs(self, before: Mapping[str, Token], after: Mapping[str, Token], now: Instant) -> None:
        """Release the outputs that no token is published in any more."""
        self._wanted = wanted = {output.name for _, output in _outputs_of(after)}
        for name, output in _outputs_of(before):
            kept = after.get(name)
            if kept is not None and all(output.name != own.name for own in kept.managed.outputs):
                self.notify(name, OutputRemoved(output.name, output.name in wanted), now)
            if output.name not in wanted:
                self._executor.release(name, output, lambda: self._wanted)

    def _adapted(self, known: Token, managed: ManagedToken, now: Instant) -> State:
        if known.managed == managed:
            return known.state
        replaced = known.managed.replaced_by(managed)
        self._abandon(known.managed, replaced, now)
        same_key = known.managed.key is managed.key
        return adapted(known.state, known.managed.policy, managed.policy, replaced, same_key=same_key)

    def _forget(self, name: str, managed: ManagedToken, now: Instant) -> None:
        self._abandon(managed, managed.adapters().keys(), now)
        self._lanes.forget(name)
        self.alarms.clear(name)
        self.unsettled.discard(name)
        self.notify(name, TokenRemoved(), now)
        self._hold(name, ())

    def _abandon(self, managed: ManagedToken, slots: Collection[Slot], now: Instant) -> None:
        """Give up the effects in flight in these slots: their results are no longer needed."""
        for work in self._lanes.of(managed.policy.name):
            if work.step.slot in slots:
                self._lanes.give_up(work, now.boot)
        for hook in managed.hooks:
            if Slot(HOOK, hook.output) in slots:
                hook.stop()

    def stop_hooks(self) -> None:
        """Kill the hooks that still run."""
        for managed in self.all_managed():
            for hook in managed.hooks:
                hook.stop()

    def deliver(self, message: Message, event: Event | None, now: Instant) -> None:
        """Apply the event of a message to its token, or to all tokens."""
        if message.work is not None:
            self._lanes.end(message.work)
            if message.work.is_orphan:  # another token may have this name now
                event = None
            elif message.work.given_up and isinstance(event, Ending):
                event = Late(event)
        if message.token is None:
            names: Iterable[str] = tuple(self._tokens)
        else:
            names = (message.token,) if message.token in self._tokens else ()  # it may have been removed
            if fresh := secrets_in(event):
                for name in names:
                    self._hold(name, (*fresh, *secrets_in(self._tokens[name].state)))
        for notification in message.notifications:
            self.notify(message.token or "", notification, now)
        for name in names:
            self._apply(name, event, now)

    def _check_silent(self, name: str, now: Instant) -> None:
        """Report the effects of a token that hang, and give up those that take too long."""
        for work in self._lanes.of(name):
            if now.boot >= work.began + self._patience(work):
                self._give_up(work, now)
            elif now.boot >= work.next_report:
                work.reported_at = now.boot
                self._report_silent(work, now)

    def _report_silent(self, work: Work, now: Instant) -> None:
        """Report an effect while it hangs. Consumers depend on outputs, so the state of those changes too."""
        slot, seconds = work.step.slot, now.boot - work.began
        if slot.kind == OUTPUT:
            stalled = Stalled(slot.target, seconds, writing=not isinstance(work.step, Inspect))
            self._apply(work.token, stalled, now, goes_on=False)
        else:
            left = self._patience(work) - seconds
            self.notify(work.token, Hanging(slot, subject_of(work.step), seconds, left), now)

    def _patience(self, work: Work) -> float:
        """Seconds for which an effect may be in flight."""
        patience: float = kind_of(work.step).patience(self._tokens[work.token].managed.policy, work.step)
        return patience

    def _give_up(self, work: Work, now: Instant, *, goes_on: bool = True) -> None:
        self._lanes.give_up(work, now.boot)
        failure = self._executor.unanswered(
            work.step, f"has not answered for {now.boot - work.began:.0f} s: given up"
        )
        self._apply(work.token, failure, now, goes_on=goes_on)

    def _leave_stuck_queues(self, now: Instant) -> None:
        """Fail the effects that wait for a hanging lane: they must not delay the rest of their token."""
        for lane, names in self._lanes.stuck(now.boot, STALLED):
            for name in names:
                managed, state = self._tokens[name]
                elsewhere = managed.adapters().keys() - managed.slots_in(lane)
                step = next_step(state, managed.policy, now, elsewhere)
                if not isinstance(step, Wait | Adopt | RaiseAlarm):
                    verb = f"was not tried: earlier operations in {lane} still hang"
                    self._apply(name, self._executor.unanswered(step, verb), now)

    def _apply(self, name: str, event: Event | None, now: Instant, *, goes_on: bool = True) -> None:
        """Apply `event`, if any. If `goes_on`, begin the steps that follow."""
        try:
            if event is not None:
                self._observe(name, event, now)
            if goes_on:
                self._advance(name, now)
        except Exception as error:  # noqa: BLE001 -- a bug that one token meets must not stop the others
            self.notify(name, Crashed("applying the rules", error), now)
            managed, state = self._tokens[name]
            in_flight = {work.step.slot for work in self._lanes.of(name)}
            lost = state.in_flight.keys() - in_flight
            self._tokens[name] = Token(managed, state.without_flights(lost))
            self.alarms.set(name, now.boot + AFTER_A_BUG)

    def _advance(self, name: str, now: Instant) -> None:
        """Begin every step that is due for this token, and set its alarm."""
        managed = self._tokens[name].managed
        held_back: set[Slot] = set()  # their lanes have no room
        while not isinstance(step := self._next_step(name, now, held_back), Wait):
            if isinstance(step, Adopt | RaiseAlarm):
                self._observe(name, Started(step), now)
            elif not self._take_up(managed, step, now):
                held_back |= managed.slots_in(managed.lane(step.slot))
        in_flight = self._lanes.of(name)
        checks = (min(work.began + self._patience(work), work.next_report) for work in in_flight)
        self.alarms.set(name, min((step.until, *checks)))
        state = self._tokens[name].state
        has_key = state.newest is not None or state.key_problem is not None
        awaited = state.awaits_another(now) and now.boot < self._began + STALLED
        if has_key and not state.is_busy and not self._lanes.is_waiting(name) and not awaited:
            self.unsettled.discard(name)
        else:
            self.unsettled.add(name)

    def _next_step(self, name: str, now: Instant, held_back: set[Slot]) -> Step:
        managed, state = self._tokens[name]
        return next_step(state, managed.policy, now, held_back, may_mint=managed.may_mint())

    def _take_up(self, managed: ManagedToken, step: Effect, now: Instant) -> bool:
        """Begin an effect. Returns False if it has to wait for its lane."""
        name, lane = managed.policy.name, managed.lane(step.slot)
        if self._lanes.is_wedged(name, step, lane, now.boot):
            verb = f"was not tried: {WEDGED} earlier operations still hang"
            self._observe(name, self._executor.unanswered(step, verb), now)
        elif self._lanes.is_open_to(name, lane, now.boot):
            self._observe(name, Started(step), now)
            self._executor.start(managed, self._lanes.begin(name, step, lane, now.boot))
        else:
            self._lanes.wait(name, lane, urgency_of(step, self._tokens[name].state, managed.policy, now))
            return False
        return True

    def _observe(self, name: str, event: Event, now: Instant) -> None:
        managed, state = self._tokens[name]
        after, notifications = observe(state, managed.policy, event, now)
        self._tokens[name] = Token(managed, after)
        for notification in notifications:
            self.notify(name, notification, now)


def _outputs_of(tokens: Mapping[str, Token]) -> Iterator[tuple[str, Output]]:
    return ((name, output) for name, token in tokens.items() for output in token.managed.outputs)
