"""The bytes of a response."""

import time
from email.utils import parsedate_to_datetime

from refresher.http.server.messages import Response, _rendered_again, rendered


def test_a_response_without_a_date_gets_the_present_one() -> None:
    """Also if it equals an earlier response, whose bytes are reused."""
    for _ in range(2):
        date = parsedate_to_datetime(dict(fields_of(rendered(Response(200, b"x"))))["Date"])
        assert abs(date.timestamp() - time.time()) < 60


def test_only_the_bytes_of_small_responses_are_kept() -> None:
    """A large one, such as a scrape of ten thousand tokens, would stay in memory otherwise."""
    _rendered_again.cache_clear()
    kept = _rendered_again.cache_info().currsize
    for number in range(3):
        rendered(Response(200, bytes([number]) * 2**20))
    assert _rendered_again.cache_info().currsize == kept
    rendered(Response(200, b"a small one that no other test has"))
    assert _rendered_again.cache_info().currsize == kept + 1


def fields_of(octets: bytes) -> list[tuple[str, str]]:
    head, _, _ = octets.decode().partition("\r\n\r\n")
    return [(name, value) for name, _, value in (line.partition(": ") for line in head.splitlines()[1:])]
