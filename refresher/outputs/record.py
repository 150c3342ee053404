"""What is kept beside a file output: whose token it holds and until when. No secret is in it.

The record is written ahead of the value. It describes both the value to come and the one in place, each named
by the digest of the whole content: whenever a writer is killed, what is found is described, and nothing needs
to be minted again.

    {"version": 1, "owner": "inlive-token-refresher", "writer": {"process": 4711, "host": "studio-7d4b9"},
     "contents": [{"sha256": "9f86…", "format": "json", "issued_at": "2026-11-05T10:00:00.250000Z", …,
                   "seal": "c010…"}, …]}

``owner`` is the installation that the file belongs to, ``writer`` the process that wrote it last. ``issuer``
is the base URL of the issuer of this token: the same key at another issuer is another matter. ``seal`` proves
that a holder of the application key wrote this entry (`core.seal`). A record without seals, as early versions
wrote it, is not believed: anyone could write such a one. It costs one mint.

For the format `token` the digest is the SHA-256 of the token itself. That tells nothing: a token is far too
random to be guessed from it, and its first 16 digits are the fingerprint which is told to everybody anyway.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from refresher.core import rfc3339
from refresher.core.instant import Instant, from_wall
from refresher.core.model import Proof, TokenFacts
from refresher.core.seal import Sealer
from refresher.outputs import permissions
from refresher.outputs.permissions import Permissions

LARGEST_RECORD = 64 * 1024  # bytes; ours has about one thousand, and what is larger is not ours
LONGEST_OWNER = 320  # characters: a namespace has 63 and a name 253 at most
_VERSION = 1
_PRECISION = 0.001  # seconds: times are recorded to the microsecond
_LONGEST = 1e10  # seconds, some 300 years; JSON has numbers that no float holds

DEFAULT_OWNER = "inlive-token-refresher"  # of every installation that was given no name


class Kept(NamedTuple):
    """What a file system made of the permissions that a file was given, where it did not keep them."""

    wanted: Permissions
    shown: Permissions


class Entry(NamedTuple):
    """Of one content: the `identity` of the format it is in, and the token. `kept` is None where the file
    system keeps permissions. `proof`: what is recorded, and its seal."""

    format: str
    facts: TokenFacts
    kept: Kept | None = None
    proof: Proof = Proof("", "")


class Writer(NamedTuple):
    """A process, as others can find it."""

    process: int
    host: str

    def __str__(self) -> str:
        return f"process {self.process} on {self.host!r}"


class Record(NamedTuple):
    """All of it. Where it says nothing of itself, `owner` is empty and `writer` None."""

    entries: Mapping[str, Entry] = MappingProxyType({})
    owner: str = ""
    writer: Writer | None = None


def digest(content: bytes) -> str:
    """Names a content: the same as ``sha256sum`` prints for the file."""
    return hashlib.sha256(content).hexdigest()


def dump(record: Record) -> bytes:
    """The file of a record. Entries are by the digest of their content; the newest comes first."""
    document: dict[str, object] = {"version": _VERSION, "owner": record.owner}
    if record.writer is not None:
        document["writer"] = record.writer._asdict()
    document["contents"] = [fields(sha256, entry) for sha256, entry in record.entries.items()]
    return (json.dumps(document, indent=2) + "\n").encode()


def load(content: bytes, now: Instant) -> Record:
    """The record in a file, without entries that another version wrote or that contradict themselves. Never
    raises: a missing record only costs a mint."""
    if len(content) > LARGEST_RECORD:
        return Record()
    try:
        document = json.loads(content.decode())
    except (ValueError, RecursionError):
        return Record()
    match document:
        case {"version": version, "contents": list(contents)} if version == _VERSION:
            found = (described(each, now) for each in contents)
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
    """The entry of that content with a proof that `sealer` has written it."""
    statement = _statement(sha256, entry)
    return entry._replace(proof=Proof(statement, sealer.seal(statement)))


def fields(sha256: str, entry: Entry) -> dict[str, object]:
    """What is recorded of a content, by name."""
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
    } | _fields_of(entry.kept)


def _statement(sha256: str, entry: Entry) -> str:
    """What is sealed, as one text: all that is believed of the content. (Its end follows from the rest.)"""
    believed = _unsealed_fields(sha256, entry)
    del believed["expires_at"]
    return json.dumps(believed, sort_keys=True)


def _fields_of(kept: Kept | None) -> dict[str, object]:
    return {"permissions": {"wanted": str(kept.wanted), "shown": str(kept.shown)}} if kept else {}


def _kept(recorded: object) -> Kept | None:
    match recorded:
        case {"wanted": str(wanted), "shown": str(shown)}:
            both = permissions.parse(wanted), permissions.parse(shown)
            return Kept(both[0], both[1]) if both[0] and both[1] else None
    return None


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
                    lifetime=float(lifetime),
                    requested=float(requested),
                    key_fingerprint=key_fingerprint,
                    fingerprint=token_fingerprint,
                    has_refresh_token=has_refresh_token,
                    issuer=issuer,
                )
                entry = Entry(form, facts, _kept(others.get("permissions")))
                seal = others.get("seal")
                proof = Proof(_statement(sha256, entry), seal if isinstance(seal, str) else "")
                return sha256, entry._replace(proof=proof)
    return None


def _wall(text: str) -> float:
    """The wall time, or NaN where `text` tells none: that agrees with nothing."""
    try:
        return rfc3339.parse(text)
    except ValueError:
        return math.nan


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and not text.strip("0123456789abcdef")


def _is_duration(value: float) -> bool:
    return not isinstance(value, bool) and 0 < value < _LONGEST
