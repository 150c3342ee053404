"""Performing errands: each does its I/O on a thread of the crew and comes back as a letter with an event.

Nothing here decides; what went wrong comes back as an event too, so that no errand is ever left hanging.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from refresher.core import backoff
from refresher.core.announcements import Announcement, Crashed, IssuerAnswered, OutputFailed, TokenVerified
from refresher.core.machine import target_of
from refresher.core.messages import (
    Errand,
    Event,
    Found,
    Inspect,
    InspectFailed,
    KeysPolled,
    Mint,
    Minted,
    MintFailed,
    Rehearse,
    Rehearsed,
    Write,
    WriteFailed,
    Written,
)
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
from refresher.core.schedule import attempt_budget
from refresher.core.state import ISSUER, TokenPolicy
from refresher.crew import Crew
from refresher.errors import OutputError, OutputHeldError, OutputOutOfSightError, unforeseen
from refresher.keys.watch import KeyWatch
from refresher.lanes import Limit, Work, pool_of
from refresher.ports import Clock, Issuer, KeySource, Letter, Mailbox, Output, Verifier

KEYS = "keys"
MINTS_AT_ONCE = 16
# A directory with many tokens is served by several threads, as most of a write is waiting for the disk.
LIMITS: Mapping[str, Limit] = {
    ISSUER: Limit(MINTS_AT_ONCE, pool=2 * MINTS_AT_ONCE),
    "file": Limit(8, pool=128),
    "secret": Limit(20, pool=40),
}
POLLS = 32  # readings of keys at once: one, and one more for each directory that hangs


class Charge(NamedTuple):
    """One token in our charge: what is wanted, and the parts of the world it concerns."""

    policy: TokenPolicy
    key: KeySource
    outputs: tuple[Output, ...]

    def output(self, name: str) -> Output:
        return next(output for output in self.outputs if output.name == name)

    def lane(self, step: Errand) -> str:
        """Where a step goes."""
        target = target_of(step)
        return ISSUER if target == ISSUER else self.output(target).lane

    def targets(self, lane: str | None = None) -> set[str]:
        """What steps can be about (`machine.target_of`), in one lane or in all."""
        lanes = {ISSUER: ISSUER} | {output.name: output.lane for output in self.outputs}
        return {target for target, its_lane in lanes.items() if lane in (None, its_lane)}


class Hands:
    """Performs the errands of every token. `roll` gives chance between 0 and 1. With a `verifier`, a new
    token is tried out before anybody else gets it."""

    def __init__(  # noqa: PLR0913 -- by position what there always is
        self,
        issuer: Issuer,
        clock: Clock,
        mailbox: Mailbox,
        crew: Crew,
        roll: Callable[[], float],
        *,
        verifier: Verifier | None = None,
    ) -> None:
        self._issuer, self._clock, self._mailbox, self._crew, self._roll = issuer, clock, mailbox, crew, roll
        self._verifier = verifier

    def prepare(self, charges: Iterable[Charge]) -> None:
        """Have the threads started that these tokens need at least, as far as the system lets us."""
        outputs = {pool_of(output.lane) for charge in charges for output in charge.outputs}
        self._crew.prepare((KEYS, *sorted(outputs), ISSUER))

    def start(self, charge: Charge, work: Work) -> None:
        """Have a step done; its letter will be in the mailbox. What hangs holds up only its own lane."""

        def do() -> None:
            # A step that was given up before a thread was free for it is not worth a token any more.
            letter = Letter(work.token, None) if work.given_up else self.perform(charge, work.step)
            self._mailbox.post(letter._replace(work=work))

        self._crew.submit(do, pool_of(work.lane))

    def read_keys(self, keys: KeyWatch) -> None:
        """Have the keys read; a letter for each token concerned will be in the mailbox, then `KeysPolled`."""

        def read() -> None:
            for letter in keys.poll(self._clock.now().boot):
                self._mailbox.post(letter)
            self._mailbox.post(Letter(None, KeysPolled()))

        self._crew.submit(read, KEYS)

    def tend(self) -> str | None:
        """See `Crew.tend`."""
        return self._crew.tend()

    def stuck(self) -> str | None:
        """See `Crew.stuck`."""
        return self._crew.stuck()

    def failure(self, step: Errand, message: str, outcome: Outcome = Outcome.TIMEOUT) -> Event:
        """The event for a step that has failed without an answer. An output holds what it held."""
        match step:
            case Mint(key=key):
                return MintFailed(key, Declined(outcome, message), self._roll())
            case Write(output=output) | Rehearse(output=output):
                return WriteFailed(output, message, self._roll())
            case Inspect(output=output):
                return InspectFailed(output, message, out_of_sight=True)

    def perform(self, charge: Charge, step: Errand) -> Letter:
        """Do one errand and say how it went; never raises."""
        name = charge.policy.name
        try:
            match step:
                case Mint():
                    return self._mint(charge, step)
                case Write():
                    return Letter(name, self._write(charge, step))
                case Rehearse():
                    return Letter(name, self._rehearse(charge, step))
                case Inspect():
                    return self._inspect(charge, step)
        except Exception as error:  # noqa: BLE001 -- a mistake of ours must come back too, or the step hangs for ever
            event = self.failure(step, unforeseen(error), Outcome.BAD_RESPONSE)
            if isinstance(event, InspectFailed):
                event = event._replace(out_of_sight=False)
            return Letter(name, event, (Crashed(type(step).__name__, error),))

    def _mint(self, charge: Charge, step: Mint) -> Letter:
        policy = charge.policy
        budget = attempt_budget(policy.timeout, policy.lifetime)
        by = self._clock.now().boot + budget
        result = self._issuer.mint(step.key, policy.lifetime, budget)
        said: tuple[Announcement, ...] = (IssuerAnswered(result.tries, result.skew),)
        if isinstance(result.answer, Declined):
            return Letter(policy.name, MintFailed(step.key, result.answer, self._roll()), said)
        token = token_of(result, result.answer, step.key, policy.issuer, policy.lifetime)
        try:
            verification = self._verify(token, by)
        except Exception as error:  # noqa: BLE001 -- as in `perform`; a token is not held back for that
            verification = Verification(Verdict.INCONCLUSIVE, unforeseen(error))
            said += (Crashed("trying a token out", error),)
        if verification is None:
            return Letter(policy.name, Minted(step.key, token, self._roll()), said)
        said += (TokenVerified(token.facts.fingerprint, verification.verdict, verification.message),)
        if verification.verdict is Verdict.REJECTED:
            told = f"issuer.verify rejects the new token: {verification.message}; what is published stays"
            declined = Declined(Outcome.BAD_RESPONSE, told, backoff.KEY_PROBE)
            event: Event = MintFailed(step.key, declined, self._roll())
        else:
            expired = verification.verdict is Verdict.EXPIRED
            event = Minted(step.key, token, self._roll(), expired)
        return Letter(policy.name, event, said)

    def _verify(self, token: Token, by: float) -> Verification | None:
        """What the verifier makes of a token by boot second `by`; None if there is no verifier."""
        if self._verifier is None:
            return None
        left = by - self._clock.now().boot
        if left <= 0:
            return Verification(Verdict.INCONCLUSIVE, "the mint has left it no time")
        return self._verifier.verify(token.access, left)

    def _write(self, charge: Charge, step: Write) -> Event:
        try:
            charge.output(step.output).write(step.token, self._clock.now(), step.sealer)
        except OutputError as error:
            return WriteFailed(step.output, str(error), self._roll(), error.retry_after)
        return Written(step.output, step.token)

    def _rehearse(self, charge: Charge, step: Rehearse) -> Event:
        try:
            charge.output(step.output).rehearse()
        except OutputError as error:
            return WriteFailed(step.output, str(error), self._roll(), error.retry_after)
        return Rehearsed(step.output)

    def _inspect(self, charge: Charge, step: Inspect) -> Letter:
        name, output = charge.policy.name, charge.output(step.output)
        said: tuple[Announcement, ...] = ()
        held = ""
        if step.first:
            try:
                output.clear_debris()
            except OutputHeldError as error:
                held = str(error)
            except OutputError as error:  # a nuisance, not a reason to think that the output holds nothing
                said = (OutputFailed(step.output, str(error), None, writing=False),)
        try:
            return Letter(name, Found(step.output, output.inspect(self._clock.now()), held), said)
        except OutputError as error:
            out_of_sight = isinstance(error, OutputOutOfSightError)
            return Letter(name, InspectFailed(step.output, str(error), out_of_sight), said)


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
