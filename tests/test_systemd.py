"""Notifications to systemd, received by a real datagram socket; on virtual time except for threads."""

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
    """A token whose key was refused before the first mint."""
    driver = Driver()
    driver.begin()
    driver.declined(KEY_REFUSED)
    return driver


def test_readiness_is_reported_once_when_every_token_is_valid(manager):
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


def test_until_readiness_the_status_is_reported_each_second(manager):
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


def test_the_status_names_the_first_problem_without_a_secret(manager):
    service = Daemon(without_token(), without_token()).service(manager.name)
    service.turn()
    (line,) = manager.heard()
    assert "the issuer answered 403" in line
    assert line.endswith("; and 3 more")
    assert KEY.reveal() not in line


def test_signs_of_life_come_twice_as_often_as_required(manager):
    daemon = Daemon(at_work())
    service = daemon.service(manager.name, WATCHDOG_USEC="6000000", WATCHDOG_PID="7")
    assert service.turn() == 3.0
    assert manager.heard()[0] == "READY=1"
    daemon.passes(3.0)
    service.turn()
    assert manager.heard()[-1] == "WATCHDOG=1"


def test_no_sign_of_life_comes_while_the_engine_hangs(manager):
    """As with /livez: only a restart helps."""
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


def test_no_sign_of_life_comes_if_the_manager_expects_none(manager):
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
def test_how_often_the_manager_expects_a_sign_of_life(environ, seconds):
    assert watchdog_of(environ, 7) == seconds


def test_the_stop_is_reported_before_the_end(manager):
    service = Daemon(at_work()).service(manager.name)
    service.start(spawn)
    assert manager.heard()[0] == "READY=1"
    service.end()
    assert manager.heard() == ["STOPPING=1", "STATUS=stopping"]


def spawn(work: Callable[[], None], name: str) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()


def test_without_a_thread_the_stop_is_reported_as_soon_as_there_is_one(manager):
    """The system may refuse the thread. The end does not wait for it."""
    service, refused = Daemon(at_work()).service(manager.name), []
    service.start(lambda work, name: refused.append(work))
    service.end()
    assert manager.heard_nothing()
    refused[0]()
    assert manager.heard() == ["STOPPING=1", "STATUS=stopping"]


def test_a_stalled_manager_does_not_block_the_end(tmp_path):
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


def test_a_reload_that_readiness_allowed_is_reported(manager):
    """The manager may demand it before the thread that sent READY=1 runs on; it waits for the end."""
    looking, go_on = threading.Event(), threading.Event()

    class Slow(Daemon):
        def view(self):
            looking.set()
            go_on.wait()
            return super().view()

    service = Slow(at_work()).service(manager.name)
    turn, reload = threading.Thread(target=service.turn), threading.Thread(target=service.reloading)
    turn.start()
    looking.wait()
    reload.start()
    reload.join(0.2)  # without the wait for the turn, it ends at once and says nothing
    go_on.set()
    turn.join()
    reload.join()
    assert manager.heard()[0] == "READY=1"
    assert not manager.heard_nothing()
    assert manager.heard()[0] == "RELOADING=1"


def test_an_unreachable_manager_is_logged_once_each_time(tmp_path, caplog):
    name = str(tmp_path / "notify")
    daemon = Daemon(at_work())
    service = daemon.service(name)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            service.turn()
            daemon.passes(STATUS_EVERY)
        (logged,) = caplog.records
        assert "service manager" in logged.getMessage()
        assert ": No such file or directory;" in logged.getMessage()
        manager = Manager(name)
        service.turn()
        assert manager.heard() == ["READY=1", "STATUS=tokens: 1, valid in all their outputs: 1"]
        manager.close()
        daemon.passes(STATUS_EVERY)
        service.turn()
    assert len(caplog.records) == 2
