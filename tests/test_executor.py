"""The executor: every effect ends with an event, even after a bug."""

import threading
from dataclasses import dataclass
from typing import get_args

import pytest

from refresher.clock import SystemClock
from refresher.core.effects import DryRun, Effect, Inspect, Mint, Verify, Write
from refresher.core.events import (
    DryRunPassed,
    Found,
    InspectFailed,
    KeyRead,
    KeysPolled,
    KeyUnreadable,
    Minted,
    MintFailed,
    Verified,
    WriteFailed,
    Written,
)
from refresher.core.instant import Instant
from refresher.core.machine import STALLED
from refresher.core.mints import token_of
from refresher.core.model import (
    Declined,
    Granted,
    Holding,
    MintResult,
    Outcome,
    Reason,
    SecretStr,
    Token,
    Try,
    Verdict,
    Verification,
)
from refresher.core.notifications import IssuerAnswered, OutputFailed
from refresher.core.process_notifications import Crashed
from refresher.core.seal import Sealer
from refresher.errors import KeyUnreadableError, OutputError, OutputOutOfSightError
from refresher.executor import KINDS, Executor
from refresher.keys.poller import KeyPoller
from refresher.lanes import Work
from refresher.ports import ManagedToken, Message
from refresher.workers import Mailbox, Workers
from tests.core.builders import ISSUER_URL, KEY, NEW_KEY, NOW, held, policy, token
from tests.core.builders import output as output_policy

DEADLINE = 10.0  # seconds; far more than anything here takes
ROLL = 0.25
SENT = Instant(NOW.wall - 1.0, NOW.boot - 1.0)
GRANTED = Granted(SecretStr("access"), SecretStr("refresh"))
SECRET = "the-text-of-a-secret"


@dataclass
class AnIssuer:
    """Returns `answer`, or raises it as a bug would: an issuer promises not to raise."""

    answer: Granted | Declined | Exception = GRANTED
    asked: tuple[SecretStr, float, float] | None = None
    lane: str = "issuer:https://api.inlive.app"
    interval: float = 0.0

    def mint(self, key: SecretStr, lifetime: float, budget: float) -> MintResult:
        self.asked = key, lifetime, budget
        if isinstance(self.answer, Exception):
            raise self.answer
        return MintResult(self.answer, SENT, (Try(Outcome.OK, 0.5),), skew=2.0)


@dataclass
class AVerifier:
    """Returns `answer`, or raises it as a bug would."""

    answer: Verification | Exception
    asked: tuple[SecretStr, float] | None = None
    lane: str = "verify:https://api.inlive.app/v1/rooms"

    def verify(self, token: SecretStr, budget: float) -> Verification:
        self.asked = token, budget
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


NOTHING = Holding()


@dataclass
class AnOutput:
    """Holds `holding`, or fails with `failing`. `claim_error`: raised by `claim`."""

    name: str = "file"
    lane: str = "file:"
    includes_refresh_token: bool = False
    secret: None = None
    holding: Holding = NOTHING
    failing: Exception | None = None
    claim_error: Exception | None = None
    claimed: int = 0

    def inspect(self, now: Instant) -> Holding:
        if self.failing is not None:
            raise self.failing
        return self.holding

    def write(self, token: Token, now: Instant, sealer: Sealer) -> None:
        if self.failing is not None:
            raise self.failing
        self.holding = held(token)

    def claim(self) -> None:
        self.claimed += 1
        if self.claim_error is not None:
            raise self.claim_error

    def has_changed(self) -> bool:
        return False

    def request_seen(self) -> None:
        """None was placed."""

    def dry_run(self) -> None:
        if self.failing is not None:
            raise self.failing


@dataclass
class AKey:
    """Holds the key `content`, or raises it."""

    content: SecretStr | Exception = KEY
    name: str = "file:/etc/key"
    lane: str = "key:/etc"

    def read(self) -> SecretStr:
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


@pytest.fixture
def mailbox():
    return Mailbox[Message]()


@pytest.fixture
def site(mailbox):
    """A real executor: threads, a queue, a clock."""
    return Site(mailbox)


