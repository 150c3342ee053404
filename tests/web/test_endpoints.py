"""The endpoints, over real sockets and on virtual time."""

import gzip
import json
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from refresher.core.events import Found
from refresher.core.model import Holding
from refresher.http.server.messages import Later, Request, Stream
from refresher.metrics.counters import Counters
from refresher.web.endpoints import ENDPOINTS, Endpoints, quality
from tests.core.builders import KEY, KEY_REFUSED, NOW, UNREACHABLE, Driver, at_work, output, policy, token
from tests.http.server.site import Site
from tests.watched import Watched
from tests.web.conftest import ServeEndpoints

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"  # sent by Firefox
SCRAPER = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1"
ROUTES = ["/", *ENDPOINTS]


class Daemon(Watched):
    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(self.view, lambda: self.last_turn, self, Counters(), "1.2.3")


@pytest.fixture
def site_of(serve_endpoints: ServeEndpoints) -> Callable[[Daemon], Site]:
    return lambda daemon: serve_endpoints(daemon.endpoints)


SiteOf = Callable[[Daemon], Site]


# Paths and methods


@pytest.mark.parametrize("path", ROUTES)
def test_each_endpoint_serves_get_and_head_and_ignores_a_query(site_of: SiteOf, path: str) -> None:
    site = site_of(Daemon(at_work()))
    got, head, asked = site.call(path), site.call(path, "HEAD"), site.call(f"{path}?verbose=1")
    assert (got.status, head.status, asked.status) == (200, 200, 200)
    assert got.body
    assert head.body == b""
    assert head.headers["Content-Type"] == got.headers["Content-Type"] == asked.headers["Content-Type"]
    assert site.call(path, "POST", b"").status == 405


@pytest.mark.parametrize("path", ["/nowhere", "/livez/", "/Metrics", "/status/studio", "/../livez", "*"])
def test_an_unknown_path_is_404_with_the_list_of_paths(site_of: SiteOf, path: str) -> None:
    received = site_of(Daemon(at_work())).call(path)
    assert received.status == 404
    expected = received.body.decode()
    assert all(each in expected for each in ROUTES)
    assert "nowhere" not in expected


def test_the_index_lists_the_endpoints_for_programs(site_of: SiteOf) -> None:
    plain = site_of(Daemon(at_work())).call("/")
    assert plain.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert [line.split()[0] for line in plain.body.decode().splitlines()] == list(ENDPOINTS)


def test_the_index_is_the_status_page_for_a_browser(site_of: SiteOf) -> None:
    site = site_of(Daemon(at_work()))
    index, status = site.call("/", accept=BROWSER), site.call("/status", accept=BROWSER)
    assert index.headers["Content-Type"] == "text/html; charset=utf-8"
    assert index.body == status.body


@pytest.mark.parametrize("page", ["/", "/status", "/status?renew"])
def test_every_link_of_the_page_leads_to_an_endpoint(site_of: SiteOf, page: str) -> None:
    site = site_of(Daemon(at_work()))
    links = [urljoin(page, link) for link in Tags(site.call(page, accept=BROWSER).body).links]
    assert {link.partition("?")[0] for link in links} - {"/"} == set(ENDPOINTS)
    for link in links:
        assert site.call(link, accept=BROWSER).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_no_other_method_is_allowed(site_of: SiteOf, method: str) -> None:
    received = site_of(Daemon(at_work())).call("/livez", method, b"body")
    assert (received.status, received.headers["Allow"]) == (405, "GET, HEAD")


def test_every_response_forbids_storing_and_sniffing_and_names_no_version(site_of: SiteOf) -> None:
    site = site_of(Daemon(at_work()))
    answers = [site.call(path) for path in [*ROUTES, "/nowhere"]]
    answers += [site.call("/livez", "POST"), site.call("/livez", accept="a" * 20_000)]
    assert {received.status for received in answers} == {200, 404, 405, 431}
    for received in answers:
        assert received.headers["Cache-Control"] == "no-store"
        assert received.headers["X-Content-Type-Options"] == "nosniff"
        assert received.headers["Server"] == "inlive-token-refresher"
        assert received.headers["Connection"] == "close"
        assert "Content-Security-Policy" not in received.headers


