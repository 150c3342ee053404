"""What is kept beside a file output: whose token it holds and until when. No secret is in it.

The record is written ahead of the value. It describes both the value to come and the one in place, each named
by the digest of the whole content: whenever a writer is killed, what is found is described, and nothing needs
to be minted again.

    {"version": 1,
     "contents": [{"sha256": "9f86…", "format": "json", "issued_at": "2026-11-05T10:00:00.250000Z", …}, …]}

For the format `token` the digest is the SHA-256 of the token itself. That tells nothing: a token is far too
random to be guessed from it, and its first 16 digits are the fingerprint which is told to everybody anyway.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import NamedTuple

from refresher.core import rfc3339
from refresher.core.instant import Instant, from_wall
from refresher.core.model import TokenFacts

LARGEST = 64 * 1024  # bytes; ours has about one thousand, and what is larger is not ours
_VERSION = 1
_PRECISION = 0.001  # seconds: times are recorded to the microsecond
_LONGEST = 1e10  # seconds, some 300 years; JSON has numbers that no float holds


class Entry(NamedTuple):
    """Of one content: the `identity` of the format it is in, and the token."""

    format: str
    facts: TokenFacts


def digest(content: bytes) -> str:
    """Names a content: the same as ``sha256sum`` prints for the file."""
    return hashlib.sha256(content).hexdigest()


def dump(entries: Mapping[str, Entry]) -> bytes:
    """The record of `entries`, which are named by the digest of their content; the newest comes first."""
    contents = [fields(sha256, entry) for sha256, entry in entries.items()]
    return (json.dumps({"version": _VERSION, "contents": contents}, indent=2) + "\n").encode()


def load(record: bytes, now: Instant) -> dict[str, Entry]:
    """The entries of a record, by digest; those which this version did not write or which contradict
    themselves are left out. Never raises: a record that says nothing only costs a mint."""
    if len(record) > LARGEST:
        return {}
    try:
        document = json.loads(record.decode())
    except (ValueError, RecursionError):
        return {}
    match document:
        case {"version": version, "contents": list(contents)} if version == _VERSION:
            found = (described(each, now) for each in contents)
            return dict(pair for pair in found if pair is not None)
    return {}


def fields(sha256: str, entry: Entry) -> dict[str, object]:
    """What is recorded of a content, by name."""
    facts = entry.facts
    return {
        "sha256": sha256,
        "format": entry.format,
        "issued_at": rfc3339.to_microsecond(facts.issued.wall),
        "expires_at": rfc3339.to_microsecond(facts.expiry.wall),
        "lifetime": facts.lifetime,
        "requested_lifetime": facts.requested,
        "key_fingerprint": facts.key_fingerprint,
        "token_fingerprint": facts.fingerprint,
        "with_refresh_token": facts.with_refresh,
    }


def described(recorded: object, now: Instant) -> tuple[str, Entry] | None:
    """The digest and the entry of which these are the `fields`; None if they are none, or contradict
    themselves."""
    match recorded:
        case {
            "sha256": str(sha256),
            "format": str(form),
            "issued_at": str(issued_at),
            "expires_at": str(expires_at),
            "lifetime": int() | float() as lifetime,
            "requested_lifetime": int() | float() as requested,
            "key_fingerprint": str(key_fingerprint),
            "token_fingerprint": str(token_fingerprint),
            "with_refresh_token": bool(with_refresh),
        }:
            issued, expiry = _wall(issued_at), _wall(expires_at)
            is_sound = (
                _is_hex(sha256, 64)
                and _is_hex(key_fingerprint, 16)
                and _is_hex(token_fingerprint, 16)
                and _is_duration(lifetime)
                and _is_duration(requested)
                and lifetime <= requested
                and abs(issued + lifetime - expiry) <= _PRECISION
            )
            if is_sound:
                began = from_wall(issued, now)
                terms = float(lifetime), float(requested)
                facts = TokenFacts(began, *terms, key_fingerprint, token_fingerprint, with_refresh)
                return sha256, Entry(form, facts)
    return None


def _wall(text: str) -> float:
    """The wall time, or NaN where `text` tells none: that agrees with nothing."""
    try:
        return rfc3339.parse(text)
    except ValueError:
        return math.nan


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and all(digit in "0123456789abcdef" for digit in text)


def _is_duration(value: float) -> bool:
    return not isinstance(value, bool) and 0 < value < _LONGEST
