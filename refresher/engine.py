"""The only loop: wakes tokens when they are due, has steps performed by the crew, applies what comes back.

One thread does all of that, so no lock is anywhere near a rule. Others may read `view` at any time: states
are frozen values.
"""

import heapq
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from refresher.core import schedule
from refresher.core.announcements import Announcement, Crashed
from refresher.core.instant import Instant
from refresher.core.machine import STALLED, next_step, observe
from refresher.core.messages import (
    Adopt,
    Event,
    Found,
    InspectFailed,
    KeysPolled,
    KeyUnreadable,
    Mint,
    Minted,
    MintFailed,
    Started,
    Stopping,
    Wait,
    WriteFailed,
    Written,
)
from refresher.core.model import Declined, Outcome, SecretStr
from refresher.core.state import State, TokenPolicy
from refresher.hands import Charge, Hands, KeyWatch
from refresher.ports import Clock, Letter, Mailbox, Observer

SLICE = 30.0  # the longest sleep: clocks jump and machines are suspended, and nobody tells us (design §3)
KEY_POLL = (
    2.0  # kubelet swaps a symlink, so content is compared; leaves 8 s of "in use within 10 s" to the mint
)
NOT_SOON, NEVER_YET = float("inf"), float("-inf")
MINTS_AT_ONCE = 16  # the rest waits in line here, not in the crew: it has not begun, so no stop waits for it
MOMENT = 1.0  # until it is asked again whether this process leads
GRACE = 4.0  # for what is in flight at SIGTERM: a whole stop fits into 5 s


