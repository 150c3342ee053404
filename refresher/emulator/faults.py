"""What can go wrong at the upstream, as a value; how a fault is read from JSON is in `fault_fields`."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from refresher.emulator import fault_fields
from refresher.emulator.exchange import JSON_TYPE, envelope
from refresher.http.server.messages import Headers, Response

_GARBAGE = b"\x00\x9f\xff<html>not JSON at all"
_ENDLESS_START = b'{"code": 200, "ok": true, "message": "", "data": {"access_token": "'


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail. What is left at its default goes as usual, so that faults combine. Seconds throughout.

    Which requests: ``scope`` is "mint", "product" or "all"; ``count``: only the next so many of them.
    ``latency``: before anything is sent, whatever else is wrong.

    In place of the usual answer (no key is looked at, no token issued):
    ``status``, with ``retry_after`` (the header, verbatim) and ``body``; ``body`` alone goes with 200;
    ``garbage``: 200, or ``status``, and bytes that are not JSON;
    ``redirect``: to this location, with 307 or a 3xx ``status``;
    ``endless``: a body without an end, "chunked" or delimited by the "close" of the connection;
    ``reset``: no answer but a TCP reset; ``hang``: no answer at all until the emulator stops.

    The usual answer, but different: ``same_token``: the last token of this key once more, with its old end;
    ``lifetime``: tokens that live so long, whatever was asked for.

    Any answer, delivered differently: ``content_type``; ``drip``: the body byte by byte, with this pause
    before each, and with ``drip_head`` status line and headers too; ``cut_body``: the connection is closed
    after half of the body; ``clock_offset``: Date, ``iat`` and ``exp`` are of a clock so far ahead.
    """

    scope: str = "mint"
    count: int | None = None
    latency: float = 0.0
    status: int | None = None
    retry_after: str | None = None
    body: bytes | None = None
    garbage: bool = False
    redirect: str | None = None
    endless: str | None = None
    reset: bool = False
    hang: bool = False
    same_token: bool = False
    lifetime: float | None = None
    content_type: str | None = None
    drip: float | None = None
    drip_head: bool = False
    cut_body: bool = False
    clock_offset: float = 0.0

    @classmethod
    def parse(cls, settings: Mapping[str, object]) -> Self:
        """The fault that `settings` describe, as they come from JSON or from keyword arguments.

        None stands for the default. ``body`` may be text, bytes, or anything that JSON can say.
        Raises ConfigurationError with every mistake: unknown names, values, combinations.
        """
        return cls(**fault_fields.read(settings))

    @property
    def silent(self) -> bool:
        """Whether there is no answer at all."""
        return self.hang or self.reset

    @property
    def replaces(self) -> bool:
        """Whether the usual rules are not even looked at."""
        other = self.status is not None or self.body is not None or self.redirect is not None
        return other or self.silent or self.garbage or self.endless is not None

    def answer(self) -> Response:
        """The answer in place of the usual one."""
        headers: Headers = ()
        if self.retry_after is not None:
            headers = (("Retry-After", self.retry_after),)
        if self.redirect is not None:
            headers += (("Location", self.redirect),)
            return envelope(self.status or 307, "emulated redirect", headers=headers)
        status = self.status or 200
        content = self.body
        if self.garbage:
            content = _GARBAGE
        elif self.endless is not None:
            content = _ENDLESS_START
        if content is None:
            return envelope(status, "emulated fault", headers=headers)
        return Response(status, content, JSON_TYPE, headers)

    def describe(self) -> dict[str, object]:
        """What differs from no fault, fit for JSON. Of a body only its size: it may hold a token."""
        described: dict[str, object] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                described[field.name] = f"<{len(value)} bytes>" if isinstance(value, bytes) else value
        return described


class Script:
    """The faults in force. To a request applies the first one of its scope whose count is not used up."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = [(fault, [fault.count]) for fault in faults]

    def take(self, scope: str) -> Fault | None:
        """The fault for the next request of this scope, counted as used."""
        for fault, left in self._faults:
            if fault.scope in (scope, "all") and left[0] != 0:
                if left[0] is not None:
                    left[0] -= 1
                return fault
        return None

    def describe(self) -> list[dict[str, object]]:
        """The faults that still apply; ``count`` is how often."""
        return [
            fault.describe() | ({} if left[0] is None else {"count": left[0]})
            for fault, left in self._faults
            if left[0] != 0
        ]
