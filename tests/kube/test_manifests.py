"""The manifests of `deploy` on a real API server, under the restricted Pod Security standard. It accepts
them and their Pods, and their Roles grant exactly what is needed."""

import json

import pytest

from tests.commands.daemon import Daemon, eventually, refresher
from tests.deploy.rendering import IN_SECRETS, OVERLAYS, component, used
from tests.kube.pods import taken

NAME = "inlive-token-refresher"
SECRET = "secrets/inlive-access-token"
LEASE = f"leases.coordination.k8s.io/{NAME}"
ALLOWED = {
    "deployment": [f"get {SECRET}", f"patch {SECRET}", "create events"],
    "cronjob": [f"get {SECRET}", f"patch {SECRET}", "create events"],
    "ha": [
        *(f"{verb} {SECRET}" for verb in ("get", "patch")),
        "create events",
        *(f"{verb} {LEASE}" for verb in ("get", "update", "create")),
    ],
}
DENIED = [
    *(f"{verb} secrets" for verb in ("get", "list", "watch", "create", "update", "patch", "delete")),
    *(f"{verb} {SECRET}" for verb in ("create", "update", "delete")),
    *(f"{verb} secrets/inlive-application-key" for verb in ("get", "patch", "create")),
    *(f"{verb} leases.coordination.k8s.io/another" for verb in ("get", "update", "create")),
    *(f"{verb} {LEASE}" for verb in ("patch", "delete")),
    *(f"{verb} leases.coordination.k8s.io" for verb in ("list", "watch", "create")),
    "get pods",
    "list events",
    "create serviceaccounts/token",
    "update roles.rbac.authorization.k8s.io",
]


@pytest.fixture
def installed(cluster, place, tmp_path):
    """Applies an overlay in `place`, as its users do."""

    def install(name, *components):
        chosen = [component(each, tmp_path) for each in components]
        objects = used(name, tmp_path, namespace=place, components=chosen)
        cluster.kubectl("apply", "--filename=-", stdin=as_list(objects))
        return objects

    return install


def as_list(objects):
    return {"apiVersion": "v1", "kind": "List", "items": objects}


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_is_accepted_unchanged(cluster, place, tmp_path, name):
    objects = used(name, tmp_path, namespace=place)
    apply = "apply", "--server-side", "--output=name", "--filename=-"
    strict = "--validate=strict"  # a field that the schema does not know is refused
    for more in ((strict, "--dry-run=server"), (strict,), ()):
        applied = cluster.kubectl(*apply, *more, stdin=as_list(objects))
        assert len(applied.stdout.split()) == len(objects)
        assert not applied.stderr  # no warning either: of Pod Security, of what is deprecated
    for each in objects:
        stored = cluster.kubectl(
            "get", each["kind"], each["metadata"]["name"], f"--namespace={place}", "--output=json"
        )
        assert json.loads(stored.stdout)["metadata"]["labels"] == each["metadata"]["labels"]


@pytest.mark.usefixtures("operator")
def test_the_prometheus_component_is_accepted_with_the_operator(cluster, place, tmp_path):
    objects = used("deployment", tmp_path, namespace=place, components=[component("prometheus", tmp_path)])
    ours = [each for each in objects if each["apiVersion"].startswith("monitoring.coreos.com/")]
    strict = "--server-side", "--validate=strict", "--filename=-", "--output=name"
    applied = cluster.kubectl("apply", *strict, stdin=as_list(ours))
    assert sorted(each.split(".")[0] for each in applied.stdout.split()) == ["podmonitor", "prometheusrule"]
    assert not applied.stderr


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_pods_are_admitted_under_the_restricted_standard(cluster, place, installed, name):
    admitted = taken(cluster, place, installed(name).pod)
    assert admitted.status_code == 201, admitted.text
    sidecars = admitted.json()["spec"].get("initContainers", [])
    assert [each["restartPolicy"] for each in sidecars] == (["Always"] if name == "sidecar" else [])


def test_only_the_owner_can_read_the_mounted_key(cluster, place, installed):
    volumes = taken(cluster, place, installed("deployment").pod).json()["spec"]["volumes"]
    assert [each["secret"]["defaultMode"] for each in volumes if "secret" in each] == [0o400]


@pytest.mark.parametrize(
    ("objected", "worsen"),
    [
        ("runAsNonRoot", lambda spec, _: spec["securityContext"].pop("runAsNonRoot")),
        ("runAsUser=0", lambda spec, _: spec["securityContext"].update(runAsUser=0)),
        ("seccompProfile", lambda spec, _: spec["securityContext"].pop("seccompProfile")),
        ("unrestricted capabilities", lambda _, ours: ours["securityContext"].pop("capabilities")),
        (
            "allowPrivilegeEscalation != false",
            lambda _, ours: ours["securityContext"].pop("allowPrivilegeEscalation"),
        ),
        ("hostNetwork=true", lambda spec, _: spec.update(hostNetwork=True)),
    ],
)
@pytest.mark.parametrize("name", ["deployment", "sidecar"])
def test_a_less_restricted_pod_is_rejected(cluster, place, installed, name, objected, worsen):
    objects = installed(name)
    pod, ours = objects.pod, objects.ours
    worsen(pod["spec"], ours)
    refused = taken(cluster, place, pod)
    assert refused.status_code == 403
    message = refused.json()["message"]
    assert 'violates PodSecurity "restricted:latest"' in message
    assert objected in message


