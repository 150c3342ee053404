"""`refresher run`, the daemon, as its users see it: from the first token to the last signal."""

import json
import os
import pty
import re
import resource
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from refresher.emulator.server import Emulator
from tests.commands.daemon import (
    KEY,
    STOP_WITHIN,
    Daemon,
    eventually,
    start,
)

NEW_KEY = "application-key-after-rotation-8Hn2"
NOTICED = 5.0  # seconds from a changed key file to a token of the new key
LOOKED_AFTER = 60.0  # seconds until a disturbed output is put right


@pytest.fixture
def daemon(issuer, place) -> Callable[..., Daemon]:
    """Starts a daemon that keeps `place`/token fresh, with more words on its command line."""

    def make(*more: object, **options: Any) -> Daemon:
        words = ("--key-file", place / "key", "--to-file", place / "token", "--issuer-url", issuer.url)
        return Daemon(*words, *more, **options)

    return make


def configuration(
    place: Path, issuer: Emulator, outputs: dict[str, list[dict[str, Any]]], **of_tokens: Any
) -> Path:
    """A configuration file with a token of each name and its outputs; paths are relative to `place`."""
    path = place / "refresher.yaml"  # JSON is YAML
    tokens = [
        {"name": name, "key_file": "key", "outputs": those, **of_tokens} for name, those in outputs.items()
    ]
    path.write_text(json.dumps({"issuer": {"url": issuer.url}, "tokens": tokens}, indent=1))
    return path


def another_than(path: Path, old: str) -> Callable[[], str]:
    """The content of the file as soon as it differs from `old`. Fails if the file is ever without a token."""

    def look() -> str:
        found = path.read_text()
        assert found
        return found if found != old else ""

    return look


# Tokens


def test_the_token_is_readable_only_by_its_owner_and_replaced_in_time(issuer, place, daemon):
    with daemon("--lifetime", "10s") as running:
        running.wait_for("OutputWritten")
        token = place / "token"
        first = token.read_text()
        assert issuer.valid(first)
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        assert issuer.counts.recent[0].expiry_seconds == 10
        second = eventually(another_than(token, first), "the token is replaced")
        assert issuer.valid(first), "it is replaced before it ends"
        assert issuer.valid(second)
        assert running.wait_for("TokenMinted", reason="scheduled")


def test_a_restart_adopts_the_token_and_removes_stale_files(issuer, place, daemon):
    with daemon() as running:
        running.wait_for("OutputWritten")
        running.process.kill()
    stale = [place / ".token.0123456789ab.tmp", place / "..token.meta.json.0123456789ab.tmp"]
    foreign = place / ".token.notes.tmp"
    for path in (*stale, foreign):
        path.write_text("left behind")
    before = (place / "token").read_text()
    with daemon() as running:
        running.wait_for("TokenAdopted")
        assert running.end() == 0
    assert (place / "token").read_text() == before
    assert issuer.counts.mints == 1
    assert sorted(os.listdir(place)) == [
        ".token-refresher.lock",
        ".token.meta.json",
        ".token.notes.tmp",
        "key",
        "token",
    ]


def test_a_token_of_another_issuer_is_not_adopted_but_stays_until_the_next_mint(place, issuer, daemon):
    """Both issuers accept the same key."""
    with daemon() as running:
        running.wait_for("OutputWritten")
        assert running.end() == 0
    before = (place / "token").read_text()
    with Emulator(keys=[KEY]) as other:
        other.faults(status=503)
        with daemon("--issuer-url", other.url, endpoints=True) as running:
            running.wait_for("RefreshFailed")
            assert (place / "token").read_text() == before
            assert running.get("/readyz").status == 200
            other.faults()
            running.wait_for("OutputWritten")
            assert running.end() == 0
        assert other.valid((place / "token").read_text())
        with daemon("--issuer-url", other.url) as running:
            running.wait_for("TokenAdopted")
            assert running.end() == 0
        assert (issuer.counts.issued, other.counts.issued) == (1, 1)


def test_run_waits_for_a_missing_key(issuer, place, daemon):
    (place / "key").unlink()
    with daemon(endpoints=True) as running:
        assert running.wait_for("KeySourceFailed")["level"] == "ERROR"
        assert running.get("/readyz").status == 503
        (place / "key").write_text(f"{KEY}\n")
        running.wait_for("OutputWritten", within=NOTICED)
        assert issuer.valid((place / "token").read_text())
        assert running.get("/readyz").status == 200


def test_a_failing_output_delays_no_other_and_costs_no_mint(issuer, place):
    outputs = {"broken": [{"file": "missing/token"}, {"file": "beside"}], "whole": [{"file": "whole"}]}
    with Daemon("--config", configuration(place, issuer, outputs)) as running:
        failed = running.wait_for("OutputFailed")
        running.wait_for("OutputWritten", times=2)
        assert failed["level"] == "ERROR"
        assert f"create {place}/missing" in failed["message"]
        (place / "missing").mkdir()
        running.wait_for("OutputWritten", output=f"file:{place}/missing/token")
        assert (place / "missing" / "token").read_text() == (place / "beside").read_text()
        assert issuer.counts.mints == 2


