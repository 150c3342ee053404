"""The chart with `mode: controller` on a real API server: the rights of a release, two releases in a cluster,
the custom resource over upgrades, and what GitOps tools see."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from refresher.emulator.server import Emulator
from refresher.kube.rbac import Permission
from release import crd
from tests.commands.daemon import KEY, Daemon, eventually
from tests.deploy import chart
from tests.deploy.chart import BUILDING, CHART
from tests.deploy.rendering import Objects, blocks, environ, granted
from tests.kube.cluster import Cluster

pytestmark = pytest.mark.timeout(BUILDING)

NAME = "inlive-token-refresher"
GROUP = "token-refresher.inlive.app"
TAKE_OVER = ("--take-ownership", "--force-conflicts")  # of docs/controller.md
CUSTOM = f"crd/accesstokens.{GROUP}"
PAGE = CHART.parents[2] / "docs" / "controller.md"
EVERYBODYS = {"authorization.k8s.io", "authentication.k8s.io"}  # reviews of one's own permissions and user


class Release(NamedTuple):
    """A release of the chart, and what is necessary to run its program."""

    cluster: Cluster
    namespace: str
    objects: Objects
    kubeconfig: Path
    issuer: str

    def rights(self, namespace: str) -> set[Permission]:
        """What its account may do in this namespace."""
        account = self.objects.the("ServiceAccount")["metadata"]["name"]
        review = self.cluster.must(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
            {"spec": {"namespace": namespace}},
            headers={"Impersonate-User": f"system:serviceaccount:{self.namespace}:{account}"},
        )
        return {
            Permission(verb, resource, namespace, name, group)
            for rule in review["status"]["resourceRules"]
            for group in set(rule["apiGroups"]) - EVERYBODYS
            for resource in rule["resources"]
            for name in rule.get("resourceNames", [""])
            for verb in rule["verbs"]
        }

    def granted(self, namespace: str) -> set[Permission]:
        """What the chart grants there. tests/deploy/test_controller.py holds that it is the least."""
        found = granted(self.objects)
        return {each._replace(namespace=namespace) for each in found if each.namespace in ("", namespace)}

    def start(self) -> Daemon:
        """Its program, as in its Pod."""
        command, *words = (word for word in self.objects.ours["args"] if not word.startswith("--listen"))
        variables = environ(self.objects.ours) | {
            "KUBECONFIG": str(self.kubeconfig),
            "REFRESHER_ISSUER_URL": self.issuer,
        }
        return Daemon(*words, endpoints=True, command=command, **variables)


Install = Callable[..., Release]
Helm = Callable[..., Any]


@pytest.fixture
def inlive() -> Iterator[Emulator]:
    with Emulator(keys=[KEY]) as running:
        yield running


@pytest.fixture
def helm(cluster: Cluster, place: str) -> Helm:
    def call(*words: object, namespace: str = place, values: Any = None) -> Any:
        more = f"--kubeconfig={cluster.kubeconfig}", f"--namespace={namespace}"
        return chart.helm(*words, *more, values=values)

    return call


@pytest.fixture
def install(cluster: Cluster, place: str, helm: Helm, inlive: Emulator, tmp_path: Path) -> Install:
    """Installs or upgrades a release with these values of `controller`. It takes over the custom resource of
    other tests."""

    def made(name: str = NAME, *, crds: bool = True, source: Path = CHART, **values: Any) -> Release:
        given = {"mode": "controller", "controller": values, "crds": {"enabled": crds}}
        done = helm("upgrade", "--install", name, source, *TAKE_OVER, values=given)
        assert done.returncode == 0, done.stderr
        cluster.kubectl("wait", "--for=condition=Established", CUSTOM, "--timeout=60s")
        objects = chart.without_hooks(chart.rendered(given, name, place))
        config, account = tmp_path / f"{name}.kubeconfig", objects.the("ServiceAccount")["metadata"]["name"]
        token = cluster.token(place, account)
        cluster.credentials.kubeconfig(config, cluster.url, namespace=place, token=token)
        return Release(cluster, place, objects, config, inlive.url)

    return made


def declare(
    cluster: Cluster, namespace: str, name: str = "studio", how: tuple[str, ...] = (), **labels: str
) -> dict[str, Any]:
    """What a team does: a key Secret with the label, and an AccessToken, which is returned. `how`: the flags
    of `kubectl apply`."""
    key, at = f"{name}-key", f"--namespace={namespace}"
    cluster.kubectl("create", "secret", "generic", key, f"--from-literal=application-key={KEY}", at)
    cluster.kubectl("label", "secret", key, f"{GROUP}/key=true", at)
    wanted = {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "AccessToken",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"applicationKeySecretRef": {"name": key}, "secret": {"name": f"{name}-token"}},
    }
    cluster.kubectl("apply", *how, "--filename=-", stdin=wanted)
    return wanted


def wait(cluster: Cluster, namespace: str, name: str = "studio") -> None:
    awaited = f"accesstoken/{name}", f"--namespace={namespace}", "--timeout=30s"
    cluster.kubectl("wait", "--for=condition=Ready", *awaited)


def secret(cluster: Cluster, namespace: str, name: str = "studio-token") -> Any:
    found = cluster.ask("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
    return found.json() if found.ok else None


# Rights


def test_the_roles_are_enough_in_two_namespaces_and_for_no_third(cluster, place, install):
    served, third = (place, f"{place}-b"), f"{place}-c"
    for each in (*served[1:], third):
        cluster.namespace(each)
    release = install(namespaces=list(served), replicas=1)
    for each in (*served, third):
        declare(cluster, each)
    with release.start() as daemon:
        for each in served:
            wait(cluster, each)
            assert "access-token" in secret(cluster, each)["data"]
        assert not daemon.entries("WatchFailed")
        assert secret(cluster, third) is None
        status = json.loads(
            cluster.kubectl("get", "ilt", "studio", f"--namespace={third}", "--output=json").stdout
        )["status"]
        assert status == {"observedGeneration": -1}  # nobody has seen it
    for each in served:
        assert release.rights(each) == release.granted(each)
    assert release.rights(third) == set()


def test_a_namespace_without_its_role_keeps_the_pod_unready_and_nothing_else(cluster, place, install):
    """`kubectl rollout status` then fails, and /readyz names the namespace."""
    other = f"{place}-b"
    cluster.namespace(other)
    release = install(namespaces=[place, other], replicas=1)
    declare(cluster, place)
    cluster.kubectl("delete", "rolebinding", "--all", f"--namespace={other}")
    eventually(lambda: not release.rights(other), "the rights are gone")
    with release.start() as daemon:
        wait(cluster, place)
        answer = daemon.get("/readyz")
        assert (answer.status, other in answer.body) == (503, True)


def test_restricted_names_of_token_secrets_are_enough(cluster, place, install):
    release = install(tokenSecrets=["studio-token"], replicas=1)
    declare(cluster, place)
    with release.start():
        wait(cluster, place)
    assert {each.name for each in release.rights(place) if each.verb == "patch"} == {"studio-token", ""}
    assert release.rights(place) == release.granted(place)


def test_the_cluster_role_serves_a_namespace_that_comes_later(cluster, place, install):
    release = install(allNamespaces=True, replicas=1, selector=f"of={place}")
    with release.start():
        later = f"{place}-later"
        cluster.namespace(later)
        declare(cluster, later, of=place)
        wait(cluster, later)
    assert release.rights(later) == release.granted(later)


@pytest.mark.parametrize(("role", "verb"), [("edit", "create"), ("view", "get")])
def test_users_with_the_roles_for_users_write_objects_but_no_status(cluster, place, install, role, verb):
    install()
    account = cluster.service_account(place, "user")
    bound = f"--clusterrole=inlive-access-tokens-{role}", f"--serviceaccount={place}:user"
    cluster.kubectl("create", "rolebinding", "of-the-user", *bound, f"--namespace={place}")

    def may(action):
        asked = ("auth", "can-i", *action.split(), f"--namespace={place}")
        return cluster.kubectl(*asked, account=account, check=False).stdout.startswith("yes")

    eventually(lambda: may(f"{verb} accesstokens.{GROUP}"), "the role is in force")
    assert not may(f"patch accesstokens.{GROUP}/studio --subresource=status")
    assert not may("get secrets")
    assert may(f"patch accesstokens.{GROUP}") == (role == "edit")


# An attacker who controls the controller


@pytest.fixture
def admission(cluster: Cluster, place: str) -> Iterator[Callable[[], None]]:
    """Applies the documented policy, for the account of the release in `place`."""
    (page,) = [block for block in blocks(PAGE) if block.startswith("# admission.yaml")]
    objects = list(yaml.safe_load_all(page.replace(":inlive:", f":{place}:")))
    for each in objects:
        each["metadata"]["name"] = place
        each["spec"] |= {"policyName": place} if "policyName" in each["spec"] else {}
    given = {"apiVersion": "v1", "kind": "List", "items": objects}
    yield lambda: cluster.kubectl("apply", "--server-side", "--filename=-", stdin=given) and None
    cluster.kubectl("delete", "--ignore-not-found", "--filename=-", stdin=given)


def test_the_admission_policy_closes_the_way_to_other_accounts(cluster, place, install, admission):
    """The first half shows what docs/controller.md warns of."""
    release = install(replicas=1)
    path = f"/api/v1/namespaces/{place}/secrets"

    def write(name, kind="Opaque", **labels):
        account = {"kubernetes.io/service-account.name": "default"}
        metadata = {"name": name, "labels": labels, "annotations": account}
        body = {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata}
        more = f"{path}/{name}?fieldManager=attacker&force=true&dryRun=All"
        token = cluster.token(place, NAME)
        return cluster.ask(
            "PATCH", more, body, token=token, media_type="application/apply-patch+yaml"
        ).status_code

    managed = {"app.kubernetes.io/managed-by": NAME}
    of_an_account = "kubernetes.io/service-account-token"
    cluster.must("POST", path, {"metadata": {"name": "anothers"}})
    eventually(lambda: write("new", of_an_account) == 201, "the Role is in force")
    assert write("anothers", **managed) == 200
    admission()
    eventually(lambda: write("new", of_an_account, **managed) == 422, "the policy is in force")
    assert write("new") == 422
    assert write("anothers", **managed) == 422
    declare(cluster, place)
    with release.start() as daemon:
        wait(cluster, place)
        assert write("studio-token", **managed) == 200
        daemon.send(signal.SIGUSR1)
        daemon.wait_for("OutputWritten", times=2)
        assert not daemon.entries("OutputFailed")


# Several installations


def test_two_releases_with_disjoint_selectors_share_a_namespace(cluster, place, install, inlive):
    one = install(selector="tier=a", replicas=2)
    other = install("second", crds=False, selector="tier!=a", replicas=2)
    declare(cluster, place, "a", tier="a")
    declare(cluster, place, "b", tier="b")
    with one.start() as first, other.start() as second:
        for name in ("a", "b"):
            wait(cluster, place, name)
        leases = cluster.kubectl("get", "leases", "--output=name", f"--namespace={place}").stdout.split()
        assert len(leases) == 2  # both lead
        owners = {
            name: secret(cluster, place, f"{name}-token")["metadata"]["annotations"][f"{GROUP}/owner"]
            for name in ("a", "b")
        }
        assert owners == {"a": f"{place}/{NAME}", "b": f"{place}/second-{NAME}"}
        assert inlive.counts.issued == 2
        for daemon, token in ((first, "a"), (second, "b")):
            assert {each["token"] for each in daemon.entries("TokenMinted")} == {f"{place}/{token}"}
            assert not daemon.entries("OutputFailed")


# The custom resource


def columns(cluster: Cluster) -> list[str]:
    stored = json.loads(cluster.kubectl("get", CUSTOM, "--output=json").stdout)
    (version,) = stored["spec"]["versions"]
    return [column["name"] for column in version.get("additionalPrinterColumns", ())]


def test_an_upgrade_upgrades_the_custom_resource_and_an_uninstall_keeps_it(
    cluster, place, helm, install, tmp_path
):
    shutil.copytree(CHART, tmp_path / "older")
    older = crd.definition()
    del older["spec"]["versions"][0]["additionalPrinterColumns"]
    (tmp_path / "older" / "files" / crd.CRD.name).write_text(json.dumps(older))
    install(source=tmp_path / "older", replicas=1)
    declare(cluster, place)
    assert columns(cluster) == []

    def upgraded():
        done = helm("upgrade", "--install", NAME, CHART, values={"mode": "controller"})
        assert done.returncode == 0, done.stderr
        return columns(cluster) == [name for name, *_ in crd.COLUMNS]

    assert upgraded()
    uninstalled = helm("uninstall", NAME)
    assert f"[CustomResourceDefinition] accesstokens.{GROUP}" in uninstalled.stdout + uninstalled.stderr
    assert upgraded()
    elsewhere = f"{place}-b"
    cluster.namespace(elsewhere)
    refused = helm("install", NAME, CHART, namespace=elsewhere, values={"mode": "controller"})
    assert refused.returncode != 0
    assert "cannot be imported into the current release" in refused.stderr
    without = {"mode": "controller", "crds": {"enabled": False}}
    assert helm("upgrade", "--install", NAME, CHART, namespace=elsewhere, values=without).returncode == 0


@pytest.mark.parametrize("first", [True, False], ids=["after keep: true", "from the beginning"])
def test_without_keep_an_uninstall_deletes_the_custom_resource_and_every_object(cluster, place, helm, first):
    for keep in dict.fromkeys((first, False)):
        values = {"mode": "controller", "crds": {"keep": keep}}
        done = helm("upgrade", "--install", NAME, CHART, *TAKE_OVER, values=values)
        assert done.returncode == 0, done.stderr
    cluster.kubectl("wait", "--for=condition=Established", CUSTOM, "--timeout=60s")
    declare(cluster, place)
    try:
        assert helm("uninstall", NAME).returncode == 0
        gone = f"the API server has deleted {CUSTOM}"
        eventually(lambda: cluster.kubectl("get", CUSTOM, check=False).returncode != 0, gone, 60)
    finally:  # for other tests
        cluster.kubectl("apply", "--server-side", f"--filename={crd.CRD}")
        cluster.kubectl("wait", "--for=condition=Established", CUSTOM, "--timeout=60s")


# GitOps


@pytest.mark.parametrize("how", [(), ("--server-side",)], ids=" ".join)
def test_a_diff_shows_nothing_after_the_controller_has_written(cluster, place, install, how):
    release = install(replicas=1)
    wanted = declare(cluster, place, how=how)
    names = {"name": "studio-token", "namespace": place}
    prepared = {"apiVersion": "v1", "kind": "Secret", "metadata": names, "type": "Opaque"}
    with release.start():
        wait(cluster, place)
    before = secret(cluster, place)["data"]
    shown = cluster.kubectl("diff", *how, "--filename=-", stdin=wanted, check=False)
    assert (shown.returncode, shown.stdout) == (0, "")
    for document in (wanted, prepared):
        cluster.kubectl("apply", *how, "--filename=-", stdin=document)  # no conflict
        shown = cluster.kubectl("diff", *how, "--filename=-", stdin=document, check=False)
        assert (shown.returncode, shown.stdout) == (0, "")
    assert secret(cluster, place)["data"] == before
    changed = wanted | {"spec": wanted["spec"] | {"lifetime": "2h"}}
    shown = cluster.kubectl("diff", *how, "--filename=-", stdin=changed, check=False)
    assert (shown.returncode, "+  lifetime: 2h" in shown.stdout) == (1, True)


def test_helm_waits_for_the_token_of_an_object(cluster, place, helm, install, tmp_path):
    """By kstatus, as Flux does. Without a controller the object is not ready."""
    release = install(replicas=1)
    wanted = declare(cluster, place)
    cluster.kubectl("delete", "ilt", "studio", f"--namespace={place}")
    (tmp_path / "application" / "templates").mkdir(parents=True)
    about = {"apiVersion": "v2", "name": "application", "version": "1.0.0"}
    (tmp_path / "application" / "Chart.yaml").write_text(yaml.safe_dump(about))
    (tmp_path / "application" / "templates" / "token.yaml").write_text(yaml.safe_dump(wanted))

    def installed(timeout):
        words = "upgrade", "--install", "application", tmp_path / "application"
        return helm(*words, "--wait", f"--timeout={timeout}s").returncode == 0

    assert not installed(3)
    with release.start():
        assert installed(60)
    assert secret(cluster, place)
