"""Executor: every effect comes back as the event that says how it went, our own mistakes included."""

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
from refresher.core.notifications import Crashed, IssuerAnswered, OutputFailed
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
    """Answers this; an exception is a mistake of ours, for an issuer raises nothing."""

    answer: Granted | Declined | Exception = GRANTED
    asked: tuple[SecretStr, float, float] | None = None
    lane: str = "issuer:https://api.inlive.app"

    def mint(self, key: SecretStr, lifetime: float, budget: float) -> MintResult:
        self.asked = key, lifetime, budget
        if isinstance(self.answer, Exception):
            raise self.answer
        return MintResult(self.answer, SENT, (Try(Outcome.OK, 0.5),), skew=2.0)


@dataclass
class AVerifier:
    """Says this."""

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
    """Holds this, or fails like this."""

    name: str = "file"
    lane: str = "file:"
    includes_refresh_token: bool = False
    secret: None = None
    holding: Holding = NOTHING
    failing: Exception | None = None
    stale: Exception | None = None
    cleared: int = 0

    def inspect(self, now: Instant) -> Holding:
        if self.failing is not None:
            raise self.failing
        return self.holding

    def write(self, token: Token, now: Instant, sealer: Sealer) -> None:
        if self.failing is not None:
            raise self.failing
        self.holding = held(token)

    def claim(self) -> None:
        self.cleared += 1
        if self.stale is not None:
            raise self.stale

    def dry_run(self) -> None:
        if self.failing is not None:
            raise self.failing


@dataclass
class AKey:
    """Holds this key, or fails like this."""

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
        assert message is not None, "nothing came back"
        return message

    def start(self, effect: Effect) -> Work:
        work = Work("studio", effect, self.managed.lane(effect.slot), 0.0)
        self.executor.start(self.managed, work)
        return work

    def does(self, effect: Effect) -> Message:
        """What comes back of an effect."""
        work = self.start(effect)
        message = self.message()
        assert message.token == "studio"
        assert message.work is work
        return message._replace(work=None)


MINT = Mint(KEY, Reason.FIRST)
WRITE = Write("file", token(), "new", Sealer(KEY))
LOOK, FIRST_LOOK = Inspect("file"), Inspect("file", first=True)
REHEARSAL = DryRun("file")
VERIFY = Verify(token(), 7.0)
POOLS = {"issuer": 2, "verify": 2, "file": 2, "secret": 2, "keys": 2}


# --- Minting


def test_a_mint_asks_with_the_key_for_the_lifetime_within_the_budget(site):
    site.does(MINT)
    assert site.issuer.asked == (KEY, 3600.0, 10.0)


def test_a_granted_token_comes_back_with_all_that_is_known_of_it(site):
    message = site.does(MINT)
    assert isinstance(message.event, Minted)
    minted = message.event.token
    assert (message.event.key, message.event.roll) == (KEY, ROLL)
    assert (minted.access.reveal(), minted.refresh_token.reveal()) == ("access", "refresh")
    facts = minted.facts
    assert facts.issued == SENT  # not when the answer came
    assert (facts.lifetime, facts.requested, facts.has_refresh_token) == (3600.0, 3600.0, True)
    assert (facts.key_fingerprint, facts.fingerprint) == (KEY.fingerprint, SecretStr("access").fingerprint)
    assert facts.issuer == site.managed.policy.issuer == ISSUER_URL
    assert message.notifications == (IssuerAnswered((Try(Outcome.OK, 0.5),), 2.0),)


def test_a_new_token_is_tried_out_with_its_value_within_the_budget(site):
    site.verifier.answer = Verification(Verdict.REJECTED, "401")
    assert site.does(VERIFY) == Message("studio", Verified(token().facts.fingerprint, site.verifier.answer))
    assert site.verifier.asked == (token().access, 7.0)


def test_a_token_that_says_itself_that_it_lives_shorter_is_believed():
    granted = Granted(SecretStr("t0ken"), None, 600.0)
    facts = token_of(MintResult(granted, SENT, ()), granted, KEY, "https://issuer.test", 3600.0).facts
    assert (facts.lifetime, facts.requested, facts.has_refresh_token) == (600.0, 3600.0, False)


def test_a_declined_mint_comes_back_with_the_reason(site):
    site.issuer.answer = Declined(Outcome.THROTTLED, "429", retry_after=7.0)
    message = site.does(MINT)
    assert message.event == MintFailed(KEY, site.issuer.answer, ROLL)
    assert isinstance(message.notifications[0], IssuerAnswered)  # it was asked, all the same


# --- Writing and looking


def test_a_write_comes_back_as_written_with_what_was_written(site):
    message = site.does(WRITE)
    assert message == Message("studio", Written("file", WRITE.token))
    assert site.output.holding.token == WRITE.token
    assert site.managed.output("other").holding == Holding()  # the one that was named, and no other


def test_a_write_that_fails_comes_back_with_what_the_output_says(site):
    site.output.failing = OutputError("file: no space left; free some")
    assert site.does(WRITE) == Message("studio", WriteFailed("file", "file: no space left; free some", ROLL))


