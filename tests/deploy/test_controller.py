"""The controller in the manifests and in the chart, without a cluster."""

import json

import pytest
import yaml

from refresher.cli import build_parser
from refresher.config.flags import declared_flags
from refresher.config.issuers import IssuerSettings
from refresher.controller.spec import problems_of
from refresher.kube.rbac import Permission, for_lease
from release import crd
from tests.deploy.chart import BUILDING, CHART, NAMESPACE, helm, installed, rendered, without_hooks
from tests.deploy.rendering import DEPLOY, IMAGE, blocks, component, environ, granted, overlay, render, used

pytestmark = pytest.mark.timeout(BUILDING)

GROUP = "token-refresher.inlive.app"
HOME = "inlive"
DOCS = DEPLOY.parent / "docs" / "controller.md"
PAGE = {block.partition("\n")[0].removeprefix("# "): block for block in blocks(DOCS)}  # by the file's name


def controller(release=IMAGE, namespace=HOME, config=None, **values):
    """The objects of a release with `mode: controller` and these values of `controller`."""
    more = {} if config is None else {"config": config}
    return rendered({"mode": "controller", "controller": values} | more, release, namespace)


def rights(namespace, token_secrets=("",)):
    """What the controller needs in a namespace; "" for all."""
    objects = [("list", "accesstokens"), ("watch", "accesstokens"), ("patch", "accesstokens/status")]
    core = [("list", "secrets"), ("watch", "secrets"), ("create", "events")]
    return {
        *(Permission(verb, resource, namespace, group=GROUP) for verb, resource in objects),
        *(Permission(verb, resource, namespace) for verb, resource in core),
        *(
            Permission(verb, "secrets", namespace, name)
            for verb in ("get", "patch", "create")
            for name in token_secrets
        ),
    }


def arguments(objects):
    return build_parser().parse_args(objects.ours["args"])


# Rights


def test_a_role_in_its_own_namespace_is_the_default():
    wanted = rights(HOME) | {*for_lease(HOME, IMAGE)}
    assert granted(controller()) == granted(overlay("controller")) == wanted
    assert arguments(controller()).namespaces is None


def test_each_served_namespace_has_a_role():
    objects = controller(namespaces=["studio", "lobby", "studio"])
    assert granted(objects) == rights("studio") | rights("lobby") | {*for_lease(HOME, IMAGE)}
    assert arguments(objects).namespaces.split(",") == ["studio", "lobby", "studio"]
    assert not objects.of("ClusterRoleBinding")


@pytest.mark.parametrize("made", ["chart", "overlay"])
def test_a_cluster_role_is_an_explicit_choice(made, tmp_path):
    if made == "chart":
        objects = controller(allNamespaces=True)
    else:
        objects = used("controller", tmp_path, components=[component("all-namespaces", tmp_path)])
    assert granted(objects) == rights("") | {*for_lease(HOME, IMAGE)}
    assert arguments(objects).all_namespaces
    assert arguments(objects).namespaces is None


def test_the_names_of_token_secrets_can_be_restricted():
    objects = controller(tokenSecrets=["a", "b"])
    assert granted(objects) == rights(HOME, ("a", "b")) | {*for_lease(HOME, IMAGE)}


def test_one_process_needs_no_lease():
    objects = controller(replicas=1)
    assert granted(objects) == rights(HOME)
    assert objects.the("Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert not objects.of("PodDisruptionBudget")
    assert "REFRESHER_LEASE" not in environ(objects.ours)


def test_events_can_be_forbidden():
    objects = rendered({"mode": "controller", "rbac": {"events": False}}, namespace=HOME)
    assert "events" not in {each.resource for each in granted(objects)}


def test_the_overlay_serves_another_namespace_with_its_role(tmp_path):
    """As docs/controller.md shows: the directory `access` in each namespace."""
    for name in ("controller/kustomization.yaml", "controller/studio/kustomization.yaml"):
        place = tmp_path / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(PAGE[name])
    (tmp_path / "deploy").symlink_to(DEPLOY)
    objects = render(tmp_path / "controller")
    assert granted(objects) == rights(HOME) | rights("studio") | {*for_lease(HOME, IMAGE)}
    assert arguments(objects).namespaces == "inlive,studio"


# Settings


def test_every_setting_of_the_issuer_is_passed_on(tmp_path):
    variables = {
        option.key: (option.variable, option.example)
        for section, option in declared_flags()
        if section is IssuerSettings
    }
    assert len(variables) >= 5
    issuer = {key: example for key, (_, example) in variables.items()}
    given = environ(controller(config={"issuer": issuer}).ours)
    assert {variable: given.get(variable) for variable, _ in variables.values()} == dict(variables.values())


def test_selector_and_lease_are_passed_on():
    objects = controller(config={"leader_election": {"duration": "30s"}}, selector="tier in (a, b),!beta")
    assert arguments(objects).selector == "tier in (a, b),!beta"
    assert environ(objects.ours)["REFRESHER_LEASE_DURATION"] == "30s"
    assert environ(objects.ours)["REFRESHER_LEASE"] == IMAGE


def test_the_pod_holds_no_key_and_no_configuration():
    for objects in (controller(), overlay("controller")):
        assert "volumes" not in objects.pod["spec"]
        assert not objects.of("ConfigMap")
        assert not objects.of("Secret")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"controller": {"namespaces": ["a"], "allNamespaces": True}}, "leave one of them out"),
        ({"controller": {"namespaces": ["A"]}}, "/controller/namespaces/0"),
        ({"controller": {"namespace": "a"}}, "'namespace' not allowed"),
        ({"controller": {"replicas": 0}}, "/controller/replicas"),
        ({"controller": {"replicas": 1}, "config": {"leader_election": {"duration": "9s"}}}, "replicas: 2"),
        ({"config": {"defaults": {"lifetime": "2h"}}}, "config.defaults: not with mode: controller"),
        (
            {"config": {"tokens": [{"name": "a", "key_file": "/k", "outputs": [{"secret": "a"}]}]}},
            "config.tokens: not with mode: controller",
        ),
        ({"crds": {"keep": "no"}}, "/crds/keep"),
    ],
    ids=lambda each: json.dumps(each)[:50] if isinstance(each, dict) else "",
)
def test_a_value_without_effect_is_refused(values, told):
    done = helm("template", IMAGE, CHART, values={"mode": "controller"} | values)
    assert done.returncode != 0
    assert told in done.stderr