def test_three_hundred_tokens_start_and_settle(issuer, place):
    names = [f"t{number}" for number in range(300)]
    config = configuration(place, issuer, {name: [{"file": f"token-{name}"}] for name in names})
    with Daemon("--config", config, endpoints=True) as running:
        running.wait_for("OutputWritten", times=300)
        assert running.get("/readyz").status == 200
        assert issuer.counts.mints == 300
        assert len({(place / f"token-{name}").read_text() for name in names}) == 300
        assert running.end() == 0


def test_a_deleted_or_altered_output_is_repaired_within_a_minute(issuer, place):
    """Slow: the daemon inspects its outputs every 30 s."""
    names = ["deleted", "altered", "opened", "left"]
    config = configuration(place, issuer, {"t": [{"file": name} for name in names]})
    with Daemon("--config", config) as running:
        running.wait_for("OutputWritten", times=4)
        token = (place / "left").read_text()
        (place / "deleted").unlink()
        (place / "altered").write_text("altered")
        (place / "opened").chmod(0o644)
        running.wait_for("OutputWritten", times=3, within=LOOKED_AFTER, reason="repair")
        assert {(place / name).read_text() for name in names} == {token}
        assert {stat.S_IMODE((place / name).stat().st_mode) for name in names} == {0o600}
        assert len(running.entries("OutputDisturbed")) == 3
        assert issuer.counts.mints == 1


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it(place, daemon, number):
    with daemon() as running:
        running.wait_for("OutputWritten")
        assert running.end(number) == 0


def test_a_signal_stops_it_while_the_issuer_hangs(issuer, daemon):
    issuer.faults(hang=True)
    with daemon() as one, daemon() as other:
        eventually(lambda: issuer.counts.mints == 2, "the issuer is asked")
        one.send(signal.SIGTERM)
        other.send(signal.SIGINT)
        assert [one.code(STOP_WITHIN), other.code(STOP_WITHIN)] == [0, 0]


def test_stopping_still_writes_every_token_in_hand(issuer, place):
    names = [f"t{number}" for number in range(200)]
    config = configuration(place, issuer, {name: [{"file": f"token-{name}"}] for name in names})
    issuer.faults(latency=0.2)
    with Daemon("--config", config) as running:
        eventually(lambda: issuer.counts.issued >= 20, "tokens are issued")
        assert running.end() == 0
    written = [path for path in place.iterdir() if path.name.startswith("token-")]
    assert all(issuer.valid(path.read_text()) for path in written)
    assert [path.name for path in place.iterdir() if path.name.endswith(".tmp")] == []
    assert len(written) == issuer.counts.issued
    assert issuer.counts.issued < 100, "no new mint"


def test_sigusr1_mints_a_new_token_and_sighup_changes_nothing(issuer, place, daemon):
    with daemon() as running:
        running.wait_for("OutputWritten")
        leaked = (place / "token").read_text()
        running.send(signal.SIGHUP)
        assert "no configuration file" in running.wait_for("RequestIgnored")["message"]
        running.send(signal.SIGUSR1)
        fresh = eventually(another_than(place / "token", leaked), "the token is replaced")
        assert issuer.valid(fresh)
        assert running.wait_for("TokenMinted", reason="requested")
        assert issuer.counts.mints == 2
        assert running.end() == 0


# Keys


def test_a_key_replaced_by_the_kubelet_is_used_within_seconds(issuer, tmp_path):
    for revision, key in (("..one", KEY), ("..two", NEW_KEY)):
        (tmp_path / revision).mkdir()
        (tmp_path / revision / "key").write_text(key)
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "key").symlink_to("..data/key")
    words = ("--key-file", tmp_path / "key", "--to-file", tmp_path / "token", "--issuer-url", issuer.url)
    with Daemon(*words) as running:
        running.wait_for("OutputWritten")
        new = issuer.add_key(NEW_KEY)
        (tmp_path / "..data_tmp").symlink_to("..two")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        (tmp_path / "..one" / "key").unlink()
        proven = running.wait_for("KeyProven", within=NOTICED)
        written = running.wait_for("OutputWritten", times=2, within=NOTICED)
        assert proven["key_fingerprint"] == written["key_fingerprint"] == new.fingerprint
        assert issuer.counts.by_key[new.fingerprint] == 1


def test_a_bad_new_key_is_reported_while_the_old_key_stays_in_use(issuer, place, daemon):
    with daemon(endpoints=True) as running:
        running.wait_for("OutputWritten")
        assert running.metric('key_accepted{token="default"}') == 1
        first = (place / "token").read_text()
        (place / "key").write_text("a-key-that-nobody-knows")
        alarm = running.wait_for("RefreshFailed", within=NOTICED)
        assert (alarm["level"], alarm["outcome"]) == ("ERROR", "key_refused")
        assert running.metric('key_accepted{token="default"}') == 0
        assert (place / "token").read_text() == first
        assert running.get("/readyz").status == 200
        running.send(signal.SIGUSR1)
        second = eventually(another_than(place / "token", first), "the old key mints")
        assert issuer.valid(second)
        (place / "key").write_text(KEY)
        eventually(lambda: running.metric('key_accepted{token="default"}') == 1, "the alarm ends", NOTICED)