class Engine:
    """Drives every token from its first inspection until it is told to stop."""

    def __init__(  # noqa: PLR0913 -- all by name but the first
        self,
        charges: Iterable[Charge],
        *,
        hands: Hands,
        clock: Clock,
        mailbox: Mailbox,
        observers: Sequence[Observer],
        mints_at_once: int = MINTS_AT_ONCE,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """`leads`: whether this process leads this very moment, which an elected one is asked before a mint:
        after a suspension the news that it does not is still on its way."""
        self._charges = {charge.policy.name: charge for charge in charges}
        self._states = {name: State.initial(charge.policy) for name, charge in self._charges.items()}
        self._keys = KeyWatch(self._charges.values())
        self._hands, self._clock, self._mailbox = hands, clock, mailbox
        self._observers = observers
        self._mints_at_once, self._leads = mints_at_once, leads
        self._minting: set[str] = set()
        self._in_line: dict[str, None] = {}  # tokens that are to be minted when it is their turn, in order
        self._alarms: list[tuple[float, str]] = []
        self._alarm_of: dict[str, float] = {}
        self._next_poll = NEVER_YET
        self._unsettled = set(self._charges)
        self._stop_by = NOT_SOON
        self._last_news = clock.now().boot
        self.last_turn = clock.now()

    def run(self) -> None:
        """Refresh until a `Stopping` letter comes, then finish what is in flight within `GRACE` seconds.
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
                self._give_up()

    def view(self) -> Iterator[tuple[TokenPolicy, State]]:
        """Every token with its present state; from any thread."""
        for name, charge in self._charges.items():
            yield charge.policy, self._states[name]

    def secrets(self) -> Iterator[SecretStr]:
        """Every key and token in hand or found in an output, for redaction."""
        for _, state in self.view():
            for credential in (state.proven, state.candidate):
                if credential is not None:
                    yield credential.key
            if state.minting is not None:
                yield state.minting.key
            found = (output.holding.token for output in state.outputs if output.holding)
            for token in filter(None, (state.token, *found)):
                yield token.access
                if token.refresh is not None:
                    yield token.refresh

    def _give_up(self) -> None:
        now = self._clock.now()
        for name in tuple(self._unsettled):
            for event in _missing(self._states[name]):
                self._apply(name, event, now, goes_on=False)
        self._unsettled.clear()

    def _begin(self) -> None:
        now = self._clock.now()
        self._poll_keys(now)
        for name in self._charges:
            self._apply(name, None, now)

    def _turn(self) -> None:
        now = self._clock.now()
        nearest = min(self._next_poll, self._stop_by, self._alarms[0][0] if self._alarms else NOT_SOON)
        letter = self._mailbox.take(min(SLICE, nearest - now.boot))
        self.last_turn = now = self._clock.now()
        while letter is not None:
            self._deliver(letter, now)
            letter = self._mailbox.take(0)
        self._poll_keys(now)
        while self._alarms and self._alarms[0][0] <= now.boot:
            at, name = heapq.heappop(self._alarms)
            if self._alarm_of.get(name) == at:  # else it has been set anew since
                del self._alarm_of[name]
                self._apply(name, None, now)

    def _is_over(self) -> bool:
        if self._stop_by == NOT_SOON:
            return False
        busy = any(state.is_busy for state in self._states.values())
        return not busy or self._clock.now().boot >= self._stop_by

    def _poll_keys(self, now: Instant) -> None:
        if now.boot < self._next_poll:
            return
        self._next_poll = NOT_SOON  # until this one has come back
        self._hands.read_keys(self._keys)

    def _deliver(self, letter: Letter, now: Instant) -> None:
        event = letter.event
        if isinstance(event, KeysPolled):
            self._next_poll = now.boot + KEY_POLL if self._stop_by == NOT_SOON else NOT_SOON
            return
        self._last_news = now.boot
        if isinstance(event, Stopping):
            self._stop_by = now.boot + (GRACE if self._stop_by == NOT_SOON else 0)
            self._next_poll = NOT_SOON
        for announcement in letter.said:
            self._tell(letter.token or "", announcement, now)
        for name in self._charges if letter.token is None else (letter.token,):
            self._apply(name, event, now)
        while self._in_line and len(self._minting) < self._mints_at_once:
            name = next(iter(self._in_line))
            del self._in_line[name]
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
            self._keep(name, _landed(self._states[name], event))
            self._set_alarm(name, now.boot + SLICE)

    def _advance(self, name: str, now: Instant) -> None:
        """Have done whatever this token needs now, and set its alarm."""
        charge = self._charges[name]
        while True:
            step = next_step(self._states[name], charge.policy, now)
            too_many = isinstance(step, Mint) and len(self._minting) >= self._mints_at_once
            if isinstance(step, Mint) and charge.policy.elected and not self._leads():
                step = Wait(now.boot + MOMENT, "being told that another process leads")
            if too_many or isinstance(step, Wait):
                break
            self._observe(name, Started(step), now)
            if not isinstance(step, Adopt):
                self._hands.start(charge, step)
        if isinstance(step, Wait):
            self._in_line.pop(name, None)
            self._set_alarm(name, min(step.until, now.boot + SLICE))
        else:  # its turn comes when another mint has ended
            self._in_line.setdefault(name)
            self._set_alarm(name, now.boot + SLICE)
        state = self._states[name]
        has_key = state.newest is not None or state.key_problem is not None
        if has_key and not state.is_busy:
            self._unsettled.discard(name)
        else:
            self._unsettled.add(name)

    def _set_alarm(self, name: str, at: float) -> None:
        if self._alarm_of.get(name) != at:
            self._alarm_of[name] = at
            heapq.heappush(self._alarms, (at, name))

    def _observe(self, name: str, event: Event, now: Instant) -> None:
        state, announcements = observe(self._states[name], self._charges[name].policy, event, now)
        self._keep(name, state)
        for announcement in announcements:
            self._tell(name, announcement, now)

    def _keep(self, name: str, state: State) -> None:
        self._states[name] = state
        if state.minting is None:
            self._minting.discard(name)
        else:
            self._minting.add(name)

    def _tell(self, name: str, announcement: Announcement, now: Instant) -> None:
        for observer in self._observers:
            try:
                observer.notice(name, announcement, now)
            except Exception as error:  # noqa: BLE001 -- whoever only looks on must not end the loop
                sys.excepthook(type(error), error, error.__traceback__)


def _landed(state: State, event: Event | None) -> State:
    """The state in which the errand that `event` reports is not in flight any more, whatever else it may
    mean: what cannot be understood must not be waited for for ever."""
    match event:
        case Minted() | MintFailed():
            return state._replace(minting=None)
        case Written() | WriteFailed() | Found() | InspectFailed():
            return state.with_output(state.output(event.output)._replace(busy_since=None))
    return state


def _missing(state: State) -> Iterator[Event]:
    """What is in flight or awaited, as failures."""
    if state.newest is None and state.key_problem is None:
        yield KeyUnreadable("the source of the key does not answer")
    if state.minting is not None:
        yield MintFailed(state.minting.key, Declined(Outcome.TIMEOUT, "the attempt did not end"), roll=1.0)
    for output in state.outputs:
        if output.busy_since is not None:
            yield WriteFailed(output.name, f"{output.name} does not answer", roll=1.0)
