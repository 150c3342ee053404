"""Records of the requests that the emulator received: enough for assertions, without secrets."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from refresher.http.server.messages import Request

RECENT = 1000  # mint requests recorded individually
_HEADERS_KEPT = ("host", "user-agent", "accept", "accept-encoding", "content-type", "connection")


@dataclass(frozen=True, slots=True)
class MintSeen:
    """One request to the mint endpoint.

    ``at``: wall seconds. ``expiry_seconds``: the requested lifetime, None if absent or not a whole number.
    ``credential``: the fingerprint of the bearer, None without one. ``kind`` of credential: "key", "refresh"
    (token) or "unknown" (also for a revoked key). ``outcome``: the status of the response, or "hang",
    "reset".
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
    """The number of requests so far.

    ``mints``: mint requests, with or without a response. ``issued``: new access tokens. ``outcomes``: mint
    requests by `MintSeen.outcome`. ``by_key``: mint requests by the fingerprint of their key, also those with
    its refresh tokens; "unknown" for all others. ``product``: product requests by result: "ok" (a valid
    token), "expired", "refused", "fault". ``other``: all other requests, except control and CORS preflight.
    ``recent``: the last mint requests, oldest first.
    """

    mints: int
    issued: int
    outcomes: Mapping[str, int]
    by_key: Mapping[str, int]
    product: Mapping[str, int]
    other: int
    recent: tuple[MintSeen, ...]


class Counters:
    """The running counts."""

    def __init__(self) -> None:
        self.issued = 0
        self.other = 0
        self.product: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._by_key: Counter[str] = Counter()
        self._recent: deque[MintSeen] = deque(maxlen=RECENT)

    def mint(self, seen: MintSeen, key: str | None) -> None:
        """Count a mint request. `key`: the fingerprint of its key, if known."""
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
    """The headers of the request that describe the client and cannot hold a secret."""
    return {name: request.headers[name] for name in _HEADERS_KEPT if name in request.headers}
