"""The rules of the Inlive API as a state without I/O: keys, the tokens issued for them, and access to rooms.

Each rule names the source of what the real API does: [doc], [sdk] or [app]. If there is no source, the rule
is called our choice.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import unquote

from refresher.core.inlive import DEFAULT_EXPIRY, EXPIRED_HEADER, EXPIRY_SECONDS, MINT_PATH, issued
from refresher.core.model import fingerprint
from refresher.emulator.exchange import bearer_of, document_of, envelope, wrong_method
from refresher.emulator.faults import Fault, Script
from refresher.emulator.records import Counters, Counts, MintSeen, headers_kept
from refresher.emulator.tokens import TokenMaker, opaque
from refresher.http.server.messages import Request, Response

ROOMS_PATH = "/v1/rooms/"
LONGEST_EXPIRY = 10**9  # our choice: keeps `exp` within the years that can be written
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


class Upstream:
    """An Inlive API. It knows keys and tokens by their fingerprints. Not thread-safe.

    ``refusal``: the status for a wrong key. The real one is unknown; 401 and 403 are both plausible.
    ``min_expiry``: seconds; a mint that asks for less gets 400. ``remembered``: the largest number of access
    and refresh tokens to remember.
    """

    def __init__(
        self,
        *,
        refusal: int = 401,
        min_expiry: float = 1.0,
        make_token: TokenMaker = opaque,
        remembered: int = REMEMBERED_TOKENS,
    ) -> None:
        self._refusal = refusal
        self._min_expiry = min_expiry
        self._make_token = make_token
        self._remembered = remembered
        self._keys: dict[str, bool] = {}  # fingerprint → in force
        self._issued: dict[str, _Issued] = {}
        self._last: dict[str, tuple[str, str]] = {}  # key → the last pair issued for it, for `same_token`
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
        if request.path == MINT_PATH and request.method == "POST":
            return self._mint(request, now)
        if request.path.startswith(ROOMS_PATH):
            return self._product(request, now)
        self._counters.other += 1
        if request.path == MINT_PATH:
            return Reply(wrong_method("POST"), None, now)
        paths = f"POST {MINT_PATH}, POST {ROOMS_PATH}create, GET {ROOMS_PATH}<id>"
        return Reply(envelope(404, f"no such path; available: {paths} and /_emulator/state"), None, now)

    def _mint(self, request: Request, now: float) -> Reply:
        fault = self._script.take("mint")
        bearer = bearer_of(request)
        credential = fingerprint(bearer) if bearer else None
        key, kind, refused = self._key_behind(credential, now)
        asked, bad_request = self._asked_expiry(request)
        if fault and fault.replaces:
            answer = None if fault.silent else fault.answer()
        elif key is None:
            answer = envelope(self._refusal, refused)
        elif bad_request:
            answer = envelope(400, bad_request)
        else:
            pair = self._issue(key, DEFAULT_EXPIRY if asked is None else asked, now, fault)
            answer = envelope(200, "access token created", issued(*pair))
        outcome = str(answer.status) if answer else ("hang" if fault and fault.hang else "reset")
        seen = MintSeen(now, asked, credential, kind, outcome, request.path, headers_kept(request))
        self._counters.mint(seen, key)
        return _reply(answer, fault, now, f"{kind} {credential}" if credential else "")

    def _key_behind(self, credential: str | None, now: float) -> tuple[str | None, str, str]:
        """The fingerprint of the key behind a bearer, the kind of bearer, and the reason to refuse it.

        A refresh token works in place of its key [sdk]."""
        if credential is None:
            return None, "unknown", "missing bearer credential"
        if self.accepts(credential):
            return credential, "key", ""
        issued = self._issued.get(credential)
        if issued is None or not issued.is_refresh or not self.accepts(issued.key):
            return None, "unknown", "invalid application key"
        if now >= issued.expires:
            return None, "refresh", "refresh token expired"
        return issued.key, "refresh", ""

    def _asked_expiry(self, request: Request) -> tuple[int | None, str]:
        """``expiry_seconds`` if it was given, and the problem with the body, if any.

        Whole numbers only: our choice, so that a client that sends 90.5 learns of it here."""
        try:
            asked = document_of(request).get(EXPIRY_SECONDS, DEFAULT_EXPIRY)
        except ValueError as error:
            return None, str(error)
        if not isinstance(asked, int) or isinstance(asked, bool):
            return None, f"{EXPIRY_SECONDS} must be a whole number of seconds"
        if not self._min_expiry <= asked <= LONGEST_EXPIRY:
            return asked, f"{EXPIRY_SECONDS} must be {self._min_expiry:g} to {LONGEST_EXPIRY}"
        return asked, ""

    def _issue(self, key: str, lifetime: float, now: float, fault: Fault | None) -> tuple[str, str]:
        if fault and fault.same_token and key in self._last:
            return self._last[key]
        if fault and fault.lifetime is not None:
            lifetime = fault.lifetime
        issued = now + (fault.clock_offset if fault else 0.0)
        access = self._make_token(issued, lifetime)
        refresh = self._make_token(issued, 2 * lifetime)  # twice the lifetime [sdk]
        if len(self._issued) >= self._remembered:
            self._forget(now)
        self._issued[fingerprint(access)] = _Issued(key, now + lifetime, is_refresh=False)
        self._issued[fingerprint(refresh)] = _Issued(key, now + 2 * lifetime, is_refresh=True)
        self._last[key] = access, refresh
        self._counters.issued += 1
        return access, refresh

    def _forget(self, now: float) -> None:
        """Make room: forget expired tokens first, then the oldest. A forgotten token is an unknown one."""
        kept = [(name, issued) for name, issued in self._issued.items() if now < issued.expires]
        self._issued = dict(kept[-(self._remembered // 2) :])

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
