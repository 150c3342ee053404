"""`refresher once`, for cron, timers and init containers: which tokens it mints, and its exit code."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from refresher.config.output_kinds import LOCK_FILE
from refresher.emulator.faults import Fault
from refresher.emulator.server import Emulator
from tests.commands.daemon import STOP_WITHIN, Ended, ended, eventually, plant, refresher, start
from tests.issuer.peer import answering, peer
from tests.needs import tool

HOUR = 3600.0


def words(issuer: Emulator, place: Path) -> tuple[object, ...]:
    return ("--key-file", place / "key", "--to-file", place / "token", "--issuer-url", issuer.url)


def once(issuer: Emulator, place: Path, *more: object) -> Ended:
    """Runs it at the log level that shows each step, unless `more` gives another."""
    return refresher("once", *words(issuer, place), *more, REFRESHER_LOG_LEVEL="info")


# issuer.verify


def test_a_rejected_token_is_not_published_and_the_old_value_stays(issuer, place):
    old = plant(place / "token", age=3000.0, issuer=issuer.url)
    with peer(answering(401)) as product:
        passed = once(issuer, place, "--verify-url", product.url)
    assert passed.code == 75
    assert (place / "token").read_text() == old
    (failed,) = [entry for entry in passed.log if entry["event"] == "RefreshFailed"]
    assert failed["outcome"] == "bad_response"
    assert "verify of the issuer rejects the new token: 401; the published token stays" in failed["message"]


@pytest.mark.parametrize(
    ("status", "headers"), [(200, ()), (500, ()), (403, ("X-Access-Token-Expired: true",))]
)
def test_a_token_that_is_not_rejected_is_published(issuer, place, status, headers):
    with peer(answering(status, b"", *headers)) as product:
        assert once(issuer, place, "--verify-url", product.url).code == 0
        published = (place / "token").read_text()
        assert f"Bearer {published}" in product.requests[0]
    assert issuer.valid(published)


# Mints


def test_the_first_call_mints_and_the_second_has_nothing_to_do(issuer, place):
    first, second = once(issuer, place), once(issuer, place)
    assert (first.code, second.code) == (0, 0)
    assert issuer.valid((place / "token").read_text())
    assert issuer.counts.mints == 1
    assert [entry["event"] for entry in second.log] == ["KeyLoaded", "TokenAdopted"]


def test_nothing_is_minted_for_an_output_that_cannot_be_written(issuer, place):
    """Otherwise a crontab mints with each call, without any use."""
    for _ in range(2):
        nowhere = ("--to-file", place / "missing" / "token", "--issuer-url", issuer.url)
        passed = refresher("once", "--key-file", place / "key", *nowhere)
        assert passed.code == 73
        assert issuer.counts.mints == 0


def test_a_foreign_value_in_one_output_is_not_written_to_another(issuer, place):
    """A forged record "issued just now" once won, and its value was written to every other output."""
    two = (*words(issuer, place), "--to-file", place / "other", "--log-level", "info")
    assert refresher("once", *two).code == 0
    genuine = (place / "token").read_text()
    forged = plant(place / "other", age=-0.0, sealed_with="not the application key", issuer=issuer.url)
    passed = refresher("once", *two)
    assert passed.code == 0
    assert [entry["output"] for entry in passed.log if entry["event"] == "OutputForged"] == [
        f"file:{place}/other"
    ]
    assert (place / "token").read_text() == (place / "other").read_text() == genuine != forged
    assert issuer.counts.mints == 1  # and a restart still needs no mint


def test_a_due_token_is_replaced(issuer, place):
    old = plant(place / "token", age=0.8 * HOUR, issuer=issuer.url)
    assert once(issuer, place).code == 0
    assert (place / "token").read_text() != old
    assert issuer.valid((place / "token").read_text())


@pytest.mark.parametrize(
    ("every", "mints"),
    [(None, 0), ("20m", 0), ("45m", 1)],
    ids=["not given", "before it is due", "after it is due"],
)
def test_a_token_due_before_the_next_call_is_minted_now(issuer, place, every, mints):
    plant(place / "token", age=10 * 60, issuer=issuer.url)  # due after 36 to 42 minutes
    ended = once(issuer, place, *(("--every", every) if every else ()))
    assert ended.code == 0
    assert issuer.counts.mints == mints


@pytest.mark.parametrize("every", ["59m", "1h", "2h"])
def test_a_period_too_long_for_the_lifetime_is_reported_with_its_arithmetic(issuer, place, every):
    ended = once(issuer, place, "--every", every)
    assert ended.code == 78
    assert ended.said == (
        f'refresher: --every {every}: {every} + 1m margin ≥ lifetime 1h of token "default"; '
        "accepted: less than 59m, or a longer lifetime\n"
    )
    assert issuer.counts.mints == 0


@pytest.mark.parametrize("age", [None, 10.0, 0.8 * HOUR], ids=["none there", "fresh", "due"])
def test_a_pass_without_a_failure_prints_nothing(issuer, place, age):
    if age is not None:
        plant(place / "token", age=age, issuer=issuer.url)
    assert refresher("once", *words(issuer, place)) == (0, "")


def test_a_failure_is_printed(issuer, place):
    plant(place / "token", age=0.8 * HOUR, issuer=issuer.url)
    issuer.faults(status=500)
    assert [entry["event"] for entry in refresher("once", *words(issuer, place)).log] == ["RefreshFailed"]


# The exit code


def configuration(place: Path, issuer: Emulator, *tokens: dict[str, Any]) -> Path:
    document = {
        "issuer": {"url": issuer.url},
        "tokens": [
            {
                "name": f"t{number}",
                "key_file": str(place / token.get("key", "key")),
                "outputs": [{"file": str(place / token.get("directory", ".") / f"token-{number}")}],
            }
            for number, token in enumerate(tokens)
        ],
    }
    path = place / "refresher.json"
    path.write_text(json.dumps(document))
    return path


GOOD: dict[str, str] = {}
NO_KEY = {"key": "no-such-key"}
REFUSED = {"key": "wrong-key"}
UNWRITABLE = {"directory": "no-such-directory"}
ONE_FAILS = Fault(status=500, count=1)  # whichever token comes first


@pytest.mark.parametrize(
    ("tokens", "fault", "code"),
    [
        ([GOOD, GOOD], None, 0),
        ([GOOD, GOOD], ONE_FAILS, 75),
        ([GOOD, UNWRITABLE], None, 73),
        ([UNWRITABLE, UNWRITABLE], ONE_FAILS, 73),
        ([GOOD, REFUSED], None, 77),
        ([REFUSED, REFUSED], ONE_FAILS, 77),
        ([REFUSED, UNWRITABLE], None, 77),
        ([NO_KEY, GOOD], ONE_FAILS, 78),
        ([NO_KEY, UNWRITABLE, REFUSED], None, 78),
    ],
    ids=[
        "nothing fails",
        "issuer",
        "output",
        "output before issuer",
        "key",
        "key before issuer",
        "key before output",
        "configuration before issuer",
        "configuration before everything",
    ],
)
def test_the_exit_code_is_the_one_of_the_gravest_failure(issuer, place, tokens, fault, code):
    (place / "wrong-key").write_text("a-key-of-somebody-else")
    if fault is not None:
        issuer.faults(fault)
    config = configuration(place, issuer, *tokens)
    assert refresher("once", "--config", config).code == code
    for number, token in enumerate(tokens):
        written = (place / f"token-{number}").exists()
        assert not written if token is not GOOD else written or fault is ONE_FAILS


def test_a_failing_issuer_is_reported_while_the_old_token_is_valid(issuer, place):
    old = plant(place / "token", age=0.8 * HOUR, issuer=issuer.url)
    issuer.faults(status=429, retry_after="60")
    assert once(issuer, place).code == 75
    assert (place / "token").read_text() == old


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_although_the_issuer_hangs(issuer, place, number):
    issuer.faults(hang=True)
    process = start("once", *words(issuer, place))
    eventually(lambda: issuer.counts.mints, "the issuer is asked")
    process.send_signal(number)
    process.wait(STOP_WITHIN)
    assert ended(process).code == 75, "it was asked for a token"
    assert sorted(os.listdir(place)) == [LOCK_FILE, "key"]


def test_a_pass_cut_short_by_a_signal_succeeds_if_the_old_token_is_valid(issuer, place):
    old = plant(place / "token", age=0.8 * HOUR, issuer=issuer.url)
    issuer.faults(hang=True)
    process = start("once", *words(issuer, place))
    eventually(lambda: issuer.counts.mints, "the issuer is asked")
    process.send_signal(signal.SIGTERM)
    assert ended(process).code == 0
    assert (place / "token").read_text() == old


def test_a_second_signal_ends_it_at_once(issuer, place):
    issuer.faults(hang=True)
    process = start("once", *words(issuer, place))
    eventually(lambda: issuer.counts.mints, "the issuer is asked")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    process.wait(STOP_WITHIN / 2)
    assert ended(process).code == 75


def test_two_passes_on_one_file_leave_one_complete_token(issuer, place):
    for _ in range(4):
        both = [start("once", *words(issuer, place)) for _ in range(2)]
        assert [ended(process)[0] for process in both] == [0, 0]
        assert issuer.valid((place / "token").read_text())
        assert sorted(os.listdir(place)) == [LOCK_FILE, ".token.meta.json", "key", "token"]
        (place / "token").unlink()


# Formats, in the hands of the programs they are for


def test_curl_reads_its_header_from_a_file(issuer, place):
    assert once(issuer, place, "--format", "header").code == 0
    called = subprocess.run(
        [
            tool("curl"), "--silent", "--show-error", "--noproxy", "*",
            "--header", f"@{place / 'token'}", "--json", '{"name": "My Room"}',
            f"{issuer.url}/v1/rooms/create",
        ],
        capture_output=True,
        text=True,
        timeout=STOP_WITHIN,
        check=True,
    )  # fmt: skip
    assert json.loads(called.stdout)["message"] == "room created"
    assert issuer.counts.product == {"ok": 1}


# --- The metrics of the pass, for node_exporter


def metrics(path: Path) -> dict[str, float]:
    """The values by metric. promtool accepts the file."""
    text = path.read_text()
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    series = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {
        name.partition("{")[0].removeprefix("token_refresher_"): float(value) for name, _, value in series
    }


def test_the_metrics_file_says_when_the_pass_ended_and_when_the_token_expires(issuer, place):
    path = place / "inlive.prom"
    assert once(issuer, place, "--every=10m", "--metrics-file", path).code == 0
    found = metrics(path)
    now = time.time()
    assert found["once_last_run_timestamp_seconds"] == pytest.approx(now, abs=60.0)
    assert found["output_token_expiry_timestamp_seconds"] == pytest.approx(now + HOUR, abs=60.0)
    assert (found["once_success"], found["once_every_seconds"], found["key_accepted"]) == (1, 600, 1)
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(place).count("inlive.prom") == len(
        [name for name in os.listdir(place) if "prom" in name]
    )


def test_a_failed_pass_also_replaces_the_metrics_file(issuer, place):
    path = place / "inlive.prom"
    once(issuer, place, "--metrics-file", path)
    before = metrics(path)
    (place / "key").write_text("refused-key-0000")
    (place / "token").unlink()
    assert once(issuer, place, "--metrics-file", path).code == 77
    after = metrics(path)
    assert (after["once_success"], after["key_accepted"]) == (0, 0)
    assert after["once_last_run_timestamp_seconds"] > before["once_last_run_timestamp_seconds"]
    assert "refused-key-0000" not in path.read_text()


def test_a_metrics_file_that_cannot_be_written_fails_the_pass_but_not_the_token(issuer, place):
    passed = once(issuer, place, "--metrics-file", place / "missing" / "inlive.prom")
    assert passed.code == 73
    assert issuer.valid((place / "token").read_text())
    assert f"{place}/missing/inlive.prom" in passed.said


def test_a_metrics_file_that_no_collector_reads_is_refused(issuer, place):
    passed = once(issuer, place, "--metrics-file", place / "inlive.txt")
    assert passed.code == 78
    assert ".prom" in passed.said
    assert issuer.counts.mints == 0
