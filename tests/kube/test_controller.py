"""`refresher controller` at the real API server, as a process."""

import re
import signal
import time
from collections.abc import Iterator

import pytest

from refresher.emulator.server import Emulator
from refresher.executor import MINTS_AT_ONCE
from release import crd
from tests import needs
from tests.commands.daemon import eventually, refresher
from tests.kube.cluster import Cluster
from tests.kube.connecting import kubeconfig
from tests.kube.team import GROUP, LEASE, WATCHING, Team


@pytest.fixture
def team(with_access_tokens: Cluster, cluster: Cluster, namespace: str, issuer: Emulator) -> Iterator[Team]:
    with Team(cluster, namespace, issuer) as made:
        yield made
        cluster.restore()


@pytest.fixture
def served(team: Team) -> Team:
    """With a controller, a key, and an object that is ready."""
    team.set_key(team.issuer.keys[0].reveal())
    team.create()
    team.controller = team.start()
    team.wait()
    return team


def now() -> str:
    return time.strftime("%FT%TZ", time.gmtime())


def test_an_object_becomes_a_token_in_a_secret_that_belongs_to_it(served):
    assert served.issuer.valid(served.token())
    secret, status = served.secret(), served.status()
    (owner,) = secret["metadata"]["ownerReferences"]
    stored = served.cluster.must("GET", f"{served.objects}/studio")
    assert owner == {
        "apiVersion": f"{GROUP}/v1alpha1", "kind": "AccessToken", "name": "studio",
        "uid": stored["metadata"]["uid"], "controller": True,
    }  # fmt: skip
    assert "finalizers" not in stored["metadata"]
    assert status["observedGeneration"] == 1
    assert status["tokenFingerprint"] == secret["metadata"]["annotations"][f"{GROUP}/token-fingerprint"]
    assert served.condition("KeyAccepted")["status"] == "True"
    assert status["refreshDue"] < status["expiresAt"]
    kubectl = ("--namespace", served.namespace)
    served.cluster.kubectl("wait", "--for=condition=Ready", "ilt/studio", "--timeout=5s", *kubectl)
    assert re.search(
        r"studio +True +\S+Z +\S+Z +valid", served.cluster.kubectl("get", "ilt", *kubectl).stdout
    )


def test_nothing_is_written_while_nothing_changes(served):
    before = served.cluster.must("GET", f"{served.objects}/studio")["metadata"]["resourceVersion"]
    time.sleep(3)  # the test needs it: several rounds of the statuses
    assert served.cluster.must("GET", f"{served.objects}/studio")["metadata"]["resourceVersion"] == before
    assert served.issuer.counts.issued == 1


def test_a_changed_object_is_followed_and_its_generation_observed(served):
    first = served.token()
    served.change(spec={"lifetime": "2h", "secret": {"data": {"b": "bearer", "access-token": "token"}}})
    eventually(lambda: served.status()["observedGeneration"] == 2, "the status is about the new spec")
    eventually(lambda: "b" in served.secret()["data"], "the new key is there")
    eventually(lambda: served.token() != first, "the lifetime is another one")


def test_a_deleted_object_is_forgotten_and_its_secret_left_to_kubernetes(served):
    served.delete()
    served.controller.wait_for("TokenRemoved", token=f"{served.namespace}/studio")
    assert served.secret() is not None
    assert served.controller.get("/status").document["tokens"] == []


def test_an_object_that_is_being_deleted_gets_no_secret_any_more(served):
    served.change(metadata={"finalizers": ["example.com/wait"]})
    served.delete()
    served.controller.wait_for("TokenRemoved", token=f"{served.namespace}/studio")
    served.change(metadata={"finalizers": None})


def test_a_changed_key_is_in_use_within_ten_seconds(served):
    new = served.issuer.add_key()
    changed = time.monotonic()
    served.set_key(new.reveal())
    fingerprint = f"{GROUP}/key-fingerprint"
    eventually(
        lambda: served.secret()["metadata"]["annotations"][fingerprint] == new.fingerprint, "it is in use"
    )
    assert time.monotonic() - changed < 10


