"""The emulator's own endpoints, under ``/_emulator/``, to inspect and control it.

``GET state`` · ``PUT faults`` (one fault or a list of them), ``DELETE faults`` · ``POST keys`` {"key": …},
``DELETE keys/<fingerprint>`` · ``POST tokens/expire`` and ``POST tokens/revoke`` {"access_token": …},
{"fingerprint": …} or {"all": true} · ``POST counts/reset``. No response contains a key or a token.

No web page may control the emulator. A request that changes something needs the header ``X-Emulator-Control``
with any value: a browser sends such a header to another origin only after a preflight, which is refused here.
The ``Host`` must be an address or a name of this machine, so that no page gets here through its own domain
(DNS rebinding).
"""

import dataclasses
import json
import re

from refresher.core.keytext import LONGEST_KEY
from refresher.core.model import fingerprint
from refresher.emulator.api import Upstream
from refresher.emulator.exchange import document_of, envelope, wrong_method
from refresher.emulator.faults import Fault
from refresher.errors import ConfigurationError, Problem
from refresher.http.server.hosts import is_own_host
from refresher.http.server.messages import Request, Response

PREFIX = "/_emulator/"
HEADER = "X-Emulator-Control"
_KEY = re.compile(rf"(?=.{{1,{LONGEST_KEY}}}\Z)[!-~]([ -~]*[!-~])?")


def respond(request: Request, upstream: Upstream, listens_on: str, now: float) -> Response:
    """The response to a request whose path starts with `PREFIX`. `listens_on`: the emulator's own host.
    `now`: wall seconds."""
    return _refusal(request, listens_on) or _answer(request, upstream, now)


def _refusal(request: Request, listens_on: str) -> Response | None:
    if not is_own_host(request.host, listens_on):
        return envelope(
            403, "Host names another machine; accepted: localhost, an IP address, the host in --listen"
        )
    if request.method not in ("GET", "HEAD") and HEADER.lower() not in request.headers:
        return envelope(403, f"add the header {HEADER}: 1, which a web page cannot send")
    return None


def _answer(request: Request, upstream: Upstream, now: float) -> Response:
    place, _, rest = request.path.removeprefix(PREFIX).partition("/")
    try:
        match place, rest, request.method:
            case "state", "", "GET":
                answer = envelope(200, "", state(upstream))
            case "faults", "", "PUT":
                upstream.set_faults(_faults(request))
                answer = envelope(200, "in force", upstream.faults)
            case "faults", "", "DELETE":
                upstream.set_faults(())
                answer = envelope(200, "no faults", [])
            case "keys", "", "POST":
                added = upstream.add_key(checked_key(document_of(request).get("key")))
                answer = envelope(201, "key added", {"fingerprint": added})
            case "keys", name, "DELETE" if name:
                answer = _revoked(name, upstream)
            case "tokens", ("expire" | "revoke") as how, "POST":
                ended = upstream.end_tokens(_named_token(request), now, expired=how == "expire")
                answer = envelope(200, f"tokens ended: {ended}", {"ended": ended})
            case "counts", "reset", "POST":
                upstream.reset_counts()
                answer = envelope(200, "counts are zero")
            case _:
                answer = _misplaced(place, rest)
    except (ConfigurationError, ValueError) as error:
        answer = envelope(400, str(error))
    return answer


def state(upstream: Upstream) -> dict[str, object]:
    """The content of ``GET state``."""
    keys = [{"fingerprint": name, "in_force": in_force} for name, in_force in upstream.keys.items()]
    return {"keys": keys, "faults": upstream.faults, "counts": dataclasses.asdict(upstream.counts)}


def checked_key(key: object) -> str:
    """`key`, if it fits into an Authorization header. Raises ConfigurationError if not."""
    if isinstance(key, str) and _KEY.fullmatch(key):
        return key
    accepted = f"1 to {LONGEST_KEY} printable ASCII characters without space around them"
    raise ConfigurationError((Problem("key", f"is not a valid application key; accepted: {accepted}"),))


def _faults(request: Request) -> list[Fault]:
    try:
        given = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise ValueError("the body is not JSON") from error
    listed = given if isinstance(given, list) else [given]
    if not all(isinstance(fault, dict) for fault in listed):
        raise ValueError("accepted: one fault as a JSON object, or a list of them")
    return [Fault.parse(fault) for fault in listed]


def _revoked(name: str, upstream: Upstream) -> Response:
    if upstream.revoke_key(name):
        return envelope(200, "key revoked", {"fingerprint": name})
    return envelope(404, "no key with this fingerprint is in force")


def _named_token(request: Request) -> str | None:
    """The fingerprint of the token that the body names; None for all access tokens. Raises ValueError."""
    match document_of(request):
        case {"access_token": str(text), **rest} if not rest:
            return fingerprint(text)
        case {"fingerprint": str(name), **rest} if not rest:
            return name
        case {"all": True, **rest} if not rest:
            return None
    raise ValueError('accepted: {"access_token": TOKEN}, {"fingerprint": FINGERPRINT} or {"all": true}')


def _misplaced(place: str, rest: str) -> Response:
    if place == "keys" and rest:
        return wrong_method("DELETE")
    posts = ("keys", "tokens/expire", "tokens/revoke", "counts/reset")
    methods = {"state": ("GET",), "faults": ("PUT", "DELETE"), **dict.fromkeys(posts, ("POST",))}
    accepted = methods.get(f"{place}/{rest}".rstrip("/"))
    if accepted is not None:
        return wrong_method(*accepted)
    return envelope(404, f"no such path; available under {PREFIX}: {', '.join(methods)}")
