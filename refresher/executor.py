"""Performs effects: does the I/O of each on a worker thread and posts its event as a message.

`KINDS` defines for each kind of effect how to perform it, how long it may take, and its event if no answer
arrives. The core decides what the event changes (core/observing.py). Every failure becomes an event, so no
effect stays in flight for ever.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from refresher.core.effects import HOOK, OUTPUT, DryRun, Effect, Inspect, Mint, RunHook, Verify, Write
from refresher.core.events import (
    DryRunPassed,
    Ending,
    Found,
    HookEnded,
    InspectFailed,
    KeysPolled,
    Minted,
    MintFailed,
    Verified,
    WriteFailed,
    Written,
)
from refresher.core.hooks import RUN_TIMEOUT
from refresher.core.mints import token_of
from refresher.core.model import Declined, Outcome, Verdict, Verification
from refresher.core.notifications import (
    IssuerAnswered,
    Notification,
    OutputDeleted,
    OutputFailed,
    OutputNotDeleted,
)
from refresher.core.process_notifications import Crashed
from refresher.core.state import TokenPolicy
from refresher.errors import HookError, OutputError, OutputHeldError, OutputOutOfSightError, unforeseen
from refresher.keys.poller import KeyPoller
from refresher.lanes import Limit, Work, pool_of
from refresher.outputs.poller import OutputPoller
from refresher.ports import Clock, Mailbox, ManagedToken, Message, Output
from refresher.workers import Workers

# Pools. Those of outputs are "file", "secret" and "serve"; that of hooks is "hook".
KEYS, ISSUER, VERIFIER = "keys", "issuer", "verify"
MINTS_AT_ONCE = 16
# Each issuer mints, however many others hang.
_REQUESTS = Limit(MINTS_AT_ONCE, pool=16 * MINTS_AT_ONCE, reserved=4, slow_after=2.0)
LIMITS: Mapping[str, Limit] = {
    ISSUER: _REQUESTS,
    VERIFIER: _REQUESTS,
    "file": Limit(8, pool=128),  # a write mostly waits for the disk
    "secret": Limit(20, pool=40),
    "serve": Limit(1, pool=4),
    "hook": Limit(1, pool=16),
}
POLLS = 32  # polls of the keys at once: one, and one more for each directory that hangs
MINT_GRACE = HOOK_GRACE = 5.0  # seconds beyond the budget or time-out; needed only if the system hangs
GIVE_UP = 60.0  # seconds for an effect on an output; two calls to a slow API server take 20 s

AnEffect = TypeVar("AnEffect", bound=Effect)


class Done(NamedTuple):
    """The event of an effect that has ended, and further notifications."""

    event: Ending
    notifications: tuple[Notification, ...] = ()


class Kind(NamedTuple, Generic[AnEffect]):
    """One kind of effect.

    `perform`: performs it; the last argument is a random number from 0 to 1. `failed`: returns the event of
    an effect that failed without an answer, from a message, an outcome and a random number. `patience`:
    returns the seconds for which it may be in flight. `subject`: names in messages what does not answer.
    """

    perform: Callable[[ManagedToken, AnEffect, Clock, float], Done]
    failed: Callable[[AnEffect, str, Outcome, float], Ending]
    patience: Callable[[TokenPolicy, AnEffect], float]
    subject: Callable[[AnEffect], str]


def _mint(managed: ManagedToken, step: Mint, _clock: Clock, roll: float) -> Done:
    policy = managed.policy
    result = managed.mint(step.key)
    notifications = (IssuerAnswered(result.tries, result.skew),)
    if isinstance(result.answer, Declined):
        return Done(MintFailed(step.key, result.answer, roll), notifications)
    token = token_of(result, result.answer, step.key, policy.issuer, policy.lifetime)
    return Done(Minted(step.key, token, roll), notifications)


def _verify(managed: ManagedToken, step: Verify, _clock: Clock, _roll: float) -> Done:
    if managed.verifier is None:
        raise TypeError("cannot verify a token without a verifier")
    verification = managed.verifier.verify(step.token.access, step.budget)
    return Done(Verified(step.token.facts.fingerprint, verification))


def _write(managed: ManagedToken, step: Write | DryRun, clock: Clock, roll: float) -> Done:
    """A write, or a dry run: it fails in the same way."""
    output = managed.output(step.output)
    try:
        if isinstance(step, DryRun):
            output.dry_run()
            return Done(DryRunPassed(step.output))
        if hook := managed.hook(step.output):
            hook.owe()
        output.write(step.token, clock.now(), step.sealer)
    except OutputError as error:
        return Done(WriteFailed(step.output, str(error), roll, error.retry_after))
    return Done(Written(step.output, step.token))


def _inspect(managed: ManagedToken, step: Inspect, clock: Clock, _roll: float) -> Done:
    output = managed.output(step.output)
    notifications: tuple[Notification, ...] = ()
    held = ""
    if step.first:
        try:
            output.claim()
        except OutputHeldError as error:
            held = str(error)
        except OutputError as error:  # report it; the output may still be readable
            notifications = (OutputFailed(step.output, str(error), None, writing=False),)
    try:
        hook = managed.hook(step.output) if step.first and not held else None
        is_owed = hook is not None and hook.is_owed()
        return Done(Found(step.output, output.inspect(clock.now()), held, is_owed), notifications)
    except OutputError as error:
        out_of_sight = isinstance(error, OutputOutOfSightError)
        return Done(InspectFailed(step.output, str(error), out_of_sight), notifications)


def _run_hook(managed: ManagedToken, step: RunHook, _clock: Clock, roll: float) -> Done:
    hook = managed.hook(step.output)
    if hook is None:
        raise TypeError("cannot run the hook of an output without one")
    try:
        return Done(HookEnded(step.output, step.write, hook.run(), None, roll))
    except HookError as error:
        return Done(HookEnded(step.output, step.write, None, str(error), roll))


def _write_failed(step: Write | DryRun, message: str, _outcome: Outcome, roll: float) -> Ending:
    return WriteFailed(step.output, message, roll)


def _output_of(step: Write | DryRun | Inspect) -> str:
    return step.output


def _attempt(policy: TokenPolicy, _step: Effect) -> float:
    return policy.attempt_budget + MINT_GRACE


def _give_up(_policy: TokenPolicy, _step: Effect) -> float:
    return GIVE_UP


# By type. Each entry handles only effects of its own type.
KINDS: Mapping[type, Kind[Any]] = {
    Mint: Kind[Mint](
        perform=_mint,
        failed=lambda step, message, outcome, roll: MintFailed(step.key, Declined(outcome, message), roll),
        patience=_attempt,
        subject=lambda _step: "the issuer, or the resolver of its name,",
    ),
    Verify: Kind[Verify](
        perform=_verify,
        failed=lambda step, message, _outcome, _roll: Verified(
            step.token.facts.fingerprint, Verification(Verdict.INCONCLUSIVE, message)
        ),
        patience=_attempt,
        subject=lambda _step: "verify of the issuer, or the resolver of its name,",
    ),
    Write: Kind[Write](_write, _write_failed, _give_up, _output_of),
    DryRun: Kind[DryRun](_write, _write_failed, _give_up, _output_of),
    Inspect: Kind[Inspect](
        perform=_inspect,
        # After a time-out, consumers may still have the old content. After a bug, nothing is known.
        failed=lambda step, message, outcome, _roll: InspectFailed(
            step.output, message, out_of_sight=outcome is Outcome.TIMEOUT
        ),
        patience=_give_up,
        subject=_output_of,
    ),
    RunHook: Kind[RunHook](
        perform=_run_hook,
        failed=lambda step, message, _outcome, roll: HookEnded(step.output, step.write, None, message, roll),
        patience=lambda _policy, _step: RUN_TIMEOUT + HOOK_GRACE,
        subject=lambda step: f"the hook of {step.output}",
    ),
}


def kind_of(step: Effect) -> Kind[Any]:
    return KINDS[type(step)]


def subject_of(step: Effect) -> str:
    """What does not answer while this effect hangs, for messages."""
    subject: str = kind_of(step).subject(step)
    return subject


class Executor:
    """Performs the effects of every token. `roll` returns a random number from 0 to 1."""

    def __init__(self, clock: Clock, mailbox: Mailbox, workers: Workers, roll: Callable[[], float]) -> None:
        self._clock, self._mailbox, self._workers, self._roll = clock, mailbox, workers, roll

    def prepare(self, managed_tokens: Iterable[ManagedToken]) -> None:
        """Start one thread for each pool that these tokens use, as far as the system allows."""
        pools = {
            pool_of(adapter.lane) for managed in managed_tokens for adapter in managed.adapters().values()
        }
        first = sorted(pools - {ISSUER, VERIFIER})  # inspecting outputs comes before minting
        self._workers.prepare((KEYS, *first, *sorted(pools & {ISSUER, VERIFIER})))

    def start(self, managed: ManagedToken, work: Work) -> None:
        """Begin an effect. Its message will arrive in the mailbox. A hanging effect blocks only its lane."""

        def do() -> None:
            # Skip an effect that was given up before a thread was free: it could waste a token.
            message = Message(work.token, None) if work.given_up else self.perform(managed, work.step)
            self._mailbox.post(message._replace(work=work))

        self._workers.submit(do, pool_of(work.lane))

    def release(self, token: str, output: Output, wanted: Callable[[], Collection[str]]) -> None:
        """Release an output of this token that is no longer configured. `wanted`: see `ports.Output.release`;
        any thread may call it."""

        def release() -> None:
            notifications: tuple[Notification, ...] = ()
            try:
                if output.release(wanted):
                    notifications = (OutputDeleted(output.name),)
            except OutputError as error:
                notifications = (OutputNotDeleted(output.name, str(error)),)
            except Exception as error:  # noqa: BLE001 -- as in `perform`
                notifications = (Crashed("releasing an output", error),)
            if notifications:
                self._mailbox.post(Message(token, None, notifications))

        self._workers.submit(release, pool_of(output.lane))

    def read_keys(self, keys: KeyPoller) -> None:
        """Read the keys on a worker thread. It posts a message for each change, then `KeysPolled`."""

        def read() -> None:
            for message in keys.poll(self._clock.now().boot):
                self._mailbox.post(message)
            self._mailbox.post(Message(None, KeysPolled()))

        self._workers.submit(read, KEYS)

    def poll_outputs(self, outputs: OutputPoller) -> None:
        """Compare outputs on a worker thread. It posts the messages."""

        def poll() -> None:
            for message in outputs.poll(self._clock.now().boot):
                self._mailbox.post(message)

        self._workers.submit(poll, KEYS)

    def tend(self) -> str | None:
        """See `Workers.tend`."""
        return self._workers.tend()

    def stuck(self) -> str | None:
        """See `Workers.stuck`."""
        return self._workers.stuck()

    def unanswered(self, step: Effect, verb: str) -> Ending:
        """The event of an effect that failed without an answer. `verb`: what its subject did, such as "has
        not answered"."""
        is_named = step.slot.kind in (OUTPUT, HOOK)  # their messages follow their names
        message = verb if is_named else f"{subject_of(step)} {verb}"
        return self._failed(step, message, Outcome.TIMEOUT)

    def _failed(self, step: Effect, message: str, outcome: Outcome) -> Ending:
        event: Ending = kind_of(step).failed(step, message, outcome, self._roll())
        return event

    def perform(self, managed: ManagedToken, step: Effect) -> Message:
        """Perform one effect and return its message. Never raises."""
        name = managed.policy.name
        try:
            done: Done = kind_of(step).perform(managed, step, self._clock, self._roll())
        except Exception as error:  # noqa: BLE001 -- after a bug, too, the effect must end
            message = unforeseen(error)
            if isinstance(step, Write | DryRun | Inspect):
                message = f"failed: {message}"  # it follows the output's name, like an OutputError
            event = self._failed(step, message, Outcome.BAD_RESPONSE)
            done = Done(event, (Crashed(type(step).__name__, error),))
        return Message(name, done.event, done.notifications)