def test_a_look_comes_back_with_what_was_found(site):
    site.output.holding = held(token())
    assert site.does(LOOK) == Message("studio", Found("file", held(token())))
    assert site.output.cleared == 0


def test_a_look_that_fails_comes_back_with_what_the_output_says(site):
    site.output.failing = OutputError("file: permission denied; let us read it")
    assert site.does(LOOK) == Message(
        "studio", InspectFailed("file", "file: permission denied; let us read it")
    )


def test_what_is_only_out_of_sight_is_said_to_be_so(site):
    site.output.failing = OutputOutOfSightError("secret:studio/token cannot be read: connection refused")
    failed = InspectFailed(
        "file", "secret:studio/token cannot be read: connection refused", out_of_sight=True
    )
    assert site.does(LOOK) == Message("studio", failed)


def test_whoever_keeps_the_output_may_ask_to_be_left_alone(site):
    site.output.failing = OutputError("asked to wait (429)", retry_after=7.0)
    assert site.does(WRITE) == Message("studio", WriteFailed("file", "asked to wait (429)", ROLL, 7.0))


def test_the_first_look_clears_what_a_killed_predecessor_left(site):
    site.output.holding = held(token())
    assert site.does(FIRST_LOOK) == Message("studio", Found("file", held(token())))
    assert site.output.cleared == 1


def test_debris_that_stays_is_told_and_keeps_nobody_from_looking(site):
    site.output.holding, site.output.stale = held(token()), OutputError("file: cannot be cleared")
    told = OutputFailed("file", "file: cannot be cleared", None, writing=False)
    assert site.does(FIRST_LOOK) == Message("studio", Found("file", held(token())), (told,))


def test_debris_is_told_of_an_output_that_cannot_be_read_as_well(site):
    site.output.failing, site.output.stale = OutputError("unreadable"), OutputError("not cleared")
    told = OutputFailed("file", "not cleared", None, writing=False)
    assert site.does(FIRST_LOOK) == Message("studio", InspectFailed("file", "unreadable"), (told,))


# --- Our own mistakes


MISTAKE = RuntimeError(f"nobody has foreseen {SECRET}")
TOLD = "internal error (a bug): RuntimeError; the log has the details"


@pytest.mark.parametrize(
    ("effect", "event", "what"),
    [
        (MINT, MintFailed(KEY, Declined(Outcome.BAD_RESPONSE, TOLD), ROLL), "Mint"),
        (WRITE, WriteFailed("file", TOLD, ROLL), "Write"),
        (LOOK, InspectFailed("file", TOLD), "Inspect"),
        (FIRST_LOOK, InspectFailed("file", TOLD), "Inspect"),
        (REHEARSAL, WriteFailed("file", TOLD, ROLL), "DryRun"),
        (VERIFY, Verified(token().facts.fingerprint, Verification(Verdict.INCONCLUSIVE, TOLD)), "Verify"),
    ],
    ids=["mint", "write", "look", "first look", "dry run", "verify"],
)
def test_a_mistake_of_ours_comes_back_as_a_failure_and_is_said(site, effect, event, what):
    """Or the step would be in flight for ever. Its text is for the log, which blots secrets out, and not for
    the status, which does not."""
    site.issuer.answer = site.output.failing = site.verifier.answer = MISTAKE
    message = site.does(effect)
    assert message == Message("studio", event, (Crashed(what, MISTAKE),))
    assert SECRET not in str(message.event)


def test_a_thread_survives_a_mistake_of_ours(site):
    site.output.failing = MISTAKE
    for _ in range(5):  # more than there are threads
        site.does(LOOK)
    site.output.failing = None
    assert site.does(LOOK) == Message("studio", Found("file", Holding()))


# --- Several at once


def test_an_errand_that_hangs_keeps_no_other_from_coming_back(site):
    over = threading.Event()
    began = threading.Event()

    class Hanging(AnOutput):
        def inspect(self, now: Instant) -> Holding:
            began.set()
            over.wait(DEADLINE)
            return Holding()

    hanging = site.managed._replace(outputs=(Hanging("file"),))
    site.executor.start(hanging, Work("studio", LOOK, "file:", 0.0))
    assert began.wait(DEADLINE)
    try:
        assert isinstance(site.does(MINT).event, Minted)
    finally:
        over.set()
    assert isinstance(site.message().event, Found)


# --- Keys


def keys(**sources: AKey) -> list[tuple[str, AKey]]:
    return list(sources.items())


def test_keys_come_back_one_letter_a_token_and_then_that_all_were_read(site):
    site.executor.read_keys(KeyPoller(keys(a=AKey(KEY, "1"), b=AKey(NEW_KEY, "2"))))
    messages = [site.message() for _ in range(3)]
    assert messages == [
        Message("a", KeyRead(KEY)),
        Message("b", KeyRead(NEW_KEY)),
        Message(None, KeysPolled()),
    ]


def test_what_has_not_changed_is_not_told_again():
    watch = KeyPoller(keys(a=AKey()))
    assert list(watch.poll(0.0)) == [Message("a", KeyRead(KEY))]
    assert list(watch.poll(0.0)) == []


