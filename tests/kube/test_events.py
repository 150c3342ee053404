"""Events at the real API server, as kubectl shows them to operators."""

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from refresher.core.instant import Instant
from refresher.core.model import Outcome, Reason
from refresher.core.notifications import (
    KeyLoaded,
    KeySourceFailed,
    OutputFailed,
    OutputWritten,
    RefreshFailed,
    TokenMinted,
    TokenRemoved,
)
from refresher.core.process_notifications import LeaderChanged
from refresher.kube.api import KubeApi
from refresher.kube.events import EVERY, WAITING, EventRecorder, Subject
from refresher.kube.paths import events_path, secrets_path
from tests.core.builders import KEY, NEW_KEY, NOW, token
from tests.issuer.peer import answering, silent
from tests.kube.administrator import Account
from tests.kube.cluster import Cluster
from tests.kube.connecting import asking, by_kubeconfig, in_pod
from tests.threads import no_threads

MAY = [{"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}]
PATIENCE = 30.0  # seconds

FACTS = token().facts
REFUSED = RefreshFailed(
    Reason.SCHEDULED, Outcome.KEY_REFUSED, "401: no such key", KEY.fingerprint, wait=300.0, left=600.0
)
ACCEPTED = TokenMinted(Reason.SCHEDULED, FACTS, failures=1)
UNREADABLE = KeySourceFailed("the key file /run/key does not exist", kept=False)
READ = KeyLoaded(KEY.fingerprint, changed=False)
LEADS = LeaderChanged("refresher", leads=True, holder="")
NO_NEWS = RefreshFailed(Reason.SCHEDULED, Outcome.TIMEOUT, "late", KEY.fingerprint, wait=1.0, left=600.0)


def at(seconds: float) -> Instant:
    return NOW + seconds


@pytest.fixture
def account(cluster: Cluster, namespace: str) -> Account:
    return cluster.service_account(namespace, "refresher", MAY)


@pytest.fixture
def api(account: Account) -> KubeApi:
    return by_kubeconfig(account.kubeconfig)


class Recorder:
    """A recorder for one token with these Secrets, and the Events that it writes."""

    def __init__(self, api: KubeApi, cluster: Cluster, *secrets: tuple[str, str]) -> None:
        of_studio = {f"secret:{'/'.join(secret)}": Subject("Secret", *secret) for secret in secrets}
        outputs = {"studio": of_studio}
        self.recorder = EventRecorder(api, lambda token: outputs.get(token, {}))
        self._cluster = cluster
        self.on_notification(KeyLoaded(KEY.fingerprint, changed=False))

    def on_notification(self, notification: Any, seconds: float = 0.0, of: str = "studio") -> None:
        self.recorder.on_notification(of, notification, at(seconds))

    def events(self, namespace: str) -> list[dict[str, Any]]:
        """All Events after the queue is empty, oldest first."""
        assert self.recorder.flush(PATIENCE)
        items = self._cluster.must("GET", events_path(namespace))["items"]
        return sorted(items, key=lambda each: int(each["metadata"]["resourceVersion"]))

    def reasons(self, namespace: str) -> list[tuple[str, int]]:
        return [(each["reason"], each["count"]) for each in self.events(namespace)]


@pytest.fixture
def recorder(api: KubeApi, cluster: Cluster, namespace: str) -> Recorder:
    return Recorder(api, cluster, (namespace, "mine"))


def failed(namespace: str, message: str = "not permitted", name: str = "mine") -> OutputFailed:
    return OutputFailed(f"secret:{namespace}/{name}", message, at(60), writing=True)


def written(namespace: str, name: str = "mine") -> OutputWritten:
    return OutputWritten(f"secret:{namespace}/{name}", "new", FACTS)


# Content


def test_the_event_of_a_refused_key_says_what_to_do(recorder, namespace):
    recorder.on_notification(REFUSED)
    (event,) = recorder.events(namespace)
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "KeyRefused", 1)
    assert event["message"].startswith(
        f"token studio: the issuer refuses the key {KEY.fingerprint}: 401: no such"
    )
    assert "; consumers are served until " in event["message"]
    assert event["message"].endswith("; put a valid key into its file or Secret")
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Secret",
        "namespace": namespace,
        "name": "mine",
    }


