"""Performing effects: each does its I/O on a worker thread and posts its event as a message.

`KINDS` says of each kind of effect how it is performed, how long it may take, and which event says that it
failed without an answer. What an event changes stands in `core/observing.py`. Nothing here decides. What goes
wrong comes back as an event too, so that no effect is ever left hanging.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from refresher.core.effects import DryRun, Effect, Inspect, Mint, Verify, Write
from refresher.core.events import (
    DryRunPassed,
    Ending,
    Found,
    InspectFailed,
    KeysPolled,
    Minted,
    MintFailed,
    Verified,
    WriteFailed,
    Written,
)
from refresher.core.mints import token_of
from refresher.core.model import Declined, Outcome, Verdict, Verification
from refresher.core.notifications import Crashed, IssuerAnswered, Notification, OutputFailed
from refresher.core.schedule import attempt_budget
from refresher.core.state import TokenPolicy
from refresher.errors import OutputError, OutputHeldError, OutputOutOfSightError, unforeseen
from refresher.keys.poller import KeyPoller
from refresher.lanes import Limit, Work, pool_of
from refresher.ports import Clock, Mailbox, ManagedToken, Message
from refresher.workers import Workers

KEYS, ISSUER, VERIFIER = (
    "keys",
    "issuer",
    "verify",
)  # pools; those of outputs are "file", "secret" and "serve"
MINTS_AT_ONCE = 16
# A directory with many tokens is served by several threads, as most of a write is waiting for the disk.
LIMITS: Mapping[str, Limit] = {
    ISSUER: Limit(MINTS_AT_ONCE, pool=2 * MINTS_AT_ONCE),
    VERIFIER: Limit(MINTS_AT_ONCE, pool=2 * MINTS_AT_ONCE),
    "file": Limit(8, pool=128),
    "secret": Limit(20, pool=40),
    "serve": Limit(1, pool=4),
}
POLLS = 32  # readings of keys at once: one, and one more for each directory that hangs
MINT_GRACE = 5.0  # beyond its budget, which an attempt keeps unless the system hangs (resolving a name, say)
GIVE_UP = 60.0  # for a step on an output: a file system may be slow, and two calls to an API server take 20 s

AnEffect = TypeVar("AnEffect", bound=Effect)


class Done(NamedTuple):
    """How an effect has ended, and what else to report."""

    event: Ending
    notifications: tuple[Notification, ...] = ()


class Kind(NamedTuple, Generic[AnEffect]):
    """One kind of effect.

    `perform`: does it; the last argument is chance, 0 to 1.
    `failed`: the event for one that failed without an answer: why, how, and chance. `patience`: seconds for
    which one may be in flight. `subject`: what did not answer, for a message. `reports_stalls`: one that
    takes long is reported before it is given up.
    """

    perform: Callable[[ManagedToken, AnEffect, Clock, float], Done]
    failed: Callable[[AnEffect, str, Outcome, float], Ending]
    patience: Callable[[TokenPolicy, AnEffect], float]
    subject: Callable[[AnEffect], str]
    reports_stalls: bool


def _mint(managed: ManagedToken, step: Mint, _clock: Clock, roll: float) -> Done:
    policy = managed.policy
    budget = attempt_budget(policy.timeout, policy.lifetime)
    result = managed.issuer.mint(step.key, policy.lifetime, budget)
    notifications = (IssuerAnswered(result.tries, result.skew),)
    if isinstance(result.answer, Declined):
        return Done(MintFailed(step.key, result.answer, roll), notifications)
    token = token_of(result, result.answer, step.key, policy.issuer, policy.lifetime)
    return Done(Minted(step.key, token, roll), notifications)


def _verify(managed: ManagedToken, step: Verify, _clock: Clock, _roll: float) -> Done:
    if managed.verifier is None:
        raise TypeError("a token is to be tried out, and there is no verifier")
    verification = managed.verifier.verify(step.token.access, step.budget)
    return Done(Verified(step.token.facts.fingerprint, verification))


def _write(managed: ManagedToken, step: Write, clock: Clock, roll: float) -> Done:
    try:
        managed.output(step.output).write(step.token, clock.now(), step.sealer)
    except OutputError as error:
        return Done(WriteFailed(step.output, str(error), roll, error.retry_after))
    return Done(Written(step.output, step.token))


def _dry_run(managed: ManagedToken, step: DryRun, _clock: Clock, roll: float) -> Done:
    try:
        managed.output(step.output).dry_run()
    except OutputError as error:
        return Done(WriteFailed(step.output, str(error), roll, error.retry_after))
    return Done(DryRunPassed(step.output))


def _inspect(managed: ManagedToken, step: Inspect, clock: Clock, _roll: float) -> Done:
    output = managed.output(step.output)
    notifications: tuple[Notification, ...] = ()
    held = ""
    if step.first:
        try:
            output.claim()
        except OutputHeldError as error:
            held = str(error)
        except OutputError as error:  # a nuisance, not a reason to think that the output holds nothing
            notifications = (OutputFailed(step.output, str(error), None, writing=False),)
    try:
        return Done(Found(step.output, output.inspect(clock.now()), held), notifications)
    except OutputError as error:
        out_of_sight = isinstance(error, OutputOutOfSightError)
        return Done(InspectFailed(step.output, str(error), out_of_sight), notifications)


def _write_failed(step: Write | DryRun, message: str, _outcome: Outcome, roll: float) -> Ending:
    return WriteFailed(step.output, message, roll)


def _output_of(step: Write | DryRun | Inspect) -> str:
    return step.output


def _attempt(policy: TokenPolicy, _step: Effect) -> float:
    return attempt_budget(policy.timeout, policy.lifetime) + MINT_GRACE


def _give_up(_policy: TokenPolicy, _step: Effect) -> float:
    return GIVE_UP


# By type; each entry takes effects of its own type only.
KINDS: Mapping[type, Kind[Any]] = {
    Mint: Kind[Mint](
        perform=_mint,
        failed=lambda step, message, outcome, roll: MintFailed(step.key, Declined(outcome, message), roll),
        patience=_attempt,
        subject=lambda _step: "the issuer, or the resolver of its name,",
        reports_stalls=False,
    ),
    Verify: Kind[Verify](
        perform=_verify,
        failed=lambda step, message, _outcome, _roll: Verified(
            step.token.facts.fingerprint, Verification(Verdict.INCONCLUSIVE, message)
        ),
        patience=_attempt,
        subject=lambda _step: "issuer.verify, or the resolver of its name,",
        reports_stalls=False,
    ),
    Write: Kind[Write](_write, _write_failed, _give_up, _output_of, reports_stalls=True),
    DryRun: Kind[DryRun](_dry_run, _write_failed, _give_up, _output_of, reports_stalls=True),
    Inspect: Kind[Inspect](
        perform=_inspect,
        # No answer: consumers may well still have what it held. An error of ours: nothing is known of it.
        failed=lambda step, message, outcome, _roll: InspectFailed(
            step.output, message, out_of_sight=outcome is Outcome.TIMEOUT
        ),
        patience=_give_up,
        subject=_output_of,
        reports_stalls=True,
    ),
}


def kind_of(step: Effect) -> Kind[Any]:
    return KINDS[type(step)]


class Executor:
    """Performs the effects of every token. `roll` gives chance between 0 and 1."""

    def __init__(self, clock: Clock, mailbox: Mailbox, workers: Workers, roll: Callable[[], float]) -> None:
        self._clock, self._mailbox, self._workers, self._roll = clock, mailbox, workers, roll

    def prepare(self, managed_tokens: Iterable[ManagedToken]) -> None:
        """Start the threads that these tokens need at least, as far as the system allows."""
        pools = {pool_of(lane) for managed in managed_tokens for lane in managed.lanes().values()}
        first = sorted(pools - {ISSUER, VERIFIER})  # outputs are inspected before anything is minted
        self._workers.prepare((KEYS, *first, *sorted(pools & {ISSUER, VERIFIER})))

    def start(self, managed: ManagedToken, work: Work) -> None:
        """Begin a step; its message will be in the mailbox. What hangs holds up only its own lane."""

        def do() -> None:
            # A step that was given up before a thread was free for it is not worth a token any more.
            message = Message(work.token, None) if work.given_up else self.perform(managed, work.step)
            self._mailbox.post(message._replace(work=work))

        self._workers.submit(do, pool_of(work.lane))

    def read_keys(self, keys: KeyPoller) -> None:
        """Read the keys on a worker thread, which posts a message for each new reading, then `KeysPolled`."""

        def read() -> None:
            for message in keys.poll(self._clock.now().boot):
                self._mailbox.post(message)
            self._mailbox.post(Message(None, KeysPolled()))

        self._workers.submit(read, KEYS)

    def tend(self) -> str | None:
        """See `Workers.tend`."""
        return self._workers.tend()

    def stuck(self) -> str | None:
        """See `Workers.stuck`."""
        return self._workers.stuck()

    def failure(self, step: Effect, message: str, outcome: Outcome = Outcome.TIMEOUT) -> Ending:
        """The event for a step that has failed without an answer. An output holds what it held."""
        event: Ending = kind_of(step).failed(step, message, outcome, self._roll())
        return event

    def perform(self, managed: ManagedToken, step: Effect) -> Message:
        """Do one effect and report how it went; never raises."""
        name = managed.policy.name
        try:
            done: Done = kind_of(step).perform(managed, step, self._clock, self._roll())
        except Exception as error:  # noqa: BLE001 -- a bug of ours must come back too, or the step hangs for ever
            event = self.failure(step, unforeseen(error), Outcome.BAD_RESPONSE)
            done = Done(event, (Crashed(type(step).__name__, error),))
        return Message(name, done.event, done.notifications)