def test_an_object_may_name_another_key_secret(served):
    new = served.issuer.add_key()
    served.set_key(new.reveal(), "new-key")
    served.change(spec={"applicationKeySecretRef": {"name": "new-key"}})
    fingerprint = f"{GROUP}/key-fingerprint"
    eventually(
        lambda: served.secret()["metadata"]["annotations"][fingerprint] == new.fingerprint, "it is in use"
    )


def test_a_bad_new_key_takes_nothing_away_and_says_so(served):
    before = served.token()
    served.set_key("a-wrong-application-key")
    condition = served.wait(reason="key_refused")
    assert "key Secret" in condition["message"]
    assert served.condition("KeyAccepted")["status"] == "False"
    assert served.token() == before
    eventually(lambda: "KeyRefused" in dict(served.events()), "there is an Event")
    served.set_key(served.issuer.keys[0].reveal())
    served.wait()


def test_a_key_secret_may_come_later_be_emptied_and_replaced(team):
    team.create()
    team.start("--lease", LEASE)
    condition = team.wait(status="False", reason="key_unreadable")
    eventually(lambda: "KeyUnreadable" in dict(team.events()), "there is an Event")
    assert f"kubectl label secret key --namespace={team.namespace} {GROUP}/key=true" in condition["message"]
    key = team.issuer.keys[0].reveal()
    team.set_key(key, label=None)
    time.sleep(1)  # the test needs it: a Secret without the label is not seen
    assert team.ready() == ("False", "key_unreadable")
    team.set_key(key)
    team.wait()
    team.set_key("")
    assert "empty" in team.wait(reason="key_unreadable")["message"]
    assert team.issuer.valid(team.token())
    team.cluster.must("DELETE", f"{team.secrets}/key")
    eventually(lambda: "no Secret key" in team.condition("Ready")["message"], "it is missing", 70)
    team.set_key(key)
    team.wait()
    assert team.issuer.counts.issued == 1, "the same key needs no new token"


def test_a_mistake_in_one_object_is_reported_there_and_hurts_no_other(served):
    controller = served.start("--max-lifetime", "2h", REFRESHER_OWNER="other", REFRESHER_LEASE="")
    served.controller.end()
    served.create("long", lifetime="3h")
    condition = served.wait("long", status="False", reason="invalid")
    assert "spec.lifetime" in condition["message"]
    eventually(lambda: "Invalid" in dict(served.events("long")), "there is an Event")
    served.create("short", applicationKeySecretRef={"name": "key"})
    served.wait("short")
    served.change("long", spec={"lifetime": "1h"})
    served.wait("long")
    eventually(lambda: "Valid" in dict(served.events("long")), "the end has an Event")
    assert not controller.entries("Crashed")


def test_of_two_objects_that_want_one_secret_the_older_gets_it(served):
    token = served.token()
    served.create("later", secret={"name": "studio-token"})
    condition = served.wait("later", status="False", reason="invalid")
    assert "the older AccessToken studio" in condition["message"]
    assert (served.ready(), served.token()) == (("True", "valid"), token)
    served.delete()
    served.wait("later")


def test_the_secret_with_the_key_never_gets_a_token(served):
    served.set_key(served.issuer.keys[0].reveal(), "another-token")
    served.create("another")
    assert "application keys" in served.wait("another", status="False", reason="invalid")["message"]


def test_the_annotation_refresh_replaces_one_token(served):
    served.create("brief", lifetime="30s", propagationDelay="0s")
    served.wait("brief")
    before, other = served.token("brief"), served.token()
    time.sleep(1)  # the test needs it: the annotation has whole seconds
    served.change("brief", metadata={"annotations": {f"{GROUP}/refresh": now()}})
    served.controller.wait_for("TokenMinted", reason="requested", token=f"{served.namespace}/brief")
    eventually(lambda: served.token("brief") != before, "it is replaced")
    assert served.token() == other
    served.change(metadata={"annotations": {f"{GROUP}/refresh": "now"}})
    assert "date -u" in served.wait(reason="invalid")["message"]


