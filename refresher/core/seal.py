"""The seal of the record beside a published token: it proves that a holder of the key wrote it.

The record states whose token an output holds and when it expires. A restarted process adopts that token and
writes it to its other outputs. Without a seal, anyone who can write one output could set the token of all
outputs.

The seal is HMAC-SHA256 (RFC 2104) over the record, including the digest of the value. Its HMAC key is
derived from the key of the issuer, so no further secret is needed, and a restart still needs no mint. Like
the key's fingerprint, a seal lets its reader test guesses of the key, so it must be long and random.
"""

import hmac

from refresher.core.model import Proof, SecretStr

_PURPOSE = b"inlive-token-refresher: seal of a record, version 1"


class Sealer:
    """Makes and checks the seals of one key. Never prints its key."""

    __slots__ = ("_key",)

    def __init__(self, application_key: SecretStr) -> None:
        self._key = hmac.digest(application_key.reveal().encode(), _PURPOSE, "sha256")

    def seal(self, statement: str) -> str:
        """The seal of `statement`: 64 hexadecimal digits."""
        return hmac.digest(self._key, statement.encode(), "sha256").hex()

    def accepts(self, proof: Proof) -> bool:
        """Whether a holder of this key sealed the statement."""
        return hmac.compare_digest(self.seal(proof.statement).encode(), proof.seal.encode())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealer) and hmac.compare_digest(self._key, other._key)

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return "<a sealer>"
