"""The record beside a file output: which token the file holds and until when. It contains no secret.

The record is written before the value. It describes both the new content and the present one, each by the
digest of the whole content. So the record describes the file even if the writer is killed in between, and no
new mint is needed.

    {"version": 1, "owner": "inlive-token-refresher", "writer": {"process": 4711, "host": "studio-7d4b9"},
     "contents": [{"sha256": "9f86…", "format": "json", "issued_at": "2026-11-05T10:00:00.250000Z", …,
                   "seal": "c010…"}, …]}

``owner`` is the installation that owns the file, ``writer`` the process that wrote it last. ``issuer`` is the
identity of the issuer of this token: its URL, and for a kind other than Inlive a digest of what a request
decides. ``seal`` proves that a holder of the key wrote this entry (`core.seal`). Early versions wrote no
seals. Such a record is ignored, because anyone could write it; that costs one mint.

For the format `token` the digest is the SHA-256 of the token itself. It reveals nothing: a token is too
random to guess, and the first 16 digits are the fingerprint, which is public anyway.
"""

import hashlib
import json
import math
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from refresher.core import rfc3339
from refresher.core.instant import Instant, from_wall
from refresher.core.model import Proof, TokenFacts
from refresher.core.seal import Sealer
from refresher.outputs import permissions
from refresher.outputs.permissions import Permissions

LARGEST_RECORD = 64 * 1024  # bytes: larger files are ignored; a record has about one thousand
LONGEST_OWNER = 320  # characters: at most 63 of a namespace and 253 of a name
_VERSION = 1
_PRECISION = 0.001  # seconds: times are recorded to the microsecond
_LONGEST = 1e10  # seconds, about 300 years: JSON allows numbers beyond any float

DEFAULT_OWNER = "inlive-token-refresher"  # of every installation without a configured name


class Kept(NamedTuple):
    """Permissions that a file system did not keep: the wanted ones, and those it shows."""

    wanted: Permissions
    shown: Permissions


class Entry(NamedTuple):
    """The description of one content. `format`: the format's `identity`. `kept` is None if the file system
    keeps permissions. `proof`: the recorded statement and its seal."""

    format: str
    facts: TokenFacts
    kept: Kept | None = None
    proof: Proof = Proof("", "")


class Writer(NamedTuple):
    """The process that wrote a file, in terms that other processes can use."""

    process: int
    host: str

    def __str__(self) -> str:
        return f"process {self.process} on {self.host!r}"


class Record(NamedTuple):
    """A whole record. `entries` are by the digest of their content. `owner` is "" and `writer` None if the
    record has none."""

    entries: Mapping[str, Entry] = MappingProxyType({})
    owner: str = ""
    writer: Writer | None = None


def digest(content: bytes) -> str:
    """The digest that identifies a content, as ``sha256sum`` prints it."""
    return hashlib.sha256(content).hexdigest()


def dump(record: Record) -> bytes:
    """The content of the record file."""
    document: dict[str, object] = {"version": _VERSION, "owner": record.owner}
    if record.writer is not None:
        document["writer"] = record.writer._asdict()
    document["contents"] = [fields(sha256, entry) for sha256, entry in record.entries.items()]
    return (json.dumps(document, indent=2) + "\n").encode()


def load(content: bytes, now: Instant) -> Record:
    """The record in a file, without inconsistent entries. Never raises: a record that is malformed or of
    another version is empty, which costs only a mint."""
    if len(content) > LARGEST_RECORD:
        return Record()
    try:
        document = json.loads(content.decode())
    except (ValueError, RecursionError):
        return Record()
    match document:
        case {"version": version, "contents": list(contents)} if version == _VERSION:
            found = (parse_entry(content, now) for content in contents)
            entries = dict(pair for pair in found if pair is not None)
            return Record(entries, _owner(document.get("owner")), _writer(document.get("writer")))
    return Record()


def _owner(recorded: object) -> str:
    return recorded[:LONGEST_OWNER] if isinstance(recorded, str) else ""


def _writer(recorded: object) -> Writer | None:
    match recorded:
        case {"process": int(process), "host": str(host)}:
            return Writer(process, host[:LONGEST_OWNER])
    return None


