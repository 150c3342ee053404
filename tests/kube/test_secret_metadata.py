"""Labels and annotations of the user on Secrets, at the real API server."""

import json
from collections.abc import Iterator

import pytest

from refresher.config.kube_metadata import ANNOTATIONS, LABELS, LARGEST_ANNOTATIONS
from refresher.config.source_map import Mapping
from refresher.config.value_types import read
from refresher.kube.api import KubeApi
from tests.config.test_kube_metadata import BAD_NAMES, BAD_VALUES, GOOD_NAMES, GOOD_VALUES
from tests.kube.administrator import Account
from tests.kube.cluster import Cluster
from tests.kube.test_secret_output import ENOUGH, NAME, SecretPlace, connected
from tests.outputs.tokens import NOW, SEALER, a_token

OWN = {
    "labels": (("team", "studio"), ("cost", "7")),
    "annotations": (("example.com/contact", "a@b.example"),),
}


@pytest.fixture(scope="module")
def account(shared_cluster: Cluster) -> Account:
    return shared_cluster.service_account("secret-metadata", "refresher", ENOUGH)


@pytest.fixture(scope="module")
def api(account: Account) -> KubeApi:
    return connected(account)


@pytest.fixture
def place(cluster: Cluster, account: Account, api: KubeApi) -> Iterator[SecretPlace]:
    place = SecretPlace(cluster, account, api)
    yield place
    cluster.ask("DELETE", place.path)


def own(place, field):
    """The labels or annotations that are not the refresher's."""
    found = place.stored()["metadata"].get(field, {})
    ours = ("token-refresher.inlive.app/", "app.kubernetes.io/managed-by")
    return {name: text for name, text in found.items() if not name.startswith(ours)}


def test_labels_and_annotations_are_written_beside_those_of_others(place):
    place.make(metadata={"name": NAME, "labels": {"others": "l"}, "annotations": {"others": "a"}})
    place.output(**OWN).write(a_token(), NOW, SEALER)
    assert own(place, "labels") == {"team": "studio", "cost": "7", "others": "l"}
    assert own(place, "annotations") == {"example.com/contact": "a@b.example", "others": "a"}


def test_one_that_leaves_the_configuration_goes_at_the_next_write(place):
    place.output(**OWN).write(a_token(), NOW, SEALER)
    fewer = place.output(labels=(("team", "studio"),))
    assert fewer.inspect(NOW).intact
    fewer.write(a_token(2), NOW, SEALER)
    assert own(place, "labels") == {"team": "studio"}
    assert own(place, "annotations") == {}


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {"team": "other"}},
        {"labels": {"team": None}},
        {"annotations": {"example.com/contact": "other"}},
        {"annotations": {"example.com/contact": None}},
    ],
    ids=json.dumps,
)
def test_a_change_by_others_is_put_right_with_the_same_token(place, change):
    output = place.output(**OWN)
    output.write(a_token(), NOW, SEALER)
    content = place.content()
    place.patch({"metadata": change})
    found = output.inspect(NOW)
    assert not found.intact
    assert found.token.access == a_token().access
    output.write(found.token, NOW, SEALER)
    assert output.inspect(NOW).intact
    assert place.content() == content
    assert own(place, "labels") == dict(OWN["labels"])
    assert own(place, "annotations") == dict(OWN["annotations"])


def test_a_changed_configuration_is_written_with_the_token_in_the_secret(place):
    place.output(**OWN).write(a_token(), NOW, SEALER)
    changed = place.output(labels=(("team", "stage"),))
    found = changed.inspect(NOW)
    assert (found.intact, found.token.access) == (False, a_token().access)
    changed.write(found.token, NOW, SEALER)
    assert own(place, "labels") == {"team": "stage"}


def test_a_released_secret_loses_them(place):
    output = place.output(**OWN, on_remove="delete")
    output.write(a_token(), NOW, SEALER)
    assert output.release(tuple)
    assert own(place, "labels") == own(place, "annotations") == {}


def test_the_most_annotations_that_are_accepted_leave_room_for_ours(place):
    largest = (("a", "x" * (LARGEST_ANNOTATIONS - 1)),)
    data = tuple((f"{number:02}".ljust(253, "k"), "inlive-sdk") for number in range(20))
    output = place.output(annotations=largest, data=data)
    output.write(a_token(), NOW, SEALER)
    assert output.inspect(NOW).intact


def judged(place, field, name, value):
    """Whether the API server accepts this label or annotation, without storing it."""
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x", field: {name: value}}}
    collection = place.path.removesuffix(f"/{NAME}")
    return place.cluster.ask("POST", f"{collection}?dryRun=All", body).ok


def ours(value_type, name, value):
    mapping = Mapping()
    mapping[name] = value
    try:
        read(value_type, mapping)
    except ValueError:
        return False
    return True


def test_the_api_server_accepts_the_same_names_and_values(place):
    tries = [(name, "x") for name in [*GOOD_NAMES, *BAD_NAMES, "Example.COM/a"]]
    tries += [("a", value) for value in [*GOOD_VALUES, *BAD_VALUES]]
    for field, value_type in (("labels", LABELS), ("annotations", ANNOTATIONS)):
        verdicts = {one: (ours(value_type, *one), judged(place, field, *one)) for one in tries}
        differing = {one: both for one, both in verdicts.items() if both[0] != both[1]}
        assert differing == {}
