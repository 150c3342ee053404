"""The manifests without a cluster: their objects, the refresher's arguments and configuration in them, and
how their parts fit."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from refresher import __version__
from refresher.cli import build_parser
from refresher.config.durations import parse_duration
from refresher.config.flags import declared_flags
from refresher.config.output_kinds import FileOutputSettings
from refresher.config.rules import problems_of_period
from refresher.kube.rbac import to_create_secret
from tests.deploy.rendering import (
    DEPLOY,
    IMAGE,
    IN_SECRETS,
    OVERLAYS,
    WITH_KEY,
    blocks,
    component,
    containers,
    environ,
    granted,
    loaded,
    mounts,
    needed,
    overlay,
    prepared,
    render,
    used,
    written,
)

KEY_SECRET = "inlive-application-key"
BASE = Counter(["ServiceAccount", "Role", "RoleBinding", "Secret", "ConfigMap", "NetworkPolicy"])
KINDS = {
    "deployment": BASE + Counter(["Deployment"]),
    "ha": BASE + Counter(["Deployment", "Role", "RoleBinding", "PodDisruptionBudget"]),
    "cronjob": BASE + Counter(["CronJob"]),
    "sidecar": Counter(["Deployment", "NetworkPolicy"]),
    "controller": BASE + Counter(["Deployment", "Role", "RoleBinding", "PodDisruptionBudget"]),
}
KINDS["controller"] -= Counter(["Secret", "ConfigMap"])

every_overlay = pytest.mark.parametrize("name", OVERLAYS)
those_with_a_key = pytest.mark.parametrize("name", WITH_KEY)
in_two_processes = pytest.mark.parametrize("name", ["ha", "controller"])
those_in_secrets = pytest.mark.parametrize("name", IN_SECRETS)


@every_overlay
def test_an_overlay_consists_of_these_objects(name):
    assert Counter(each["kind"] for each in overlay(name)) == KINDS[name]


@every_overlay
def test_labels_name_the_application(name):
    for each in overlay(name):
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == IMAGE
        assert labels["app.kubernetes.io/name"] == ("your-application" if name == "sidecar" else IMAGE)


@every_overlay
def test_the_image_is_of_this_release(name):
    assert overlay(name).ours["image"] == f"{IMAGE}:{__version__}"
    for each in containers(overlay(name).pod):
        assert re.search(r":\d+\.\d+\.\d+$", each["image"])


# Arguments and configuration


@every_overlay
def test_every_argument_and_variable_is_one_of_ours(name):
    ours = overlay(name).ours
    calls = [ours["args"]]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if "exec" in ours.get(probe, {}):
            program, *arguments = ours[probe]["exec"]["command"]
            assert program == "refresher"
            calls.append(arguments)
    for call in calls:
        assert build_parser().parse_args(call).run
    known = {option.variable for _, option in declared_flags()}
    assert {each for each in environ(ours) if each.startswith("REFRESHER_")} <= known


@every_overlay
def test_an_installation_has_the_same_name_in_every_overlay(name):
    """Otherwise a change of the overlay would lose the ownership of its Secrets."""
    assert "REFRESHER_OWNER" not in environ(overlay(name).ours)


@every_overlay
def test_the_configuration_is_accepted(name, tmp_path):
    found = loaded(overlay(name), tmp_path)
    assert not found.warnings
    assert (found.settings.leader_election is not None) == (name in ("ha", "controller"))
    if name in IN_SECRETS:
        assert found.config_path == str(tmp_path / "refresher.yaml")


@those_with_a_key
def test_the_key_is_mounted_only_at_the_configured_path(name, tmp_path):
    objects = overlay(name)
    (path,) = {Path(token.key_file) for token in loaded(objects, tmp_path).settings.tokens}
    for container in containers(objects.pod):
        keys = [mount for mount, volume in mounts(objects.pod, container) if "secret" in volume]
        if container == objects.ours:
            (mount,) = keys
            assert (mount["mountPath"], mount["readOnly"]) == (str(path.parent), True)
        else:
            assert not keys
    (volume,) = [each["secret"] for each in objects.pod["spec"]["volumes"] if "secret" in each]
    assert volume == {"secretName": KEY_SECRET, "defaultMode": 0o400}
    assert objects.pod["spec"]["securityContext"]["fsGroup"]  # without it only root could read the file


@those_with_a_key
def test_a_file_output_is_in_a_writable_directory_in_memory(name, tmp_path):
    objects = overlay(name)
    outputs = [each for token in loaded(objects, tmp_path).settings.tokens for each in token.outputs]
    files = {str(Path(each.path).parent) for each in outputs if isinstance(each, FileOutputSettings)}
    assert bool(files) == (name == "sidecar")
    places = {
        mount["mountPath"]: volume
        for mount, volume in mounts(objects.pod, objects.ours)
        if not mount.get("readOnly")
    }
    assert places.keys() == files
    for volume in places.values():
        assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Mi"}


@every_overlay
def test_probes_and_network_policy_use_the_port_of_the_endpoints(name, tmp_path):
    objects = overlay(name)
    listen, ours = loaded(objects, tmp_path).settings.listen, objects.ours
    ingress = objects.the("NetworkPolicy")["spec"].get("ingress", [])
    if name == "cronjob":
        assert (listen, ingress) == (None, [])
        return
    assert listen.host == ""
    assert ours["ports"] == [{"name": "refresher", "containerPort": listen.port}]
    assert ours["livenessProbe"] == {"httpGet": {"path": "/livez", "port": "refresher"}, "timeoutSeconds": 5}
    assert [port["port"] for rule in ingress for port in rule["ports"]] == [listen.port]


# Permissions


@those_in_secrets
def test_the_roles_grant_only_what_the_configuration_needs(name, tmp_path):
    objects = overlay(name)
    assert granted(objects) == needed(loaded(objects, tmp_path).settings, "inlive")


@those_in_secrets
def test_the_configured_secrets_are_prepared(name, tmp_path):
    """A permission to create a Secret lets its holder choose the type: see tests/kube/test_manifests.py."""
    objects = overlay(name)
    assert prepared(objects) == written(loaded(objects, tmp_path).settings, "inlive")


@pytest.mark.parametrize(
    "order", [("create-secrets", "without-events"), ("without-events", "create-secrets")]
)
@those_in_secrets
def test_a_component_adds_or_removes_one_permission(name, order, tmp_path):
    objects = used(name, tmp_path, components=[component(each, tmp_path) for each in order])
    may = granted(overlay(name))
    events = {each for each in may if each.resource == "events"}
    assert events
    assert granted(objects) == (may - events) | {to_create_secret("inlive", "inlive-access-token")}


def test_the_sidecar_needs_no_permissions(tmp_path):
    assert needed(loaded(overlay("sidecar"), tmp_path).settings, "inlive") == set()


@every_overlay
def test_a_service_account_token_is_mounted_only_to_write_secrets(name):
    assert overlay(name).pod["spec"]["automountServiceAccountToken"] == (name != "sidecar")
    assert all(each["automountServiceAccountToken"] is False for each in overlay(name).of("ServiceAccount"))


@every_overlay
def test_every_container_has_limits(name):
    """The limits that the restricted standard does not require: see tests/kube/test_manifests.py."""
    for each in containers(overlay(name).pod):
        assert each["securityContext"]["readOnlyRootFilesystem"]
        assert each["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in each["resources"]["limits"]
    assert overlay(name).pod["spec"]["securityContext"]["runAsUser"] > 0


@every_overlay
def test_the_network_policy_selects_the_pod(name):
    objects = overlay(name)
    policy = objects.the("NetworkPolicy")["spec"]
    selected = policy["podSelector"]["matchLabels"]
    assert selected
    assert selected.items() <= objects.pod["metadata"]["labels"].items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    out = {(port["protocol"], port["port"]) for rule in policy["egress"] for port in rule["ports"]}
    api = set() if name == "sidecar" else {("TCP", 6443)}
    assert out == {("UDP", 53), ("TCP", 53), ("TCP", 443)} | api


# Operation


def test_an_update_never_runs_two_processes():
    spec = overlay("deployment").the("Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


@in_two_processes
def test_two_processes_run_on_two_nodes_and_a_drain_keeps_one(name):
    objects = overlay(name)
    spec = objects.the("Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]["rollingUpdate"]["maxUnavailable"]) == (2, 1)
    apart = spec["template"]["spec"]["affinity"]["podAntiAffinity"]
    (term,) = apart["requiredDuringSchedulingIgnoredDuringExecution"]
    budget = objects.the("PodDisruptionBudget")["spec"]
    assert (term["topologyKey"], budget["maxUnavailable"]) == ("kubernetes.io/hostname", 1)
    for selector in (term["labelSelector"], budget["selector"]):
        assert selector == spec["selector"]
        assert selector["matchLabels"].items() <= objects.pod["metadata"]["labels"].items()


def test_the_job_runs_at_the_period_of_its_arguments(tmp_path):
    objects = overlay("cronjob")
    job = objects.the("CronJob")["spec"]
    every = parse_duration(build_parser().parse_args(objects.ours["args"]).every)
    minutes = re.fullmatch(r"\*/(\d+) \* \* \* \*", job["schedule"])
    assert int(minutes[1]) * 60 == every
    assert not problems_of_period(every, loaded(objects, tmp_path).settings.tokens)
    assert job["concurrencyPolicy"] == "Forbid"
    for limit in (job["startingDeadlineSeconds"], job["jobTemplate"]["spec"]["activeDeadlineSeconds"]):
        assert limit < every


def test_the_application_starts_after_the_sidecar_has_a_token(tmp_path):
    """restartPolicy makes it a sidecar, and its startup probe delays the next container."""
    objects = overlay("sidecar")
    assert (objects.ours, "Always") == (
        objects.pod["spec"]["initContainers"][0],
        objects.ours["restartPolicy"],
    )
    probe = objects.ours["startupProbe"]
    waited = build_parser().parse_args(probe["exec"]["command"][1:])
    (output,) = loaded(objects, tmp_path).settings.tokens[0].outputs
    assert waited.to_file == [output.path]
    assert parse_duration(waited.timeout) < probe["timeoutSeconds"]  # it ends before the probe's time-out


# Use


@every_overlay
def test_all_objects_move_to_another_namespace(name, tmp_path):
    objects = used(name, tmp_path, namespace="studio", components=[component("prometheus", tmp_path)])
    assert {each["metadata"]["namespace"] for each in objects} == {"studio"}
    subjects = [subject for each in objects.of("RoleBinding") for subject in each["subjects"]]
    assert {each["namespace"] for each in subjects} == (set() if name == "sidecar" else {"studio"})


@every_overlay
def test_the_image_can_be_replaced(name, tmp_path):
    image = {"name": IMAGE, "newName": "registry.example/inlive-token-refresher", "newTag": "9.9.9"}
    assert used(name, tmp_path, images=[image]).ours["image"] == f"registry.example/{IMAGE}:9.9.9"


def test_the_examples_in_the_readme_of_deploy_work(tmp_path):
    for block in blocks(DEPLOY / "README.md"):
        place = tmp_path / block.partition("\n")[0].removeprefix("# ")
        place.parent.mkdir(exist_ok=True)
        place.write_text(block)
    (tmp_path / "deploy").symlink_to(DEPLOY)
    objects = render(tmp_path / "studio")
    assert objects.the("PodMonitor")
    settings = loaded(objects, tmp_path).settings
    assert [token.name for token in settings.tokens] == ["studio", "report"]
    assert granted(objects) == needed(settings, "studio")
    assert prepared(objects) == written(settings, "studio")
    narrow = render(tmp_path / "narrow").the("NetworkPolicy")["spec"]["egress"]
    assert [len(rule["to"]) for rule in narrow] == [1, 1, 1]
    assert [rule["ports"] for rule in narrow] == [
        rule["ports"] for rule in overlay("deployment").the("NetworkPolicy")["spec"]["egress"]
    ]
    page = (DEPLOY / "README.md").read_text()
    optional = {f"| `{each.name}` |" for each in (DEPLOY / "components").iterdir()} - {
        "| `release` |",
        "| `two-replicas` |",
        "| `prometheus` |",
        "| `grafana` |",
    }
    assert {f"| `{name}` |" for name in OVERLAYS} | optional == set(
        re.findall(r"^\| `[\w-]+` \|", page, re.MULTILINE)
    )
    for call in re.findall(r"-- refresher (.*?) {2,}#", page):
        assert build_parser().parse_args(call.split()).run
    assert f"--from-file={Path(settings.tokens[0].key_file).name}=KEY" in page
    assert f"secret generic {KEY_SECRET} " in page


def test_the_readme_shows_the_sidecar_of_the_overlay():
    (block,) = [each for each in blocks(DEPLOY.parent / "README.md") if each.startswith("spec:")]
    shown, pod = yaml.safe_load(block)["spec"], overlay("sidecar").pod["spec"]
    (sidecar,), (applied,) = shown["initContainers"], pod["initContainers"]
    assert is_within(sidecar | {"image": applied["image"]}, applied)
    (application,), (example,) = shown["containers"], pod["containers"]
    assert is_within(application | {"image": example["image"]}, example)
    assert is_within({"volumes": shown["volumes"], "securityContext": shown["securityContext"]}, pod)


def is_within(part: object, whole: object) -> bool:
    """Whether `whole` contains `part`; in lists, at the same index."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and is_within(value, whole[key]) for key, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) == len(whole) and all(map(is_within, part, whole))
    return part == whole
