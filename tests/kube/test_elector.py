"""Election with a Lease at the real API server: one leader at a time, with the least permissions."""

import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.clock import SystemClock
from refresher.core.election import Election, LeaseRecord, LeaseTiming, timing_of
from refresher.core.events import LeadershipChanged
from refresher.core.process_notifications import Crashed, LeaderChanged, LeaseFailed
from refresher.errors import KubeConflictError, KubeError, KubeNotFoundError, KubeUnreachableError
from refresher.kube.api import connect
from refresher.kube.elector import Elector, document, record_of
from refresher.ports import Message
from refresher.workers import Mailbox
from tests.commands.daemon import eventually
from tests.kube.administrator import Account, Rule
from tests.kube.cluster import Cluster

DURATION = 3.0  # seconds
PATIENCE = 20.0
NAME = "refresher"
LEASES = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
ENOUGH: list[Rule] = [
    LEASES | {"verbs": ["get", "update", "create"], "resourceNames": [NAME]},
]


def spawn(work: Callable[[], None], name: str) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()


class Candidate:
    """An elector and the notifications that it posted."""

    def __init__(self, account: Account, identity: str) -> None:
        self.mailbox = Mailbox[Message]()
        self.messages: list[Message] = []
        self.api = connect(SystemClock(), {"KUBECONFIG": str(account.kubeconfig)})
        election = Election(identity, timing_of(DURATION))
        lease = f"{account.namespace}/{NAME}"
        self.elector = Elector(self.api, lease, election, SystemClock(), self.mailbox)
        self.elector.start(spawn)

    @property
    def leads(self) -> bool:
        """Whether it leads, according to its last message."""
        while message := self.mailbox.take(0):
            self.messages.append(message)
        told = [each.event.leads for each in self.messages if isinstance(each.event, LeadershipChanged)]
        return bool(told) and told[-1]

    @property
    def said(self) -> list[object]:
        self.leads  # noqa: B018 -- takes what has come
        return [said for message in self.messages for said in message.notifications]

    def end(self) -> None:
        self.elector.release()


def until(happens: Callable[[], bool], what: str) -> float:
    """Wait for the condition. Returns the seconds that it took."""
    began = time.monotonic()
    eventually(happens, what, PATIENCE)
    return time.monotonic() - began


@pytest.fixture
def candidates(cluster: Cluster, namespace: str) -> Iterator[Callable[..., Candidate]]:
    """Creates candidates for one Lease with the least permissions."""
    account = cluster.service_account(namespace, "refresher", ENOUGH)
    made: list[Candidate] = []

    def stand(identity: str) -> Candidate:
        made.append(Candidate(account, identity))
        return made[-1]

    yield stand
    cluster.restore()
    for each in made:
        each.end()


def lease(cluster: Cluster, namespace: str) -> dict[str, object]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{NAME}"
    return dict(cluster.must("GET", path))


def test_the_first_leads_and_the_second_knows_the_leader(candidates):
    first = candidates("first")
    until(lambda: first.leads, "the first leads")
    second = candidates("second")
    until(lambda: bool(second.said), "the second reports the leader")
    assert second.said == [LeaderChanged(second.elector.lease, leads=False, holder="first")]
    assert first.elector.time_left() > 0
    assert second.elector.time_left() <= 0