def test_the_event_of_a_refused_key_says_that_consumers_have_no_token(recorder, namespace):
    recorder.on_notification(REFUSED._replace(left=0.0))
    assert "; consumers have no valid token; " in recorder.events(namespace)[0]["message"]


@pytest.mark.parametrize(("kept", "then"), [(False, "no token can be minted"), (True, "the last key stays")])
def test_the_event_of_an_unreadable_key_says_why_and_what_follows(recorder, namespace, kept, then):
    recorder.on_notification(UNREADABLE._replace(kept=kept))
    (event,) = recorder.events(namespace)
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "KeyUnreadable", 1)
    assert event["message"].startswith(f"token studio: {UNREADABLE.message}; {then}")


def test_a_failure_that_is_reported_once_has_its_event_as_soon_as_this_process_leads(api, cluster, namespace):
    recorder = Recorder(api, cluster)
    subjects: dict[str, Subject] = {}
    recorder.recorder = EventRecorder(api, lambda _: subjects)
    for name in ("over", "gone", "studio"):
        recorder.on_notification(UNREADABLE, of=name)
    recorder.on_notification(READ, of="over")
    recorder.on_notification(TokenRemoved(), of="gone")
    recorder.on_notification(LEADS._replace(leads=False), of="")
    subjects["secret"] = Subject("Secret", namespace, "mine")
    assert recorder.events(namespace) == []
    for _ in range(2):
        recorder.on_notification(LEADS, of="")
    (event,) = recorder.events(namespace)
    assert event["message"].startswith("token studio: ")


def test_the_event_of_a_refused_write_says_why(recorder, namespace):
    recorder.on_notification(failed(namespace, "cannot be written: it is immutable"))
    (event,) = recorder.events(namespace)
    assert (event["type"], event["reason"]) == ("Warning", "WriteFailed")
    assert event["message"] == f"token studio: secret:{namespace}/mine cannot be written: it is immutable"


@pytest.mark.parametrize(
    ("trouble", "end", "reason"),
    [
        (lambda _: UNREADABLE, lambda _: READ, "KeyRead"),
        (lambda _: REFUSED, lambda _: ACCEPTED, "KeyAccepted"),
        (failed, written, "Written"),
    ],
    ids=["key source", "key", "write"],
)
def test_the_end_of_a_failure_is_a_normal_event(recorder, namespace, trouble, end, reason):
    recorder.on_notification(trouble(namespace))
    recorder.on_notification(end(namespace), 10)
    event = recorder.events(namespace)[1]
    assert (event["type"], event["reason"], event["count"]) == ("Normal", reason, 1)


def test_kubectl_shows_the_events_of_a_secret(recorder, cluster, namespace):
    cluster.must("POST", secrets_path(namespace), {"metadata": {"name": "mine"}})
    recorder.on_notification(REFUSED)
    recorder.events(namespace)
    shown = cluster.kubectl("events", "-n", namespace, "--for", "secret/mine").stdout
    assert "KeyRefused" in shown
    assert "401: no such key" in shown


def test_kubectl_shows_the_events_of_our_pod(cluster, namespace, account, tmp_path):
    api = in_pod(bound_to_a_pod(cluster, account, "refresher-7d9"), cluster.port)
    recorder = Recorder(api, cluster, (namespace, "mine"))
    recorder.on_notification(failed(namespace, "cannot be written: it is immutable"))
    recorder.events(namespace)
    shown = cluster.kubectl("describe", "pod", "refresher-7d9", "-n", namespace).stdout
    assert "WriteFailed" in shown
    assert "inlive-token-refresher" in shown
    assert f"token studio: secret:{namespace}/mine cannot be written: it is immutable" in shown