class Site:
    def __init__(self, mailbox: Mailbox[Message]) -> None:
        self.mailbox = mailbox
        self.issuer, self.verifier = AnIssuer(), AVerifier(Verification(Verdict.GOOD))
        self.output, self.key = AnOutput(), AKey()
        outputs = (AnOutput("other"), self.output)
        self.managed = ManagedToken(
            policy(output_policy("file")), self.key, outputs, self.issuer, self.verifier
        )
        self.executor = Executor(SystemClock(), mailbox, Workers(POOLS), lambda: ROLL)

    def message(self) -> Message:
        message = self.mailbox.take(DEADLINE)
        assert message is not None, "no message arrived"
        return message

    def start(self, effect: Effect) -> Work:
        work = Work("studio", effect, self.managed.lane(effect.slot), 0.0)
        self.executor.start(self.managed, work)
        return work

    def does(self, effect: Effect) -> Message:
        """Perform an effect and return its message."""
        work = self.start(effect)
        message = self.message()
        assert message.token == "studio"
        assert message.work is work
        return message._replace(work=None)


MINT = Mint(KEY, Reason.FIRST)
WRITE = Write("file", token(), "new", Sealer(KEY))
INSPECT, FIRST_INSPECT = Inspect("file"), Inspect("file", first=True)
DRY_RUN = DryRun("file")
VERIFY = Verify(token(), 7.0)
POOLS = {"issuer": 2, "verify": 2, "file": 2, "secret": 2, "keys": 2}


# --- Minting


def test_a_mint_passes_key_lifetime_and_budget_to_the_issuer(site):
    site.does(MINT)
    assert site.issuer.asked == (KEY, 3600.0, 10.0)


def elected(site, *, exclusive: bool, time_left: float) -> None:
    led = site.managed.policy._replace(elected=True, exclusive=exclusive)
    site.managed = site.managed._replace(policy=led, time_left=lambda: time_left)


@pytest.mark.parametrize(("exclusive", "budget"), [(True, 4.0), (False, 10.0)])
def test_a_mint_that_ends_the_old_token_ends_before_another_process_may_lead(site, exclusive, budget):
    elected(site, exclusive=exclusive, time_left=4.0)
    site.does(MINT)
    assert site.issuer.asked == (KEY, 3600.0, budget)


def test_a_mint_that_ends_the_old_token_is_not_sent_after_leadership_has_ended(site):
    elected(site, exclusive=True, time_left=0.0)
    message = site.does(MINT)
    assert site.issuer.asked is None
    assert message.event.declined.message == "not requested: this process no longer leads"


@pytest.mark.parametrize(
    ("exclusive", "time_left", "may"),
    [(True, 1.6, True), (True, 1.4, False), (False, 1.4, True), (False, 0.0, False)],
)
def test_a_mint_that_ends_the_old_token_needs_time_to_be_answered(site, exclusive, time_left, may):
    elected(site, exclusive=exclusive, time_left=time_left)
    assert site.managed.may_mint() is may


def test_a_granted_token_is_returned_with_all_its_facts(site):
    message = site.does(MINT)
    assert isinstance(message.event, Minted)
    minted = message.event.token
    assert (message.event.key, message.event.roll) == (KEY, ROLL)
    assert (minted.access.reveal(), minted.refresh_token.reveal()) == ("access", "refresh")
    facts = minted.facts
    assert facts.issued == SENT  # not when the answer arrived
    assert (facts.lifetime, facts.requested, facts.has_refresh_token) == (3600.0, 3600.0, True)
    assert (facts.key_fingerprint, facts.fingerprint) == (KEY.fingerprint, SecretStr("access").fingerprint)
    assert facts.issuer == site.managed.policy.issuer == ISSUER_URL
    assert message.notifications == (IssuerAnswered((Try(Outcome.OK, 0.5),), 2.0),)


def test_a_verification_passes_value_and_budget_to_the_verifier(site):
    site.verifier.answer = Verification(Verdict.REJECTED, "401")
    assert site.does(VERIFY) == Message("studio", Verified(token().facts.fingerprint, site.verifier.answer))
    assert site.verifier.asked == (token().access, 7.0)


