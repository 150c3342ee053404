"""What the emulator has seen: enough to assert on, and no secret in it."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from refresher.http.server.messages import Request

RECENT = 1000  # mint requests remembered one by one
_HEADERS_KEPT = ("host", "user-agent", "accept", "accept-encoding", "content-type", "connection")


@dataclass(frozen=True, slots=True)
class MintSeen:
    """One request to the mint endpoint.

    ``at``: wall seconds. ``expiry_seconds``: what was asked for, None when absent or no whole number.
    ``credential``: fingerprint of the bearer that was sent, None without one. ``kind`` of it: "key",
    "refresh" (token) or "unknown" (a revoked key is one). ``outcome``: the status that was answered,
    or "hang", "reset".
    """

    at: float
    expiry_seconds: int | None
    credential: str | None
    kind: str
    outcome: str
    path: str
    headers: Mapping[str, str]

    @property
    def user_agent(self) -> str | None:
        return self.headers.get("user-agent")


@dataclass(frozen=True, slots=True)
class Counts:
    """What came in, as of one moment.

    ``mints``: mint requests, answered or not. ``issued``: access tokens that were new. ``outcomes``: mint
    requests by `MintSeen.outcome`. ``by_key``: mint requests by the fingerprint of the key that they were
    made with, also by way of its refresh tokens; "unknown" for all others. ``product``: product requests
    by what became of them: "ok" (the token was), "expired", "refused", "fault". ``other``: requests to
    anything else, control and CORS preflight apart. ``recent``: the last mint requests, oldest first.
    """

    mints: int
    issued: int
    outcomes: Mapping[str, int]
    by_key: Mapping[str, int]
    product: Mapping[str, int]
    other: int
    recent: tuple[MintSeen, ...]


class Tally:
    """Counts while they grow."""

    def __init__(self) -> None:
        self.issued = 0
        self.other = 0
        self.product: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._by_key: Counter[str] = Counter()
        self._recent: deque[MintSeen] = deque(maxlen=RECENT)

    def mint(self, seen: MintSeen, key: str | None) -> None:
        """Count a mint request that was made with the key of this fingerprint."""
        self._outcomes[seen.outcome] += 1
        self._by_key[key or "unknown"] += 1
        self._recent.append(seen)

    def snapshot(self) -> Counts:
        return Counts(
            mints=self._outcomes.total(),
            issued=self.issued,
            outcomes=dict(self._outcomes),
            by_key=dict(self._by_key),
            product=dict(self.product),
            other=self.other,
            recent=tuple(self._recent),
        )


def headers_kept(request: Request) -> dict[str, str]:
    """Those of the request's headers that say something about the client and cannot hold a secret."""
    return {name: request.headers[name] for name in _HEADERS_KEPT if name in request.headers}
