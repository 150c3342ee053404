"""The custom resource `AccessToken` at the real API server."""

import pytest

from refresher.controller.conditions import object_status
from tests.controller.objects import BAD, GOOD, accesstoken, spec
from tests.controller.test_conditions import NOW, nothing, token
from tests.kube.administrator import APPLY
from tests.kube.cluster import Cluster

COLLECTION = "/apis/token-refresher.inlive.app/v1alpha1/namespaces/{}/accesstokens"


@pytest.fixture(scope="module")
def place(with_access_tokens: Cluster) -> Cluster:
    with_access_tokens.namespace("access-tokens")
    return with_access_tokens


def create(place, wanted, name="studio", query="?dryRun=All"):
    path = COLLECTION.format("access-tokens") + query
    return place.ask("POST", path, accesstoken(wanted, name, "access-tokens"))


def test_the_api_server_accepts_what_the_loader_accepts(place):
    refused = [(wanted, answer.text) for wanted in GOOD if not (answer := create(place, wanted)).ok]
    assert refused == []


def test_the_api_server_refuses_what_the_loader_refuses(place):
    codes = [(where, wanted, create(place, wanted).status_code) for wanted, where in BAD]
    assert [each for each in codes if each[2] != 422] == []


def test_a_rule_names_the_field_and_what_is_accepted(place):
    assert "spec.lifetime" in (told := create(place, spec(lifetime="9s")).text)
    assert "accepted: whole seconds, 10s to 720h" in told


def test_kubectl_shows_the_columns_under_the_short_name(place):
    assert create(place, spec(), "shown", "").ok
    condition = {
        "type": "Ready", "status": "False", "reason": "key_refused", "message": "m",
        "lastTransitionTime": "2026-11-05T10:00:00Z",
    }  # fmt: skip
    status = {
        "expiresAt": "2026-11-05T11:00:00Z",
        "refreshDue": "2026-11-05T10:40:00Z",
        "conditions": [condition],
    }
    path = f"{COLLECTION.format('access-tokens')}/shown/status"
    place.must("PATCH", path, {"status": status}, media_type="application/merge-patch+json")
    table = place.kubectl("get", "ilt", "--namespace=access-tokens").stdout.splitlines()
    assert table[0].split() == ["NAME", "READY", "EXPIRES", "DUE", "REASON", "AGE"]
    assert table[1].split()[:5] == [
        "shown",
        "False",
        status["expiresAt"],
        status["refreshDue"],
        "key_refused",
    ]
    assert "shown" in place.kubectl("get", "inlive", "--namespace=access-tokens").stdout


def test_a_change_of_the_spec_counts_a_generation_and_a_status_does_not(place):
    assert create(place, spec(), "counted", "").json()["metadata"]["generation"] == 1
    path = f"{COLLECTION.format('access-tokens')}/counted"
    merge = {"media_type": "application/merge-patch+json"}
    place.must("PATCH", f"{path}/status", {"status": {"tokenFingerprint": "0"}}, **merge)
    assert place.must("GET", path)["metadata"]["generation"] == 1
    assert place.must("PATCH", path, {"spec": {"lifetime": "2h"}}, **merge)["metadata"]["generation"] == 2


def test_kubectl_waits_for_the_status_that_the_controller_computes(place):
    stored = create(place, spec(), "waited", "").json()
    path = f"{COLLECTION.format('access-tokens')}/waited/status?fieldManager=refresher&force=true"
    names = {key: stored[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": "waited"}}
    wait = ("wait", "--for=condition=Ready", "--namespace=access-tokens", "accesstoken/waited")
    for of, is_ready in ((nothing(), False), (token(refresh_due=NOW), True)):
        wanted = object_status(stored, of, (), NOW)
        stored = place.must("PATCH", path, names | {"status": wanted}, media_type=APPLY)
        assert stored["status"] == wanted, "nothing is pruned"
        ran = place.kubectl(*wait, f"--timeout={'10s' if is_ready else '0s'}", check=False)
        assert (ran.returncode == 0) == is_ready, ran.stderr
