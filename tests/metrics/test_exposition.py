"""The metrics as Prometheus scrapes them."""

import subprocess

import pytest
from prometheus_client import parser
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.registry import Collector

from refresher.core.effects import Mint
from refresher.core.events import KeyRead, MintFailed, RefreshRequested, WriteFailed
from refresher.core.instant import Instant
from refresher.core.model import Reason, Verdict
from refresher.core.notifications import TokenMinted, TokenVerified
from refresher.core.process_notifications import LeaderChanged
from refresher.core.state import OutputPolicy
from refresher.core.status import ConfigurationStatus
from tests import needs
from tests.core.builders import KEY, KEY_REFUSED, NEW_KEY, NOW, UNREACHABLE, token
from tests.observed import Daemon, at_work

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PLAIN = "text/plain; version=0.0.4"

# Design §2, "Metrics", except `_leader` (see below): the name, labels and type of each metric.
PROMISED = {
    "build_info": ({"version"}, "gauge"),
    "token_expiry_timestamp_seconds": ({"token"}, "gauge"),
    "config_reload_success": (set(), "gauge"),
    "config_last_reload_success_timestamp_seconds": (set(), "gauge"),
    "token_issued_timestamp_seconds": ({"token"}, "gauge"),
    "token_lifetime_shortfall_seconds": ({"token"}, "gauge"),
    "refresh_due_timestamp_seconds": ({"token"}, "gauge"),
    "next_refresh_timestamp_seconds": ({"token"}, "gauge"),
    "refresh_failing_since_timestamp_seconds": ({"token"}, "gauge"),
    "refreshes_total": ({"token", "reason", "result"}, "counter"),
    "mint_requests_total": ({"outcome"}, "counter"),
    "verifications_total": ({"result"}, "counter"),
    "mint_duration_seconds_bucket": ({"le"}, "histogram"),
    "mint_duration_seconds_count": (set(), "histogram"),
    "mint_duration_seconds_sum": (set(), "histogram"),
    "output_writes_total": ({"token", "output", "result"}, "counter"),
    "output_token_expiry_timestamp_seconds": ({"token", "output"}, "gauge"),
    "key_accepted": ({"token"}, "gauge"),
    "clock_skew_seconds": (set(), "gauge"),
    "last_loop_timestamp_seconds": (set(), "gauge"),
    "log_lines_dropped_total": (set(), "counter"),
    "crashes_total": (set(), "counter"),
}
OUTCOMES = ("ok", "key_refused", "throttled", "server_error", "unreachable", "timeout", "bad_response")
ODD_NAMES = (
    'a "quoted" path',
    "back\\slash\\n",
    "a\nline",
    "of\udcff bytes",
    "ä/\N{SNOWMAN}",
    "{a=1} 2 # x",
    "",
    "tab\t\r\x7f",
)

VERDICTS = ("good", "rejected", "expired", "inconclusive")

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(daemon: Daemon) -> Series:
    """Every sample of one scrape, by name and labels."""
    body, _ = daemon.metrics.exposition(PLAIN)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parser.text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float | None:
    return series.get((f"token_refresher_{name}", frozenset(labels.items())))


def named(series: Series, name: str) -> list[dict[str, str]]:
    """The labels of every series of this name."""
    return [dict(labels) for found, labels in series if found == f"token_refresher_{name}"]


def test_exactly_the_promised_metrics_are_there_with_their_labels_and_types() -> None:
    body, _ = with_everything().metrics.exposition(PLAIN)
    found = {
        sample.name: (set(sample.labels), family.type)
        for family in parser.text_string_to_metric_families(body.decode())
        for sample in family.samples
        if not sample.name.startswith("process_")
    }
    assert found == {f"token_refresher_{name}": promised for name, promised in PROMISED.items()}


def with_everything() -> Daemon:
    """A daemon with a value for every metric except the election's."""
    daemon = Daemon("studio", log_lines_dropped=lambda: 3)
    daemon.begin("studio")
    daemon.mints("studio", token(lifetime=1800.0, requested=3600.0))
    daemon.counters.configuration = ConfigurationStatus(NOW.wall)
    daemon.counters.on_notification("studio", TokenVerified("f" * 16, Verdict.GOOD, ""), NOW)
    daemon.observe("studio", MintFailed(KEY, UNREACHABLE, roll=1.0))
    return daemon


