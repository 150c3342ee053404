"""Performing effects: each does its I/O on a worker thread and posts its event as a message.

Nothing here decides; what went wrong comes back as an event too, so that no effect is ever left hanging.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from refresher.core import backoff
from refresher.core.effects import DryRun, Effect, Inspect, Mint, Write
from refresher.core.events import (
    DryRunPassed,
    Event,
    Found,
    InspectFailed,
    KeysPolled,
    Minted,
    MintFailed,
    WriteFailed,
    Written,
)
from refresher.core.machine import target_of
from refresher.core.model import (
    Declined,
    Granted,
    MintResult,
    Outcome,
    SecretStr,
    Token,
    TokenFacts,
    Verdict,
    Verification,
)
from refresher.core.notifications import Crashed, IssuerAnswered, Notification, OutputFailed, TokenVerified
from refresher.core.schedule import attempt_budget
from refresher.core.state import ISSUER, TokenPolicy
from refresher.errors import OutputError, OutputHeldError, OutputOutOfSightError, unforeseen
from refresher.keys.poller import KeyPoller
from refresher.lanes import Limit, Work, pool_of
from refresher.ports import Clock, Issuer, KeySource, Mailbox, Message, Output, Verifier
from refresher.workers import Workers

KEYS = "keys"
MINTS_AT_ONCE = 16
# A directory with many tokens is served by several threads, as most of a write is waiting for the disk.
LIMITS: Mapping[str, Limit] = {
    ISSUER: Limit(MINTS_AT_ONCE, pool=2 * MINTS_AT_ONCE),
    "file": Limit(8, pool=128),
    "secret": Limit(20, pool=40),
}
POLLS = 32  # readings of keys at once: one, and one more for each directory that hangs


class ManagedToken(NamedTuple):
    """One token to keep fresh: what the operator wants, and the adapters it needs."""

    policy: TokenPolicy
    key: KeySource
    outputs: tuple[Output, ...]

    def output(self, name: str) -> Output:
        return next(output for output in self.outputs if output.name == name)

    def lane(self, step: Effect) -> str:
        """Where a step goes."""
        target = target_of(step)
        return ISSUER if target == ISSUER else self.output(target).lane

    def targets(self, lane: str | None = None) -> set[str]:
        """What steps can be about (`machine.target_of`), in one lane or in all."""
        lanes = {ISSUER: ISSUER} | {output.name: output.lane for output in self.outputs}
        return {target for target, its_lane in lanes.items() if lane in (None, its_lane)}


class Executor:
    """Performs the effects of every token. `roll` gives chance between 0 and 1. With a `verifier`, a new
    token is tried out before anybody else gets it."""

    def __init__(  # noqa: PLR0913 -- by position what there always is
        self,
        issuer: Issuer,
        clock: Clock,
        mailbox: Mailbox,
        workers: Workers,
        roll: Callable[[], float],
        *,
        verifier: Verifier | None = None,
    ) -> None:
        self._issuer, self._clock, self._mailbox, self._workers, self._roll = (
            issuer,
            clock,
            mailbox,
            workers,
            roll,
        )
        self._verifier = verifier

    def prepare(self, managed_tokens: Iterable[ManagedToken]) -> None:
        """Have the threads started that these tokens need at least, as far as the system lets us."""
        outputs = {pool_of(output.lane) for managed in managed_tokens for output in managed.outputs}
        self._workers.prepare((KEYS, *sorted(outputs), ISSUER))

    def start(self, managed: ManagedToken, work: Work) -> None:
        """Have a step done; its message will be in the mailbox. What hangs holds up only its own lane."""

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

    def failure(self, step: Effect, message: str, outcome: Outcome = Outcome.TIMEOUT) -> Event:
        """The event for a step that has failed without an answer. An output holds what it held."""
        match step:
            case Mint(key=key):
                return MintFailed(key, Declined(outcome, message), self._roll())
            case Write(output=output) | DryRun(output=output):
                return WriteFailed(output, message, self._roll())
            case Inspect(output=output):
                return InspectFailed(output, message, out_of_sight=True)

    def perform(self, managed: ManagedToken, step: Effect) -> Message:
        """Do one effect and say how it went; never raises."""
        name = managed.policy.name
        try:
            match step:
                case Mint():
                    return self._mint(managed, step)
                case Write():
                    return Message(name, self._write(managed, step))
                case DryRun():
                    return Message(name, self._dry_run(managed, step))
                case Inspect():
                    return self._inspect(managed, step)
        except Exception as error:  # noqa: BLE001 -- a mistake of ours must come back too, or the step hangs for ever
            event = self.failure(step, unforeseen(error), Outcome.BAD_RESPONSE)
            if isinstance(event, InspectFailed):
                event = event._replace(out_of_sight=False)
            return Message(name, event, (Crashed(type(step).__name__, error),))

    def _mint(self, managed: ManagedToken, step: Mint) -> Message:
        policy = managed.policy
        budget = attempt_budget(policy.timeout, policy.lifetime)
        by = self._clock.now().boot + budget
        result = self._issuer.mint(step.key, policy.lifetime, budget)
        notifications: tuple[Notification, ...] = (IssuerAnswered(result.tries, result.skew),)
        if isinstance(result.answer, Declined):
            return Message(policy.name, MintFailed(step.key, result.answer, self._roll()), notifications)
        token = token_of(result, result.answer, step.key, policy.issuer, policy.lifetime)
        try:
            verification = self._verify(token, by)
        except Exception as error:  # noqa: BLE001 -- as in `perform`; a token is not held back for that
            verification = Verification(Verdict.INCONCLUSIVE, unforeseen(error))
            notifications += (Crashed("trying a token out", error),)
        if verification is None:
            return Message(policy.name, Minted(step.key, token, self._roll()), notifications)
        notifications += (TokenVerified(token.facts.fingerprint, verification.verdict, verification.message),)
        if verification.verdict is Verdict.REJECTED:
            told = f"issuer.verify rejects the new token: {verification.message}; what is published stays"
            declined = Declined(Outcome.BAD_RESPONSE, told, backoff.KEY_PROBE)
            event: Event = MintFailed(step.key, declined, self._roll())
        else:
            expired = verification.verdict is Verdict.EXPIRED
            event = Minted(step.key, token, self._roll(), expired)
        return Message(policy.name, event, notifications)

    def _verify(self, token: Token, by: float) -> Verification | None:
        """What the verifier makes of a token by boot second `by`; None if there is no verifier."""
        if self._verifier is None:
            return None
        left = by - self._clock.now().boot
        if left <= 0:
            return Verification(Verdict.INCONCLUSIVE, "the mint has left it no time")
        return self._verifier.verify(token.access, left)

    def _write(self, managed: ManagedToken, step: Write) -> Event:
        try:
            managed.output(step.output).write(step.token, self._clock.now(), step.sealer)
        except OutputError as error:
            return WriteFailed(step.output, str(error), self._roll(), error.retry_after)
        return Written(step.output, step.token)

    def _dry_run(self, managed: ManagedToken, step: DryRun) -> Event:
        try:
            managed.output(step.output).dry_run()
        except OutputError as error:
            return WriteFailed(step.output, str(error), self._roll(), error.retry_after)
        return DryRunPassed(step.output)

    def _inspect(self, managed: ManagedToken, step: Inspect) -> Message:
        name, output = managed.policy.name, managed.output(step.output)
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
            return Message(name, Found(step.output, output.inspect(self._clock.now()), held), notifications)
        except OutputError as error:
            out_of_sight = isinstance(error, OutputOutOfSightError)
            return Message(name, InspectFailed(step.output, str(error), out_of_sight), notifications)


def token_of(result: MintResult, granted: Granted, key: SecretStr, issuer: str, lifetime: float) -> Token:
    """The token that the issuer granted: it lives from the moment before it was asked for, and as long as
    believed (core/expiry.py)."""
    believed = min(lifetime, granted.lifetime)
    facts = TokenFacts(
        issued=result.sent,
        lifetime=believed,
        requested=lifetime,
        key_fingerprint=key.fingerprint,
        fingerprint=granted.access.fingerprint,
        has_refresh_token=granted.refresh_token is not None,
        issuer=issuer,
    )
    return Token(facts, granted.access, granted.refresh_token)