def bound_to_a_pod(cluster: Cluster, account: Account, name: str) -> Path:
    """Create the Pod, and the files of the account with a token that is bound to it."""
    core = f"/api/v1/namespaces/{account.namespace}"
    spec = {
        "containers": [{"name": "c", "image": "nowhere.invalid/none"}],
        "serviceAccountName": account.name,
    }
    pod = cluster.must("POST", f"{core}/pods", {"metadata": {"name": name}, "spec": spec})
    bound = {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": pod["metadata"]["uid"]}
    asked = {"spec": {"expirationSeconds": 3600, "boundObjectRef": bound}}
    given = cluster.must("POST", f"{core}/serviceaccounts/{account.name}/token", asked)
    (account.directory / "token").write_text(given["status"]["token"])
    return account.directory


def test_a_refused_key_concerns_every_secret_and_a_refused_write_one(api, cluster, namespace):
    recorder = Recorder(api, cluster, (namespace, "one"), (namespace, "two"))
    recorder.on_notification(failed(namespace, name="two"))
    recorder.on_notification(REFUSED)
    on = [(each["reason"], each["involvedObject"]["name"]) for each in recorder.events(namespace)]
    assert on == [("WriteFailed", "two"), ("KeyRefused", "one"), ("KeyRefused", "two")]


@pytest.mark.parametrize(
    "notification",
    [
        NO_NEWS,
        ACCEPTED,
        OutputFailed("secret:elsewhere/mine", "no", None, writing=True),
        OutputFailed("file:/run/token", "disk full", None, writing=True),
        OutputWritten("file:/run/token", "new", FACTS),
    ],
    ids=["an outage", "a token", "another's Secret", "a file", "a written file"],
)
def test_no_other_notification_is_an_event(tmp_path, notification):
    with asking(tmp_path, answering(201, b"{}")) as (api, server):
        recorder = EventRecorder(api, lambda _token: {"secret:ns/mine": Subject("Secret", "ns", "mine")})
        recorder.on_notification("studio", KeyLoaded(KEY.fingerprint, changed=False), NOW)
        recorder.on_notification("studio", notification, NOW)
        assert recorder.flush(PATIENCE)
        assert server.requests == []


def test_a_failed_read_is_not_a_refused_write(recorder, namespace):
    recorder.on_notification(failed(namespace)._replace(writing=False))
    assert recorder.events(namespace) == []


def test_a_token_without_a_secret_has_no_events(recorder, namespace):
    recorder.on_notification(REFUSED, of="another")
    assert recorder.events(namespace) == []


def test_a_new_token_for_the_old_key_does_not_end_the_refusal_of_the_new_key(recorder, namespace):
    recorder.on_notification(KeyLoaded(NEW_KEY.fingerprint, changed=True))
    recorder.on_notification(REFUSED._replace(key_fingerprint=NEW_KEY.fingerprint))
    recorder.on_notification(ACCEPTED, 10)
    assert recorder.reasons(namespace) == [("KeyRefused", 1)]


def test_a_refusal_ends_when_the_old_key_is_put_back_and_accepted(recorder, namespace):
    recorder.on_notification(KeyLoaded(NEW_KEY.fingerprint, changed=True))
    recorder.on_notification(REFUSED._replace(key_fingerprint=NEW_KEY.fingerprint))
    recorder.on_notification(KeyLoaded(KEY.fingerprint, changed=True), 10)
    recorder.on_notification(ACCEPTED, 20)
    assert recorder.reasons(namespace) == [("KeyRefused", 1), ("KeyAccepted", 1)]


def test_a_message_of_any_length_is_accepted(recorder, namespace):
    recorder.on_notification(failed(namespace, "x" * 100_000))
    assert len(recorder.events(namespace)[0]["message"]) == 1024


# Frequency


def test_a_repeated_failure_is_one_event_in_five_minutes_with_its_count(recorder, namespace):
    for seconds in range(0, int(2 * EVERY) + 1, 60):
        recorder.on_notification(failed(namespace), seconds)
    assert recorder.reasons(namespace) == [("WriteFailed", 1), ("WriteFailed", 6), ("WriteFailed", 11)]


def test_an_event_has_the_times_of_the_first_and_the_last_failure(recorder, namespace):
    recorder.on_notification(failed(namespace))
    recorder.on_notification(failed(namespace), EVERY)
    times = [(each["firstTimestamp"], each["lastTimestamp"]) for each in recorder.events(namespace)]
    assert times[0][0] == times[0][1] == times[1][0] != times[1][1]


def test_a_failure_that_flaps_has_no_more_events(recorder, namespace):
    for seconds in range(0, int(EVERY), 20):
        recorder.on_notification(failed(namespace), seconds)
        recorder.on_notification(written(namespace), seconds + 10)
    assert recorder.reasons(namespace) == [("WriteFailed", 1), ("Written", 1)]


def test_failures_are_counted_anew_after_the_end(recorder, namespace):
    recorder.on_notification(failed(namespace))
    recorder.on_notification(failed(namespace), 1)
    recorder.on_notification(written(namespace), 2)
    recorder.on_notification(failed(namespace), EVERY)
    assert recorder.reasons(namespace) == [("WriteFailed", 1), ("Written", 1), ("WriteFailed", 1)]


def test_each_kind_of_failure_has_its_own_events(recorder, namespace):
    recorder.on_notification(failed(namespace))
    recorder.on_notification(REFUSED, 1)
    assert recorder.reasons(namespace) == [("WriteFailed", 1), ("KeyRefused", 1)]


# Obstacles


def test_a_missing_permission_is_logged_once_and_is_not_an_error(
    recorder, namespace, cluster, account, caplog
):
    cluster.grant(account, [])
    with caplog.at_level(logging.DEBUG, logger="refresher"):
        for seconds in (0, EVERY, 2 * EVERY):
            recorder.on_notification(failed(namespace), seconds)
        assert recorder.events(namespace) == []
    (record,) = [each for each in caplog.records if each.name == "refresher"]
    assert record.levelno == logging.INFO
    assert f"in namespace {namespace}: not permitted (403): create events" in record.message


def test_a_permission_that_is_granted_later_is_used(recorder, namespace, cluster, account):
    cluster.grant(account, [])
    recorder.on_notification(failed(namespace))
    assert recorder.events(namespace) == []
    cluster.grant(account, MAY)
    recorder.on_notification(failed(namespace), EVERY)
    assert recorder.reasons(namespace) == [("WriteFailed", 2)]


def test_a_failure_during_an_outage_of_the_api_server_is_reported_with_the_next_failure(
    recorder, namespace, cluster
):
    cluster.kill_apiserver()
    recorder.on_notification(failed(namespace))
    assert recorder.recorder.flush(PATIENCE)
    cluster.start_apiserver()
    recorder.on_notification(failed(namespace), 30)
    assert recorder.reasons(namespace) == [("WriteFailed", 2)]


def test_the_end_of_a_failure_without_an_event_is_not_an_event(recorder, namespace, cluster):
    cluster.kill_apiserver()
    recorder.on_notification(failed(namespace))
    assert recorder.recorder.flush(PATIENCE)
    cluster.start_apiserver()
    recorder.on_notification(written(namespace), 30)
    assert recorder.reasons(namespace) == []


def test_an_api_server_that_hangs_blocks_no_other_thread(tmp_path):
    """Further reports are dropped, so that the memory for them is limited."""
    with asking(tmp_path, silent) as (api, server):
        recorder = EventRecorder(api, lambda _token: {"secret:ns/mine": Subject("Secret", "ns", "mine")})
        for seconds in range(10 * WAITING):
            recorder.on_notification("studio", failed("ns"), at(seconds))
        assert server.requests == []
        assert not recorder.flush(0.01)


def test_no_thread_starts_before_the_first_event(tmp_path):
    with asking(tmp_path, answering(201, b"{}")) as (api, _):
        before = set(threading.enumerate())
        recorder = EventRecorder(api, lambda _token: {"secret:ns/mine": Subject("Secret", "ns", "mine")})
        recorder.on_notification("studio", KeyLoaded(KEY.fingerprint, changed=False), NOW)
        recorder.on_notification("studio", ACCEPTED, NOW)
        assert set(threading.enumerate()) == before


def test_a_refused_thread_loses_no_event(tmp_path, caplog):
    with asking(tmp_path, answering(201, b"{}")) as (api, server), caplog.at_level(logging.DEBUG):
        recorder = EventRecorder(api, lambda _token: {"secret:ns/mine": Subject("Secret", "ns", "mine")})
        with no_threads():
            recorder.on_notification("studio", failed("ns"), NOW)
            assert not recorder.flush(0.01)
        assert "can't start new thread" in caplog.text
        recorder.on_notification("studio", written("ns"), at(10))
        assert recorder.flush(PATIENCE)
        assert len(server.requests) == 2


def test_the_end_of_a_pass_tries_again_to_start_the_thread(tmp_path):
    with asking(tmp_path, answering(201, b"{}")) as (api, server):
        recorder = EventRecorder(api, lambda _token: {"secret:ns/mine": Subject("Secret", "ns", "mine")})
        with no_threads():
            recorder.on_notification("studio", failed("ns"), NOW)
        assert recorder.flush(PATIENCE)
        assert len(server.requests) == 1
