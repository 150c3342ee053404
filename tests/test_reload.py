"""The reloader with a real configuration file, step by step: its polls are called, not waited for."""

import gc
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from refresher import wiring
from refresher.cli import build_parser
from refresher.config.loader import KEY, OUTPUTS, load
from refresher.core.events import Stopping
from refresher.core.notifications import Notification
from refresher.core.process_notifications import ConfigurationApplied, ConfigurationRefused, Crashed
from refresher.emulator.server import Emulator
from refresher.metrics.counters import Counters
from refresher.ports import Desired, Message
from refresher.reload import Reloader
from refresher.workers import Mailbox
from tests.commands.daemon import KEY as KEY_TEXT
from tests.commands.daemon import eventually

ONE = "issuer: {url: 'http://127.0.0.1:1'}\ntokens:\n- {name: a, key_file: key, outputs: [{file: token-a}]}\n"
SECOND = "- {name: b, key_file: key, outputs: [{file: token-b}]}\n"
THIRD = "- {name: c, key_file: key, outputs: [{file: token-c}]}\n"


class Site:
    """A configuration file, and a reloader of a daemon that does not run: its mailbox shows what it gets."""

    def __init__(self, place: Path, text: str) -> None:
        (place / "key").write_text(KEY_TEXT)
        self.path = place / "refresher.yaml"
        self.path.write_text(text)
        arguments = vars(build_parser().parse_args(["run", "--config", str(self.path)]))
        again = partial(load, arguments, {}, str(place), needs=(KEY, OUTPUTS))
        loaded = again()
        self.observed: list[Notification] = []
        self.runtime = wiring.installation(loaded.settings, [self])
        self.reloader = Reloader(again, loaded, self.runtime, None)

    def on_notification(self, token: str, notification: Notification, now: object) -> None:
        self.observed.append(notification)

    def results(self) -> list[Notification]:
        """What the reloader reported since the last call."""
        return [each for message in self._messages() for each in message.notifications]

    def sets(self) -> list[set[str]]:
        """The sets of tokens that the engine was given since the last call, by name."""
        return [
            set(message.event.tokens) for message in self._messages() if isinstance(message.event, Desired)
        ]

    def _messages(self) -> list[Message]:
        return list(iter(lambda: self.runtime.mailbox.take(0), None))

    def polls(self, times: int) -> None:
        for _ in range(times):
            self.reloader.poll()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, ONE + SECOND)


# --- When the file is read


def test_a_file_that_is_half_written_when_it_is_read_is_not_used_although_it_is_valid(site):
    """Used at once, the first half would remove b."""
    site.path.write_text(ONE)
    site.polls(1)
    site.path.write_text(ONE + SECOND + THIRD)
    site.polls(1)
    assert site.sets() == []
    site.polls(1)
    assert site.sets() == [{"a", "b", "c"}]
    site.polls(5)
    assert site.sets() == []


def test_a_file_that_changes_with_each_poll_is_used_when_it_stays_the_same(site):
    for number in range(10):
        site.path.write_text(f"{ONE}# version {number}\n")
        site.polls(1)
    assert site.sets() == []
    site.polls(1)
    assert site.sets() == [{"a"}]


def test_a_change_that_is_taken_back_is_no_change(site):
    site.path.write_text(ONE)
    site.polls(1)
    site.path.write_text(ONE + SECOND)
    site.polls(5)
    assert site.results() == []


def test_a_refused_file_is_not_read_again_until_it_changes(site):
    site.path.write_text("tokens: nonsense\n")
    site.polls(10)
    (refused,) = site.results()
    assert isinstance(refused, ConfigurationRefused)
    site.path.write_text(ONE + SECOND)
    site.polls(2)
    (applied,) = site.results()
    assert applied == ConfigurationApplied(0, 0, 0), "the former content, and no token is touched"


def _vanish(path: Path) -> None:
    path.unlink()


