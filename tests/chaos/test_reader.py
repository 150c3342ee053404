"""Proves that the reader detects every bad value; otherwise the chaos test proves nothing."""

import json
import threading

import pytest

from refresher.clock import SystemClock
from refresher.core import formats
from refresher.core.formats import Format
from refresher.core.instant import Instant
from refresher.core.model import SecretStr, Token, TokenFacts
from refresher.emulator.server import Emulator
from tests.chaos.reader import FORMATS, Reader, Verdict, judged
from tests.commands.daemon import eventually
from tests.issuer.ask import KEY, mint

LIFETIME = 20.0


class TurnedClock:
    """The real clock, turned ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> Instant:
        return SystemClock().now() + self.ahead


@pytest.fixture
def clock():
    return TurnedClock()


@pytest.fixture
def issuer(clock):
    with Emulator(keys=[KEY], clock=clock) as inlive:
        yield inlive


@pytest.fixture
def granted(issuer) -> str:
    return mint(issuer.url).answer.access.reveal()


def written(format_: str, access: str) -> bytes:
    """The content that the program writes for this token."""
    now, secret = SystemClock().now(), SecretStr(access)
    url, key = "https://issuer.test", "0" * 16
    facts = TokenFacts(now, LIFETIME, LIFETIME, key, secret.fingerprint, has_refresh_token=False, issuer=url)
    return formats.render(Format(format_), Token(facts, secret), now, url)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_complete_value_with_a_valid_token_is_good(format_, granted, issuer):
    assert judged(format_, written(format_, granted), issuer) is Verdict.GOOD


@pytest.mark.parametrize("format_", FORMATS)
def test_no_content_is_empty(format_, issuer):
    assert judged(format_, b"", issuer) is Verdict.EMPTY


@pytest.mark.parametrize("format_", FORMATS)
def test_a_cut_value_is_torn(format_, granted, issuer):
    whole = written(format_, granted)
    assert {judged(format_, whole[:length], issuer) for length in range(1, len(whole))} == {Verdict.TORN}
    assert {judged(format_, whole[start:], issuer) for start in range(1, len(whole))} == {Verdict.TORN}


@pytest.mark.parametrize("format_", FORMATS)
def test_a_short_value_over_a_longer_one_and_two_in_a_row_are_torn(format_, granted, issuer):
    whole = written(format_, granted)
    assert judged(format_, whole + b"x", issuer) is Verdict.TORN
    assert judged(format_, whole + whole, issuer) is Verdict.TORN
    assert judged(format_, bytes(len(whole)), issuer) is Verdict.TORN, "what some file systems leave of it"


@pytest.mark.parametrize("format_", FORMATS)
def test_an_unknown_token_is_torn(format_, granted, issuer):
    assert judged(format_, written(format_, granted[::-1]), issuer) is Verdict.TORN


@pytest.mark.parametrize("format_", FORMATS)
def test_a_token_is_expired_after_its_expiry(format_, granted, issuer, clock):
    value = written(format_, granted)
    clock.ahead = 3599.0
    assert judged(format_, value, issuer) is Verdict.GOOD
    clock.ahead = 3601.0
    assert judged(format_, value, issuer) is Verdict.EXPIRED


def test_a_json_value_without_one_of_its_fields_is_torn(granted, issuer):
    document = json.loads(written("json", granted))
    del document["expires_at"]
    assert judged("json", json.dumps(document).encode() + b"\n", issuer) is Verdict.TORN


def test_it_reads_every_file_repeatedly_and_reports_each_bad_value(tmp_path, granted, issuer):
    files = {format_: tmp_path / format_ for format_ in FORMATS}
    for format_, path in files.items():
        path.write_bytes(written(format_, granted))
    complaints: list[tuple[str, Verdict]] = []
    reader = Reader(files, issuer, lambda format_, verdict: complaints.append((format_, verdict)))
    thread = threading.Thread(target=reader.read)
    thread.start()
    try:
        eventually(lambda: reader.reads[Verdict.GOOD] > 10, "it reads")
        assert complaints == []
        files["env"].write_bytes(b"")
        eventually(lambda: ("env", Verdict.EMPTY) in complaints, "it sees the empty file")
        files["json"].unlink()
        eventually(lambda: ("json", Verdict.EMPTY) in complaints, "it sees that there is no file")
        files["token"].write_bytes(b"half")
        eventually(lambda: ("token", Verdict.TORN) in complaints, "it sees half a token")
        assert reader.reads[Verdict.TORN] > 0
    finally:
        reader.over.set()
        thread.join()