@pytest.mark.parametrize("name", IN_SECRETS)
def test_the_account_has_only_the_permissions_that_it_needs(cluster, place, installed, name):
    installed(name)
    user = f"--as=system:serviceaccount:{place}:{NAME}"

    def may(action):
        return cluster.kubectl(
            "auth", "can-i", *action.split(), user, f"--namespace={place}", check=False
        ).stdout.startswith("yes")

    eventually(lambda: all(map(may, ALLOWED[name])), f"not allowed what is needed for {name}")
    leases = [] if name == "ha" else [action for action in ALLOWED["ha"] if "leases" in action]
    assert [action for action in DENIED + leases if may(action)] == []
    assert not cluster.kubectl(
        "auth", "can-i", "get", SECRET, user, "--namespace=default", check=False
    ).stdout.startswith("yes")


def test_the_permissions_are_enough_for_a_run_of_the_job(cluster, place, installed, in_its_pod):
    objects = installed("cronjob")
    given = in_its_pod(objects)

    def passed():
        return refresher(*objects.ours["args"], **given).code == 0

    eventually(passed, "a pass that succeeds, as soon as the Role is in force")
    path = f"/api/v1/namespaces/{place}/{SECRET}"
    written = cluster.must("GET", path)
    assert written["metadata"]["annotations"]["token-refresher.inlive.app/owner"] == f"{place}/{NAME}"
    cluster.must("DELETE", path)
    assert not passed()
    installed("cronjob")  # as its users do again
    assert passed()
    assert cluster.must("GET", path)["data"].keys() == {"access-token"}


def test_with_the_component_a_deleted_secret_is_created_again(cluster, place, installed, in_its_pod):
    objects = installed("cronjob", "create-secrets", "without-events")
    given = in_its_pod(objects)
    eventually(lambda: refresher(*objects.ours["args"], **given).code == 0, "a pass that succeeds")
    cluster.must("DELETE", f"/api/v1/namespaces/{place}/{SECRET}")
    assert refresher(*objects.ours["args"], **given).code == 0
    checked = refresher("check", **given)
    assert (checked.code, "not granted: create events" in checked.said) == (0, True)


@pytest.mark.parametrize("how", [("apply",), ("apply", "--server-side")], ids=" ".join)
def test_applying_the_manifests_again_keeps_the_token(cluster, place, installed, in_its_pod, how):
    objects = installed("cronjob")
    given = in_its_pod(objects)
    eventually(lambda: refresher(*objects.ours["args"], **given).code == 0, "a pass that succeeds")
    path = f"/api/v1/namespaces/{place}/{SECRET}"
    before = cluster.must("GET", path)
    applied = cluster.kubectl(*how, "--filename=-", stdin=as_list(objects.of("Secret")), check=False)
    assert applied.returncode == 0, applied.stderr  # without --force-conflicts
    after = cluster.must("GET", path)
    assert after["data"] == before["data"]
    assert ours(after) == ours(before) != {}
    assert refresher(*objects.ours["args"], **given).code == 0
    assert cluster.must("GET", path)["data"] == before["data"]  # adopted, and not changed


def ours(secret):
    """The annotations of the refresher."""
    annotations = secret["metadata"]["annotations"]
    return {name: text for name, text in annotations.items() if name.startswith("token-refresher.")}


# An attacker who controls the refresher


def of_account_type(place, name="inlive-access-token"):
    """A Secret that gets a token of the service account `default`."""
    account = {"kubernetes.io/service-account.name": "default"}
    metadata = {"name": name, "namespace": place, "annotations": account}
    kind = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token"}
    return kind | {"metadata": metadata}


@pytest.mark.parametrize(("components", "can"), [((), False), (("create-secrets",), True)])
def test_a_creator_of_the_secret_could_get_the_token_of_another_account(
    cluster, place, installed, tmp_path, components, can
):
    """So by default the refresher has no such permission. The component documents the risk."""
    installed("deployment", *components)
    path = f"/api/v1/namespaces/{place}/{SECRET}"
    config = tmp_path / "refresher.kubeconfig"
    token = cluster.token(place, NAME)
    cluster.credentials.kubeconfig(config, cluster.url, namespace=place, token=token)

    def apply(document):
        as_refresher = f"--kubeconfig={config}", "apply", "--server-side", "--force-conflicts", "--filename=-"
        return cluster.kubectl(*as_refresher, stdin=document, check=False)

    verb = "create" if can else "patch"
    may = "auth", "can-i", verb, SECRET, f"--as=system:serviceaccount:{place}:{NAME}", f"--namespace={place}"
    eventually(lambda: cluster.kubectl(*may, check=False).stdout.startswith("yes"), "rights in force")
    prepared = apply(of_account_type(place))
    assert prepared.returncode != 0
    assert "field is immutable" in prepared.stderr  # the type of the existing Secret
    cluster.must("DELETE", path)
    assert (apply(of_account_type(place)).returncode == 0) == can


def test_the_permissions_are_enough_to_take_over_from_a_job_by_a_lease(cluster, place, installed, in_its_pod):
    once = installed("cronjob")
    given = in_its_pod(once)
    eventually(lambda: refresher(*once.ours["args"], **given).code == 0, "a pass that succeeds")
    with Daemon(**in_its_pod(installed("ha"))) as daemon:
        daemon.wait_for("LeaderChanged", lease=f"{place}/{NAME}", leads=True)
        daemon.wait_for("TokenAdopted")
        assert not daemon.entries("OutputFailed")
