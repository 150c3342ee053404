"""The issuer, with its state, its moods, and the truth about every token; and the key file."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import NamedTuple

from refresher.core.http_response import Response
from refresher.core.instant import Instant
from refresher.core.issuer_response import classify
from refresher.core.model import (
    Declined,
    MintResult,
    Outcome,
    SecretStr,
    Try,
    Verdict,
    Verification,
    fingerprint,
)
from refresher.errors import KeyUnreadableError
from tests.simulation.machine import EPOCH
from tests.simulation.process import Process
from tests.simulation.virtual import World

MARK = "s3cr3t"  # in every key and token: what shows it gives a secret away

_JSON = {"content-type": "application/json"}


class Mood(NamedTuple):
    """How the issuer fails. `status` 0: no connection, 1: no answer in time, 2: its answer gets lost."""

    name: str
    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b"{}"


MOODS = (
    Mood("connection refused", 0),
    Mood("no answer", 1),
    Mood("answers get lost", 2),
    Mood("500", 500),
    Mood("502 with HTML", 502, {"content-type": "text/html"}, b"<html>"),
    Mood("200 that is no JSON", 200, _JSON, b"<html>"),
    Mood("200 with an empty token", 200, _JSON, b'{"data": {"access_token": ""}}'),
    Mood("200 with half an answer", 200, _JSON, b'{"data": {"access_tok'),
    Mood("a redirect", 302),
    Mood("401 for a good key", 401, _JSON),
    Mood("403 of a firewall", 403, {"content-type": "text/html"}, b"<html>"),
    Mood("429", 429),
    Mood("429, Retry-After: 5", 429, {"retry-after": "5"}),
    Mood("503, Retry-After: two hours", 503, {"retry-after": "7200"}),
    Mood("503, Retry-After: a date in an hour", 503, {"retry-after": "an hour from now"}),
    Mood("503, Retry-After: nonsense", 503, {"retry-after": "soon"}),
)


def key_text(owner: int, version: int) -> str:
    """A key of the token with this number (`DesiredToken`)."""
    return f"{MARK}-key-{owner}-{version}"


def owner_of(key: str) -> int:
    """The number of the token whose key this is, or once was."""
    return int(key.split("-")[2])


TYPO = f"{MARK}-typo-{{}}-is-no-key"


@dataclass
class MintedToken:
    """What is true of a token, whatever anybody believes. `ends` in true time; `got`: somebody has it."""

    number: int
    text: str
    refresh: str
    ends: float
    key: str
    minted: float
    got: bool = False
    got_at: float = 0.0
    by: Process | None = None  # which process has asked for it
    rejected: bool = False  # by the verifier

    @property
    def owner(self) -> int:
        return owner_of(self.key)


@dataclass
class Issuer:
    """Mints for the keys it knows. `longest`: what it caps lifetimes at, telling so in a JWT's claims."""

    world: World
    keys: set[str]
    slow: float
    longest: float | None
    exclusive: bool = False  # a new token ends the old one
    mood: Mood | None = None
    repeats: bool = False  # its last token, instead of a new one
    verdict: Verdict = Verdict.GOOD  # on new tokens
    trials_hang: bool = False  # until their time has run out
    dawdles: bool = False  # takes nearly all the time that it is given
    resolver_hangs_until: float = 0.0  # true time: till then no name is resolved
    resolving_takes: float = 0.0  # seconds meanwhile, after which an attempt has no time left; 0: till then
    minted: list[MintedToken] = field(default_factory=list)
    of_fingerprint: dict[str, MintedToken] = field(default_factory=dict)
    requests: int = 0

    def decide(self, key: str, lifetime: float, by: Process) -> Response:
        """The answer to one request, and what it changes here."""
        mood = self.mood
        if mood is not None and mood.status != 2:
            headers = dict(mood.headers)
            if headers.get("retry-after", "").startswith("an hour"):
                now = EPOCH + self.world.now
                headers |= {
                    "date": formatdate(now, usegmt=True),
                    "retry-after": formatdate(now + 3600, usegmt=True),
                }
            return Response(mood.status, headers, mood.body)
        if key not in self.keys:
            return Response(401, _JSON, b'{"ok": false, "message": "unauthorized"}')
        last = self.last(owner_of(key)) if self.repeats else None
        token = last or self._mint(key, lifetime, by)
        issued = {"access_token": token.text, "refresh_token": token.refresh}
        headers = {**_JSON, "date": formatdate(EPOCH + self.world.now, usegmt=True)}
        return Response(200, headers, json.dumps({"ok": True, "data": issued}).encode())

    def last(self, owner: int) -> MintedToken | None:
        """The last token that was minted for this one; None without any."""
        return next((each for each in reversed(self.minted) if each.owner == owner), None)

    def _mint(self, key: str, asked: float, by: Process) -> MintedToken:
        number = len(self.minted)
        former = self.last(owner_of(key))
        if self.exclusive and former is not None:
            former.ends = min(former.ends, self.world.now)
        lives = min(asked, self.longest or asked)
        text = f"{MARK}-access-{number}-{self.world.dice.getrandbits(64):016x}"
        if self.longest is not None:
            issued = int(EPOCH + self.world.now)
            claims = json.dumps({"iat": issued, "exp": issued + lives}).encode()
            text = f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.{text}"
        token = MintedToken(
            number,
            text,
            f"{MARK}-refresh-{number}-x",
            self.world.now + lives,
            key,
            self.world.now,
            by=by,
        )
        self.minted.append(token)
        self.of_fingerprint[fingerprint(text)] = token
        return token