def _directory(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def _loop(path: Path) -> None:
    path.rmdir()
    path.symlink_to(path.name)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


UNREADABLE: tuple[tuple[Callable[[Path], None], str], ...] = (
    (_vanish, "No such file"),
    (_directory, "Is a directory"),
    (_loop, "symbolic links"),
    (_fifo, "not a regular file"),
)


def test_an_unreadable_file_keeps_the_configuration_and_each_reason_is_reported_once(site):
    for change, reason in UNREADABLE:
        change(site.path)
        site.polls(6)
        (refused,) = site.results()
        assert isinstance(refused, ConfigurationRefused), reason
        assert reason in refused.problems[0]
    site.path.unlink()
    site.path.write_text(ONE + SECOND)
    site.polls(2)
    assert site.results() == [ConfigurationApplied(0, 0, 0)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_keeps_the_configuration(site):
    site.path.chmod(0)
    site.polls(6)
    (refused,) = site.results()
    assert "Permission denied" in refused.problems[0]


class EndedError(Exception):
    """The script of `Requests` is over."""


class Requests(Mailbox[str]):
    """Requests for a reload in virtual time: no poll is waited for, and the queue ends."""

    def take(self, timeout: float) -> str | None:
        found = super().take(0)
        if found is None and timeout > 0:
            raise EndedError
        return found


def test_any_number_of_requests_so_far_are_answered_by_one_reload(site):
    requests = Requests()
    for _ in range(1000):
        requests.post("SIGHUP")
    site.path.write_text(ONE)
    with pytest.raises(EndedError):
        site.reloader.follow(requests)
    assert site.results() == [ConfigurationApplied(added=0, changed=0, removed=1)]


def test_a_request_during_a_reload_is_answered_with_what_the_file_holds_then(tmp_path):
    """It may come after the file was read."""
    site, requests = Site(tmp_path, ONE), Requests()
    again = site.reloader._load

    def load_and_change() -> Any:
        loaded = again()
        if SECOND not in site.path.read_text():
            site.path.write_text(ONE + SECOND)
            requests.post("SIGHUP")
        return loaded

    site.reloader._load = load_and_change
    requests.post("SIGHUP")
    with pytest.raises(EndedError):
        site.reloader.follow(requests)
    assert site.sets() == [{"a"}, {"a", "b"}]
    site.polls(3)
    assert site.results() == [], "what was read last is what the file holds"


# --- What is wrong with it, and what needs a restart

MISTAKES = {
    "YAML": "tokens: [",
    "a tab": "tokens:\n\t- {name: a}\n",
    "an unknown key": ONE + "lisen: ':1'\n",
    "a wrong type": ONE.replace("name: a", "name: [a]"),
    "a wrong type of a section": "tokens: {a: b}\n",
    "a key twice": ONE + "tokens: []\n",
    "outputs that collide": ONE + SECOND.replace("token-b", "token-a"),
    "outputs that collide through a link": ONE + SECOND.replace("token-b", "link-a"),
    "not UTF-8": "\udcff",
    "two documents": f"{ONE}---\n{ONE}",
    # Found while the parts are built.
    "a command that does not exist": ONE.replace(
        "file: token-a", "file: token-a, after: {exec: [no-such-command]}"
    ),
    "an unknown cluster": ONE + SECOND.replace("file: token-b", "secret: token-b"),
}

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: here, cluster: {server: 'http://127.0.0.1:1'}}]
users: [{name: me, user: {}}]
contexts: [{name: all, context: {cluster: here, user: me}}]
current-context: all
"""


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_refused_and_changes_nothing(site, kind, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(site.path.parent / "nowhere"))
    (site.path.parent / "link-a").symlink_to("token-a")
    tokens = site.runtime.assembly.tokens(site.reloader._settings)
    site.path.write_text(MISTAKES[kind], errors="surrogateescape")
    site.polls(2)
    ((message,),) = (each.notifications for each in site._messages())
    assert isinstance(message, ConfigurationRefused)
    assert site.runtime.assembly.tokens(site.reloader._settings) == tokens, "all parts are the same as before"


def test_a_failure_to_record_events_changes_nothing(site, monkeypatch):
    """A damaged installation, for example."""
    (site.path.parent / "kubeconfig").write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(site.path.parent / "kubeconfig"))
    monkeypatch.setitem(sys.modules, "refresher.kube.events", None)  # importing it fails
    tokens = site.runtime.assembly.tokens(site.reloader._settings)
    site.path.write_text(ONE.replace("file: token-a", "secret: token-a"))
    site.polls(2)
    ((message,),) = (each.notifications for each in site._messages())
    assert isinstance(message, Crashed)
    assert site.runtime.assembly.tokens(site.reloader._settings) == tokens
    assert site.runtime.observers == [site]


@pytest.mark.parametrize(
    ("more", "setting"),
    [
        ("listen: ':9999'\n", "listen"),
        ("serve: {address: 'unix:/run/inlive/socket'}\n", "serve"),
    ],
)
def test_a_setting_that_needs_a_restart_is_named_each_time_and_the_rest_is_used(site, more, setting):
    for number in range(2):
        site.path.write_text(f"{ONE}{more}# {number}\n")
        site.polls(2)
        (applied,) = site.results()
        assert applied == ConfigurationApplied(0, 0, 1 - number, ignored=(setting,))
    assert site.runtime.assembly.served == {}
    site.path.write_text(ONE)
    site.polls(2)
    assert site.results() == [ConfigurationApplied(0, 0, 0)]


# --- Many reloads


@pytest.fixture
def issuer() -> Iterator[Emulator]:
    with Emulator(keys=[KEY_TEXT]) as inlive:
        yield inlive


def objects() -> Counter[str]:
    """The living objects by class: each of the refresher's, and all others. The emulator remembers tokens."""
    gc.collect()
    kinds = (type(each) for each in gc.get_objects())
    names = (f"{kind.__module__}.{kind.__name__}" for kind in kinds if "emulator" not in str(kind.__module__))
    return Counter(name if name.startswith("refresher.") else "other" for name in names)