def test_the_lease_shows_its_holder_and_times(candidates, cluster, namespace):
    first = candidates("first")
    until(lambda: first.leads, "it leads")
    spec = lease(cluster, namespace)["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("first", 3, 0)
    renewed = spec["renewTime"]
    until(lambda: lease(cluster, namespace)["spec"]["renewTime"] != renewed, "the Lease is renewed")
    assert lease(cluster, namespace)["spec"]["acquireTime"] == spec["acquireTime"]


def test_a_lease_held_for_years_is_reported_once(candidates, cluster, namespace):
    spec = {"holderIdentity": "dead", "leaseDurationSeconds": 2**31 - 1}
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    cluster.must("POST", path, {"metadata": {"name": NAME}, "spec": spec})
    one = candidates("one")
    until(lambda: len(one.said) > 1, "it has reported the Lease and the leader")
    until(lambda: one.elector._election.asked_at > one.elector._clock.now().boot - 0.1, "another read")
    (doubt,) = [posted for posted in one.said if isinstance(posted, LeaseFailed)]
    assert "names dead with a duration of 2147483647 s" in doubt.message
    assert "60 s at most" in doubt.message
    assert not doubt.leads


def test_a_released_lease_is_taken_within_two_seconds(candidates, cluster, namespace):
    first = candidates("first")
    until(lambda: first.leads, "the first leads")
    second = candidates("second")
    first.elector.release()
    assert until(lambda: second.leads, "the second leads") < 2.0
    assert lease(cluster, namespace)["spec"]["leaseTransitions"] == 1


def test_the_leader_is_posted_again_after_a_failure(candidates, cluster):
    """Otherwise observers would report the failure for ever."""
    first = candidates("first")
    until(lambda: first.leads, "it leads")
    cluster.kill_apiserver()
    until(lambda: any(isinstance(each, LeaseFailed) for each in first.said), "the failure is reported")
    cluster.start_apiserver()
    until(
        lambda: first.leads and isinstance(first.said[-1], LeaderChanged),
        "its last message says that it leads",
    )


def test_fields_of_others_in_the_lease_are_kept(candidates, cluster, namespace):
    first = candidates("first")
    until(lambda: first.leads, "it leads")
    cluster.kubectl("label", "lease", NAME, "-n", namespace, "team=inlive")
    renewed = lease(cluster, namespace)["spec"]["renewTime"]
    until(lambda: lease(cluster, namespace)["spec"]["renewTime"] != renewed, "the Lease is renewed")
    assert lease(cluster, namespace)["metadata"]["labels"] == {"team": "inlive"}


def test_a_lease_created_by_an_administrator_is_taken(candidates, cluster, namespace):
    cluster.namespace(namespace)
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    cluster.must("POST", path, {"metadata": {"name": NAME}})
    first = candidates("first")
    until(lambda: first.leads, "it leads")


def test_leadership_ends_in_time_while_the_api_server_hangs_and_resumes_afterwards(candidates, cluster):
    both = [candidates("first"), candidates("second")]
    until(lambda: any(each.leads for each in both), "one leads")
    cluster.pause()
    took = until(lambda: not any(each.leads for each in both), "neither leads")
    assert took <= DURATION
    assert all(each.elector.time_left() <= 0 for each in both)
    time.sleep(DURATION)  # the test needs it: longer than the Lease
    cluster.resume()
    until(lambda: any(each.leads for each in both), "one leads again")
    assert [each.leads for each in both].count(True) == 1


def test_a_short_restart_of_the_api_server_keeps_the_leader(candidates, cluster):
    first = candidates("first")
    until(lambda: first.leads, "it leads")
    cluster.pause()
    until(lambda: first.elector.time_left() < 1.0, "half of its time has passed")
    cluster.resume()
    until(lambda: first.elector.time_left() > 1.5, "it has renewed")
    assert [said.leads for said in first.said if isinstance(said, LeaderChanged)] == [True]


def test_a_candidate_without_permission_names_it(cluster, namespace):
    account = cluster.service_account(namespace, "nobody", [])
    candidate = Candidate(account, "nobody")
    try:
        until(lambda: any(isinstance(each, LeaseFailed) for each in candidate.said), "it reports the failure")
        failed = next(each for each in candidate.said if isinstance(each, LeaseFailed))
        assert "get leases.coordination.k8s.io/refresher" in failed.message
        assert not candidate.leads
    finally:
        candidate.end()


# Parsing a Lease, without an API server


def test_a_missing_or_malformed_field_counts_as_never_held():
    nobody = LeaseRecord("", 0.0, -1, "7")
    metadata = {"resourceVersion": "7"}
    strange = [{}, [], "s", {"leaseDurationSeconds": 10**400, "leaseTransitions": -5, "holderIdentity": []}]
    strange += [{"leaseDurationSeconds": 1.5, "leaseTransitions": "3", "holderIdentity": None}]
    for spec in strange:
        assert record_of({"metadata": metadata, "spec": spec}) == nobody


@pytest.mark.parametrize(
    "lease", [{}, {"metadata": []}, {"metadata": {}}, {"metadata": {"resourceVersion": ""}}, {"spec": {}}]
)
def test_a_malformed_lease_is_refused_as_no_response_of_an_api_server(lease):
    with pytest.raises(KubeUnreachableError, match="no Lease"):
        record_of(lease)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(
        st.sampled_from(["resourceVersion", "holderIdentity", "leaseDurationSeconds", "leaseTransitions"]),
        inner,
    ),
    max_leaves=6,
)


@given(JSON | st.just({"resourceVersion": "7"}), JSON)
def test_any_response_is_a_writable_lease_or_an_error(metadata, spec):
    given = {"metadata": metadata, "spec": spec}
    try:
        record = record_of(given)
    except KubeUnreachableError:
        return
    written = document(given, record, "ns", NAME, 1_800_000_000.0)
    assert record_of(json.loads(json.dumps(written))) == record


# Messages, for any response of the API server


class Scripted:
    """An API server with prepared responses to writes and reads of the Lease, in this order."""

    def __init__(self, *answers: type[KubeError] | None) -> None:
        self.answers = list(answers)
        self.version = 1

    def _answer(self) -> dict[str, object]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer("prepared")
        self.version += 1
        return self.kept

    def replace(self, path: str, body: dict[str, object], *, timeout: float) -> dict[str, object]:
        self.kept = body | {"metadata": {"resourceVersion": str(self.version)}}
        return self._answer()

    def get(self, path: str, *, timeout: float) -> dict[str, object]:
        return self._answer()


def test_a_leader_replaced_during_failures_learns_of_it():
    """Otherwise it would act as leader for ever."""
    away, conflict = KubeUnreachableError, KubeConflictError
    api = Scripted(KubeNotFoundError, None, None, away, conflict, away)
    mailbox = Mailbox[Message]()
    election = Election("me", LeaseTiming(lease_duration=30.0, renew_deadline=20.0, retry_period=0.02))
    elector = Elector(api, "inlive/refresher", election, SystemClock(), mailbox)
    elector.start(spawn)
    told: list[bool] = []

    def stepped_back() -> bool:
        while message := mailbox.take(0):
            if isinstance(message.event, LeadershipChanged):
                told.append(message.event.leads)
        return told == [True, False]

    until(stepped_back, "it steps down")
    elector.release()


def test_a_bug_does_not_end_the_election():
    class Mistaken(Scripted):
        def get(self, path: str, *, timeout: float) -> dict[str, object]:
            if self.version == 1:
                self.version += 1
                raise RuntimeError("a bug")
            raise KubeNotFoundError("there is none")

    mailbox = Mailbox[Message]()
    election = Election("me", LeaseTiming(lease_duration=30.0, renew_deadline=20.0, retry_period=0.02))
    elector = Elector(Mistaken(None), "inlive/refresher", election, SystemClock(), mailbox)
    elector.start(spawn)
    said: list[object] = []

    def leads() -> bool:
        while message := mailbox.take(0):
            said.extend(message.notifications)
        return any(isinstance(each, LeaderChanged) and each.leads for each in said)

    until(leads, "it leads all the same")
    assert isinstance(said[0], Crashed)
    elector.release()