class IssuerLine:
    """`ports.Issuer`: one process's way to the issuer, where time passes and requests get lost.

    Quick retries inside an attempt are not played: they sleep in real time (issuer/retries.py).
    """

    lane = "issuer:"
    interval = 0.0

    def __init__(self, issuer: Issuer, process: Process) -> None:
        self._issuer, self._process = issuer, process

    def mint(self, key: SecretStr, lifetime: float, budget: float) -> MintResult:
        issuer, process = self._issuer, self._process
        sent = process.machine.now()
        process.here.promise.minting(process, owner_of(key.reveal()))
        now = issuer.world.now
        if now < issuer.resolver_hangs_until:
            takes = budget + issuer.resolving_takes if issuer.resolving_takes else float("inf")
            issuer.world.hang(min(issuer.resolver_hangs_until, now + takes))
            process.stay_suspended()
            return self._declined(Outcome.TIMEOUT, "the resolver does not answer", sent)
        owner = owner_of(key.reveal())
        process.effect("a mint is sent")
        process.here.exclusivity.mint_begins(process, owner)
        try:
            return self._asked(key, lifetime, budget, sent)
        finally:
            process.here.exclusivity.mint_ends(process, owner)

    def _asked(self, key: SecretStr, lifetime: float, budget: float, sent: Instant) -> MintResult:
        issuer, process, dice = self._issuer, self._process, self._issuer.world.dice
        mood = issuer.mood
        latency = budget * dice.uniform(0.8, 0.98) if issuer.dawdles else dice.uniform(0.02, issuer.slow)
        latency = min(latency, budget * 0.98)
        process.sleep(latency / 2)
        issuer.requests += 1
        is_silent = mood is not None and mood.status < 2
        answer = None if is_silent else issuer.decide(key.reveal(), lifetime, process)
        process.here.exclusivity.check(owner_of(key.reveal()))
        process.effect("the issuer has decided")
        if mood is not None and mood.status == 0:
            return self._declined(Outcome.UNREACHABLE, "connection refused", sent)
        if mood is not None and mood.status in (1, 2):
            process.sleep(budget - latency / 2)
            return self._declined(Outcome.TIMEOUT, "no answer", sent)
        process.sleep(latency / 2)
        meaning = classify(answer, key, lifetime, process.machine.now().wall)
        if not isinstance(meaning, Declined):
            token = issuer.of_fingerprint[meaning.access.fingerprint]
            process.here.promise.tell(f"{process.name} gets token {token.number}")
            token.got, token.got_at = True, issuer.world.now
            process.here.exclusivity.check(token.owner)
        outcome = meaning.outcome if isinstance(meaning, Declined) else Outcome.OK
        return MintResult(meaning, sent, (Try(outcome, latency),))

    def _declined(self, outcome: Outcome, message: str, sent: Instant) -> MintResult:
        return MintResult(Declined(outcome, message), sent, (Try(outcome, 0.1),))


class VerifierLine:
    """`ports.Verifier`: tries a new token out at a product API."""

    lane = "verify:"

    def __init__(self, issuer: Issuer, process: Process) -> None:
        self._issuer, self._process = issuer, process

    def verify(self, token: SecretStr, budget: float) -> Verification:
        issuer, process = self._issuer, self._process
        process.effect("a trial is sent")
        if issuer.trials_hang:
            process.sleep(budget)
            return Verification(Verdict.INCONCLUSIVE, "no answer")
        process.sleep(min(budget, issuer.world.dice.uniform(0.02, 0.2)))
        issuer.of_fingerprint[token.fingerprint].rejected = issuer.verdict is Verdict.REJECTED
        return Verification(issuer.verdict, "so it is" if issuer.verdict is not Verdict.GOOD else "")


@dataclass
class KeyFile:
    """`ports.KeySource` whose content the scenario changes."""

    world: World
    content: str | None
    name: str = "key"
    lane: str = "key:"
    watchers: list = field(default_factory=list)  # of all keys, where they share it
    hangs_until: float = 0.0  # true time: whoever reads it waits till then

    @property
    def hangs(self) -> bool:
        return self.world.now < self.hangs_until

    def change(self, content: str | None) -> None:
        self.content = content
        self.have_read()

    def have_read(self) -> None:
        """Polls that were left out, as they would have found nothing new, are made."""
        watchers = self.watchers[:]
        self.watchers.clear()
        for watcher in watchers:
            watcher()

    def read(self) -> SecretStr:
        if self.hangs:
            self.world.hang(self.hangs_until)
        if self.content is None:
            raise KeyUnreadableError("the key file is gone")
        return SecretStr(self.content)