def sealed(sha256: str, entry: Entry, sealer: Sealer) -> Entry:
    """`entry` with a proof, sealed by `sealer`. `sha256` is the digest of its content."""
    statement = _statement(sha256, entry)
    return entry._replace(proof=Proof(statement, sealer.seal(statement)))


def fields(sha256: str, entry: Entry) -> dict[str, object]:
    """The recorded fields of an entry. `parse_entry` is the inverse."""
    return _unsealed_fields(sha256, entry) | {"seal": entry.proof.seal}


def _unsealed_fields(sha256: str, entry: Entry) -> dict[str, object]:
    facts = entry.facts
    return {
        "sha256": sha256,
        "format": entry.format,
        "issued_at": rfc3339.to_microsecond(facts.issued.wall),
        "expires_at": rfc3339.to_microsecond(facts.expiry.wall),
        "lifetime": float(facts.lifetime),
        "requested_lifetime": float(facts.requested),
        "key_fingerprint": facts.key_fingerprint,
        "token_fingerprint": facts.fingerprint,
        "has_refresh_token": facts.has_refresh_token,
        "issuer": facts.issuer,
    } | _permission_fields(entry.kept)


def _statement(sha256: str, entry: Entry) -> str:
    """The text that is sealed: all fields that matter. (`expires_at` follows from the others.)"""
    trusted = _unsealed_fields(sha256, entry)
    del trusted["expires_at"]
    return json.dumps(trusted, sort_keys=True)


def _permission_fields(kept: Kept | None) -> dict[str, object]:
    return {"permissions": {"wanted": str(kept.wanted), "shown": str(kept.shown)}} if kept else {}


def _kept(recorded: object) -> Kept | None:
    match recorded:
        case {"wanted": str(wanted), "shown": str(shown)}:
            both = permissions.parse(wanted), permissions.parse(shown)
            return Kept(both[0], both[1]) if both[0] and both[1] else None
    return None


def parse_entry(recorded: object, now: Instant) -> tuple[str, Entry] | None:
    """The digest and the entry with these `fields`; None if they are malformed or inconsistent."""
    match recorded:
        case {
            "sha256": str(sha256),
            "format": str(format_),
            "issued_at": str(issued_at),
            "expires_at": str(expires_at),
            "lifetime": int() | float() as lifetime,
            "requested_lifetime": int() | float() as requested,
            "key_fingerprint": str(key_fingerprint),
            "token_fingerprint": str(token_fingerprint),
            "has_refresh_token": bool(has_refresh_token),
            "issuer": str(issuer),
            **others,
        }:
            issued, expiry = _wall(issued_at), _wall(expires_at)
            is_sound = (
                _is_hex(sha256, 64)
                and _is_hex(key_fingerprint, 16)
                and _is_hex(token_fingerprint, 16)
                and issuer.startswith(("https://", "http://"))
                and _is_duration(lifetime)
                and _is_duration(requested)
                and lifetime <= requested
                and abs(issued + lifetime - expiry) <= _PRECISION
            )
            if is_sound:
                facts = TokenFacts(
                    issued=from_wall(issued, now),
                    lifetime=float(requested if lifetime == requested else lifetime),  # mostly one number
                    requested=float(requested),
                    key_fingerprint=sys.intern(key_fingerprint),  # of many tokens
                    fingerprint=token_fingerprint,
                    has_refresh_token=has_refresh_token,
                    issuer=sys.intern(issuer),  # as above
                )
                entry = Entry(format_, facts, _kept(others.get("permissions")))
                seal = others.get("seal")
                proof = Proof(_statement(sha256, entry), seal if isinstance(seal, str) else "")
                return sha256, entry._replace(proof=proof)
    return None


def _wall(text: str) -> float:
    """The wall time; NaN for a malformed time, because every comparison with NaN is false."""
    try:
        return rfc3339.parse(text)
    except ValueError:
        return math.nan


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and not text.strip("0123456789abcdef")


def _is_duration(value: float) -> bool:
    return not isinstance(value, bool) and 0 < value < _LONGEST
