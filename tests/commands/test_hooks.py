"""Hooks of `run`, `once`, `check` and `status`, with real commands."""

import json
import os
import signal
import time

import pytest

from refresher.core.advice import ADVICE_ON, Code
from tests.commands.daemon import KEY, STOP_WITHIN, Daemon, eventually, plant, refresher


@pytest.fixture
def configured(tmp_path, issuer):
    """Writes a configuration with this hook, and returns its path."""

    def write(after: object):
        (tmp_path / "key").write_text(KEY)
        output = {"file": str(tmp_path / "token"), "after": after}
        token = {"name": "studio", "key_file": str(tmp_path / "key"), "outputs": [output]}
        path = tmp_path / "refresher.json"
        path.write_text(json.dumps({"issuer": {"url": issuer.url}, "tokens": [token]}))
        return path

    return write


@pytest.fixture
def runs(tmp_path):
    """The tokens that the hook `noting` has seen in the file."""
    return lambda: (tmp_path / "runs").read_text().split() if (tmp_path / "runs").exists() else []


def noting(place, more: str = "true") -> dict[str, list[str]]:
    """A hook that notes what the file holds."""
    return {"exec": ["/bin/sh", "-c", f"cat {place}/token >>{place}/runs; echo >>{place}/runs; {more}"]}


def once(path, *more: object):
    return refresher("once", "--config", path, *more, REFRESHER_LOG_LEVEL="info")


# once


def test_once_runs_the_hook_after_the_write_and_not_for_an_adoption(tmp_path, configured, runs):
    path = configured(noting(tmp_path))
    first, second = once(path), once(path)
    assert (first.code, second.code) == (0, 0)
    assert runs() == [(tmp_path / "token").read_text()]
    assert [entry["event"] for entry in second.log] == ["KeyLoaded", "TokenAdopted"]


def test_an_adopted_token_of_another_process_runs_no_hook(tmp_path, issuer, configured, runs):
    plant(tmp_path / "token", age=10.0, issuer=issuer.url)
    assert once(configured(noting(tmp_path))).code == 0
    assert runs() == []


def test_once_whose_hook_fails_ends_with_73_and_the_next_call_runs_it_again(tmp_path, configured, runs):
    path = configured(noting(tmp_path, f"test -e {tmp_path}/ready"))
    failed = once(path)
    assert failed.code == 73
    assert "ended with exit status 1" in failed.said
    assert ADVICE_ON[Code.HOOK_FAILED] in failed.said
    (tmp_path / "ready").touch()
    assert once(path).code == 0
    assert len(runs()) == 2, "although the token was adopted"
    assert once(path).code == 0
    assert len(runs()) == 2


def test_a_command_that_does_not_exist_is_a_mistake_of_the_configuration(tmp_path, configured):
    path = configured({"exec": ["/no/such/command"]})
    for command in ("once", "run", "check"):
        ended = refresher(command, "--config", path)
        assert ended.code == 78
        assert "the command /no/such/command does not exist" in ended.said
    assert not (tmp_path / "token").exists(), "nothing was started"
    assert refresher("status", "--config", path).code == 75, "it may be used where the command is not"


# run


def test_a_hook_that_hangs_holds_up_no_refresh_and_is_killed_at_the_stop(tmp_path, configured, runs):
    path = configured(noting(tmp_path, f"echo $$ >{tmp_path}/pid; exec sleep 1000"))
    with Daemon("--config", path) as daemon:
        eventually(runs, "the hook runs")
        daemon.send(signal.SIGUSR1)
        daemon.wait_for("OutputWritten", times=2)
        written = tmp_path / "pid"
        pid = int(eventually(lambda: written.exists() and written.read_text(), "the hook hangs"))
        began = time.monotonic()
        assert daemon.end() == 0
        assert time.monotonic() - began < STOP_WITHIN
    eventually(lambda: not os.path.exists(f"/proc/{pid}"), "the hook is killed")
    assert len(runs()) == 1
    assert (tmp_path / ".token.hook-owed").exists(), "the next process knows"


def test_a_run_that_a_killed_process_owed_is_made_by_the_next(tmp_path, configured, runs):
    path = configured(noting(tmp_path, f"test -e {tmp_path}/ready"))
    with Daemon("--config", path) as daemon:
        daemon.wait_for("HookFailed")
        daemon.send(signal.SIGKILL)
        daemon.code()
    (tmp_path / "ready").touch()
    with Daemon("--config", path) as daemon:
        daemon.wait_for("HookRan")
        assert daemon.entries("TokenAdopted")
    assert set(runs()) == {(tmp_path / "token").read_text()}


def test_a_token_that_a_hook_prints_is_neither_in_the_log_nor_in_the_status(tmp_path, configured):
    path = configured({"exec": ["/bin/sh", "-c", f"cat {tmp_path}/token; exit 1"]})
    with Daemon("--config", path, endpoints=True) as daemon:
        failed = daemon.wait_for("HookFailed")
        token = (tmp_path / "token").read_text()
        assert "it printed: <secret " in failed["message"]
        status = daemon.get("/status").body
        table = refresher("status", "--url", f"http://127.0.0.1:{daemon.port}")
        for text in (daemon.said, status, table.said, daemon.get("/metrics").body):
            assert token not in text
        assert '"failures": 1' in status
        assert ": hook: /bin/sh ended with exit status 1" in " ".join(table.said.split())
        assert daemon.metric(
            f'hook_runs_total{{output="file:{tmp_path}/token",result="failure",token="studio"}}'
        )


def test_an_output_without_a_hook_has_no_series_and_no_mark(tmp_path, issuer):
    (tmp_path / "key").write_text(KEY)
    words = ("--key-file", tmp_path / "key", "--to-file", tmp_path / "token", "--issuer-url", issuer.url)
    with Daemon(*words, endpoints=True) as daemon:
        daemon.wait_for("OutputWritten")
        assert "hook_runs" not in daemon.get("/metrics").body
        (output,) = daemon.get("/status").document["tokens"][0]["outputs"]
        assert output["hook"] is None
    assert not list(tmp_path.glob(".*.hook-owed"))


# check


def test_check_tests_a_hook_without_running_it(tmp_path, configured, runs):
    checked = refresher("check", "--config", configured(noting(tmp_path)))
    assert f"ok   hook: of file:{tmp_path}/token: would run /bin/sh" in checked.said
    assert runs() == []


def test_check_reports_a_process_that_does_not_run(tmp_path, configured):
    path = configured({"signal": {"process": "nobody-at-all"}})
    checked = refresher("check", "--config", path, "--offline")
    assert checked.code == 73
    assert "FAIL hook: of " in checked.said
    assert "no process has the name nobody-at-all" in checked.said