def test_the_metrics_of_the_process_have_their_usual_names() -> None:
    series = scraped(Daemon("studio"))
    assert series["process_resident_memory_bytes", frozenset()] > 1e6
    assert series["process_open_fds", frozenset()] > 0


def test_promtool_accepts_the_metrics() -> None:
    promtool = needs.tool("promtool")
    body, _ = at_work("studio", "radio").metrics.exposition(PLAIN)
    assert body.count(b"\n") > 50  # promtool would accept an empty text too
    checked = subprocess.run([promtool, "check", "metrics"], input=body, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


# --- Formats.


def families(body: bytes, accept: str) -> dict[str, tuple[str, str, list[tuple[str, dict[str, str], float]]]]:
    """Type, description and samples of our metrics, as prometheus_client reads them."""
    parse = (openmetrics_parser if accept == OPENMETRICS else parser).text_string_to_metric_families
    return {
        family.name: (
            family.type,
            family.documentation,
            [(sample.name, sample.labels, sample.value) for sample in family.samples],
        )
        for family in parse(body.decode())
        if family.name.startswith("token_refresher_")
    }


def test_a_scraper_that_asks_for_openmetrics_gets_the_same_metrics() -> None:
    daemon = with_everything()
    plain, _ = daemon.metrics.exposition(PLAIN)
    body, content_type = daemon.metrics.exposition(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"\n# EOF\n")
    assert body.count(b"# EOF") == 1
    known = families(plain, PLAIN)
    known["token_refresher_build"] = known.pop(
        "token_refresher_build_info"
    )  # a type that only one of both has
    found = families(body, OPENMETRICS)
    assert found.pop("token_refresher_build")[2] == known.pop("token_refresher_build")[2]
    assert found == known


class Rendered(Collector):
    """Metrics that prometheus_client has read, for it to write them."""

    def __init__(self, body: bytes, accept: str) -> None:
        parse = (openmetrics_parser if accept == OPENMETRICS else parser).text_string_to_metric_families
        self._families = list(parse(body.decode()))

    def collect(self) -> list[Metric]:
        return self._families


@pytest.mark.parametrize("accept", [PLAIN, OPENMETRICS])
def test_what_we_write_ourselves_is_what_prometheus_client_would_write(accept: str) -> None:
    outputs = tuple(OutputPolicy(f"file:/{odd}", 0.0, False) for odd in ODD_NAMES)
    body, _ = at_work("studio", "radio", outputs=outputs).metrics.exposition(accept)
    encode, _ = choose_encoder(accept)
    theirs = encode(Rendered(body, accept)).split(b"\n")
    for line, other in zip(body.split(b"\n"), theirs, strict=True):
        (text, _, value), (other_text, _, other_value) = line.rpartition(b" "), other.rpartition(b" ")
        if line.startswith(b"token_refresher_"):  # a number has several spellings
            assert (text, float(value)) == (other_text, float(other_value))
        elif b"process_" not in line:
            assert line == other


@pytest.mark.parametrize("accept", ["", "*/*", "text/html", PLAIN])
def test_all_others_get_the_text_format(accept: str) -> None:
    _, content_type = Daemon("studio").metrics.exposition(accept)
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize("media_type", ["application/openmetrics-text", "text/plain"])
@pytest.mark.parametrize(
    "version", ["latest", "1.x", "1.0.0\r\n evil: yes", "1.0.0.0\r\n evil: yes", "", "-"]
)
def test_an_invalid_version_harms_neither_us_nor_the_header(media_type: str, version: str) -> None:
    body, content_type = Daemon("studio").metrics.exposition(f"{media_type}; version={version}")
    assert b"token_refresher_build_info" in body
    assert content_type.isprintable()


# --- Series with the value 0.


@pytest.mark.parametrize("accept", [PLAIN, OPENMETRICS])
def test_no_series_shows_when_it_was_created(accept: str) -> None:
    body, _ = at_work("studio").metrics.exposition(accept)
    assert b"_created" not in body


def test_the_counters_of_the_process_begin_at_0_so_that_the_first_event_is_an_increase() -> None:
    series = scraped(Daemon("studio", log_lines_dropped=lambda: 0))
    assert {
        of["outcome"]: value(series, "mint_requests_total", **of)
        for of in named(series, "mint_requests_total")
    } == dict.fromkeys(OUTCOMES, 0)
    assert value(series, "log_lines_dropped_total") == 0
    assert value(series, "mint_duration_seconds_count") == 0.0
    assert value(series, "mint_duration_seconds_bucket", le="+Inf") == 0.0


def test_with_the_first_verification_the_counters_of_all_verdicts_appear() -> None:
    daemon = at_work("studio")
    assert named(scraped(daemon), "verifications_total") == []
    daemon.counters.on_notification("studio", TokenVerified("f" * 16, Verdict.GOOD, ""), NOW)
    series = scraped(daemon)
    counts = {
        of["result"]: value(series, "verifications_total", **of)
        for of in named(series, "verifications_total")
    }
    assert counts == dict.fromkeys(VERDICTS, 0) | {"good": 1}


def test_a_log_that_does_not_count_what_it_drops_has_no_series() -> None:
    assert named(scraped(at_work("studio")), "log_lines_dropped_total") == []


def test_counters_of_tokens_and_outputs_omit_zeros_except_successful_writes() -> None:
    outputs = OutputPolicy("file:/a", 0.0, False), OutputPolicy("file:/b", 0.0, False)
    for daemon in (Daemon("studio", outputs=outputs), at_work("studio", outputs=outputs)):
        zeros = [
            (name, dict(of))
            for (name, of), count in scraped(daemon).items()
            if count == 0 and ("token", "studio") in of
        ]
        assert all(
            name == "token_refresher_output_writes_total" and of["result"] == "success" for name, of in zeros
        )
    writes = named(scraped(Daemon("studio", outputs=outputs)), "output_writes_total")
    assert [of["output"] for of in writes] == ["file:/a", "file:/b"]  # so that the alert finds them


FILE, SECRET = OutputPolicy("file:/a", 0.0, False), OutputPolicy("secret:a/b", 120.0, False)


@pytest.mark.parametrize(("outputs", "healthy", "failing"), [((FILE,), 9, 12), ((FILE, SECRET), 11, 14)])
def test_a_token_has_nine_series_with_one_output_and_twelve_while_all_fails(
    outputs: tuple[OutputPolicy, ...], healthy: int, failing: int
) -> None:
    """Two more for each further output. The largest number of series is that of a token whose refreshes and
    one of whose outputs fail."""
    daemon = at_work("studio", outputs=outputs)
    daemon.counters.on_notification("studio", TokenMinted(Reason.SCHEDULED, token().facts, 0), NOW)
    found = [name for name, of in scraped(daemon) if ("token", "studio") in of]
    assert len(found) == healthy
    daemon.observe("studio", MintFailed(KEY, UNREACHABLE, roll=1.0))
    daemon.observe("studio", WriteFailed("file:/a", "disk full", roll=1.0))
    found = [name for name, of in scraped(daemon) if ("token", "studio") in of]
    assert "token_refresher_refresh_failing_since_timestamp_seconds" in found
    assert len(found) == failing


def test_no_series_of_a_token_is_always_0() -> None:
    """0 is the value of a refused key, and of the successful writes before the first; of nothing else."""
    daemon = at_work("studio", outputs=(FILE, SECRET))
    assert [
        name for (name, of), value in scraped(daemon).items() if value == 0 and ("token", "studio") in of
    ] == []


def test_the_due_time_is_that_of_the_schedule_and_no_retry_moves_it() -> None:
    daemon = at_work("studio")
    driver = daemon.tokens["studio"]
    due = value(scraped(daemon), "refresh_due_timestamp_seconds", token="studio")
    assert due == value(scraped(daemon), "next_refresh_timestamp_seconds", token="studio")
    driver.passes(3000.0)
    daemon.clock.time = driver.now
    driver.observe(MintFailed(KEY, UNREACHABLE, roll=1.0))
    series = scraped(daemon)
    assert value(series, "refresh_due_timestamp_seconds", token="studio") == due
    assert value(series, "next_refresh_timestamp_seconds", token="studio") > driver.now.wall > due


def test_a_request_to_refresh_does_not_move_the_due_time() -> None:
    daemon = at_work("studio")
    due = value(scraped(daemon), "refresh_due_timestamp_seconds", token="studio")
    daemon.observe("studio", RefreshRequested())
    assert value(scraped(daemon), "refresh_due_timestamp_seconds", token="studio") == due


def test_without_a_token_nothing_is_due() -> None:
    daemon = Daemon("studio")
    daemon.begin("studio")
    assert value(scraped(daemon), "refresh_due_timestamp_seconds", token="studio") is None


def test_failing_since_is_the_first_failure_in_a_row_and_goes_with_a_success() -> None:
    daemon, name = at_work("studio"), "refresh_failing_since_timestamp_seconds"
    driver = daemon.tokens["studio"]
    assert value(scraped(daemon), name, token="studio") is None
    began = driver.now.wall
    for _ in range(3):
        driver.observe(MintFailed(KEY, UNREACHABLE, roll=1.0))
        driver.passes(60.0)
        daemon.clock.time = driver.now
        assert value(scraped(daemon), name, token="studio") == pytest.approx(began)
    driver.passes(3600.0)
    driver.until(Mint)
    driver.perform(driver.minted(token(2, age=NOW.boot - driver.now.boot)))
    assert value(scraped(daemon), name, token="studio") is None


def test_a_refused_new_key_fails_although_the_old_one_works() -> None:
    daemon = at_work("studio")
    daemon.observe("studio", KeyRead(NEW_KEY))
    daemon.observe("studio", MintFailed(NEW_KEY, KEY_REFUSED, roll=1.0))
    began = value(scraped(daemon), "refresh_failing_since_timestamp_seconds", token="studio")
    assert began == pytest.approx(NOW.wall)


def test_events_are_counted_for_their_token_and_output() -> None:
    daemon = at_work("studio", "radio")
    daemon.observe("studio", WriteFailed("file:/a", "disk full", roll=1.0))
    series = scraped(daemon)
    assert value(series, "refreshes_total", token="studio", reason="first", result="success") == 1
    assert value(series, "output_writes_total", token="studio", output="file:/a", result="success") == 1
    assert value(series, "output_writes_total", token="studio", output="file:/a", result="failure") == 1
    assert value(series, "output_writes_total", token="radio", output="file:/a", result="failure") is None
    assert value(series, "mint_requests_total", outcome="ok") == 2
    assert value(series, "clock_skew_seconds") == -1.5


def test_the_histogram_is_cumulative() -> None:
    series = scraped(at_work("studio", "radio"))  # two requests of 0.2 s
    buckets = {
        of["le"]: value(series, "mint_duration_seconds_bucket", **of)
        for of in named(series, "mint_duration_seconds_bucket")
    }
    assert buckets == {"0.05": 0, "0.1": 0} | dict.fromkeys(
        ("0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf"), 2
    )
    assert value(series, "mint_duration_seconds_count") == 2
    assert value(series, "mint_duration_seconds_sum") == pytest.approx(0.4)


# --- Gauges.


def test_the_times_of_a_token_are_wall_times() -> None:
    daemon = at_work("studio")
    daemon.clock.time = NOW + 100
    series = scraped(daemon)
    assert value(series, "token_issued_timestamp_seconds", token="studio") == NOW.wall
    assert value(series, "token_expiry_timestamp_seconds", token="studio") == NOW.wall + 3600
    assert (
        value(series, "output_token_expiry_timestamp_seconds", token="studio", output="file:/a")
        == NOW.wall + 3600
    )
    assert value(series, "next_refresh_timestamp_seconds", token="studio") == NOW.wall + 2520
    assert value(series, "last_loop_timestamp_seconds") == NOW.wall + 100


def test_an_unchanged_expiry_has_an_unchanged_value() -> None:
    daemon = at_work("studio")
    seen = set()
    for microseconds in range(20):  # between reading one clock and the other
        daemon.clock.time = Instant(NOW.wall + 100, NOW.boot + 100 + microseconds / 1e6)
        seen.add(value(scraped(daemon), "token_expiry_timestamp_seconds", token="studio"))
    assert seen == {NOW.wall + 3600}


def test_an_expired_token_keeps_its_expiry() -> None:
    daemon = at_work("studio")
    daemon.clock.time = NOW + 4000
    series = scraped(daemon)
    assert value(series, "token_expiry_timestamp_seconds", token="studio") == NOW.wall + 3600
    output = {"token": "studio", "output": "file:/a"}
    assert value(series, "output_token_expiry_timestamp_seconds", **output) == NOW.wall + 3600


@pytest.mark.parametrize(
    "name",
    [
        "token_expiry_timestamp_seconds",
        "token_issued_timestamp_seconds",
        "next_refresh_timestamp_seconds",
        "output_token_expiry_timestamp_seconds",
        "key_accepted",
        "clock_skew_seconds",
    ],
)
def test_an_unknown_value_is_absent(name: str) -> None:
    assert named(scraped(Daemon("studio")), name) == []


def test_a_refused_key_is_not_accepted_and_a_working_one_is() -> None:
    daemon = at_work("studio")
    daemon.tokens |= Daemon("radio").tokens
    daemon.begin("radio")
    daemon.observe("radio", MintFailed(KEY, KEY_REFUSED, roll=1.0))
    series = scraped(daemon)
    assert value(series, "key_accepted", token="studio") == 1
    assert value(series, "key_accepted", token="radio") == 0
    assert value(series, "refreshes_total", token="radio", reason=Reason.FIRST, result="failure") == 1


# --- Tokens, outputs, Leases.


def test_the_series_of_a_token_go_when_it_goes() -> None:
    daemon = at_work("studio", "radio")
    assert any(("token", "radio") in labels for _, labels in scraped(daemon))
    del daemon.tokens["radio"]
    series = scraped(daemon)
    assert not any(("token", "radio") in labels for _, labels in series)
    assert value(series, "token_expiry_timestamp_seconds", token="studio") is not None


@pytest.mark.parametrize("accept", [PLAIN, OPENMETRICS])
def test_no_secret_is_exposed(accept: str) -> None:
    daemon = at_work("studio")
    secret = token()
    body, _ = daemon.metrics.exposition(accept)
    assert secret.refresh_token is not None
    for each in (KEY, secret.access, secret.refresh_token):
        assert each.reveal().encode() not in body


@pytest.mark.parametrize("accept", [PLAIN, OPENMETRICS])
@pytest.mark.parametrize("odd", ODD_NAMES)
def test_every_path_can_be_a_label(accept: str, odd: str) -> None:
    outputs = (OutputPolicy(f"file:/{odd}", 0.0, False),)
    body, _ = at_work("studio", outputs=outputs).metrics.exposition(accept)
    samples = [sample for _, _, samples in families(body, accept).values() for sample in samples]
    labels = {labels.get("output") for _, labels, _ in samples}
    assert labels == {None, f"file:/{odd}".replace("\udcff", "\\udcff")}


def test_each_lease_has_a_series_that_shows_whether_this_process_leads() -> None:
    daemon = at_work("studio")
    assert b"token_refresher_leader" not in samples_of(daemon)
    daemon.counters.on_notification("", LeaderChanged("inlive/a", leads=True, holder=""), NOW)
    daemon.counters.on_notification("", LeaderChanged("inlive/b", leads=False, holder="pod-2"), NOW)
    samples = samples_of(daemon).decode().splitlines()
    assert [each for each in samples if each.startswith("token_refresher_leader")] == [
        'token_refresher_leader{lease="inlive/a"} 1.0',
        'token_refresher_leader{lease="inlive/b"} 0.0',
    ]


def samples_of(daemon: Daemon) -> bytes:
    """The exposition without its comments."""
    body, _ = daemon.metrics.exposition("text/plain")
    return b"\n".join(line for line in body.splitlines() if not line.startswith(b"#"))
