import pytest

from refresher.controller.spec import FIELDS, Demand, KeyReference, demand, problems_of
from refresher.errors import ConfigurationError
from release import crd
from tests.controller.objects import BAD, GOOD, accesstoken, secret, spec

DAY = 86400.0


@pytest.mark.parametrize("wanted", GOOD, ids=str)
def test_a_valid_object_has_no_problem(wanted):
    assert problems_of(accesstoken(wanted), DAY) == ()


@pytest.mark.parametrize(("wanted", "where"), BAD, ids=str)
def test_a_mistake_is_reported_at_its_field(wanted, where):
    [problem] = problems_of(accesstoken(wanted), DAY)
    assert str(problem).startswith(f"{where}: ")


def test_all_mistakes_of_an_object_are_reported_at_once():
    found = problems_of(accesstoken(spec(lifetime="1s", refreshAt="1%", secret=None)), DAY)
    assert [str(problem).partition(":")[0] for problem in found] == [
        "spec.secret.name", "spec.lifetime", "spec.refreshAt",
    ]  # fmt: skip


@pytest.mark.parametrize("document", [{}, {"spec": None}, {"spec": []}, {"spec": {"secret": 1}}], ids=str)
def test_an_object_of_any_shape_is_judged(document):
    names = {"metadata": {"name": "studio", "namespace": "studio"}}
    assert problems_of(names | document, DAY)


def test_the_lifetime_is_limited_by_the_operator():
    [problem] = problems_of(accesstoken(spec(lifetime="25h")), DAY)
    assert str(problem).startswith("spec.lifetime: 25h is more than max_lifetime of its issuer allows")
    assert problems_of(accesstoken(spec(lifetime="25h")), 2 * DAY) == ()


def test_a_demand_has_every_field():
    wanted = secret(
        data={"a": "template"}, template="$access_token", labels={"team": "x"}, annotations={"a": "b"}
    ) | {"lifetime": "30m", "refreshAt": "50%", "propagationDelay": "1m"}
    token, key = demand(accesstoken(wanted, "name", "space"), DAY)
    [output] = token.outputs
    assert (token.name, token.lifetime, token.refresh_at, token.key_file) == ("space/name", 1800.0, 0.5, "")
    assert output == (
        "space/token", (("a", "template"),), "$access_token", 60.0, None, "keep",
        (("team", "x"),), (("a", "b"),),
    )  # fmt: skip
    assert key == KeyReference("space", "key", "application-key")


def test_a_demand_has_the_defaults_of_the_configuration():
    found = demand(accesstoken(spec()), DAY)
    assert isinstance(found, Demand)
    token = found.token
    assert (token.lifetime, token.refresh_at, token.outputs[0].propagation_delay) == (3600.0, 0.7, 120.0)


def test_a_key_is_read_in_the_namespace_of_the_object_only():
    for name in ("other/key", "../key"):
        with pytest.raises(ConfigurationError):
            demand(accesstoken(spec(applicationKeySecretRef={"name": name, "namespace": "other"})), DAY)
    reference = {"name": "key", "namespace": "other"}
    assert demand(accesstoken(spec(applicationKeySecretRef=reference)), DAY).key.namespace == "studio"


def test_the_definition_and_its_copy_are_up_to_date():
    assert {path.read_text() for path in (crd.CRD, crd.COPY)} == {crd.text()}, "run make crd"


def test_every_field_is_in_the_definition_and_says_what_it_is():
    [version] = crd.definition()["spec"]["versions"]
    node = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    for field in FIELDS:
        found = {"properties": node}
        for step in field.path:
            found = found["properties"][step]
        assert found["description"].endswith(".")