def test_a_thousand_reloads_leave_no_object_and_no_descriptor_behind(tmp_path, issuer):
    """Each has a token and a file of its own. The test of the command measures its threads and memory."""
    one = ONE.replace("http://127.0.0.1:1", issuer.url)
    site = Site(tmp_path, one)
    site.runtime.observers.append(Counters())
    engine = threading.Thread(target=site.runtime.engine.run)
    engine.start()

    def reloads(numbers: range) -> Counter[str]:
        for number in numbers:
            own = SECOND.replace("name: b", f"name: b-{number}").replace("token-b", f"token-{number}")
            more = own.replace("}", ", on_remove: delete}", 1)
            site.path.write_text(one + (more, own, "- tokens: [", "")[number % 4])
            site.reloader.reload()
        site.path.write_text(one)
        site.reloader.reload()
        eventually(lambda: len(site.runtime.engine.view()) == 1, "one token is left")
        eventually(lambda: not site.runtime.engine.view()[0][1].is_busy, "it is at rest")
        site.observed.clear()
        return objects()

    descriptors = Path("/proc/self/fd")
    try:
        before = reloads(range(200))
        open_before = len(list(descriptors.iterdir()))
        after = reloads(range(200, 1000))
        allowed = Counter(dict.fromkeys(after, 100), other=200) + before
        # Mints of removed tokens may still be under way.
        eventually(lambda: not (objects() - allowed), "no object is left behind")
        enough = open_before + 4  # connections to the issuer come and go
        eventually(lambda: len(list(descriptors.iterdir())) <= enough, "no descriptor is left behind")
    finally:
        site.runtime.mailbox.post(Message(None, Stopping()))
        engine.join()