@pytest.mark.parametrize("path", ["/", "/status"])
def test_a_page_may_run_and_load_nothing(site_of: SiteOf, path: str) -> None:
    received = site_of(Daemon(at_work())).call(path, accept=BROWSER)
    policy = received.headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert re.fullmatch("'sha256-[A-Za-z0-9+/]{43}='", rules.pop("style-src"))
    assert rules == dict.fromkeys(("default-src", "base-uri", "form-action", "frame-ancestors"), "'none'")
    assert received.headers["Referrer-Policy"] == "no-referrer"


def test_no_endpoint_shows_a_secret(site_of: SiteOf) -> None:
    site = site_of(Daemon(at_work(), refused()))
    for path in ROUTES:
        for accept in (BROWSER, SCRAPER, "application/json", "text/plain"):
            body = site.call(path, accept=accept).body.decode()
            for secret in (KEY.reveal(), "access-1", "refresh-1"):
                assert secret not in body


def refused() -> Driver:
    """A token whose key was refused before the first mint."""
    driver = Driver()
    driver.begin()
    driver.declined(KEY_REFUSED)
    return driver


# /livez


@pytest.mark.parametrize(
    ("since", "status", "expected"),
    [
        (0.0, 200, b"ok\n"),
        (89.9, 200, b"ok\n"),
        (90.0, 503, b"the engine's last turn was 90 s ago\n"),
        (3600.0, 503, b"the engine's last turn was 3600 s ago\n"),
    ],
)
def test_livez_is_200_while_the_engine_makes_turns(
    site_of: SiteOf, since: float, status: int, expected: bytes
) -> None:
    daemon = Daemon(at_work())
    site = site_of(daemon)
    daemon.passes(since)
    received = site.call("/livez")
    assert (received.status, received.body) == (status, expected)
    daemon.last_turn = daemon.now()
    assert site.call("/livez").status == 200


def test_livez_names_the_stuck_part(
    serve_endpoints: ServeEndpoints,
) -> None:
    daemon = Daemon(at_work())
    stuck = ["no thread for the mints since 95 s"]
    endpoints = Endpoints(
        daemon.view,
        lambda: daemon.last_turn,
        daemon,
        Counters(),
        "1",
        stuck=lambda: stuck[0] if stuck else None,
    )
    site = serve_endpoints(endpoints)
    received = site.call("/livez")
    assert (received.status, received.body) == (503, b"no thread for the mints since 95 s\n")
    stuck.clear()
    assert site.call("/livez").status == 200


def test_only_the_status_is_computed_in_the_background() -> None:
    endpoints = Daemon(at_work()).endpoints
    later = {path for path in ROUTES if isinstance(endpoints.answer(Request("GET", path)), Later)}
    assert later == {"/status"}


@pytest.mark.parametrize("jump", [-86400.0, 86400.0])
def test_a_jump_of_the_wall_clock_does_not_fail_livez(site_of: SiteOf, jump: float) -> None:
    daemon = Daemon(at_work())
    daemon.passes(1.0, wall=jump)
    assert site_of(daemon).call("/livez").status == 200


def test_a_failing_issuer_does_not_fail_livez(site_of: SiteOf) -> None:
    driver = Driver()
    driver.begin()
    driver.declined(UNREACHABLE)
    site = site_of(Daemon(driver))
    assert site.call("/readyz").status == 503
    assert site.call("/livez").status == 200


# /readyz


