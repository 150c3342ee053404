"""The seal on what stands beside a published token: proof that a holder of the application key wrote it.

A record says whose token an output holds and until when. A restarted process adopts that token and writes it
to its other outputs. Without a seal, anyone who can write one output would choose the token of all others.

The seal is HMAC-SHA256 (RFC 2104) over what the record says, value digest included. Its key is derived from
the application key, so no further secret has to be kept, and a restart still needs no mint. A seal lets its
reader test guesses of the application key, as the key's fingerprint does: the key has to be long and random.
"""

import hmac

from refresher.core.model import Proof, SecretStr

_PURPOSE = b"inlive-token-refresher: seal of a record, version 1"


class Sealer:
    """Seals for one application key, and recognises its own seals. Never prints its key."""

    __slots__ = ("_key",)

    def __init__(self, application_key: SecretStr) -> None:
        self._key = hmac.digest(application_key.reveal().encode(), _PURPOSE, "sha256")

    def seal(self, statement: str) -> str:
        """64 hexadecimal digits."""
        return hmac.digest(self._key, statement.encode(), "sha256").hex()

    def accepts(self, proof: Proof) -> bool:
        """Whether a holder of this application key has sealed the statement."""
        return hmac.compare_digest(self.seal(proof.statement).encode(), proof.seal.encode())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealer) and hmac.compare_digest(self._key, other._key)

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return "<a sealer>"
