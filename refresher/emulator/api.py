"""The rules of the Inlive API as a state without I/O: keys, the tokens issued for them, and access to rooms.

Each rule names the source of what the real API does: [doc], [sdk] or [app]. If there is no source, the rule
is called our choice.
"""

import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from urllib.parse import unquote

from refresher.core.inlive import DEFAULT_EXPIRY, EXPIRED_HEADER, MINT_PATH
from refresher.core.model import fingerprint
from refresher.emulator.exchange import bearer_of, document_of, envelope, wrong_method
from refresher.emulator.faults import Fault, Script
from refresher.emulator.kinds import ANSWER, JSON_PATH, OAUTH2_PATH, AnyJson, Granted, Inlive, Kind, OAuth2
from refresher.emulator.records import Counters, Counts, MintSeen, headers_kept
from refresher.emulator.tokens import TokenMaker, opaque
from refresher.http.server.messages import Request, Response

ROOMS_PATH = "/v1/rooms/"
REMEMBERED_TOKENS = 100_000
REMEMBERED_ROOMS = 10_000
EXPIRED = ((EXPIRED_HEADER, "true"),)  # the value as observed


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to a request: `answer` (None: send nothing at all), delivered as `fault` says. `clock`: wall
    seconds on the upstream's clock. `note`: text for an access log."""

    answer: Response | None
    fault: Fault | None
    clock: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Issued:
    key: str  # fingerprint of the key it was issued for
    expires: float  # wall seconds
    is_refresh: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """The credential of a mint request and the key behind it, by their fingerprints. `refused`: why not."""

    credential: str | None = None
    key: str | None = None
    kind: str = "unknown"
    refused: str = ""