def test_a_shorter_granted_lifetime_is_expected():
    granted = Granted(SecretStr("t0ken"), None, 600.0)
    facts = token_of(MintResult(granted, SENT, ()), granted, KEY, "https://issuer.test", 3600.0).facts
    assert (facts.lifetime, facts.requested, facts.has_refresh_token) == (600.0, 3600.0, False)


def test_a_declined_mint_is_returned_with_its_reason(site):
    site.issuer.answer = Declined(Outcome.THROTTLED, "429", retry_after=7.0)
    message = site.does(MINT)
    assert message.event == MintFailed(KEY, site.issuer.answer, ROLL)
    assert isinstance(message.notifications[0], IssuerAnswered)


# --- Writing and inspecting


def test_a_write_returns_the_written_token(site):
    message = site.does(WRITE)
    assert message == Message("studio", Written("file", WRITE.token))
    assert site.output.holding.token == WRITE.token
    assert site.managed.output("other").holding == Holding()  # only the named output was written


def test_a_failed_write_returns_the_error_of_the_output(site):
    site.output.failing = OutputError("file: no space left; free some")
    assert site.does(WRITE) == Message("studio", WriteFailed("file", "file: no space left; free some", ROLL))


def test_an_inspection_returns_the_holding(site):
    site.output.holding = held(token())
    assert site.does(INSPECT) == Message("studio", Found("file", held(token())))
    assert site.output.claimed == 0


def test_a_failed_inspection_returns_the_error_of_the_output(site):
    site.output.failing = OutputError("file: permission denied; let us read it")
    assert site.does(INSPECT) == Message(
        "studio", InspectFailed("file", "file: permission denied; let us read it")
    )


def test_an_output_out_of_sight_is_marked_as_such(site):
    site.output.failing = OutputOutOfSightError("secret:studio/token cannot be read: connection refused")
    failed = InspectFailed(
        "file", "secret:studio/token cannot be read: connection refused", out_of_sight=True
    )
    assert site.does(INSPECT) == Message("studio", failed)


def test_a_failed_write_returns_retry_after_of_the_backend(site):
    site.output.failing = OutputError("asked to wait (429)", retry_after=7.0)
    assert site.does(WRITE) == Message("studio", WriteFailed("file", "asked to wait (429)", ROLL, 7.0))


def test_the_first_inspection_claims_the_output(site):
    site.output.holding = held(token())
    assert site.does(FIRST_INSPECT) == Message("studio", Found("file", held(token())))
    assert site.output.claimed == 1


def test_a_failed_claim_is_reported_and_does_not_prevent_the_inspection(site):
    site.output.holding, site.output.claim_error = held(token()), OutputError("file: cannot be cleared")
    failed_claim = OutputFailed("file", "file: cannot be cleared", None, writing=False)
    assert site.does(FIRST_INSPECT) == Message("studio", Found("file", held(token())), (failed_claim,))


def test_a_failed_claim_of_an_unreadable_output_is_reported(site):
    site.output.failing, site.output.claim_error = OutputError("unreadable"), OutputError("not cleared")
    failed_claim = OutputFailed("file", "not cleared", None, writing=False)
    assert site.does(FIRST_INSPECT) == Message("studio", InspectFailed("file", "unreadable"), (failed_claim,))


# --- Bugs


BUG = RuntimeError(f"unforeseen: {SECRET}")
MESSAGE = "internal error (a bug): RuntimeError; the log has the details"


@pytest.mark.parametrize(
    ("effect", "event", "what"),
    [
        (MINT, MintFailed(KEY, Declined(Outcome.BAD_RESPONSE, MESSAGE), ROLL), "Mint"),
        (WRITE, WriteFailed("file", f"failed: {MESSAGE}", ROLL), "Write"),
        (INSPECT, InspectFailed("file", f"failed: {MESSAGE}"), "Inspect"),
        (FIRST_INSPECT, InspectFailed("file", f"failed: {MESSAGE}"), "Inspect"),
        (DRY_RUN, WriteFailed("file", f"failed: {MESSAGE}", ROLL), "DryRun"),
        (VERIFY, Verified(token().facts.fingerprint, Verification(Verdict.INCONCLUSIVE, MESSAGE)), "Verify"),
    ],
    ids=["mint", "write", "inspection", "first inspection", "dry run", "verify"],
)
def test_a_bug_becomes_a_failure_and_is_reported(site, effect, event, what):
    """Otherwise the effect would be in flight for ever. Only the log shows the error's text, because it
    removes secrets."""
    site.issuer.answer = site.output.failing = site.verifier.answer = BUG
    message = site.does(effect)
    assert message == Message("studio", event, (Crashed(what, BUG),))
    assert SECRET not in str(message.event)


