"""The chart without a cluster: it renders the objects of the kustomize overlays, with any values."""

import copy
import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from refresher import __version__
from refresher.cli import build_parser
from refresher.config.durations import parse_duration
from refresher.config.rules import problems_of_period
from refresher.kube.rbac import to_create_secret
from release import alerts
from release.chart import SCHEMA, configuration
from tests.deploy.chart import (
    BUILDING,
    CHART,
    HOOK,
    NAMESPACE,
    helm,
    installed,
    is_hook,
    rendered,
    without_hooks,
)
from tests.deploy.rendering import (
    IMAGE,
    IN_SECRETS,
    Objects,
    blocks,
    component,
    environ,
    granted,
    loaded,
    needed,
    prepared,
    used,
    written,
)

pytestmark = pytest.mark.timeout(BUILDING)

README = CHART / "README.md"
SETS = {block.partition("\n")[0].removeprefix("# "): yaml.safe_load(block) for block in blocks(README)}
OF_HELM = {"app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"} | {
    "helm.sh/chart"
}

every_mode = pytest.mark.parametrize("mode", IN_SECRETS)
every_overlay = pytest.mark.parametrize("mode", [*IN_SECRETS, "controller"])
every_set = pytest.mark.parametrize("name", SETS)


def secrets(*tokens):
    """Values for tokens: each list names the Secrets of one token."""
    described = [
        {"name": f"token-{number}", "key_file": "/key", "outputs": [{"secret": each} for each in places]}
        for number, places in enumerate(tokens)
    ]
    return {"config": {"tokens": described}}


def selected(by, pod):
    """Whether this object, or term of an affinity, selects the Pod."""
    spec = by.get("spec", by)
    (selector,) = [spec[key] for key in ("selector", "podSelector", "labelSelector") if key in spec]
    assert selector.keys() == {"matchLabels"}
    return selector["matchLabels"].items() <= pod["metadata"]["labels"].items()


# The same objects as kustomize


@every_overlay
def test_each_mode_renders_like_the_overlay_of_that_name(mode, tmp_path):
    ours = [each for each in installed(mode) if "namespace" in each["metadata"]]  # deploy/crd is apart
    assert alike(ours) == alike(used(mode, tmp_path, namespace=NAMESPACE))


def test_the_pod_monitor_equals_that_of_the_component(tmp_path):
    ours = rendered({"podMonitor": {"enabled": True}}).the("PodMonitor")
    prometheus = [component("prometheus", tmp_path)]
    theirs = used("deployment", tmp_path, namespace=NAMESPACE, components=prometheus).the("PodMonitor")
    assert alike([ours]) == alike([theirs])


def alike(objects):
    """The objects by kind and name, without the differences between Helm and kustomize: release labels, the
    annotation that keeps Secrets, the Pod of `helm test` in a NetworkPolicy, and the hash that restarts Pods
    after a change of the configuration (in the name of the ConfigMap, or on the Pods)."""
    found = {}
    for each in copy.deepcopy(objects):
        if each["kind"] == "ConfigMap":
            each["metadata"]["name"] = "configuration"
            each["data"] = {name: yaml.safe_load(text) for name, text in each["data"].items()}
        _strip(each)
        found[each["kind"], each["metadata"]["name"]] = each
    return found


def _strip(part):
    for key, value in list(part.items()) if isinstance(part, dict) else enumerate(part):
        if key in ("labels", "matchLabels"):
            part[key] = {name: text for name, text in value.items() if name not in OF_HELM}
        elif key == "annotations" and set(value) in ({"checksum/config"}, {"helm.sh/resource-policy"}):
            del part[key]
        elif key == "podSelector":
            part[key] = "Pods of this installation"
        elif key == "configMap":
            part[key] = "configuration"
        elif key == "env":
            part[key] = sorted(value, key=lambda each: each["name"])
        elif key == "imagePullPolicy":
            assert part.pop(key) == "IfNotPresent"  # the default for a tag
        elif isinstance(value, dict | list):
            _strip(value)