# The endpoints


def test_it_is_ready_from_the_first_token_until_the_last_expires(place):
    with Emulator(keys=[KEY], jwt=True) as issuer:
        issuer.faults(status=500)
        words = ("--key-file", place / "key", "--to-file", place / "token", "--issuer-url", issuer.url)
        with Daemon(*words, "--lifetime", "30s", endpoints=True) as running:
            running.wait_for("RefreshFailed")
            refused = running.get("/readyz")
            assert refused.status == 503
            assert refused.document["reasons"][0]["output"] == f"file:{place}/token"
            assert not running.get("/status").document["valid"]
            assert running.get("/livez").status == 200
            issuer.faults(lifetime=4)  # as its claims say, too
            eventually(lambda: running.get("/readyz").status == 200, "ready")
            issuer.faults(status=500)
            eventually(lambda: running.get("/readyz").status == 503, "not ready any more")
            assert running.get("/livez").status == 200, "an outage is not mended by a restart"


def test_endpoints_that_fail_at_the_start_are_served_later(issuer, place):
    """Without a free descriptor no import works: no token is minted, but the endpoints are tried again."""
    (place / "key").unlink()
    words = ("--key-file", place / "key", "--to-file", place / "token", "--issuer-url", issuer.url)
    with Daemon(*words, endpoints=True) as running:
        eventually(lambda: "inlive-token-refresher" in running.said, "it has begun")
        enough = resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (3, enough[1]))
        eventually(lambda: "cannot serve the endpoints yet" in running.said, "it has tried")
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, enough)
        assert running.get("/livez").status == 200
        (place / "key").write_text(KEY)
        running.wait_for("OutputWritten")


def test_the_endpoints_report_the_state_of_the_token(place, daemon):
    with daemon(endpoints=True) as running:
        written = running.wait_for("OutputWritten")
        status = running.get("/status")
        assert status.document["valid"]
        (token,) = status.document["tokens"]
        assert (token["name"], token["expires_at"]) == ("default", written["expires_at"])
        assert token["outputs"][0]["name"] == f"file:{place}/token"
        assert running.metric('refreshes_total{reason="first",result="success",token="default"}') == 1
        assert running.metric('token_expiry_timestamp_seconds{token="default"}') == pytest.approx(
            running.metric('token_issued_timestamp_seconds{token="default"}') + 3600
        )
        assert running.get("/nowhere").status == 404


# Secrets and the log


def test_no_secret_appears_in_log_or_endpoints(issuer, place):
    outputs = {"t": [{"file": "auth", "format": "inlive-sdk"}, {"file": "missing/token"}]}
    config = configuration(place, issuer, outputs)
    secrets = [KEY, "a-key-that-nobody-knows"]
    with Daemon("--config", config, "--log-level", "debug", endpoints=True) as running:
        for times, prompt in enumerate([lambda: None, lambda: running.send(signal.SIGUSR1)], start=1):
            prompt()
            running.wait_for("OutputWritten", times=times)
            credentials = json.loads((place / "auth").read_text())["data"]
            secrets += [credentials["accessToken"], credentials["refreshToken"]]
        (place / "key").write_text("a-key-that-nobody-knows")
        running.wait_for("RefreshFailed")
        (place / "key").write_text(f"{KEY}\r\nsecond line")
        running.wait_for("KeySourceFailed")
        pages = [running.get(path, accept=accept).body for path in PAGES for accept in ("*/*", "text/html")]
        pages.append(Path(f"/proc/{running.process.pid}/cmdline").read_text())
        running.end()
        pages.append(running.said)
    assert len(set(secrets)) == 6
    shown = "\n".join(pages)
    assert [secret for secret in secrets if secret in shown] == []
    assert "refused" in shown, "it has shown something"


PAGES = ("/", "/metrics", "/livez", "/readyz", "/status")


def test_it_logs_json_if_standard_error_is_not_a_terminal(place, daemon):
    with daemon() as running:
        running.wait_for("OutputWritten")
        assert running.end() == 0
        assert all(json.loads(line)["ts"] for line in running.said.splitlines())


def test_it_logs_text_on_a_terminal(issuer, place):
    terminal, its_end = pty.openpty()
    words = ("--key-file", place / "key", "--to-file", place / "token", "--issuer-url", issuer.url)
    with start("run", *words, stderr=its_end) as process:
        try:
            os.close(its_end)
            shown = b""
            while b"wrote" not in shown:
                shown += os.read(terminal, 4096)
            process.terminate()
            assert process.wait(STOP_WITHIN) == 0
        finally:
            process.kill()
            os.close(terminal)
    line = rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO    default: read the key [0-9a-f]{16}\r$"
    assert re.search(line, shown, re.MULTILINE)
