"""Fuzz targets, as values: a check for any octets, initial examples, a dictionary."""

import json
import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from refresher.core import formats, rfc3339
from refresher.core.instant import Instant
from refresher.core.model import Holding, SecretStr, Token, TokenFacts
from refresher.outputs import record
from refresher.outputs.record import Entry, Record

NOW = Instant(wall=1_793_872_800.25, boot=5_000.0)  # 2026-11-05T10:00:00.25Z
KEY = SecretStr("Zq81~kEy_77-Xw02.pV55")
URL = "https://api.inlive.app"
TELLTALE = 8  # this many characters of a secret in a row count as a leak


def words(text: str) -> tuple[str, ...]:
    """The words in it, split at white space."""
    return tuple(text.split())


JSON_WORDS = words(
    '{ } [ ] : , " null true false NaN Infinity 1e999 \\u0000 \\ud800 -1 0 9999999999999999 [[[[[ {"":'
)
DATES = (
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "+9999",
)
HEADERS = (
    "Content-Type: application/json",
    *words("Retry-After: Date: Content-Encoding: 429 503 401"),
    "\n",
    *DATES,
)


class Target(NamedTuple):
    """`check` returns for octets that are handled correctly, and raises for a finding. `document`: the octets
    before a JSON document, b"" if it begins at once, None if there is no document."""

    check: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    words: tuple[str, ...] = ()
    document: bytes | None = None


def a_token(text: str = "acc3ss-token-1") -> Token:
    access = SecretStr(text)
    key = KEY.fingerprint
    facts = TokenFacts(NOW, 3600.0, 3600.0, key, access.fingerprint, has_refresh_token=True, issuer=URL)
    return Token(facts, access, SecretStr("r3fresh-token-1"))


def expect_printable(text: str, *secrets: str) -> None:
    """Check that it fits into a log line and contains no part of a secret."""
    assert text.isprintable(), ascii(text)
    for secret in secrets:
        parts = (secret[at : at + TELLTALE] for at in range(max(1, len(secret) - TELLTALE + 1)))
        assert not any(part in text for part in parts), f"part of {secret!r} is in {text!r}"


def expect_sound(held: Holding) -> None:
    """Check that the content of an output can be reported, recorded, and published again."""
    if held.facts is None:
        assert held._replace(owner="") == Holding()
        return
    facts = held.facts
    assert 0 < facts.lifetime < 1e10
    assert 0 < facts.requested < 1e10
    rfc3339.to_second(facts.expiry.wall)
    recorded = record.load(record.dump(Record({record.digest(b""): Entry("token", facts)})), NOW).entries
    assert len(recorded) == 1, "the entry is loaded again"
    if held.token is not None:
        assert held.token.access.fingerprint == facts.fingerprint
        for name in formats.NAMES:
            format_ = formats.Format(name, "$access_token $refresh_token $expires_in" * (name == "template"))
            formats.render(format_, held.token, NOW, URL)


def expires(issued: object, lifetime: object) -> str:
    """The correct value for "=" in a record, from its other times; "=" if these give none."""
    try:
        return (datetime.fromisoformat(str(issued)) + timedelta(seconds=float(str(lifetime)))).isoformat()
    except (ValueError, OverflowError):
        return "="


def placed(document: Any, *path: str) -> Any:
    """The value at `path` in a document of any shape; None if it is missing."""
    for step in path:
        document = document.get(step) if isinstance(document, dict) else None
    return document


def answer_in(octets: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body: a line for each of the former, an empty line, and the rest."""
    head, _, body = octets.partition(b"\n\n")
    first, *lines = head.decode("latin-1").split("\n")
    parts = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in parts}
    return int(first) if re.fullmatch("[1-9][0-9]{2}", first) else 200, headers, body


def loaded(octets: bytes) -> Any:
    """The JSON value in it; None if it is not JSON."""
    try:
        return json.loads(octets)
    except (ValueError, RecursionError):
        return None