# Every documented set of values


def test_the_documentation_has_sets_of_values():
    assert len(SETS) == 6


@every_set
def test_a_documented_set_is_linted(name):
    done = helm("lint", "--strict", CHART, values=SETS[name])
    assert done.returncode == 0, done.stdout + done.stderr


@every_set
def test_the_refresher_accepts_a_documented_set(name, tmp_path):
    found = loaded(without_hooks(rendered(SETS[name])), tmp_path)
    assert not found.warnings
    assert (found.settings.leader_election is not None) == (SETS[name].get("mode") == "ha")


@every_set
def test_the_roles_grant_only_what_a_documented_set_needs(name, tmp_path):
    objects = without_hooks(rendered(SETS[name]))
    settings = loaded(objects, tmp_path).settings
    assert granted(objects) == with_rbac(needed(settings, NAMESPACE), settings, SETS[name].get("rbac", {}))
    assert prepared(objects) == written(settings, NAMESPACE)


def with_rbac(permissions, settings, rbac):
    """These permissions, changed by the values of `rbac`."""
    kept = {each for each in permissions if each.resource != "events" or rbac.get("events", True)}
    creating = {to_create_secret(*each) for each in written(settings, NAMESPACE)}
    return kept | (creating if rbac.get("createSecrets") else set())


@pytest.mark.parametrize(
    "rbac", [{"createSecrets": True}, {"events": False}, {"createSecrets": True, "events": False}]
)
@pytest.mark.parametrize("outputs", [[["a"], ["other/b"]], [["other/a"]]])
def test_a_value_adds_or_removes_a_permission(outputs, rbac, tmp_path):
    objects = without_hooks(rendered(secrets(*outputs) | {"rbac": rbac}))
    settings = loaded(objects, tmp_path).settings
    assert granted(objects) == with_rbac(needed(settings, NAMESPACE), settings, rbac)
    assert all(each["rules"] for each in objects.of("Role"))


@pytest.mark.parametrize(
    "outputs",
    [
        [["a"], ["b"]],
        [["a", f"{NAMESPACE}/b"], ["other/a", "other/b"]],
        [["other/a"]],  # and Events of the Pod here
        [["other/inlive-application-key"]],  # not the Secret with the key
    ],
)
def test_the_roles_allow_writing_every_named_secret(outputs, tmp_path):
    objects = without_hooks(rendered(secrets(*outputs)))
    settings = loaded(objects, tmp_path).settings
    assert granted(objects) == needed(settings, NAMESPACE)
    assert prepared(objects) == written(settings, NAMESPACE)


