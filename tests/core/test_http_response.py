"""The meaning of the headers of an HTTP response."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from refresher.core.http_response import Response

NOW = datetime(2026, 11, 5, 10, 0, 0, tzinfo=UTC).timestamp()
A_MINUTE_LATER = "Thu, 05 Nov 2026 10:01:00 GMT"


def with_headers(headers: dict[str, str], status: int = 200) -> Response:
    return Response(status, headers, b"")


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": A_MINUTE_LATER}, 60.0),
        ({"retry-after": "Thursday, 05-Nov-26 10:01:00 GMT"}, 60.0),
        ({"retry-after": "Thu Nov  5 10:01:00 2026"}, 60.0),
        ({"retry-after": "Thu, 05 Nov 2026 09:00:00 GMT"}, 0.0),
        ({"retry-after": A_MINUTE_LATER, "date": "Thu, 05 Nov 2026 10:00:50 GMT"}, 10.0),
        ({"retry-after": A_MINUTE_LATER, "date": "yesterday"}, 60.0),
        ({}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "9" * 5000}, None),
        ({"retry-after": "\u0661"}, None),
        ({"retry-after": "Thu, 05 Nov 99999999999 10:01:00 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_clock_of_the_server(
    headers: dict[str, str], wait: float | None
) -> None:
    assert with_headers(headers).retry_after(NOW) == wait


def test_clock_skew_is_how_far_our_clock_is_ahead_half_way_through_the_request() -> None:
    date = {"date": "Thu, 05 Nov 2026 10:00:00 GMT"}  # sent at 10:00:00.5 on average
    assert with_headers(date).clock_skew(NOW + 29.5, NOW + 31.5) == 30.0
    assert with_headers(date).clock_skew(NOW - 60.5, NOW - 58.5) == -60.0
    assert with_headers({}).clock_skew(NOW, NOW) is None


@pytest.mark.parametrize(
    ("header", "media_type"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        (" text/html ", "text/html"),
        ("", ""),
    ],
)
def test_the_media_type_is_in_lower_case_and_without_parameters(header: str, media_type: str) -> None:
    assert with_headers({"content-type": header}).media_type == media_type


@pytest.mark.parametrize(("status", "is_success"), [(199, False), (200, True), (299, True), (300, False)])
def test_a_success_is_a_2xx(status: int, is_success: bool) -> None:
    assert with_headers({}, status).is_success is is_success


_DATES = st.datetimes().map(lambda when: format_datetime(when.replace(tzinfo=UTC), usegmt=True))
_HEADERS = st.dictionaries(st.sampled_from(["retry-after", "date"]), st.text(max_size=60) | _DATES)


@given(_HEADERS)
@example({"retry-after": "Thu, 32 Foo 2026 99:99:99 +9999999999"})
def test_no_header_raises_an_error(headers: dict[str, str]) -> None:
    response = with_headers(headers)
    wait = response.retry_after(NOW)
    assert wait is None or 0 <= wait < float("inf")
    assert isinstance(response.clock_skew(NOW, NOW), float | None)


# --- The request id


def test_the_issuers_own_request_id_comes_before_those_of_gateways():
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {"cf-ray": "7d5b0e-FRA", "traceparent": trace}
    assert Response(500, headers, b"").request_id == trace
    assert Response(500, {**headers, "x-request-id": "req-1"}, b"").request_id == "req-1"
    assert Response(500, {}, b"").request_id == ""


@pytest.mark.parametrize("value", ["", "a b", "a\x1b[31m", "a" * 65, "<script>", "é"])
def test_a_request_id_that_is_no_identifier_is_ignored(value):
    headers = {"x-request-id": value, "cf-ray": "7d5b0e"}
    assert Response(500, headers, b"").request_id == "7d5b0e"
