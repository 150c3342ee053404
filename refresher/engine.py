"""The only loop: wakes tokens when they are due, starts their effects on worker threads, applies the results.

One thread runs the loop, so the rules need no lock. Other threads may call `view` at any time: it returns a
snapshot of frozen values.

The set of tokens is a value too. `apply` posts a new set. The loop compares it with the present set, keeps
what has not changed, and adapts each state (core/changes.py).

An effect begins when its lane has room (`lanes`). An effect that does not end in time counts as failed, is
reported, and is tried again. If it ends after all, the loop applies its event as `Late`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from refresher.core.events import KeysPolled, Stopping
from refresher.core.hooks import RUN_TIMEOUT
from refresher.core.instant import Instant
from refresher.core.machine import STALLED
from refresher.core.model import SecretStr
from refresher.core.process_notifications import ThreadsRefused
from refresher.core.state import State, TokenPolicy
from refresher.executor import LIMITS, POLLS, Executor
from refresher.keys.poller import KeyPoller
from refresher.lanes import Limit
from refresher.outputs.poller import OutputPoller
from refresher.ports import (
    Clock,
    Desired,
    KeySource,
    Mailbox,
    ManagedToken,
    Message,
    Observer,
    intervals_of,
)
from refresher.tokens import Tokens

SLICE = 30.0  # seconds of sleep at most: clocks jump, and machines are suspended
KEY_POLL = 2.0  # seconds between polls; a new key is in use within 10 s, so the mint has 8 s
POLL_PATIENCE = 3.0  # seconds after which the next poll skips a directory that does not answer
NOT_SOON, NEVER_YET = float("inf"), float("-inf")
MOMENT = 1.0  # seconds between two requests for threads that the system refused
GRACE = 4.0  # seconds for effects in flight at SIGTERM; a whole stop takes less than 5 s


class Engine:
    """Drives every token from its first inspection until it is stopped."""

    def __init__(  # noqa: PLR0913 -- all but the first are keywords
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
        """`hold`: called with a token's name and all its secrets, before observers get any notification that
        may repeat a new one."""
        self._executor, self._clock, self._mailbox = executor, clock, mailbox
        began = clock.now()
        self._last_news = began.boot
        self._tokens = Tokens(managed_tokens, executor, observers, limits, hold, began)
        self._keys = KeyPoller(_keys_of(self._tokens.all_managed()))
        self._outputs = OutputPoller(self._tokens.all_managed())
        self._next_poll = NEVER_YET
        self._polls = 0  # under way
        self._refused: str | None = None  # which work waits because the system refuses threads
        self._stop_by = NOT_SOON
        self.last_turn = clock.now()

    def run(self) -> None:
        """Refresh until a `Stopping` message arrives, then finish the effects in flight, for at most `GRACE`
        seconds. A second `Stopping` ends it at once."""
        self._begin()
        while not self._is_over():
            self._turn()
        self._tokens.stop_hooks()

    def settle(self) -> None:
        """Do everything that is due now, once, and return (``refresher once``).

        Requests to the issuer end within their budget, but a file system or name resolution may hang. If no
        effect has ended for as long as any may take, all effects in flight count as failed. A hook runs once;
        if it fails, it is left to the next call.
        """
        self._begin()
        patience = STALLED + max((policy.attempt_budget for policy, _ in self.view()), default=0)
        patience += max(intervals_of(self._tokens.all_managed()).values(), default=0)
        if any(managed.hooks for managed in self._tokens.all_managed()):
            patience = max(patience, STALLED + RUN_TIMEOUT)
        while self._tokens.unsettled and not self._is_over():
            self._turn()
            if (now := self._clock.now()).boot - self._last_news > patience:
                self._tokens.settle_without_answers(now)
        self._tokens.stop_hooks()

    def view(self) -> tuple[tuple[TokenPolicy, State], ...]:
        """Every token with its state: a snapshot, from any thread."""
        return self._tokens.view()

    def managed(self, name: str) -> ManagedToken | None:
        """The present configuration and adapters of this token; None if it is unknown. From any thread."""
        token = self._tokens.get(name)
        return token.managed if token else None

    def state(self, name: str) -> tuple[TokenPolicy, State] | None:
        """This token with its state; None if it is unknown. From any thread."""
        token = self._tokens.get(name)
        return (token.managed.policy, token.state) if token else None

    def apply(self, managed_tokens: Iterable[ManagedToken]) -> None:
        """Manage exactly these tokens from now on. From any thread.

        Parts that are the same objects as before continue unchanged. A token whose parts are all the same is
        neither minted nor written.
        """
        desired = Desired({managed.policy.name: managed for managed in managed_tokens})
        self._mailbox.post(Message(None, desired))

    def stuck(self) -> str | None:
        """Why only a restart may help although the loop runs; None without such a problem."""
        return self._executor.stuck()

    def _begin(self) -> None:
        now = self._clock.now()
        self._executor.prepare(self._tokens.all_managed())
        self._poll_keys(now)
        self._tokens.begin(now)

    def _turn(self) -> None:
        now = self._clock.now()
        nearest = min(self._next_poll, self._stop_by, self._tokens.nearest(now))
        patience = SLICE if self._refused is None else MOMENT
        message = self._mailbox.take(min(patience, nearest - now.boot))
        self.last_turn = now = self._clock.now()
        while message is not None:
            self._deliver(message, now)
            if self._is_over():  # ten thousand messages may still wait
                return
            message = self._mailbox.take(0)
        self._poll_keys(now)
        self._tokens.wake(now)
        refused = self._executor.tend()
        if refused is not None and refused != self._refused:
            self._tokens.notify("", ThreadsRefused(refused), now)
        self._refused = refused

    def _is_over(self) -> bool:
        if self._stop_by == NOT_SOON:
            return False
        return not self._tokens.is_busy() or self._clock.now().boot >= self._stop_by

    def _poll_keys(self, now: Instant) -> None:
        if now.boot < self._next_poll:
            return
        is_first = self._next_poll == NEVER_YET
        self._polls += 1
        self._next_poll = now.boot + POLL_PATIENCE if self._polls < POLLS else NOT_SOON
        self._executor.read_keys(self._keys)
        if not is_first:  # the first inspections come before any comparison
            self._executor.poll_outputs(self._outputs)

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
        self._tokens.deliver(message, message.event, now)

    def _follow(self, desired: Mapping[str, ManagedToken], now: Instant) -> None:
        is_stopping = self._stop_by != NOT_SOON
        self._keys.follow(_keys_of(desired.values()))
        self._outputs.follow(desired.values())
        self._executor.prepare(desired.values())
        self._tokens.follow(desired, now, stopping=is_stopping)
        if not is_stopping:
            self._next_poll = now.boot


def _keys_of(managed_tokens: Iterable[ManagedToken]) -> Iterator[tuple[str, KeySource]]:
    return ((managed.policy.name, managed.key) for managed in managed_tokens)
