"""The emulator's own endpoints, under ``/_emulator/``: what it has seen, and what it is told to do.

``GET state`` · ``PUT faults`` (one fault or a list of them), ``DELETE faults`` · ``POST keys`` {"key": …},
``DELETE keys/<fingerprint>`` · ``POST counts/reset``. No answer holds a key or a token.
"""

import dataclasses
import json
import re

from refresher.core.keytext import LONGEST_KEY
from refresher.emulator.api import Upstream
from refresher.emulator.exchange import Answer, Request, envelope, wrong_method
from refresher.emulator.faults import Fault
from refresher.errors import ConfigurationError, Mistake

PREFIX = "/_emulator/"
_KEY = re.compile(rf"(?=.{{1,{LONGEST_KEY}}}\Z)[!-~]([ -~]*[!-~])?")


def respond(request: Request, upstream: Upstream) -> Answer:
    """The answer to a request whose path starts with `PREFIX`."""
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
                added = upstream.add_key(checked_key(request.document().get("key")))
                answer = envelope(201, "key added", {"fingerprint": added})
            case "keys", name, "DELETE" if name:
                answer = _revoked(name, upstream)
            case "counts", "reset", "POST":
                upstream.reset_counts()
                answer = envelope(200, "counts are zero")
            case _:
                answer = _misplaced(place, rest)
    except (ConfigurationError, ValueError) as error:
        answer = envelope(400, str(error))
    return answer


def state(upstream: Upstream) -> dict[str, object]:
    """What ``GET state`` tells."""
    keys = [{"fingerprint": name, "in_force": in_force} for name, in_force in upstream.keys.items()]
    return {"keys": keys, "faults": upstream.faults, "counts": dataclasses.asdict(upstream.counts)}


def checked_key(key: object) -> str:
    """`key`, if it can be one: it has to fit into an Authorization header. Raises ConfigurationError."""
    if isinstance(key, str) and _KEY.fullmatch(key):
        return key
    accepted = f"1 to {LONGEST_KEY} printable ASCII characters without space around them"
    raise ConfigurationError((Mistake("key", f"this cannot be an application key; accepted: {accepted}"),))


def _faults(request: Request) -> list[Fault]:
    try:
        given = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise ValueError("the body is not JSON") from error
    listed = given if isinstance(given, list) else [given]
    if not all(isinstance(fault, dict) for fault in listed):
        raise ValueError("accepted: one fault as a JSON object, or a list of them")
    return [Fault.parse(fault) for fault in listed]


def _revoked(name: str, upstream: Upstream) -> Answer:
    if upstream.revoke_key(name):
        return envelope(200, "key revoked", {"fingerprint": name})
    return envelope(404, "no key of this fingerprint is in force")


def _misplaced(place: str, rest: str) -> Answer:
    if place == "keys" and rest:
        return wrong_method("DELETE")
    methods = {"state": ("GET",), "faults": ("PUT", "DELETE"), "keys": ("POST",), "counts/reset": ("POST",)}
    accepted = methods.get(f"{place}/{rest}".rstrip("/"))
    if accepted is not None:
        return wrong_method(*accepted)
    return envelope(404, f"no such path; under {PREFIX} there are {', '.join(methods)}")
