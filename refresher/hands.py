"""Performing errands: each does its I/O on a thread of the crew and comes back as a letter with an event.

Nothing here decides; what went wrong comes back as an event too, so that no errand is ever left hanging.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from refresher.core import backoff, expiry
from refresher.core.announcements import Announcement, Crashed, IssuerAnswered, OutputFailed, TokenVerified
from refresher.core.messages import (
    Errand,
    Event,
    Found,
    Inspect,
    InspectFailed,
    KeyRead,
    KeysPolled,
    KeyUnreadable,
    Mint,
    Minted,
    MintFailed,
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
from refresher.core.state import TokenPolicy
from refresher.crew import Crew
from refresher.errors import KeyUnreadableError, OutputError, OutputOutOfSightError
from refresher.ports import Clock, Issuer, KeySource, Letter, Mailbox, Output, Verifier

ISSUER, KEYS = "issuer", "keys"  # ways that errands go; outputs are by their kind: "file", "secret"


class Charge(NamedTuple):
    """One token in our charge: what is wanted, and the parts of the world it concerns."""

    policy: TokenPolicy
    key: KeySource
    outputs: tuple[Output, ...]

    def output(self, name: str) -> Output:
        return next(output for output in self.outputs if output.name == name)


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

    def start(self, charge: Charge, errand: Errand) -> None:
        """Have one errand done; its letter will be in the mailbox. An issuer, a file system, an API server
        that hangs holds up only what goes the same way."""
        way = ISSUER if isinstance(errand, Mint) else errand.output.partition(":")[0]
        self._crew.submit(lambda: self._mailbox.post(self.perform(charge, errand)), way)

    def read_keys(self, keys: "KeyWatch") -> None:
        """Have the keys read; a letter for each token concerned will be in the mailbox, then `KeysPolled`."""

        def read() -> None:
            for letter in keys.poll():
                self._mailbox.post(letter)
            self._mailbox.post(Letter(None, KeysPolled()))

        self._crew.submit(read, KEYS)

    def perform(self, charge: Charge, step: Errand) -> Letter:
        """Do one errand and say how it went; never raises."""
        name = charge.policy.name
        try:
            match step:
                case Mint():
                    return self._mint(charge, step)
                case Write():
                    return Letter(name, self._write(charge, step))
                case Inspect():
                    return self._inspect(charge, step)
        except Exception as error:  # noqa: BLE001 -- a mistake of ours must come back too, or the step hangs for ever
            return Letter(name, self._gave_up(step, error), (Crashed(type(step).__name__, error),))

    def _mint(self, charge: Charge, step: Mint) -> Letter:
        policy = charge.policy
        budget = attempt_budget(policy.timeout, policy.lifetime)
        by = self._clock.now().boot + budget
        result = self._issuer.mint(step.key, policy.lifetime, budget)
        said: tuple[Announcement, ...] = (IssuerAnswered(result.tries, result.skew),)
        if isinstance(result.answer, Declined):
            return Letter(policy.name, MintFailed(step.key, result.answer, self._roll()), said)
        token = token_of(result, result.answer, step.key, policy.lifetime)
        try:
            verification = self._verify(token, by)
        except Exception as error:  # noqa: BLE001 -- as in `perform`; a token is not held back for that
            verification = Verification(Verdict.INCONCLUSIVE, _own_mistake(error))
            said += (Crashed("trying a token out", error),)
        if verification is None:
            return Letter(policy.name, Minted(step.key, token, self._roll()), said)
        said += (TokenVerified(token.facts.fingerprint, *verification),)
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
            charge.output(step.output).write(step.token, self._clock.now())
        except OutputError as error:
            return WriteFailed(step.output, str(error), self._roll(), error.retry_after)
        return Written(step.output, step.token)

    def _inspect(self, charge: Charge, step: Inspect) -> Letter:
        name, output = charge.policy.name, charge.output(step.output)
        said: tuple[Announcement, ...] = ()
        if step.first:
            try:
                output.clear_debris()
            except OutputError as error:  # a nuisance, not a reason to think that the output holds nothing
                said = (OutputFailed(step.output, str(error), None, writing=False),)
        try:
            return Letter(name, Found(step.output, output.inspect(self._clock.now())), said)
        except OutputError as error:
            out_of_sight = isinstance(error, OutputOutOfSightError)
            return Letter(name, InspectFailed(step.output, str(error), out_of_sight), said)

    def _gave_up(self, step: Errand, error: Exception) -> Event:
        message = _own_mistake(error)
        match step:
            case Mint(key=key):
                return MintFailed(key, Declined(Outcome.BAD_RESPONSE, message), self._roll())
            case Write(output=output):
                return WriteFailed(output, message, self._roll())
            case Inspect(output=output):
                return InspectFailed(output, message)


def token_of(result: MintResult, granted: Granted, key: SecretStr, lifetime: float) -> Token:
    """The token that the issuer granted: it lives from the moment before it was asked for, and as long as
    believed (core/expiry.py)."""
    believed = expiry.believed_lifetime(lifetime, granted.access.reveal())
    facts = TokenFacts(
        issued=result.sent,
        lifetime=believed,
        requested=lifetime,
        key_fingerprint=key.fingerprint,
        fingerprint=granted.access.fingerprint,
        with_refresh=granted.refresh is not None,
    )
    return Token(facts, granted.access, granted.refresh)


class KeyWatch:
    """Reads every key source and tells what is new since the last time. Used by one thread at a time."""

    def __init__(self, charges: Iterable[Charge]) -> None:
        self._tokens: dict[str, list[str]] = {}
        self._sources: dict[str, KeySource] = {}
        self._last: dict[str, str] = {}
        for charge in charges:
            self._sources[charge.key.name] = charge.key
            self._tokens.setdefault(charge.key.name, []).append(charge.policy.name)

    def poll(self) -> list[Letter]:
        """A letter for each token whose key source changed its content or its readability; never raises."""
        letters: list[Letter] = []
        for name, source in self._sources.items():
            event, said = _read(source)
            seen = event.key.fingerprint if isinstance(event, KeyRead) else event.message
            if self._last.get(name) != seen:
                self._last[name] = seen
                for token in self._tokens[name]:
                    letters.append(Letter(token, event, said))
                    said = ()  # once for all tokens of this key
        return letters


def _read(source: KeySource) -> tuple[KeyRead | KeyUnreadable, tuple[Announcement, ...]]:
    try:
        return KeyRead(source.read()), ()
    except KeyUnreadableError as error:
        return KeyUnreadable(str(error)), ()
    except Exception as error:  # noqa: BLE001 -- as in Hands.perform
        return KeyUnreadable(f"{source.name}: {_own_mistake(error)}"), (Crashed("reading a key", error),)


def _own_mistake(error: Exception) -> str:
    """For the status, which shows it as it is: no text of an error that nobody has foreseen, which may have a
    secret in it. `Crashed` takes that to the log, where secrets are blotted out."""
    return f"a mistake of the refresher itself ({type(error).__name__}); its log says more"