def test_a_secret_outlives_its_release():
    (secret,) = installed("deployment").of("Secret")
    assert secret["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_the_network_policy_allows_only_the_named_addresses():
    peers = [[{"ipBlock": {"cidr": f"192.0.2.{number}/32"}}] for number in (1, 2, 3)]
    dns, issuer, server = ({"to": each} for each in peers)
    narrow = {"egress": {"dns": dns, "issuer": issuer | {"ports": [3128]}, "apiServer": server}}
    told = rendered({"networkPolicy": narrow}).the("NetworkPolicy")["spec"]["egress"]
    assert [rule["to"] for rule in told] == peers
    assert [[(each["protocol"], each["port"]) for each in rule["ports"]] for rule in told] == [
        [("UDP", 53), ("TCP", 53)],
        [("TCP", 3128)],
        [("TCP", 443), ("TCP", 6443)],
    ]


def test_documented_values_take_effect():
    """Checks one value of each set, so that no set is ignored as a whole."""
    two = rendered(SETS["two-tokens.yaml"])
    assert two.ours["image"] == f"registry.example/{IMAGE}:{__version__}"
    assert {each["metadata"]["namespace"] for each in two.of("Role")} == {NAMESPACE, "reports"}
    watched = without_hooks(rendered(SETS["watched.yaml"]))
    assert watched.the("PodMonitor")["metadata"]["labels"]["release"] == "prometheus"
    rule = watched.the("PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert rule["spec"]["groups"] == yaml.safe_load(alerts.SOURCE.read_text())["groups"]
    assert watched.the("Deployment")["spec"]["replicas"] == 2
    (dashboard,) = [each for each in watched.of("ConfigMap") if "dashboard.json" in each["data"]]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["data"]["dashboard.json"] == alerts.DASHBOARD.read_text()
    assert without_hooks(rendered(SETS["passes.yaml"])).the("CronJob")["spec"]["schedule"] == "*/5 * * * *"
    proxied = without_hooks(rendered(SETS["behind-a-proxy.yaml"]))
    assert environ(proxied.ours)["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert proxied.ours["image"].startswith(f"{IMAGE}@sha256:")
    assert proxied.pod["spec"]["nodeSelector"]
    assert {"name": "proxy", "mountPath": "/etc/proxy", "readOnly": True} in proxied.ours["volumeMounts"]
    assert proxied.the("NetworkPolicy")["spec"]["egress"][-1] == {
        "ports": [{"protocol": "TCP", "port": 3128}]
    }


def test_the_schema_describes_every_value():
    values, schema = yaml.safe_load((CHART / "values.yaml").read_text()), json.loads(SCHEMA.read_text())
    assert values.keys() == schema["properties"].keys() - {"global", "enabled"}
    for key in ("image", "cronJob", "controller", "crds", "rbac", "networkPolicy", "podMonitor"):
        assert values[key].keys() == schema["properties"][key]["properties"].keys()


# Refusals


def test_the_schema_knows_every_option_of_the_configuration():
    assert json.loads(SCHEMA.read_text())["properties"]["config"] == configuration(), "make chart"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"mode": "sidecar"}, "'deployment', 'ha', 'cronjob', 'controller'"),
        ({"applicationKey": "inl_0123"}, "'applicationKey' not allowed"),
        ({"cronJob": {"everyMinutes": 7}}, "/cronJob/everyMinutes"),
        ({"image": {"digest": "0123"}}, "/image/digest"),
        ({"config": {"listen": ":9000"}}, "'listen' not allowed"),
        ({"config": {"tokens": [{"name": "Studio"}]}}, "/config/tokens/0/name"),
        ({"config": {"tokens": [{"name": "a", "keyfile": "k", "outputs": []}]}}, "'keyfile' not allowed"),
        ({"config": {"tokens": None}}, "missing property 'tokens'"),
        ({"config": {"issuer": {"timeout": "1hour"}}}, "/config/issuer/timeout"),
        (secrets(["a/b/c"]), "/config/tokens/0/outputs/0/secret"),
        (secrets(["studio/"]), "/config/tokens/0/outputs/0/secret"),
        ({"mode": "ha", "config": {"leader_election": {"lease": "a"}}}, "'lease' not allowed"),
        ({"mode": "ha", "config": {"leader_election": {}}}, "missing property 'duration'"),
        ({"config": {"leader_election": {"duration": "30s"}}}, "mode: ha"),
        ({"fullnameOverride": "a" * 53}, "/fullnameOverride"),
        ({"podLabels": {"app.kubernetes.io/name": "a"}}, "/podLabels/app.kubernetes.io~1name"),
        ({"podAnnotations": {"checksum/config": "a"}}, "/podAnnotations/checksum~1config"),
        ({"networkPolicy": None}, "missing property 'networkPolicy'"),
        ({"networkPolicy": {"egress": {"issuer": None}}}, "missing property 'issuer'"),
        ({"networkPolicy": {"egress": {"dns": {"ports": []}}}}, "/networkPolicy/egress/dns/ports"),
        ({"rbac": {"createSecrets": "no"}}, "/rbac/createSecrets"),
        ({"image": {"tag": "1", "digest": f"sha256:{64 * '0'}"}}, "set image.digest to"),
        (secrets(["inlive-application-key"]), "the Secret inlive-application-key"),
        (secrets(["a"], ["b", f"{NAMESPACE}/inlive-application-key"]), "the Secret inlive-application-key"),
    ],
    ids=lambda each: json.dumps(each)[:50] if isinstance(each, dict) else "",
)
def test_a_mistyped_value_is_refused_and_named(values, told):
    done = helm("template", IMAGE, CHART, f"--namespace={NAMESPACE}", values=values)
    assert done.returncode != 0
    assert told in done.stderr