def test_a_selector_and_namespaces_share_a_cluster(team, cluster, namespace):
    team.set_key(team.issuer.keys[0].reveal())
    team.create("a", {"tier": "a"})
    team.create("b", {"tier": "b"})
    first = team.start("--selector", "tier=a", "--namespaces", namespace, REFRESHER_OWNER="one")
    second = team.start("--selector", "tier in (b)", "--namespaces", namespace, REFRESHER_OWNER="two")
    for name in ("a", "b"):
        team.wait(name)
    for controller, name in ((first, "a"), (second, "b")):
        tokens = controller.get("/status").document["tokens"]
        assert [each["name"] for each in tokens] == [f"{namespace}/{name}"]
    team.change("a", metadata={"labels": {"tier": "b"}})
    first.wait_for("TokenRemoved", token=f"{namespace}/a")
    condition = team.wait("a", reason="not_written")
    assert "belongs to" in condition["message"]


def test_after_kill_9_the_standby_goes_on_without_a_mint(team):
    election = ("--lease", LEASE, "--lease-duration", "3s")
    team.set_key(team.issuer.keys[0].reveal())
    team.create()
    leader = team.start(*election)
    team.wait()
    standby = team.start(*election)
    standby.wait_for("TokenAdopted")
    assert standby.get("/readyz").status == 200
    team.create("next")
    team.wait("next")
    standby.wait_for("TokenAdopted", token=f"{team.namespace}/next", within=60)
    leader.send(signal.SIGKILL)
    standby.wait_for("LeaderChanged", leads=True)
    team.create("last")
    team.wait("last")
    assert team.issuer.counts.issued == 3
    assert standby.end() == 0


def test_permission_taken_away_and_given_back(served):
    served.cluster.grant(served.account, [])
    served.cluster.kill_apiserver()  # a watch that is open keeps the permission that it began with
    served.cluster.start_apiserver()
    served.controller.wait_for("WatchFailed")
    assert served.controller.get("/readyz").status == 200
    served.cluster.grant(served.account, WATCHING)
    served.create("next")
    served.wait("next")
    assert served.ready() == ("True", "valid")


def test_a_namespace_that_terminates_stops_no_other(served, cluster, namespace):
    served.controller.end()
    other = Team(cluster, f"{namespace}-other", served.issuer)
    cluster.kubectl(
        "create", "rolebinding", "served", "--role=refresher", f"--namespace={other.namespace}",
        f"--serviceaccount={namespace}:refresher",
    )  # fmt: skip
    other.set_key(served.issuer.keys[0].reveal())
    other.create("here")
    controller = served.start("--namespaces", f"{namespace},{other.namespace}")
    other.wait("here")
    other.create("late", applicationKeySecretRef={"name": "later"})
    other.wait("late", status="False", reason="key_unreadable")
    other.set_key("", "later")
    cluster.must("DELETE", f"/api/v1/namespaces/{other.namespace}")
    other.change_key(served.issuer.keys[0].reveal(), "later")
    controller.wait_for("OutputFailed", token=f"{other.namespace}/late")
    assert "being terminated" in other.wait("late", status="False", reason="not_written")["message"]
    served.create("next")
    served.wait("next")