def test_a_thread_survives_a_bug(site):
    site.output.failing = BUG
    for _ in range(5):  # more jobs than threads
        site.does(INSPECT)
    site.output.failing = None
    assert site.does(INSPECT) == Message("studio", Found("file", Holding()))


# --- Several at once


def test_a_hanging_effect_does_not_delay_others(site):
    over = threading.Event()
    began = threading.Event()

    class Hanging(AnOutput):
        def inspect(self, now: Instant) -> Holding:
            began.set()
            over.wait(DEADLINE)
            return Holding()

    hanging = site.managed._replace(outputs=(Hanging("file"),))
    site.executor.start(hanging, Work("studio", INSPECT, "file:", 0.0))
    assert began.wait(DEADLINE)
    try:
        assert isinstance(site.does(MINT).event, Minted)
    finally:
        over.set()
    assert isinstance(site.message().event, Found)


# --- Keys


def keys(**sources: AKey) -> list[tuple[str, AKey]]:
    return list(sources.items())


def test_reading_the_keys_posts_a_message_for_each_token_then_keys_polled(site):
    site.executor.read_keys(KeyPoller(keys(a=AKey(KEY, "1"), b=AKey(NEW_KEY, "2"))))
    messages = [site.message() for _ in range(3)]
    assert messages == [
        Message("a", KeyRead(KEY)),
        Message("b", KeyRead(NEW_KEY)),
        Message(None, KeysPolled()),
    ]


def test_an_unchanged_key_is_not_reported_again():
    poller = KeyPoller(keys(a=AKey()))
    assert list(poller.poll(0.0)) == [Message("a", KeyRead(KEY))]
    assert list(poller.poll(0.0)) == []


def test_a_changed_key_is_reported():
    key = AKey()
    poller = KeyPoller(keys(a=key))
    list(poller.poll(0.0))
    key.content = NEW_KEY
    assert list(poller.poll(0.0)) == [Message("a", KeyRead(NEW_KEY))]


def test_an_unreadable_key_is_reported_once_and_again_when_it_is_readable():
    key = AKey()
    poller = KeyPoller(keys(a=key))
    list(poller.poll(0.0))
    key.content = KeyUnreadableError("the key file is gone")
    assert list(poller.poll(0.0)) == [Message("a", KeyUnreadable("the key file is gone"))]
    assert list(poller.poll(0.0)) == []
    key.content = KeyUnreadableError("the key file is a directory")
    assert list(poller.poll(0.0)) == [Message("a", KeyUnreadable("the key file is a directory"))]
    key.content = KEY
    assert list(poller.poll(0.0)) == [Message("a", KeyRead(KEY))]


def test_a_key_of_several_tokens_is_read_once():
    reads = []

    class Counted(AKey):
        def read(self) -> SecretStr:
            reads.append(self.name)
            return super().read()

    key = Counted()
    messages = list(KeyPoller(keys(a=key, b=key, c=AKey(name="another"))).poll(0.0))
    assert reads == [key.name]
    assert [message.token for message in messages] == ["a", "b", "c"]


def test_a_bug_in_reading_a_key_is_reported_once_and_does_not_affect_other_keys():
    mistaken, good = AKey(BUG, name="mistaken"), AKey(name="good")
    messages = list(KeyPoller(keys(a=mistaken, b=mistaken, c=good)).poll(0.0))
    unreadable = KeyUnreadable(f"mistaken: {MESSAGE}")
    assert messages == [
        Message("a", unreadable, (Crashed("reading a key", BUG),)),
        Message("b", unreadable),
        Message("c", KeyRead(KEY)),
    ]


# --- Keys that hang


