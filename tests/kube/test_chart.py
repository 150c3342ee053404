"""The chart on a real API server, by helm itself: installed, changed in mode, tested, uninstalled."""

import re
import threading
from contextlib import contextmanager

import pytest

from refresher import exit_codes
from tests.commands.daemon import KEY, Daemon, eventually, refresher
from tests.deploy import chart
from tests.deploy.chart import BUILDING, CHART
from tests.deploy.rendering import IN_SECRETS, used
from tests.kube.pods import taken

pytestmark = pytest.mark.timeout(BUILDING)

NAME = "inlive-token-refresher"


@pytest.fixture
def helm(cluster, place):
    """Runs helm as the administrator, in `place`."""

    def call(*words, values=None):
        kubeconfig = f"--kubeconfig={cluster.kubeconfig}", f"--namespace={place}"
        return chart.helm(*words, *kubeconfig, values=values)

    return call


@pytest.fixture
def release(helm, place):
    """Installs or upgrades a release with these values. Returns its objects."""

    def install(values, name=NAME):
        done = helm("upgrade", "--install", name, CHART, values=values)
        assert done.returncode == 0, done.stderr
        assert not [line for line in done.stderr.splitlines() if "Warning" in line or "WARN" in line]
        return chart.without_hooks(chart.rendered(values, name, place))

    return install


@pytest.mark.parametrize("mode", IN_SECRETS)
def test_a_release_is_accepted_and_its_pods_are_admitted(cluster, place, release, mode):
    objects = release({"mode": mode})
    for each in objects:
        cluster.kubectl("get", each["kind"], each["metadata"]["name"], f"--namespace={place}")
    admitted = taken(cluster, place, objects.pod)
    assert admitted.status_code == 201, admitted.text


@pytest.mark.usefixtures("operator")
def test_the_pod_monitor_is_accepted_with_the_prometheus_operator(cluster, place, release):
    release({"podMonitor": {"enabled": True, "labels": {"release": "prometheus"}}})
    found = cluster.kubectl("get", "podmonitors", "--selector=release=prometheus", f"--namespace={place}")
    assert NAME in found.stdout


def test_a_change_of_mode_adopts_the_tokens(cluster, place, helm, release, in_its_pod):
    def at_work():
        return cluster.kubectl("get", "cronjobs,deployments", "--output=name", f"--namespace={place}").stdout

    passes = release({"mode": "cronjob"})
    given = in_its_pod(passes)
    eventually(lambda: refresher(*passes.ours["args"], **given).code == 0, "a pass that succeeds")
    patient = {"mode": "ha", "config": {"leader_election": {"duration": "30s"}}}
    with Daemon(**in_its_pod(release(patient))) as daemon:
        daemon.wait_for("LeaderChanged", lease=f"{place}/{NAME}", leads=True)
        daemon.wait_for("TokenAdopted")
        assert not daemon.entries("OutputFailed")
    assert at_work().split() == [f"deployment.apps/{NAME}"]
    assert helm("rollback", NAME).returncode == 0
    assert at_work().split() == [f"cronjob.batch/{NAME}"]


def test_a_release_adopts_the_tokens_of_a_kustomize_installation(
    cluster, place, release, in_its_pod, tmp_path
):
    """As documented: the objects of kustomize are deleted, except the Secrets with tokens."""
    (selector,) = re.findall(r"kubectl delete -k \S+ (--selector=\S+)", (CHART / "README.md").read_text())
    objects = used("cronjob", tmp_path, namespace=place)
    applied = {"stdin": {"apiVersion": "v1", "kind": "List", "items": objects}}
    cluster.kubectl("apply", "--filename=-", **applied)
    given = in_its_pod(objects)
    eventually(lambda: refresher(*objects.ours["args"], **given).code == 0, "a pass that succeeds")
    cluster.kubectl("delete", "--wait=false", selector, "--filename=-", **applied)
    with Daemon(**in_its_pod(release({}))) as daemon:
        daemon.wait_for("TokenAdopted")
        assert not daemon.entries("OutputFailed")


def test_the_roles_are_enough_in_another_namespace(cluster, place, release, in_its_pod):
    other = f"{place}-other"
    cluster.namespace(other)
    secret = f"{other}/inlive-access-token"
    tokens = [{"name": "inlive", "key_file": "/key", "outputs": [{"secret": secret}]}]
    objects = release({"mode": "cronjob", "config": {"tokens": tokens}}, "second")
    given = in_its_pod(objects)
    eventually(lambda: refresher(*objects.ours["args"], **given).code == 0, "a pass that succeeds")
    written = cluster.must("GET", f"/api/v1/namespaces/{other}/secrets/inlive-access-token")
    owner = f"{place}/second-inlive-token-refresher"
    assert written["metadata"]["annotations"]["token-refresher.inlive.app/owner"] == owner