def test_a_changed_key_is_told():
    key = AKey()
    watch = KeyPoller(keys(a=key))
    list(watch.poll(0.0))
    key.content = NEW_KEY
    assert list(watch.poll(0.0)) == [Message("a", KeyRead(NEW_KEY))]


def test_a_key_that_cannot_be_read_is_told_once_and_when_it_can_be_again():
    key = AKey()
    watch = KeyPoller(keys(a=key))
    list(watch.poll(0.0))
    key.content = KeyUnreadableError("the key file is gone")
    assert list(watch.poll(0.0)) == [Message("a", KeyUnreadable("the key file is gone"))]
    assert list(watch.poll(0.0)) == []
    key.content = KeyUnreadableError("the key file is a directory")
    assert list(watch.poll(0.0)) == [Message("a", KeyUnreadable("the key file is a directory"))]
    key.content = KEY
    assert list(watch.poll(0.0)) == [Message("a", KeyRead(KEY))]


def test_a_key_of_several_tokens_is_read_once_for_all_of_them():
    reads = []

    class Counted(AKey):
        def read(self) -> SecretStr:
            reads.append(self.name)
            return super().read()

    key = Counted()
    messages = list(KeyPoller(keys(a=key, b=key, c=AKey(name="another"))).poll(0.0))
    assert reads == [key.name]
    assert [message.token for message in messages] == ["a", "b", "c"]


def test_a_mistake_of_ours_in_reading_a_key_is_said_once_and_keeps_no_other_from_being_read():
    mistaken, good = AKey(MISTAKE, name="mistaken"), AKey(name="good")
    messages = list(KeyPoller(keys(a=mistaken, b=mistaken, c=good)).poll(0.0))
    unreadable = KeyUnreadable(f"mistaken: {TOLD}")
    assert messages == [
        Message("a", unreadable, (Crashed("reading a key", MISTAKE),)),
        Message("b", unreadable),
        Message("c", KeyRead(KEY)),
    ]


# --- Keys that hang


class HangingKey(AKey):
    """Does not answer before it is let go."""

    def __init__(self, name: str, lane: str) -> None:
        super().__init__(KEY, name, lane)
        self.asked, self.go = threading.Event(), threading.Event()

    def read(self) -> SecretStr:
        self.asked.set()
        self.go.wait(DEADLINE)
        return super().read()


@pytest.fixture
def hanging():
    """A key source that hangs, and is being read."""
    key = HangingKey("file:/mnt/dead/key", "key:/mnt/dead")
    yield key
    key.go.set()


def test_a_directory_that_hangs_keeps_no_key_elsewhere_from_being_read(hanging):
    good = AKey(lane="key:/etc")
    watch = KeyPoller(keys(a=hanging, b=good))
    threading.Thread(target=lambda: list(watch.poll(0.0)), daemon=True).start()
    assert hanging.asked.wait(DEADLINE)
    assert list(watch.poll(2.0)) == [Message("b", KeyRead(KEY))]
    good.content = NEW_KEY
    assert list(watch.poll(4.0)) == [Message("b", KeyRead(NEW_KEY))]


def test_a_key_whose_directory_hangs_is_reported_once_and_when_it_can_be_read_again(hanging):
    watch = KeyPoller(keys(a=hanging))
    reader = threading.Thread(target=lambda: messages.extend(watch.poll(0.0)), daemon=True)
    messages: list[Message] = []
    reader.start()
    assert hanging.asked.wait(DEADLINE)
    assert list(watch.poll(STALLED - 1.0)) == []
    (message,) = watch.poll(STALLED)
    assert isinstance(message.event, KeyUnreadable)
    assert "does not answer" in message.event.message
    assert list(watch.poll(STALLED + 2.0)) == []
    hanging.go.set()
    reader.join(DEADLINE)
    assert messages == [Message("a", KeyRead(KEY))]


# --- Work


def test_a_step_that_was_given_up_before_it_began_is_not_done_any_more(site):
    """A mint that waited for a thread for an hour would be one too many."""
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
def test_a_dry_run_comes_back_with_what_a_write_would(site, failing, event):
    site.output.failing = failing
    assert site.does(REHEARSAL) == Message("studio", event)


# --- Pools


class Pools:
    """Workers that only notes which pool a job is for."""

    def __init__(self) -> None:
        self.went: list[str] = []
        self.prepared: tuple[str, ...] = ()

    def submit(self, job: object, pool: str) -> None:
        self.went.append(pool)

    def prepare(self, pools: tuple[str, ...]) -> None:
        self.prepared = pools


def test_what_goes_to_an_issuer_a_disk_an_api_server_and_the_keys_does_not_queue_together(mailbox):
    """Two hundred Secrets whose API server hangs kept a file from being looked at, and the keys."""
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
    assert workers.went == ["issuer", "file", "secret", "file", "verify", "keys"]


def test_every_effect_has_a_kind():
    assert set(KINDS) == set(get_args(Effect))
