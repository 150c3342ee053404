"""The only loop: wakes tokens when they are due, starts their effects on worker threads, applies the results.

One thread does all of that, so no lock is anywhere near a rule. Others may call `view` at any time: it is a
snapshot of frozen values.

Which tokens there are is a value too. `apply` posts a new set of them; the loop compares it with the present
one, keeps what has not changed, and says of each state what the change means for it (core/changes.py).

A step begins when its lane has room (`lanes`). One that has not ended for longer than it can take counts as
failed, is reported, and is tried anew; what becomes of it in the end is applied as `Late`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from refresher.core.events import KeysPolled, Stopping
from refresher.core.instant import Instant
from refresher.core.machine import STALLED
from refresher.core.model import SecretStr
from refresher.core.notifications import ThreadsRefused
from refresher.core.schedule import attempt_budget
from refresher.core.state import State, TokenPolicy
from refresher.executor import LIMITS, POLLS, Executor
from refresher.keys.poller import KeyPoller
from refresher.lanes import Limit
from refresher.ports import Clock, Desired, KeySource, Mailbox, ManagedToken, Message, Observer
from refresher.tokens import SLICE, Tokens

KEY_POLL = (
    2.0  # kubelet swaps a symlink, so content is compared; leaves 8 s of "in use within 10 s" to the mint
)
POLL_PATIENCE = 3.0  # after which the other keys are read without the directory that does not answer
NOT_SOON, NEVER_YET = float("inf"), float("-inf")
MOMENT = 1.0  # until the system is asked for threads again
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
        hold: Callable[[str, Iterable[SecretStr]], None] = lambda _token, _secrets: None,
    ) -> None:
        """`hold` is called with all secrets of a token before observers are notified of anything that may
        repeat a new one."""
        self._executor, self._clock, self._mailbox = executor, clock, mailbox
        self._last_news = clock.now().boot
        self._tokens = Tokens(managed_tokens, executor, observers, limits, hold, began=self._last_news)
        self._keys = KeyPoller(_keys_of(self._tokens.all_managed()))
        self._next_poll = NEVER_YET
        self._polls = 0  # under way
        self._refused: str | None = None  # what waits for a thread that the system does not start
        self._stop_by = NOT_SOON
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
        while self._tokens.unsettled and not self._is_over():
            self._turn()
            if (now := self._clock.now()).boot - self._last_news > patience:
                self._tokens.settle_without_answers(now)

    def view(self) -> tuple[tuple[TokenPolicy, State], ...]:
        """Every token with its state: a snapshot, from any thread."""
        return self._tokens.view()

    def managed(self, name: str) -> ManagedToken | None:
        """What the token of this name needs, as of now, from any thread; None if there is none."""
        return self._tokens.managed(name)

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

    def _begin(self) -> None:
        now = self._clock.now()
        self._executor.prepare(self._tokens.all_managed())
        self._poll_keys(now)
        self._tokens.begin(now)

    def _turn(self) -> None:
        now = self._clock.now()
        nearest = min(self._next_poll, self._stop_by, self._tokens.alarms.nearest())
        patience = SLICE if self._refused is None else MOMENT
        message = self._mailbox.take(min(patience, nearest - now.boot))
        self.last_turn = now = self._clock.now()
        while message is not None:
            self._deliver(message, now)
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
        self._tokens.deliver(message, message.event, now)

    def _follow(self, desired: Mapping[str, ManagedToken], now: Instant) -> None:
        is_stopping = self._stop_by != NOT_SOON
        self._keys.follow(_keys_of(desired.values()))
        self._executor.prepare(desired.values())
        self._tokens.follow(desired, now, stopping=is_stopping)
        if not is_stopping:
            self._next_poll = now.boot


def _keys_of(managed_tokens: Iterable[ManagedToken]) -> Iterator[tuple[str, KeySource]]:
    return ((managed.policy.name, managed.key) for managed in managed_tokens)