# Other names and namespaces


def test_a_second_release_in_a_namespace_is_another_installation(tmp_path):
    """It shares no name, Pod selector or Lease with the first."""
    one, other = (without_hooks(rendered(SETS["patient.yaml"], name)) for name in (IMAGE, "second"))
    assert not names(one) & names(other)
    for kind in ("Deployment", "PodDisruptionBudget", "NetworkPolicy"):
        assert selected(one.the(kind), one.pod)
        assert not selected(one.the(kind), other.pod)
    assert environ(one.ours)["REFRESHER_LEASE"] != environ(other.ours)["REFRESHER_LEASE"]
    assert granted(other) == needed(loaded(other, tmp_path).settings, NAMESPACE)
    assert "REFRESHER_OWNER" not in environ(one.ours)
    assert environ(other.ours)["REFRESHER_OWNER"] == "second-inlive-token-refresher"


@pytest.mark.parametrize("release", [IMAGE, "second"])
def test_an_installation_has_the_same_name_in_every_mode(release):
    """Otherwise a change of `mode` would lose the ownership of its Secrets."""
    modes = [without_hooks(rendered({"mode": mode}, release)) for mode in ("deployment", "ha", "cronjob")]
    owners = {environ(each.ours).get("REFRESHER_OWNER") for each in modes}
    assert owners == ({None} if release == IMAGE else {f"{release}-inlive-token-refresher"})


def test_releases_of_one_name_do_not_share_objects_in_a_third_namespace():
    one, other = (
        without_hooks(rendered(SETS["two-tokens.yaml"], namespace=each)) for each in (NAMESPACE, "workshop")
    )
    shared = [names(each) for each in (one, other)]
    assert {name for name in shared[0] if "reports" in name}
    assert not shared[0] & shared[1]


def test_another_chart_may_include_the_chart_twice_or_disable_it(tmp_path):
    part = {"name": IMAGE, "version": __version__}
    parts = [part | {"alias": each, "condition": f"{each}.enabled"} for each in ("first", "second")]
    whole = {"apiVersion": "v2", "name": "whole", "version": "1.0.0", "dependencies": parts}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(whole))
    shutil.copytree(CHART, tmp_path / "charts" / IMAGE)
    second = secrets(["another"])
    both = rendered(
        {"global": {"region": "here"}, "first": {"enabled": True}, "second": second}, chart=tmp_path
    )
    assert len(names(both) | prepared(both)) == len(both) == 2 * len(rendered({}))
    one = rendered({"first": {"enabled": False}}, chart=tmp_path)
    assert names(one) < names(both)


def names(objects):
    """The names of all objects except Secrets, which the configuration names."""
    return {
        (each["kind"], each["metadata"]["namespace"], each["metadata"]["name"])
        for each in objects
        if each["kind"] != "Secret"
    }


@pytest.mark.parametrize("release", ["1234", "a" * 53, "inlive-token-refresher-9"])
@every_mode
def test_any_valid_names_and_namespaces_are_accepted(release, mode, tmp_path):
    """Numbers stay text, and names made from the longest name are within the limit."""
    objects = without_hooks(rendered({"mode": mode}, release, "5678"))
    for each in objects:
        assert each["metadata"]["namespace"] == "5678"
        assert len(each["metadata"]["name"]) <= (52 if each["kind"] == "CronJob" else 63)
        assert all(isinstance(text, str) for text in each["metadata"]["labels"].values())
    assert granted(objects) == needed(loaded(objects, tmp_path).settings, "5678")