def test_readyz_is_200_while_a_valid_token_is_published(site_of: SiteOf) -> None:
    driver = Driver()
    site = site_of(Daemon(driver))
    driver.begin()
    assert site.call("/readyz").status == 503
    driver.perform(driver.minted(token(1)))
    received = site.call("/readyz")
    assert (received.status, json.loads(received.body)) == (200, {"ready": True})
    driver.passes(3599.9)
    assert site.call("/readyz").status == 200
    driver.passes(0.1)
    assert site.call("/readyz").status == 503
    driver.perform(driver.steps())
    driver.perform(driver.minted(token(2, age=-3600.0)))
    assert site.call("/readyz").status == 200


def test_readyz_names_every_unready_token_and_output(site_of: SiteOf) -> None:
    driver = at_work(policy(output("file:/a"), output("file:/b")))
    site = site_of(Daemon(at_work(), driver))
    assert site.call("/readyz").status == 200
    driver.observe(Found("file:/b", Holding()))  # the file was deleted
    received = site.call("/readyz")
    assert received.headers["Content-Type"] == "application/json"
    document = json.loads(received.body)
    assert (received.status, document["ready"]) == (503, False)
    (reason,) = document["reasons"]
    assert (reason["token"], reason["output"]) == ("studio", "file:/b")
    assert reason["problem"]


def test_a_jump_of_the_wall_clock_past_the_expiry_fails_readyz(site_of: SiteOf) -> None:
    daemon = Daemon(at_work())
    site = site_of(daemon)
    daemon.passes(1.0, wall=3600.0)
    assert site.call("/readyz").status == 503


# /status


def test_the_status_is_json_for_programs(site_of: SiteOf) -> None:
    daemon = Daemon(at_work())
    daemon.passes(600.0)
    site = site_of(daemon)
    for accept in (None, "*/*", "application/json", "text/html;q=0", "text/html, application/json"):
        received = site.call("/status", accept=accept)
        assert received.headers["Content-Type"] == "application/json"
        document = json.loads(received.body)
        assert document["version"] == "1.2.3"
        (studio,) = document["tokens"]
        assert (studio["name"], studio["valid"], studio["remaining_seconds"]) == ("studio", True, 3000.0)