def test_the_documented_values_are_accepted():
    values = yaml.safe_load(PAGE["values.yaml"])
    assert helm("lint", "--strict", CHART, values=values).returncode == 0
    objects = rendered(values, namespace=HOME)
    served = {each["metadata"]["namespace"] for each in objects.of("Role")}
    assert served == {"studio", "reports", HOME}  # that of the Lease
    assert objects.the("PodMonitor")


def test_the_documented_object_is_accepted():
    assert problems_of(yaml.safe_load(PAGE["studio.yaml"]), 86400.0) == ()


# The custom resource


def test_the_chart_has_the_custom_resource_and_keeps_it():
    objects = rendered({"mode": "controller"})
    definition = objects.the("CustomResourceDefinition")
    assert definition["spec"] == crd.definition()["spec"]
    assert definition["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    loose = rendered({"mode": "controller", "crds": {"keep": False}}).the("CustomResourceDefinition")
    assert "annotations" not in loose["metadata"]


def test_roles_for_users_come_with_the_custom_resource():
    theirs = {each["metadata"]["name"]: each for each in render(DEPLOY / "crd").of("ClusterRole")}
    ours = {each["metadata"]["name"]: each for each in installed("controller").of("ClusterRole")}
    assert len(theirs) == 2
    assert ours.keys() == theirs.keys()
    for name, role in theirs.items():
        assert ours[name]["rules"] == role["rules"]
        assert role["metadata"]["labels"].items() <= ours[name]["metadata"]["labels"].items()
    none = rendered({"mode": "controller", "crds": {"aggregateRoles": False}})
    assert (len(none.of("ClusterRole")), len(none.of("CustomResourceDefinition"))) == (0, 1)


@pytest.mark.parametrize(
    "values", [{"mode": "controller", "crds": {"enabled": False}}, {"mode": "ha"}, {"mode": "deployment"}]
)
def test_a_release_without_the_custom_resource_has_nothing_of_the_cluster(values):
    objects = rendered(values)
    assert not objects.of("CustomResourceDefinition")
    assert not objects.of("ClusterRole")
    assert all("namespace" in each["metadata"] for each in objects)


# Several installations


def test_two_releases_share_a_namespace_and_a_cluster():
    """Roles, Leases and owners have different names."""
    shared = {"namespaces": ["studio"], "selector": "tier=a"}
    one, other = controller(**shared), controller("second", **shared)
    elsewhere = controller(namespace=NAMESPACE, **shared)
    names = [
        {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects}
        - {("CustomResourceDefinition", None, crd.CRD.stem + f".{GROUP}")}
        for objects in (one, other, elsewhere)
    ]
    users = {("ClusterRole", None, f"inlive-access-tokens-{verb}") for verb in ("edit", "view")}
    for left, right in ((0, 1), (0, 2), (1, 2)):
        assert names[left] & names[right] == users
    assert environ(one.ours)["REFRESHER_LEASE"] != environ(other.ours)["REFRESHER_LEASE"]
    assert environ(other.ours)["REFRESHER_OWNER"] == f"second-{IMAGE}"
    everywhere = [controller(namespace=each, allNamespaces=True) for each in (HOME, NAMESPACE)]
    roles = [
        {each["metadata"]["name"] for each in objects.of("ClusterRoleBinding")} for objects in everywhere
    ]
    assert not roles[0] & roles[1]


# Notes


def test_the_notes_name_the_deployment_and_the_label_of_keys():
    done = helm(
        "install", "second", CHART, f"--namespace={HOME}", "--dry-run=client",
        values={"mode": "controller", "controller": {"namespaces": ["studio"], "selector": "tier=a"}},
    )  # fmt: skip
    notes = done.stdout.partition("NOTES:\n")[2]
    deployment = controller("second").the("Deployment")["metadata"]["name"]
    assert f"--namespace {HOME} rollout status deploy/{deployment}" in notes
    assert (
        "--namespace studio label secret inlive-application-key token-refresher.inlive.app/key=true" in notes
    )
    assert "serves the AccessTokens of studio with the labels tier=a." in notes
    assert not [each for each in without_hooks(controller()) if each["kind"] == "Pod"]
