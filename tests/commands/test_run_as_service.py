"""`refresher run` under a service manager: its notifications to systemd."""

import signal
import time

import pytest

from refresher.emulator.server import Emulator
from tests.commands.daemon import KEY, Daemon
from tests.service_manager import Manager


@pytest.fixture
def manager(tmp_path):
    listening = Manager(str(tmp_path / "notify"))
    yield listening
    listening.close()


def test_it_reports_ready_with_the_first_token_and_later_stopping(tmp_path, manager):
    (tmp_path / "key").write_text(KEY)
    token = tmp_path / "token"
    with Emulator(keys=[KEY]) as issuer:
        issuer.faults(status=503)
        words = ("--key-file", tmp_path / "key", "--to-file", token, "--issuer-url", issuer.url)
        with Daemon(*words, NOTIFY_SOCKET=manager.name, WATCHDOG_USEC="2000000") as running:
            running.wait_for("RefreshFailed")
            said = manager.heard_of("503")
            assert said[0].startswith("STATUS=tokens: 1, valid in all their outputs: 0; ")
            assert said[1:] == ["WATCHDOG=1"]
            assert not token.exists()
            issuer.faults()
            said = manager.heard_of("valid in all their outputs: 1")
            assert issuer.valid(token.read_text())
            assert said == ["READY=1", "STATUS=tokens: 1, valid in all their outputs: 1", "WATCHDOG=1"]
            assert manager.heard()[1:] == ["WATCHDOG=1"]
            assert running.end() == 0
        assert manager.heard_of("STOPPING=1") == ["STOPPING=1", "STATUS=stopping"]
        assert manager.heard_nothing()
        assert KEY not in running.said


def test_each_reload_is_reported_from_its_begin_to_its_end(tmp_path, manager):
    """With a mistake too. systemd compares the time of RELOADING=1 with that of its signal."""
    (tmp_path / "key").write_text(KEY)
    path = tmp_path / "refresher.yaml"
    with Emulator(keys=[KEY]) as issuer:
        tokens = "tokens: [{name: a, key_file: key, outputs: [{file: token}]}]"
        good = f"issuer: {{url: '{issuer.url}'}}\n{tokens}\n"
        path.write_text(good)
        with Daemon("--config", path, NOTIFY_SOCKET=manager.name) as running:
            assert manager.heard_of("valid in all their outputs: 1")[0] == "READY=1"
            for event, text in (("ConfigurationApplied", good + "# more"), ("ConfigurationRefused", "[")):
                path.write_text(text)
                signalled = time.monotonic_ns() // 1000
                running.send(signal.SIGHUP)
                reloading, began = manager.heard_of("RELOADING=1")
                assert reloading == "RELOADING=1"
                assert signalled <= int(began.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
                assert running.entries(event) == []
                while (lines := manager.heard()) != ["READY=1"]:
                    assert lines[0].startswith("STATUS=")
                running.wait_for(event)


def test_it_works_without_the_service_manager(tmp_path):
    (tmp_path / "key").write_text(KEY)
    with Emulator(keys=[KEY]) as issuer:
        words = ("--key-file", tmp_path / "key", "--to-file", tmp_path / "token", "--issuer-url", issuer.url)
        with Daemon(*words, NOTIFY_SOCKET=str(tmp_path / "nowhere")) as running:
            running.wait_for("OutputWritten")
            assert running.end() == 0
        assert "cannot notify the service manager" in running.said