class HangingKey(AKey):
    """Does not answer until `go` is set."""

    def __init__(self, name: str, lane: str) -> None:
        super().__init__(KEY, name, lane)
        self.asked, self.go = threading.Event(), threading.Event()

    def read(self) -> SecretStr:
        self.asked.set()
        self.go.wait(DEADLINE)
        return super().read()


@pytest.fixture
def hanging():
    """A key source that hangs while it is read."""
    key = HangingKey("file:/mnt/dead/key", "key:/mnt/dead")
    yield key
    key.go.set()


def test_a_hanging_directory_does_not_delay_keys_elsewhere(hanging):
    good = AKey(lane="key:/etc")
    poller = KeyPoller(keys(a=hanging, b=good))
    threading.Thread(target=lambda: list(poller.poll(0.0)), daemon=True).start()
    assert hanging.asked.wait(DEADLINE)
    assert list(poller.poll(2.0)) == [Message("b", KeyRead(KEY))]
    good.content = NEW_KEY
    assert list(poller.poll(4.0)) == [Message("b", KeyRead(NEW_KEY))]


def test_a_hanging_directory_is_reported_once_and_its_key_when_it_is_readable(hanging):
    poller = KeyPoller(keys(a=hanging))
    reader = threading.Thread(target=lambda: messages.extend(poller.poll(0.0)), daemon=True)
    messages: list[Message] = []
    reader.start()
    assert hanging.asked.wait(DEADLINE)
    assert list(poller.poll(STALLED - 1.0)) == []
    (message,) = poller.poll(STALLED)
    assert isinstance(message.event, KeyUnreadable)
    assert "does not answer" in message.event.message
    assert list(poller.poll(STALLED + 2.0)) == []
    hanging.go.set()
    reader.join(DEADLINE)
    assert messages == [Message("a", KeyRead(KEY))]


# --- Work


def test_an_effect_given_up_before_it_began_is_skipped(site):
    """A mint that waited for a thread for an hour would be useless."""
    work = Work("studio", MINT, "issuer", 0.0)
    work.given_up = True
    site.executor.start(site.managed, work)
    assert site.message() == Message("studio", None, work=work)
    assert site.issuer.asked is None


@pytest.mark.parametrize(
    ("failing", "event"),
    [
        (None, DryRunPassed("file")),
        (OutputError("file: read-only"), WriteFailed("file", "file: read-only", ROLL)),
        (OutputError("file: wait", 7.0), WriteFailed("file", "file: wait", ROLL, 7.0)),
    ],
)
def test_a_dry_run_returns_the_error_of_the_write(site, failing, event):
    site.output.failing = failing
    assert site.does(DRY_RUN) == Message("studio", event)


# --- Pools


class Pools:
    """Workers that only record the pool of each job."""

    def __init__(self) -> None:
        self.used: list[str] = []
        self.prepared: tuple[str, ...] = ()

    def submit(self, job: object, pool: str) -> None:
        self.used.append(pool)

    def prepare(self, pools: tuple[str, ...]) -> None:
        self.prepared = pools


def test_issuer_disk_api_server_and_keys_have_separate_pools(mailbox):
    """Two hundred Secrets of a hanging API server once delayed files and keys."""
    workers = Pools()
    executor = Executor(SystemClock(), mailbox, workers, lambda: ROLL)
    outputs = (AnOutput("file:/run/token", "file:/run"), AnOutput("secret:inlive/token", "secret"))
    managed = ManagedToken(policy(), AKey(), outputs, AnIssuer(), AVerifier(Verification(Verdict.GOOD)))
    executor.prepare([managed])
    assert workers.prepared == ("keys", "file", "secret", "issuer", "verify")
    steps = (
        MINT,
        Inspect("file:/run/token"),
        Write("secret:inlive/token", token(), "new", Sealer(KEY)),
        DryRun("file:/run/token"),
        VERIFY,
    )
    for step in steps:
        executor.start(managed, Work("studio", step, managed.lane(step.slot), 0.0))
    executor.read_keys(KeyPoller([("studio", managed.key)]))
    assert workers.used == ["issuer", "file", "secret", "file", "verify", "keys"]


def test_every_effect_has_a_kind():
    assert set(KINDS) == set(get_args(Effect))
