"""`controller.statuses` at the real API server. The tests decide what the watch has seen and who leads."""

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from refresher.clock import SystemClock
from refresher.controller.known import Stored, stored
from refresher.controller.statuses import WRITERS, StatusWriter
from refresher.core.events import KeyUnreadable
from refresher.core.machine import observe
from refresher.core.notifications import Notification, TokenRemoved
from refresher.core.object_notifications import StatusNotWritten, StatusWritten
from refresher.core.process_notifications import Crashed
from refresher.core.state import OutputPolicy, State, TokenPolicy
from refresher.ports import Message
from refresher.workers import Mailbox
from tests.commands.daemon import eventually
from tests.controller.objects import accesstoken, spec
from tests.core.builders import ISSUER_URL, NOW
from tests.kube.cluster import Cluster
from tests.kube.connecting import by_kubeconfig
from tests.kube.team import GROUP, MERGE, WATCHING

NAMESPACE = "statuses"
PATH = f"/apis/{GROUP}/v1alpha1/namespaces/{NAMESPACE}/accesstokens"
DAY = 86400.0


class Place:
    """A writer, and what the rest of the controller would tell it. Names are those of objects."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        account = cluster.service_account(NAMESPACE, "refresher", WATCHING)
        self.leads, self.outdated, self.broken = True, set[str](), set[str]()
        self.states: dict[str, tuple[TokenPolicy, State]] = {}
        self._seen: dict[str, Stored] = {}
        self._mistakes: dict[str, tuple[str, ...]] = {}
        self._mailbox = Mailbox[Message]()
        self._posted: list[Message] = []
        self._counted = itertools.count()
        self.writer = StatusWriter(
            by_kubeconfig(account.kubeconfig),
            SystemClock(),
            self._mailbox,
            stored=self._seen.get,
            state=self._state,
            is_current=lambda token: token not in self.outdated,
            leads=lambda: self.leads,
        )
        self.writer.start(lambda work, name: threading.Thread(target=work, name=name, daemon=True).start())

    def _state(self, token: str) -> tuple[TokenPolicy, State] | None:
        if token in self.broken:
            raise RuntimeError("a bug")
        return self.states.get(token)

    def create(self, name: str) -> str:
        """Returns the name of its token."""
        self.cluster.must("POST", PATH, accesstoken(spec(secret={"name": name}), name, NAMESPACE))
        return f"{NAMESPACE}/{name}"

    def see(self, name: str, *mistakes: str, **metadata: Any) -> None:
        """The watch has seen the object, and the reconciler has found these mistakes."""
        document = self.cluster.must("GET", f"{PATH}/{name}")
        document["metadata"] |= metadata
        found = stored(document, self._seen.get(f"{NAMESPACE}/{name}"), DAY)
        assert found is not None
        self._seen[found.known.token] = found
        self._mistakes = {**self._mistakes, found.known.uid: mistakes}
        self.writer.follow({token: each.known for token, each in self._seen.items()}, self._mistakes)

    def mark(self, token: str) -> None:
        """A notification about this token, no matter which."""
        self.writer.on_notification(token, TokenRemoved(), NOW)

    def ready(self, name: str) -> dict[str, Any]:
        """The condition Ready; empty without one."""
        conditions = self.cluster.must("GET", f"{PATH}/{name}")["status"].get("conditions", [])
        return next((each for each in conditions if each["type"] == "Ready"), {})

    def waits_for(self, name: str, message: str) -> None:
        eventually(lambda: self.ready(name).get("message") == message, f"the status of {name}: {message}", 40)

    def pass_over(self, token: str) -> None:
        """Wait until the thread that writes the status of this token has had two full rounds from now on."""
        for _ in range(2):
            name = f"fence-{next(self._counted)}"
            while hash(f"{NAMESPACE}/{name}") % WRITERS != hash(token) % WRITERS:
                name = f"fence-{next(self._counted)}"
            self.create(name)
            self.see(name, "m")
            self.waits_for(name, "m")

    def posted(self, token: str | None, kind: type[Notification]) -> list[Notification]:
        """The notifications of this kind about a token so far."""
        while (message := self._mailbox.take(0)) is not None:
            self._posted.append(message)
        return [
            notification
            for message in self._posted
            for notification in message.notifications
            if message.token == token and isinstance(notification, kind)
        ]


@pytest.fixture(scope="module")
def shared_place(with_access_tokens: Cluster) -> Iterator[Place]:
    made = Place(with_access_tokens)
    yield made
    made.leads = False


@pytest.fixture
def place(shared_place: Place, cluster: Cluster) -> Iterator[Place]:
    yield shared_place
    cluster.restore()
    shared_place.leads = True


def unreadable() -> tuple[TokenPolicy, State]:
    output = OutputPolicy("secret:statuses/x", 0.0, includes_refresh_token=False)
    policy = TokenPolicy("x", 3600.0, 0.7, 10.0, ISSUER_URL, (output,))
    return policy, observe(State.initial(policy), policy, KeyUnreadable("no such Secret"), NOW)[0]


def test_a_mistake_is_written_and_reported_as_written(place):
    token = place.create("wrong")
    place.see("wrong", "spec.lifetime: bad")
    place.waits_for("wrong", "spec.lifetime: bad")
    assert place.ready("wrong")["reason"] == "invalid"
    eventually(lambda: place.posted(token, StatusWritten), "it is reported")
    assert place.posted(token, StatusNotWritten) == []


def test_a_status_that_is_right_already_is_not_written(place):
    place.create("former")
    place.see("former", "m")
    place.waits_for("former", "m")
    status = place.cluster.must("GET", f"{PATH}/former")["status"]
    token = place.create("same")
    place.cluster.must("PATCH", f"{PATH}/same/status", {"status": status}, media_type=MERGE)
    place.see("same", "m")
    place.pass_over(token)
    assert place.posted(token, StatusWritten) == []
    place.see("same", "other")
    place.waits_for("same", "other")


def test_an_object_whose_token_is_in_the_making_has_no_status_until_something_is_wrong(place):
    token = place.create("new")
    place.see("new")
    place.pass_over(token)
    assert place.ready("new") == {}
    place.states[token] = unreadable()
    place.mark(token)
    place.waits_for("new", "no such Secret")


def test_a_status_that_another_client_has_changed_is_put_right(place):
    token = place.create("changed")
    place.see("changed", "m")
    place.waits_for("changed", "m")
    status = {"conditions": [place.ready("changed") | {"message": "theirs"}]}
    place.cluster.must("PATCH", f"{PATH}/changed/status", {"status": status}, media_type=MERGE)
    place.see("changed", "m")
    place.mark(token)
    place.waits_for("changed", "m")


def test_a_message_in_which_only_a_number_differs_waits(place):
    token = place.create("number")
    place.see("number", "hangs for 5 s")
    place.waits_for("number", "hangs for 5 s")
    place.see("number", "hangs for 6 s")
    for _ in range(2):
        place.pass_over(token)
        place.mark(token)
    assert place.ready("number")["message"] == "hangs for 5 s"
    place.see("number", "has ended after 7 s")
    place.waits_for("number", "has ended after 7 s")


def test_an_object_that_was_deleted_meanwhile_is_no_failure(place):
    token = place.create("gone")
    place.outdated.add(token)
    place.see("gone", "m")
    place.cluster.must("DELETE", f"{PATH}/gone")
    place.outdated.discard(token)
    place.pass_over(token)
    assert place.posted(token, StatusNotWritten) == []
    assert place.cluster.ask("GET", f"{PATH}/gone").status_code == 404


def test_a_status_of_a_former_object_of_the_same_name_does_not_stay(place):
    place.create("again")
    place.see("again", "former", uid="00000000-0000-0000-0000-000000000000")
    place.waits_for("again", "former")
    place.see("again", "present")
    place.waits_for("again", "present")


def test_a_status_waits_until_the_engine_has_the_present_token(place):
    token = place.create("later")
    place.outdated.add(token)
    place.see("later", "m")
    place.pass_over(token)
    assert place.ready("later") == {}
    place.outdated.discard(token)
    place.waits_for("later", "m")


def test_only_the_leader_writes_and_a_new_leader_writes_everything(place):
    place.create("led")
    place.leads = False
    place.see("led", "m")
    assert not eventually_ready(place, "led", within=2.0)
    place.leads = True
    place.waits_for("led", "m")


def eventually_ready(place: Place, name: str, within: float) -> bool:
    """Whether it gets a status within so many seconds: several rounds of all threads."""
    try:
        eventually(lambda: place.ready(name), name, within)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("away", [Cluster.kill_apiserver, Cluster.stop_etcd], ids=["server", "etcd"])
def test_a_status_is_written_when_the_api_server_is_back(place, away: Callable[[Cluster], None], request):
    name = f"away-{request.node.callspec.id}"
    token = place.create(name)
    place.outdated.add(token)
    place.see(name, "m")
    away(place.cluster)
    place.outdated.discard(token)
    (failure, *_) = eventually(lambda: place.posted(token, StatusNotWritten), "it is reported", 40)
    assert failure.message
    place.cluster.restore()
    place.waits_for(name, "m")
    eventually(lambda: place.posted(token, StatusWritten), "the end is reported")


def test_a_bug_with_one_object_is_reported_and_stops_no_other(place):
    token = place.create("bug")
    place.broken.add(token)
    place.see("bug", "m")
    eventually(lambda: place.posted(None, Crashed), "it is reported")
    place.pass_over(token)
    place.broken.discard(token)
    place.mark(token)
    place.waits_for("bug", "m")