class Upstream:
    """An Inlive API, with endpoints of other `kinds`. It knows keys and tokens by their fingerprints. Not
    thread-safe.

    ``refusal``: the status for a wrong key. The real one is unknown; 401 and 403 are both plausible.
    ``min_expiry``: seconds; a mint that asks for less gets 400. ``lifetime``: of a token whose request states
    none, in seconds. ``exclusive``: whether a new token ends the former one of its client. ``json_answer``:
    see `kinds.AnyJson`. ``remembered``: the largest number of access and refresh tokens to remember.
    """

    def __init__(  # noqa: PLR0913 (all have defaults, and are given by name)
        self,
        *,
        refusal: int = 401,
        min_expiry: float = 1.0,
        lifetime: float = DEFAULT_EXPIRY,
        exclusive: bool = False,
        json_answer: str = ANSWER,
        make_token: TokenMaker = opaque,
        remembered: int = REMEMBERED_TOKENS,
    ) -> None:
        self._kinds: dict[str, Kind] = {
            MINT_PATH: Inlive(refusal, min_expiry),
            OAUTH2_PATH: OAuth2(),
            JSON_PATH: AnyJson(json_answer),
        }
        self._lifetime, self._exclusive = lifetime, exclusive
        self._make_token = make_token
        self._remembered = remembered
        self._keys: dict[str, bool] = {}  # fingerprint → in force
        self._issued: dict[str, _Issued] = {}
        self._last: dict[str, tuple[str, str]] = {}  # client → the last pair issued for it
        self._rooms: dict[str, str] = {}
        self._room_numbers = itertools.count(1)
        self._script = Script()
        self._counters = Counters()

    # Keys

    def add_key(self, key: str) -> str:
        """Accept `key` from now on, even if it was revoked. Returns its fingerprint."""
        name = fingerprint(key)
        self._keys[name] = True
        return name

    def revoke_key(self, key_fingerprint: str) -> bool:
        """Refuse this key and its refresh tokens from now on. Returns False if no such key is in force.

        Its access tokens stay valid until they expire: our choice, the harder one for a key rotation.
        """
        if not self.accepts(key_fingerprint):
            return False
        self._keys[key_fingerprint] = False
        return True

    def accepts(self, key_fingerprint: str) -> bool:
        return self._keys.get(key_fingerprint, False)

    # Tokens

    def end_tokens(self, token_fingerprint: str | None, now: float, *, expired: bool) -> int:
        """End this token before its time, or every access token if None. Returns how many were in force.

        The API then calls it expired, or with `expired=False` invalid, as if it had been revoked. The refresh
        token that came with an access token stays in force. It can be ended by its own fingerprint.
        """
        if token_fingerprint is None:
            names = [name for name, issued in self._issued.items() if not issued.is_refresh]
        else:
            names = [token_fingerprint]
        ending = [name for name in names if name in self._issued and now < self._issued[name].expires]
        for name in ending:
            issued = self._issued.pop(name)
            if expired:
                self._issued[name] = replace(issued, expires=now)
        return len(ending)

    # Inspection and control

    @property
    def keys(self) -> dict[str, bool]:
        """The fingerprint of every key ever added → whether it is in force."""
        return dict(self._keys)

    @property
    def faults(self) -> list[dict[str, object]]:
        return self._script.describe()

    @property
    def counts(self) -> Counts:
        return self._counters.snapshot()

    def set_faults(self, faults: Iterable[Fault]) -> None:
        """Replace the faults in force with these."""
        self._script = Script(faults)

    def reset_counts(self) -> None:
        self._counters = Counters()

    def is_valid(self, access_token: str, now: float) -> bool:
        """Whether the API would accept a product call with this token."""
        return self._judge(access_token, now) == "ok"

    # The API

    def respond(self, request: Request, now: float) -> Reply:
        """The reply to a request received at `now` (wall seconds). Counts the request."""
        if request.method == "OPTIONS":
            return Reply(Response(204), None, now)  # CORS preflight; every response has the CORS headers
        kind = self._kinds.get(request.path)
        if kind is not None and request.method == "POST":
            return self._mint(kind, request, now)
        if request.path.startswith(ROOMS_PATH):
            return self._product(request, now)
        self._counters.other += 1
        if kind is not None:
            return Reply(wrong_method("POST"), None, now)
        paths = f"POST {', POST '.join(self._kinds)}, POST {ROOMS_PATH}create, GET {ROOMS_PATH}<id>"
        return Reply(envelope(404, f"no such path; available: {paths} and /_emulator/state"), None, now)

    def _mint(self, kind: Kind, request: Request, now: float) -> Reply:
        fault = self._script.take("mint")
        asked = kind.read(request)
        found = self._key_behind(asked.candidates, now)
        if fault and fault.replaces:
            answer = None if fault.silent else fault.answer()
        elif asked.unreadable is not None:
            answer = asked.unreadable
        elif found.key is None:
            answer = kind.refused(found.refused)
        elif asked.wrong is not None:
            answer = asked.wrong
        else:
            answer = kind.granted(
                self._issue(f"{found.key} {fingerprint(asked.client)}", found.key, asked.lifetime, now, fault)
            )
        outcome = str(answer.status) if answer else ("hang" if fault and fault.hang else "reset")
        seen = MintSeen(
            now, asked.lifetime, found.credential, found.kind, outcome, request.path, headers_kept(request)
        )
        self._counters.mint(seen, found.key)
        return _reply(answer, fault, now, f"{found.kind} {found.credential}" if found.credential else "")

    def _key_behind(self, candidates: Collection[str], now: float) -> _Found:
        """The key in a request. A refresh token works in place of its key [sdk]."""
        names = [fingerprint(candidate) for candidate in candidates]
        for name in names:
            if self.accepts(name):
                return _Found(name, name, "key")
            issued = self._issued.get(name)
            if issued is not None and issued.is_refresh and self.accepts(issued.key):
                if now >= issued.expires:
                    return _Found(name, None, "refresh", "refresh token expired")
                return _Found(name, issued.key, "refresh")
        refused = "invalid application key" if names else "missing bearer credential"
        return _Found(names[0] if len(names) == 1 else None, refused=refused)

    def _issue(self, client: str, key: str, asked: int | None, now: float, fault: Fault | None) -> Granted:
        """A new pair of tokens for a client with this key. Ends its former one if tokens are exclusive."""
        lifetime: float = self._lifetime if asked is None else asked
        if fault and fault.lifetime is not None:
            lifetime = fault.lifetime
        if fault and fault.same_token and client in self._last:
            access, refresh = self._last[client]
            return Granted(access, refresh, lifetime, now)
        issued = now + (fault.clock_offset if fault else 0.0)
        access = self._make_token(issued, lifetime)
        refresh = self._make_token(issued, 2 * lifetime)  # twice the lifetime [sdk]
        if self._exclusive and client in self._last:
            self.end_tokens(fingerprint(self._last[client][0]), now, expired=True)
        if len(self._issued) >= self._remembered:
            self._forget(now)
        self._issued[fingerprint(access)] = _Issued(key, now + lifetime, is_refresh=False)
        self._issued[fingerprint(refresh)] = _Issued(key, now + 2 * lifetime, is_refresh=True)
        self._last[client] = access, refresh
        self._counters.issued += 1
        return Granted(access, refresh, lifetime, issued)

    def _forget(self, now: float) -> None:
        """Make room: forget expired tokens first, then the oldest. A forgotten token is an unknown one."""
        kept = [(name, issued) for name, issued in self._issued.items() if now < issued.expires]
        self._issued = dict(kept[-(self._remembered // 2) :])
        self._last = {
            client: pair for client, pair in self._last.items() if fingerprint(pair[0]) in self._issued
        }

    def _judge(self, access_token: str, now: float) -> str:
        issued = self._issued.get(fingerprint(access_token))
        if issued is None or issued.is_refresh:
            return "refused"
        return "ok" if now < issued.expires else "expired"

    def _product(self, request: Request, now: float) -> Reply:
        fault = self._script.take("product")
        bearer = bearer_of(request)
        standing = self._judge(bearer, now) if bearer else "refused"
        if fault and fault.replaces:
            standing = "fault"
            answer = None if fault.silent else fault.answer()
        elif bearer is None:
            answer = envelope(401, "missing access token")
        elif standing == "expired":
            answer = envelope(403, "access token expired", headers=EXPIRED)
        elif standing == "refused":
            answer = envelope(403, "invalid access token")  # without the header [app]
        else:
            answer = self._room(request)
        self._counters.product[standing] += 1
        return _reply(answer, fault, now, f"access token {fingerprint(bearer)} {standing}" if bearer else "")

    def _room(self, request: Request) -> Response:
        name_in_path = unquote(request.path.removeprefix(ROOMS_PATH))
        if request.method == "GET":
            if name_in_path not in self._rooms:
                return envelope(404, "no such room")
            return envelope(200, "", {"id": name_in_path, "name": self._rooms[name_in_path]})
        if name_in_path != "create" or request.method != "POST":
            return wrong_method("POST" if name_in_path == "create" else "GET")
        try:
            wanted = document_of(request)
        except ValueError as error:
            return envelope(400, str(error))
        # The SDK always sends both, empty if its caller gave none [sdk].
        name, room = wanted.get("name", ""), wanted.get("id", "")
        if not isinstance(name, str) or not isinstance(room, str):
            return envelope(400, "name and id must be text")
        room = room or f"room-{next(self._room_numbers)}"
        if len(self._rooms) >= REMEMBERED_ROOMS:
            del self._rooms[next(iter(self._rooms))]
        self._rooms[room] = name
        return envelope(200, "room created", {"id": room, "name": name})


def _reply(answer: Response | None, fault: Fault | None, now: float, note: str) -> Reply:
    if fault is None:
        return Reply(answer, None, now, note)
    if answer is not None and fault.content_type is not None:
        answer = answer._replace(content_type=fault.content_type)
    described = " ".join(f"{name}={value}" for name, value in fault.describe().items())
    return Reply(answer, fault, now + fault.clock_offset, f"{note} fault: {described}".strip())
