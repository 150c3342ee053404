"""`kube.watch` at the real API server, over a way on which things go wrong."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from refresher.errors import KubeDeniedError, KubeError, KubeUnreachableError
from refresher.kube import watch as watch_module
from refresher.kube.paths import secrets_path
from refresher.kube.watch import Collection, Timing, Watch
from tests.commands.daemon import eventually
from tests.kube.administrator import Account
from tests.kube.cluster import Cluster
from tests.kube.connecting import by_kubeconfig
from tests.proxy import Proxy, Trouble

LABEL = "test.example/watched"
BRIEF = Timing(session=60.0, grace=5.0, resync=600.0, longest_wait=1.0)
RULES = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]}]


class Watched:
    """A watch of the Secrets with LABEL in a namespace, on a thread of its own."""

    def __init__(self, cluster: Cluster, account: Account, config: Path, timing: Timing) -> None:
        self._cluster, self._path = cluster, secrets_path(account.namespace)
        self.judged: list[KubeError | None] = []
        self.changes = 0
        self.kept: list[str] = []
        self.watch: Watch[str] = Watch(
            by_kubeconfig(config),
            Collection("the Secrets", self._path, f"{LABEL}=yes"),
            keep=self._keep,
            changed=self._changed,
            judged=lambda _collection, error: self.judged.append(error),
            roll=lambda: 0.5,
            timing=timing,
        )
        self.thread = threading.Thread(target=self.watch.run, daemon=True)

    def _keep(self, document: Any, before: str | None) -> str:
        value = str(document.get("data", {}).get("value", ""))
        self.kept.append(document["metadata"]["name"])
        return before if before == value else value

    def _changed(self) -> None:
        self.changes += 1

    def names(self) -> list[str]:
        return sorted(name for _, name in self.watch.objects())

    # Users

    def create(self, name: str, label: str = "yes") -> None:
        body = {"metadata": {"name": name, "labels": {LABEL: label}}, "data": {"value": "MQ=="}}
        self._cluster.must("POST", self._path, body)

    def change(self, name: str, **body: Any) -> None:
        merge = {"media_type": "application/merge-patch+json"}
        self._cluster.must("PATCH", f"{self._path}/{name}", body, **merge)

    def delete(self, name: str) -> None:
        self._cluster.must("DELETE", f"{self._path}/{name}")

    def sees(self, *names: str, within: float = 15.0) -> None:
        eventually(lambda: self.names() == sorted(names), f"it sees {names}, not {self.names()}", within)


Begin = Callable[..., Watched]


@pytest.fixture
def way(cluster: Cluster) -> Iterator[Proxy]:
    with Proxy(cluster.port) as proxy:
        yield proxy


@pytest.fixture
def begin(cluster: Cluster, namespace: str, way: Proxy, tmp_path: Path) -> Iterator[Begin]:
    account = cluster.service_account(namespace, "watcher", RULES)
    config = tmp_path / "kubeconfig"
    url = f"https://127.0.0.1:{way.port}"
    cluster.credentials.kubeconfig(config, url, namespace=namespace, token=account.token)
    begun: list[Watched] = []

    def start(timing: Timing = BRIEF) -> Watched:
        watched = Watched(cluster, account, config, timing)
        begun.append(watched)
        watched.create("old")
        watched.thread.start()
        eventually(lambda: "old" in watched.names(), "it has listed", 30)
        return watched

    yield start
    for watched in begun:
        watched.watch.stop()
    way.set(Trouble.RESET)


def test_it_follows_what_comes_changes_and_goes(begin):
    watched = begin()
    watched.create("new")
    watched.create("foreign", label="no")
    watched.sees("new", "old")
    watched.change("new", data={"value": "Mg=="})
    eventually(lambda: "Mg==" in watched.watch.objects().values(), "the change")
    watched.delete("old")
    watched.change("new", metadata={"labels": {LABEL: "no"}})
    watched.sees()
    assert watched.kept.count("old") == 1, "one list"
    assert watched.judged == [None, None], "after the list, and when the watch began"


def test_what_is_kept_as_it_was_is_no_change(begin):
    watched = begin()
    changes = watched.changes
    watched.change("old", metadata={"annotations": {"a": "b"}})
    eventually(lambda: watched.kept.count("old") == 2, "it came")
    watched.create("new")
    watched.sees("new", "old")
    assert watched.changes == changes + 1


def test_a_watch_that_ends_is_resumed_without_a_list(begin):
    watched = begin(BRIEF._replace(session=1.0))
    for number in range(3):
        watched.create(f"new{number}")
        eventually(lambda: f"new{number}" in watched.names(), "it is seen")  # noqa: B023
        time.sleep(1)  # the test needs it: sessions end
    assert watched.kept.count("old") == 1
    assert set(watched.judged) == {None}


def test_a_connection_that_is_cut_is_resumed_without_a_list_and_is_no_failure(begin, way):
    watched = begin()
    way.set(Trouble.RESET)
    watched.create("meanwhile")
    way.set(Trouble.NONE)
    watched.sees("meanwhile", "old")
    assert watched.kept.count("old") == 1
    assert set(watched.judged) == {None}


def test_a_silent_connection_is_given_up(begin, way):
    watched = begin(BRIEF._replace(session=2.0, grace=1.0))
    way.set(Trouble.DEAF)
    watched.create("meanwhile")
    time.sleep(1)  # the test needs it: its event is lost on the way
    way.set(Trouble.NONE)
    watched.sees("meanwhile", "old")
    assert watched.kept.count("old") == 1


def test_after_a_compaction_everything_is_listed_anew(begin, way, cluster):
    watched = begin()
    way.set(Trouble.HANG)
    watched.create("meanwhile")
    watched.delete("old")
    cluster.compact()
    way.set(Trouble.RESET)
    way.set(Trouble.NONE)
    watched.sees("meanwhile")
    watched.create("after")
    watched.sees("after", "meanwhile")


def test_an_api_server_that_is_away_takes_no_object_away(begin, cluster):
    watched = begin()
    cluster.kill_apiserver()
    eventually(lambda: watched.watch.failure is not None, "the failure is known")
    assert watched.names() == ["old"]
    assert isinstance(watched.watch.failure, KubeUnreachableError)
    cluster.start_apiserver()
    watched.create("new")
    watched.sees("new", "old")
    assert watched.watch.failure is None


def test_without_permission_it_says_which_one_is_missing(cluster, namespace, begin):
    watched = begin(BRIEF._replace(session=1.0))
    account = cluster.service_account(namespace, "watcher", [])
    eventually(lambda: isinstance(watched.watch.failure, KubeDeniedError), "the failure is known")
    assert "list secrets" in str(watched.watch.failure)
    assert watched.names() == ["old"]
    cluster.grant(account, RULES)
    watched.create("new")
    watched.sees("new", "old")


def test_everything_is_listed_again_after_a_while(begin):
    watched = begin(BRIEF._replace(session=1.0, resync=1.0))
    eventually(lambda: watched.kept.count("old") > 2, "it is listed again")


def test_a_list_of_several_pages_is_complete(begin, cluster, namespace):
    count = watch_module.PAGE + 20
    items = [
        {
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": f"s{number}", "namespace": namespace, "labels": {LABEL: "yes"}},
        }
        for number in range(count)
    ]  # fmt: skip
    cluster.kubectl("create", "--filename=-", stdin={"apiVersion": "v1", "kind": "List", "items": items})
    assert len(begin().names()) == count + 1


def test_it_stops_when_its_server_ends_the_watch(begin):
    watched = begin(BRIEF._replace(session=1.0))
    watched.watch.stop()
    watched.thread.join(10)
    assert not watched.thread.is_alive()