def test_an_uninstall_leaves_only_the_token(cluster, place, helm, release, in_its_pod):
    objects = release({"mode": "cronjob"})
    given = in_its_pod(objects)
    eventually(lambda: refresher(*objects.ours["args"], **given).code == 0, "a pass that succeeds")
    assert helm("uninstall", NAME).returncode == 0
    kinds = ",".join(sorted({each["kind"] for each in objects} | {"Secret", "Pod", "Lease"}))
    left = cluster.kubectl("get", kinds, "--output=name", f"--namespace={place}").stdout.split()
    assert [each for each in left if "/default" not in each] == ["secret/inlive-access-token"]
    assert "access-token" in cluster.must("GET", secret_at(place))["data"]


def secret_at(namespace, name="inlive-access-token"):
    return f"/api/v1/namespaces/{namespace}/secrets/{name}"


def of_version(number):
    """Values that change all objects of a release."""
    return {"mode": "cronjob", "podLabels": {"version": str(number)}, "rbac": {"events": number > 1}}


def test_upgrades_and_a_rollback_keep_the_token(cluster, place, helm, release, in_its_pod):
    objects = release(of_version(1))
    given = in_its_pod(objects)
    eventually(lambda: refresher(*objects.ours["args"], **given).code == 0, "a pass that succeeds")
    token = cluster.must("GET", secret_at(place))["data"]

    def is_kept():
        stored = cluster.must("GET", secret_at(place))
        return stored["data"] == token and refresher(*objects.ours["args"], **given).code == 0

    release(of_version(2))
    assert is_kept()
    assert helm("rollback", NAME).returncode == 0
    assert is_kept()
    elsewhere = [{"name": "inlive", "key_file": "/key", "outputs": [{"secret": "another"}]}]
    release(of_version(3) | {"config": {"tokens": elsewhere}})  # its former Secret is not deleted
    assert cluster.must("GET", secret_at(place))["data"] == token
    release(of_version(4))
    assert is_kept()
    cluster.must("DELETE", secret_at(place))
    release(of_version(5))  # this creates the Secret again
    assert "data" not in cluster.must("GET", secret_at(place))
    assert refresher(*objects.ours["args"], **given).code == 0


def test_a_secret_older_than_the_release_is_used_unchanged(cluster, place, release, in_its_pod):
    """An administrator prepared it, or an older version of the refresher created it."""
    metadata = {"name": "inlive-access-token", "labels": {"app.kubernetes.io/managed-by": NAME}}
    theirs = {"kind": "Secret", "metadata": metadata, "data": {"other": "dmFsdWU="}}
    cluster.must("POST", secret_at(place).rpartition("/")[0], theirs)
    for version in (1, 2):
        objects = release(of_version(version))
    given = in_its_pod(objects)
    eventually(lambda: refresher(*objects.ours["args"], **given).code == 0, "a pass that succeeds")
    stored = cluster.must("GET", secret_at(place))
    assert stored["data"].keys() == {"other", "access-token"}
    assert stored["metadata"]["labels"] == metadata["labels"]


@contextmanager
def kubelet(cluster, place, name, variables):
    """Waits for a Pod of this name, runs its command, and reports how it ended."""
    path = f"/api/v1/namespaces/{place}/pods/{name}"
    ended = []

    def run():
        eventually(lambda: cluster.ask("GET", path).ok, "a Pod to run", 60)
        (container,) = cluster.must("GET", path)["spec"]["containers"]
        ended.append(refresher(*container["args"], **variables))
        status = {"status": {"phase": "Failed" if ended[0].code else "Succeeded"}}
        cluster.must("PATCH", f"{path}/status", status, media_type="application/merge-patch+json")

    thread = threading.Thread(target=run)
    thread.start()
    yield ended
    thread.join()


def helm_test(cluster, place, helm, given):
    with kubelet(cluster, place, f"{NAME}-check", given) as ended:
        tested = helm("test", NAME, "--timeout=60s")
    return tested, ended[0]


def test_helm_test_passes_if_check_passes(cluster, place, helm, release, in_its_pod):
    given = in_its_pod(release({}))
    eventually(lambda: refresher("check", **given).code == 0, "rights that are in force")
    tested, checked = helm_test(cluster, place, helm, given)
    assert tested.returncode == 0, tested.stderr + checked.stdout
    assert "Phase:          Succeeded" in tested.stdout


def test_helm_test_fails_if_check_does(cluster, place, helm, release, in_its_pod, tmp_path):
    given = in_its_pod(release({}))
    (tmp_path / "key").write_text(f"{KEY}-of-another")
    tested, checked = helm_test(cluster, place, helm, given)
    assert checked.code == exit_codes.NO_PERMISSION
    assert tested.returncode != 0
