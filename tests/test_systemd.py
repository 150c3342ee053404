"""What systemd is told, received by a real datagram socket; on virtual time but for its threads."""

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from refresher.status.liveness import HANGS_AFTER
from refresher.systemd import STATUS_EVERY, WAITING_EVERY, SystemdNotifier, watchdog_of
from tests.core.builders import KEY, KEY_REFUSED, Driver, at_work
from tests.service_manager import Manager
from tests.watched import Watched


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = str(tmp_path / "notify") if request.param == "a path" else f"@refresher-{os.urandom(8).hex()}"
    listening = Manager(name)
    yield listening
    listening.close()


class Daemon(Watched):
    def service(self, name: str, **environ: str) -> SystemdNotifier:
        return SystemdNotifier({"NOTIFY_SOCKET": name, **environ}, 7, self.view, lambda: self.last_turn, self)


def without_token() -> Driver:
    """One whose key was refused before anything was minted."""
    driver = Driver()
    driver.begin()
    driver.declined(KEY_REFUSED)
    return driver


def test_readiness_is_told_once_and_only_when_every_token_is_valid(manager):
    daemon = Daemon(at_work(), without_token())
    service = daemon.service(manager.name)
    soon = service.turn()
    assert manager.heard()[0].startswith("STATUS=tokens: 2, valid in all their outputs: 1; ")
    daemon.drivers = (at_work(), at_work())
    service.turn()
    assert manager.heard() == ["READY=1", "STATUS=tokens: 2, valid in all their outputs: 2"]
    late = service.turn()
    assert manager.heard_nothing()
    assert soon < 1 < late == STATUS_EVERY


def test_whoever_waits_for_readiness_is_told_each_second_why_it_does_not_come(manager):
    daemon = Daemon(without_token())
    service = daemon.service(manager.name)
    for _ in range(3):
        service.turn()
        assert manager.heard()[0].startswith("STATUS=")
        daemon.passes(WAITING_EVERY / 2)
        service.turn()
        assert manager.heard_nothing()
        daemon.passes(WAITING_EVERY / 2)
    daemon.drivers = (at_work(),)
    service.turn()
    assert manager.heard()[0] == "READY=1"
    daemon.passes(WAITING_EVERY)
    service.turn()
    assert manager.heard_nothing()


def test_what_keeps_it_from_being_ready_is_told_in_a_line_without_a_secret(manager):
    service = Daemon(without_token(), without_token()).service(manager.name)
    service.turn()
    (line,) = manager.heard()
    assert "the issuer answered 403" in line
    assert line.endswith("; and 3 more")
    assert KEY.reveal() not in line


def test_a_sign_of_life_is_given_twice_in_the_time_for_one(manager):
    daemon = Daemon(at_work())
    service = daemon.service(manager.name, WATCHDOG_USEC="6000000", WATCHDOG_PID="7")
    assert service.turn() == 3.0
    assert manager.heard()[0] == "READY=1"
    daemon.passes(3.0)
    service.turn()
    assert manager.heard()[-1] == "WATCHDOG=1"


def test_no_sign_of_life_is_given_while_the_engine_is_stuck(manager):
    """As /livez: a restart is the only thing that helps."""
    daemon = Daemon(at_work())
    service = daemon.service(manager.name, WATCHDOG_USEC="60000000")
    service.turn()
    assert "WATCHDOG=1" in manager.heard()
    daemon.passes(HANGS_AFTER - 1)
    service.turn()
    assert "WATCHDOG=1" in manager.heard()
    daemon.passes(1)
    daemon.passes(STATUS_EVERY)
    service.turn()
    assert [line.partition("=")[0] for line in manager.heard()] == ["STATUS"]
    daemon.last_turn = daemon.now()
    daemon.passes(STATUS_EVERY)
    service.turn()
    assert "WATCHDOG=1" in manager.heard()


def test_whoever_wants_no_sign_of_life_gets_none(manager):
    Daemon(at_work()).service(manager.name, WATCHDOG_USEC="60000000", WATCHDOG_PID="8").turn()
    assert "WATCHDOG=1" not in manager.heard()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "90000000"}, 90.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_within_how_long_a_sign_of_life_is_wanted(environ, seconds):
    assert watchdog_of(environ, 7) == seconds


def test_the_end_is_told_of_before_it_comes(manager):
    service = Daemon(at_work()).service(manager.name)
    service.start(spawn)
    assert manager.heard()[0] == "READY=1"
    service.end()
    assert manager.heard() == ["STOPPING=1", "STATUS=stopping"]


def spawn(work: Callable[[], None], name: str) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()


def test_without_a_thread_the_manager_learns_of_the_end_as_soon_as_there_is_one(manager):
    """The system may refuse the thread. The end does not wait for it."""
    service, refused = Daemon(at_work()).service(manager.name), []
    service.start(lambda work, name: refused.append(work))
    service.end()
    assert manager.heard_nothing()
    refused[0]()
    assert manager.heard() == ["STOPPING=1", "STATUS=stopping"]


def test_a_manager_who_takes_nothing_does_not_keep_the_end_for_ever(tmp_path):
    name = str(tmp_path / "notify")
    stalled = Manager(name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while sock.sendto(b"x", name):
                pass
    service = Daemon(at_work()).service(name)
    service.start(spawn)
    service.end()
    stalled.close()


def test_a_manager_that_is_away_is_told_of_once_each_time(tmp_path, caplog):
    name = str(tmp_path / "notify")
    daemon = Daemon(at_work())
    service = daemon.service(name)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            service.turn()
            daemon.passes(STATUS_EVERY)
        assert [record.getMessage() for record in caplog.records] == [
            "the service manager cannot be told how things stand: No such file or directory; trying again"
        ]
        manager = Manager(name)
        service.turn()
        assert manager.heard() == ["READY=1", "STATUS=tokens: 1, valid in all their outputs: 1"]
        manager.close()
        daemon.passes(STATUS_EVERY)
        service.turn()
    assert len(caplog.records) == 2