@pytest.mark.parametrize("minutes", [2, 10, 30])
def test_a_run_ends_before_the_next_starts(minutes, tmp_path):
    objects = without_hooks(rendered({"mode": "cronjob", "cronJob": {"everyMinutes": minutes}}))
    job = objects.the("CronJob")["spec"]
    every = parse_duration(build_parser().parse_args(objects.ours["args"]).every)
    assert job["schedule"] == f"*/{minutes} * * * *"
    assert every == minutes * 60
    assert not problems_of_period(every, loaded(objects, tmp_path).settings.tokens)
    for limit in (job["startingDeadlineSeconds"], job["jobTemplate"]["spec"]["activeDeadlineSeconds"]):
        assert limit < every


# Notes of a release


def hooks(objects):
    return Objects(each for each in objects if is_hook(each))


@every_mode
def test_helm_test_runs_check_as_the_refresher_runs(mode):
    """With the account, the configuration, the key and the network of the refresher's Pods."""
    marks = {"podLabels": {"mesh": "no"}, "podAnnotations": {"mesh": "never"}}
    objects = rendered({"mode": mode, **marks})
    (pod,) = hooks(objects)
    assert pod["metadata"]["annotations"][HOOK] == "test"
    (container,) = pod["spec"]["containers"]
    working = without_hooks(objects)
    assert container["args"] == ["check"]
    ours = {key: value for key, value in working.ours.items() if key in container}
    assert container == {**ours, "args": ["check"]}
    assert (
        pod["spec"].items()
        >= {
            **{key: working.pod["spec"][key] for key in ("serviceAccountName", "volumes", "securityContext")},
            "restartPolicy": "Never",
        }.items()
    )
    for each in (pod, working.pod):
        assert selected(working.the("NetworkPolicy"), each)
        assert each["metadata"]["labels"]["mesh"] == "no"
        assert each["metadata"]["annotations"]["mesh"] == "never"


def test_the_pod_of_helm_test_fits_beside_the_other_pods():
    """Their anti-affinity excludes similar Pods, and the disruption budget counts the refresher's Pods."""
    objects = rendered({"mode": "ha"})
    (checking,) = hooks(objects)
    affinity = objects.pod["spec"]["affinity"]["podAntiAffinity"]
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
    for each in (objects.the("Deployment"), objects.the("PodDisruptionBudget"), term):
        assert selected(each, objects.pod)
        assert not selected(each, checking)


@every_mode
def test_the_notes_name_working_commands(mode):
    told = notes({"mode": mode})
    assert f"{NAMESPACE}/inlive-access-token" in told
    assert "secret generic inlive-application-key --from-file=application-key=KEY" in told
    assert "helm test second --namespace studio" in told
    for call in re.findall(r"-- refresher (.*)", told):
        assert build_parser().parse_args(call.split()).run
    objects = without_hooks(rendered({"mode": mode}, "second"))
    spoken_of = re.findall(r"(deploy|cronjob)/([\w-]+)", told)
    kinds = {"deploy": "Deployment", "cronjob": "CronJob"}
    assert spoken_of
    for kind, name in spoken_of:
        assert objects.the(kinds[kind])["metadata"]["name"] == name


def test_the_notes_name_every_key_in_its_secret():
    assert "--from-file=application-key=KEY --from-file=report-key=KEY\n" in notes(SETS["two-tokens.yaml"])


def notes(values):
    called = "install", "second", CHART, f"--namespace={NAMESPACE}", "--dry-run=client"
    done = helm(*called, values=values)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:\n")[2]


def test_the_chart_has_the_version_of_this_release():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    project = tomllib.loads((CHART.parents[2] / "pyproject.toml").read_text())["project"]
    assert chart["name"] == project["name"]


def test_the_readme_uses_the_address_of_the_chart():
    page = README.read_text()
    for path in re.findall(r"helm install \S+ (\S+)", page):
        assert (CHART.parents[2] / path / "Chart.yaml").exists()
    for link in re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", page):
        assert (CHART / link).exists(), link
    assert Path(CHART / "values.yaml").read_text().count("\n") < 100  # short enough to read as a whole