def test_slow_and_refused_mints_delay_no_other_object(team):
    """More are slow than the issuer has places for."""
    team.set_key(team.issuer.keys[0].reveal())
    team.set_key("a-wrong-application-key", "wrong")
    slow = [f"slow{number}" for number in range(MINTS_AT_ONCE + 4)]
    refused, others = ([f"{kind}{number}" for number in range(5)] for kind in ("refused", "n"))
    team.issuer.faults(hang=True, count=len(slow), scope="mint")
    team.start("--issuer-timeout", "5m")
    for name in slow:
        team.create(name)
    eventually(lambda: team.issuer.counts.mints == len(slow), "the slow ones are minting")
    for name in refused:
        team.create(name, applicationKeySecretRef={"name": "wrong"})
    for name in refused:
        team.wait(name, status="False", reason="key_refused")
    for name in others:
        team.create(name)
    for name in others:
        team.wait(name)
    assert {team.ready(name)[0] for name in slow} == {""}, "their tokens are in the making"


def test_an_object_that_is_edited_all_the_time_delays_no_other(served):
    edits = 60
    served.create("busy")
    for edit in range(edits + 1):
        served.change("busy", spec={"secret": {"labels": {"edit": str(edit)}}})
        if edit == 20:
            served.create("next")
    served.wait("next")
    served.wait("busy")
    eventually(lambda: served.secret("busy")["metadata"]["labels"].get("edit") == str(edits), "the last one")
    assert served.issuer.counts.issued == 3


def test_many_objects_at_once(team):
    count = 100
    team.set_key(team.issuer.keys[0].reveal())
    team.start()
    for number in range(count):
        team.create(f"n{number}")
    eventually(
        lambda: all(
            each.get("status", {}).get("expiresAt")
            for each in team.cluster.must("GET", team.objects)["items"]
        ),
        "all have their token",
        60,
    )
    assert team.issuer.counts.issued == count


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--namespaces", "A"), "--namespaces: 'A' is not the name of a namespace"),
        (("--namespaces", "a", "--all-namespaces"), "--all-namespaces: excludes --namespaces"),
        (("--selector", "a=b,"), "--selector: 'a=b,' is no label selector"),
    ],
)
def test_a_wrong_command_line_starts_nothing(words, says, tmp_path):
    config = kubeconfig(tmp_path, "https://127.0.0.1:1")
    ended = refresher("controller", *words, KUBECONFIG=str(config))
    assert ended.code == 78
    assert says in ended.said


def test_each_variable_that_it_does_not_use_is_refused():
    unused = {
        "REFRESHER_TO_FILE": "/t",
        "REFRESHER_CONFIG": "/c",
        "REFRESHER_SERVE": ":1",
        "REFRESHER_FORMAT": "x",
    }
    ended = refresher(
        "controller", KUBECONFIG="/nowhere", REFRESHER_LISTEN=":1", REFRESHER_KEY_FILE="", **unused
    )
    assert ended.code == 78
    assert {
        line.split(": ")[1] for line in ended.said.splitlines() if "AccessToken objects" in line
    } == unused.keys()


def test_without_the_custom_resource_it_waits_and_says_what_to_install(issuer):
    with Cluster(needs.kubernetes()) as bare, Team(bare, "studio", issuer) as team:
        controller = team.start()
        failure = controller.wait_for("WatchFailed")
        assert "deploy/crd/accesstokens.yaml" in failure["message"]
        assert controller.get("/readyz").status == 503
        definition = crd.definition()
        definition["spec"]["versions"][0]["name"] = "v1beta7"
        for present in (definition, crd.definition()):
            bare.kubectl("apply", "--server-side", "--filename=-", stdin=present)
            name = f"crd/{present['metadata']['name']}"
            bare.kubectl("wait", "--for=condition=Established", "--timeout=60s", name)
            if present is definition:
                seen = len(controller.entries("WatchFailed"))
                time.sleep(2)  # the test needs it: another version does not help
                assert controller.get("/readyz").status == 503
                assert len(controller.entries("WatchFailed")) == seen, "logged once"
                bare.kubectl("delete", "--wait=true", name)
        team.set_key(issuer.keys[0].reveal())
        team.create()
        eventually(lambda: team.ready() == ("True", "valid"), "it is served", 45)
        assert controller.get("/readyz").status == 200
