"""Faults of the upstream, as values. `fault_fields` reads them from JSON."""

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
    """One way to fail. A field left at its default has no effect, so fields combine. All times are in
    seconds.

    Affected requests: ``scope`` is "mint", "product" or "all"; ``count``: only the next so many of them.
    ``latency``: the delay before anything is sent, in addition to any other field.

    In place of the usual response (no key is checked, no token issued):
    ``status``, with ``retry_after`` (the header, verbatim) and ``body``; ``body`` alone has status 200;
    ``garbage``: bytes that are not JSON, with ``status`` or 200;
    ``redirect``: to this location, with a 3xx ``status`` or 307;
    ``endless``: a body without an end, "chunked" or delimited by the "close" of the connection;
    ``reset``: a TCP reset without a response; ``hang``: no response at all until the emulator stops.

    The usual response, but changed: ``same_token``: the last token of this key again, with its old expiry;
    ``lifetime``: the lifetime of the tokens, regardless of the request.

    Any response, delivered differently: ``content_type``; ``drip``: the body byte by byte, with this pause
    before each byte, and with ``drip_head`` also the status line and headers; ``cut_body``: the connection is
    closed after half of the body; ``clock_offset``: Date, ``iat`` and ``exp`` come from a clock so far ahead.
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
        """The fault that `settings` describe, from JSON or from keyword arguments.

        None means the default. ``body`` may be text, bytes, or any value that JSON can represent.
        Raises ConfigurationError with every problem: unknown names, bad values, conflicts.
        """
        return cls(**fault_fields.read(settings))

    @property
    def silent(self) -> bool:
        """Whether the upstream sends no response at all."""
        return self.hang or self.reset

    @property
    def replaces(self) -> bool:
        """Whether the fault replaces the usual response, so that the usual rules do not apply."""
        has_response = self.status is not None or self.body is not None or self.redirect is not None
        return has_response or self.silent or self.garbage or self.endless is not None

    def answer(self) -> Response:
        """The response in place of the usual one."""
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
        """The fields that are not at their defaults, for JSON. A body may hold a token: only its size."""
        described: dict[str, object] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                described[field.name] = f"<{len(value)} bytes>" if isinstance(value, bytes) else value
        return described


class Script:
    """The faults in force. The first fault with a matching scope and a count left applies to a request."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = [(fault, [fault.count]) for fault in faults]

    def take(self, scope: str) -> Fault | None:
        """The fault for the next request of this scope. Uses up one of its count."""
        for fault, left in self._faults:
            if fault.scope in (scope, "all") and left[0] != 0:
                if left[0] is not None:
                    left[0] -= 1
                return fault
        return None

    def describe(self) -> list[dict[str, object]]:
        """The faults that still apply. ``count``: how many times more."""
        return [
            fault.describe() | ({} if left[0] is None else {"count": left[0]})
            for fault, left in self._faults
            if left[0] != 0
        ]
