"""An HTTP response as a value, and the meaning of its headers (RFC 9110)."""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from refresher.core.values import distinct

_DELAY = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")
# The issuer's own, the two that gateways add (W3C Trace Context, Cloudflare), in this order.
_REQUEST_IDS = ("x-request-id", "x-correlation-id", "traceparent", "cf-ray")
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/=+-]{0,63}")  # a UUID has 36 characters, a traceparent 55
_LONGEST_HEADER = 100  # characters of a Date or Retry-After; a valid date has 29


@distinct
class Response(NamedTuple):
    """A response. Header names are in lower case. `overlong`: its body was longer than the client accepts and
    was dropped."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    overlong: bool = False

    @property
    def is_success(self) -> bool:
        return 200 <= self.status <= 299

    @property
    def media_type(self) -> str:
        """Like ``application/json``, without parameters; empty if there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def request_id(self) -> str:
        """The server's name for the request, from the first of `_REQUEST_IDS`; empty if it has none, or if it
        is longer or has other characters than an identifier."""
        found = (self.headers.get(name, "").strip() for name in _REQUEST_IDS)
        return next((value for value in found if _REQUEST_ID.fullmatch(value)), "")

    @property
    def date(self) -> float | None:
        """The server's wall time when it responded, from ``Date``."""
        return http_date(self.headers.get("date", ""))

    def retry_after(self, now_wall: float) -> float | None:
        """``Retry-After`` in seconds, never negative; None if it is absent or invalid.

        RFC 9110 §10.2.3: seconds, or an HTTP date. A date is compared with the response's own ``Date``,
        which is by the same clock. Without a ``Date`` it is compared with our clock, `now_wall`.
        """
        header = self.headers.get("retry-after", "").strip()
        if _DELAY.fullmatch(header):
            return max(0.0, float(header))
        until, sent = http_date(header), self.date
        return None if until is None else max(0.0, until - (now_wall if sent is None else sent))

    def clock_skew(self, sent: float, received: float) -> float | None:
        """Seconds by which our wall clock is ahead of the server's; None without a valid ``Date``.

        `sent`, `received`: our wall times of the request and the response. Assume that the server responded
        half-way between them, and half a second after the whole second in its header.
        """
        date = self.date
        return None if date is None else (sent + received) / 2 - (date + 0.5)


def http_date(text: str) -> float | None:
    """Wall time of an HTTP date in any of the three forms of RFC 9110 §5.6.7; None for anything else."""
    from email.utils import mktime_tz, parsedate_tz  # noqa: PLC0415 -- heavy without an HTTP client

    try:
        fields = parsedate_tz(text[:_LONGEST_HEADER])
        wall = None if fields is None else mktime_tz((*fields[:9], fields[9] or 0))
    except (ValueError, TypeError, IndexError, OverflowError):  # email.utils raises all of these
        return None
    return wall if wall is not None and math.isfinite(wall) else None
