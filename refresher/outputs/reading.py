"""Reads what a file output holds: its content, and the record beside it."""

from refresher.config.output_kinds import record_path
from refresher.core import formats
from refresher.core.instant import Instant
from refresher.core.model import Holding, Token
from refresher.outputs import atomic, record
from refresher.outputs.record import Entry, Record

LARGEST_FILE = 1024 * 1024  # bytes: the limit of the issuer's response


def holding(entry: Entry, content: bytes, *, intact: bool) -> Holding:
    """What a file with this content holds, according to the entry of its record. `intact`: see `Holding`."""
    format_ = formats.of_identity(entry.format)
    credentials = formats.read_back(format_, content)
    if credentials is None:
        is_opaque = format_.name == "template"
        return Holding(entry.facts, None, intact, proof=entry.proof) if is_opaque else Holding()
    access, refresh = credentials
    if access.fingerprint != entry.facts.fingerprint:
        return Holding()
    facts = entry.facts._replace(fingerprint=access.fingerprint)  # in memory once
    return Holding(facts, Token(facts, access, refresh), intact, proof=entry.proof)


def recorded(target: str, now: Instant) -> Record:
    """The record beside the file `target`; empty if there is none or it is unreadable."""
    try:
        content, _ = atomic.read(record_path(target), record.LARGEST_RECORD)
    except OSError:  # like a missing record: the expiry is unknown, and the token is replaced
        return Record()
    return record.load(content, now)


def digest_in_place(target: str) -> str | None:
    """The digest of the present content of `target`; None without a file that this process may read."""
    try:
        content, _ = atomic.read(target, LARGEST_FILE)
    except (FileNotFoundError, PermissionError):  # another user's file is replaced too
        return None
    return record.digest(content)