class Tags(HTMLParser):
    """Collects the elements, links and text of a page."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.names: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_status_is_a_page_for_a_browser_with_names_escaped(site_of: SiteOf) -> None:
    hostile = '"><script>alert(1)</script>&amp;'
    driver = at_work(policy(output(f"file:/{hostile}")))
    received = site_of(Daemon(driver)).call("/status", accept=BROWSER)
    assert received.status == 200
    assert received.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in received.headers["Content-Security-Policy"]
    page = Tags(received.body)
    assert "script" not in page.names
    assert "studio" in page.text
    assert hostile in page.text


def test_a_browser_gets_json_when_it_asks_for_it(site_of: SiteOf) -> None:
    received = site_of(Daemon(at_work())).call("/status?format=json", accept=BROWSER)
    assert received.headers["Content-Type"] == "application/json"
    assert json.loads(received.body)["valid"] is True


def test_the_page_is_imported_only_for_a_browser() -> None:
    script = "import sys, refresher.web.endpoints; print('refresher.status.page' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("accept", "html", "plain"),
    [
        ("", 1.0, 1.0),
        ("*/*", 1.0, 1.0),
        (BROWSER, 1.0, 0.8),
        ("text/*;q=0.5, text/html", 1.0, 0.5),
        ("TEXT/HTML ; q=0.3", 0.3, 0.0),
        ("text/html;level=1;q=0.4,*/*;q=0.1", 0.4, 0.1),
        ("text/html;q=much", 0.0, 0.0),
        ("application/json", 0.0, 0.0),
        (";;,,q=1", 0.0, 0.0),
    ],
)
def test_the_most_specific_range_gives_the_weight_of_a_type(accept: str, html: float, plain: float) -> None:
    assert (quality(accept, "text/html"), quality(accept, "text/plain")) == (html, plain)


# /metrics


def test_metrics_have_the_format_that_the_scraper_prefers(site_of: SiteOf) -> None:
    site = site_of(Daemon(at_work()))
    plain, open_metrics = site.call("/metrics"), site.call("/metrics", accept=SCRAPER)
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert open_metrics.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    of_text = {family.name: family for family in text_string_to_metric_families(plain.body.decode())}
    of_open = {
        family.name: family
        for family in openmetrics.text_string_to_metric_families(open_metrics.body.decode())
    }
    for families in (of_text, of_open):
        (expiry,) = families["token_refresher_token_expiry_timestamp_seconds"].samples
        assert (expiry.labels, expiry.value) == ({"token": "studio"}, NOW.wall + 3600)


@pytest.mark.parametrize(
    "accept",
    [
        "nonsense",
        ";;;,,,",
        "application/openmetrics-text;version=x.y",
        "application/openmetrics-text;version=1.0.0\xfc",
        "application/openmetrics-text; version=9.9.9",
        "text/plain;version=",
    ],
)
def test_metrics_are_served_for_every_accept_header(site_of: SiteOf, accept: str) -> None:
    received = site_of(Daemon(at_work())).call("/metrics", accept=accept)
    assert received.status == 200
    assert b"token_refresher_token_expiry_timestamp_seconds" in received.body


def test_dropped_log_lines_are_a_metric(serve_endpoints: ServeEndpoints) -> None:
    daemon = Daemon(at_work())
    endpoints = Endpoints(
        daemon.view, lambda: daemon.last_turn, daemon, Counters(), "1", log_lines_dropped=lambda: 7
    )
    assert (
        b"\ntoken_refresher_log_lines_dropped_total 7.0\n" in serve_endpoints(endpoints).call("/metrics").body
    )


@pytest.mark.parametrize(
    ("accept_encoding", "coding"),
    [
        ("gzip", "gzip"),  # Prometheus
        ("deflate, GZIP;q=0.5", "gzip"),
        ("*", "gzip"),
        ("gzip;q=0", None),
        ("identity", None),
        ("*, gzip;q=0", None),
        (None, None),
    ],
)
def test_metrics_are_compressed_for_a_scraper_that_accepts_gzip(
    site_of: SiteOf, accept_encoding: str | None, coding: str | None
) -> None:
    site = site_of(Daemon(at_work()))
    headers = {} if accept_encoding is None else {"Accept-Encoding": accept_encoding}
    received = site.call("/metrics", accept=SCRAPER, headers=headers)
    assert received.headers["Content-Encoding"] == coding
    body = gzip.decompress(received.body) if coding else received.body
    assert list(openmetrics.text_string_to_metric_families(body.decode()))


def test_metrics_of_many_tokens_are_never_in_memory_as_a_whole() -> None:
    """More tokens make more pieces, not larger ones. Each piece can be decompressed when it arrives."""
    largest = []
    for count in (500, 2000):
        daemon = Daemon(*(at_work(policy()._replace(name=f"token-{number}")) for number in range(count)))
        reply = daemon.endpoints.answer(Request("GET", "/metrics", {"accept-encoding": "gzip"}))
        assert isinstance(reply, Stream)
        unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        *pieces, _end = [len(unpacker.decompress(piece)) for piece in reply.pieces]
        assert all(pieces)
        largest.append(max(pieces))
    assert max(largest) < 64 * 2**10


def test_metrics_are_computed_at_the_scrape(site_of: SiteOf) -> None:
    daemon = Daemon(at_work())
    site = site_of(daemon)
    daemon.passes(30.0)
    daemon.last_turn = daemon.now()
    families = text_string_to_metric_families(site.call("/metrics").body.decode())
    (last,) = (each for each in families if each.name == "token_refresher_last_loop_timestamp_seconds")
    assert last.samples[0].value == NOW.wall + 30.0
