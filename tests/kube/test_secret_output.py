"""Tokens in Secrets at the real API server, written by a service account with the least permissions."""

import base64
import json
import math
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from refresher import outputs
from refresher.clock import SystemClock
from refresher.config.output_kinds import SecretOutputSettings
from refresher.core.formats import Format
from refresher.core.model import Holding
from refresher.emulator.server import Emulator
from refresher.errors import OutputError, OutputOutOfSightError
from refresher.kube.api import KubeApi, connect
from refresher.outputs.secret import READ_ANEW, SecretOutput
from refresher.outputs.secret_body import LARGEST_SECRET, OWNER
from refresher.outputs.secret_plan import planned
from tests.issuer.peer import answering
from tests.kube.administrator import Account, Rule
from tests.kube.cluster import Cluster
from tests.kube.connecting import asking, status
from tests.outputs.contract import OutputContract, is_nothing
from tests.outputs.tokens import NOW, SEALER, a_token

ROOT = Path(__file__).resolve().parents[2]
URL = "https://api.inlive.app"
NAME = "inlive-access-token"
OURS = "inlive/refresher"
TEMPLATE = "token = $access_token, until $expires_at\n"
KEY = "application-key-for-tests"
MERGE = "application/merge-patch+json"


def rule(*verbs: str, named: bool = True) -> Rule:
    names = {"resourceNames": [NAME]} if named else {}
    return {"apiGroups": [""], "resources": ["secrets"], "verbs": list(verbs), **names}


ENOUGH = [rule("get", "patch"), rule("create", named=False)]


def connected(account: Account) -> KubeApi:
    return connect(SystemClock(), {"KUBECONFIG": str(account.kubeconfig)})


class SecretPlace:
    """A Secret, as the administrator sees it, and outputs that publish in it."""

    def __init__(self, cluster: Cluster, account: Account, api: KubeApi, form: str = "token") -> None:
        self.cluster, self.account, self.api, self.form = cluster, account, api, form
        self.tells_value = form != "template"
        self.path = f"/api/v1/namespaces/{account.namespace}/secrets/{NAME}"

    def output(self, *, owner=OURS, data=None, api=None, namespace=None, **more):
        settings = SecretOutputSettings(
            secret=f"{namespace or self.account.namespace}/{NAME}",
            data=data or (("access-token", self.form),),
            template=TEMPLATE,
            **more,
        )
        cluster = outputs.Cluster(lambda: api or self.api, owner, lambda: math.inf)
        return outputs.build(settings, URL, cluster)

    def stored(self):
        answer = self.cluster.ask("GET", self.path)
        return answer.json() if answer.status_code != 404 else None

    def value(self, key):
        value = ((self.stored() or {}).get("data") or {}).get(key)
        return None if value is None else base64.b64decode(value)

    def content(self):
        return self.value("access-token")

    def patch(self, body):
        return self.cluster.must("PATCH", f"{self.path}?fieldManager=somebody", body, media_type=MERGE)

    def alter(self, content):
        self.patch({"data": {"access-token": base64.b64encode(content).decode()}})

    def annotate(self, name, text):
        self.patch({"metadata": {"annotations": {name: text}}})

    def make(self, **more):
        """Create it as another client, with these fields."""
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME}} | more
        collection = self.path.removesuffix(f"/{NAME}")
        return self.cluster.must("POST", f"{collection}?fieldManager=somebody", body)

    def delete(self):
        self.cluster.must("DELETE", self.path)

    def make_unreadable(self):
        self.cluster.grant(self.account, [])

    @contextmanager
    def refusing_writes(self) -> Iterator[None]:
        self.cluster.grant(self.account, [rule("get")])
        yield
        self.cluster.grant(self.account, ENOUGH)


@pytest.fixture(scope="module")
def account(shared_cluster: Cluster) -> Account:
    return shared_cluster.service_account("secret-output", "refresher", ENOUGH)


@pytest.fixture(scope="module")
def api(account: Account) -> KubeApi:
    return connected(account)


@pytest.fixture
def place(request, cluster: Cluster, account: Account, api: KubeApi) -> Iterator[SecretPlace]:
    place = SecretPlace(cluster, account, api, getattr(request, "param", "token"))
    yield place
    cluster.grant(account, ENOUGH)
    cluster.ask("DELETE", place.path)


@pytest.mark.parametrize("place", ["token", "inlive-sdk", "template"], indirect=True)
class TestSecretOutput(OutputContract):
    """The contract of every output. Other formats make no difference to the API server."""


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(OutputError) as failure:
        act()
    told = f"{failure.value} {failure.value.__cause__!r}"
    assert "acc3ss" not in told
    assert base64.b64encode(b"acc3ss").decode()[:6] not in told
    return str(failure.value)


def refused_write(output, number=2) -> str:
    return refusal(lambda: output.write(a_token(number), NOW, SEALER))


# Outputs that are no longer configured


def test_a_released_secret_loses_what_is_ours_and_keeps_the_rest(place):
    place.make(data={"theirs": base64.b64encode(b"x").decode()})
    output = place.output(on_remove="delete")
    output.write(a_token(), NOW, SEALER)
    assert output.release(tuple)
    stored = place.stored()
    assert list(stored["data"]) == ["theirs"]
    assert not any(name.startswith("token-refresher.") for name in stored["metadata"].get("annotations", {}))
    assert "no longer configured" in refused_write(output)


def test_a_released_secret_of_another_installation_stays(place):
    output = place.output(on_remove="delete")
    place.output(owner="inlive/other").write(a_token(), NOW, SEALER)
    assert "inlive/other" in refusal(lambda: output.release(tuple))
    assert place.content() is not None


# Least privilege


@pytest.mark.parametrize(
    "rules",
    [ENOUGH, [rule("get", "patch", "create")]],
    ids=["create any", "create only this one"],
)
def test_get_patch_and_create_are_enough(cluster, namespace, rules):
    account = cluster.service_account(namespace, "refresher", rules)
    api = connected(account)
    output = SecretPlace(cluster, account, api).output()
    output.claim()
    output.dry_run()
    assert output.inspect(NOW) == Holding()
    output.write(a_token(1), NOW, SEALER)
    output.dry_run()
    output.write(a_token(2), NOW, SEALER)
    assert output.inspect(NOW).intact


def test_a_prepared_secret_needs_no_create(cluster, namespace):
    account = cluster.service_account(namespace, "refresher", [rule("get", "patch")])
    api = connected(account)
    place = SecretPlace(cluster, account, api)
    told = refused_write(place.output())
    assert f"create secrets/{NAME} in namespace {namespace}" in told
    assert "create it without data" in told
    assert "grant" not in told
    cluster.kubectl("create", "secret", "generic", NAME, f"--namespace={namespace}")
    place.output().write(a_token(), NOW, SEALER)
    assert place.output().inspect(NOW).intact


@pytest.mark.parametrize(
    ("lacking", "told", "act"),
    [
        ("get", "get secrets/", lambda output: output.inspect(NOW)),
        ("patch", "patch secrets/", lambda output: output.write(a_token(), NOW, SEALER)),
        ("patch", "patch secrets/", lambda output: output.dry_run()),
    ],
)
def test_a_missing_verb_is_named(place, lacking, told, act):
    place.cluster.grant(place.account, [rule(*{"get", "patch"} - {lacking})])
    assert told in refusal(lambda: act(place.output()))


# Written and kept data


def test_a_secret_is_opaque_and_names_its_writer(place):
    place.output().write(a_token(), NOW, SEALER)
    stored = place.stored()
    assert stored["type"] == "Opaque"
    assert stored["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "inlive-token-refresher"}
    assert stored["metadata"]["annotations"][OWNER] == OURS
    managed = {(each["manager"], each["operation"]) for each in stored["metadata"]["managedFields"]}
    assert managed == {("inlive-token-refresher", "Apply")}


def test_several_formats_stand_side_by_side(place):
    output = place.output(data=(("access-token", "token"), ("auth.json", "inlive-sdk")))
    output.write(a_token(), NOW, SEALER)
    assert output.includes_refresh_token
    assert place.value("access-token") == b"acc3ss-1-"
    assert json.loads(place.value("auth.json"))["data"]["accessToken"] == "acc3ss-1-"
    found = output.inspect(NOW)
    assert found.token is not None
    assert found.token.is_complete


def test_keys_of_others_in_the_secret_are_kept(place):
    metadata = {"labels": {"team": "t"}, "annotations": {"note": "n"}}
    place.make(metadata={"name": NAME, **metadata}, data={"others": "bw=="})
    for number in (1, 2):
        place.output().write(a_token(number), NOW, SEALER)
    stored = place.stored()
    assert stored["metadata"]["labels"]["team"] == "t"
    assert stored["metadata"]["annotations"]["note"] == "n"
    assert place.value("others") == b"o"
    assert place.content() == b"acc3ss-2-"


def test_a_label_of_others_is_not_fought_over(place):
    label = {"app.kubernetes.io/managed-by": "Helm"}
    place.make(metadata={"name": NAME, "labels": label})
    place.output().write(a_token(), NOW, SEALER)
    assert place.stored()["metadata"]["labels"] == label
    assert place.output().inspect(NOW).intact


def test_a_key_removed_from_the_configuration_is_deleted(place):
    place.output(data=(("old", "token"),)).write(a_token(), NOW, SEALER)
    place.output(data=(("new", "bearer"),)).write(a_token(), NOW, SEALER)
    assert place.value("old") is None
    assert place.value("new") == b"Bearer acc3ss-1-"


def test_our_values_are_restored_after_a_forced_change(place):
    place.output().write(a_token(), NOW, SEALER)
    body = {"apiVersion": "v1", "kind": "Secret", "data": {"access-token": "YWx0ZXJlZA=="}}
    body["metadata"] = {"annotations": {f"{OWNER.partition('/')[0]}/lifetime": "1"}}
    place.cluster.must(
        "PATCH",
        f"{place.path}?fieldManager=somebody&force=true",
        body,
        media_type="application/apply-patch+yaml",
    )
    assert is_nothing(place.output().inspect(NOW))
    place.output().write(a_token(), NOW, SEALER)
    assert place.output().inspect(NOW).facts == a_token().facts


def test_an_emptied_secret_is_filled_again(place):
    place.output().write(a_token(), NOW, SEALER)
    place.patch({"data": None})
    assert is_nothing(place.output().inspect(NOW))
    place.output().write(a_token(), NOW, SEALER)
    assert place.content() == b"acc3ss-1-"


def test_writing_the_same_token_again_keeps_the_resource_version(place):
    place.output().write(a_token(), NOW, SEALER)
    before = place.stored()["metadata"]["resourceVersion"]
    place.output().write(a_token(), NOW, SEALER)
    assert place.stored()["metadata"]["resourceVersion"] == before


# Ownership


def test_a_secret_of_another_installation_is_read_but_not_written(place):
    place.output(owner="other/refresher").write(a_token(1), NOW, SEALER)
    output = place.output()
    found = output.inspect(NOW)
    assert found.facts == a_token(1).facts  # its consumers have this token
    assert not found.intact
    told = refused_write(output)
    assert "'other/refresher'" in told
    assert OWNER in told
    assert "'other/refresher'" in refusal(output.dry_run)
    assert place.content() == b"acc3ss-1-"


def test_a_secret_without_an_owner_goes_to_the_next_writer(place):
    other, output = place.output(owner="other/refresher"), place.output()
    other.write(a_token(1), NOW, SEALER)
    place.annotate(OWNER, None)
    output.write(a_token(2), NOW, SEALER)
    assert place.content() == b"acc3ss-2-"
    assert f"'{OURS}'" in refused_write(other, 3)


def test_a_value_of_another_client_is_not_overwritten(place):
    place.make(data={"access-token": base64.b64encode(b"precious").decode()})
    assert "under access-token" in refused_write(place.output())
    assert place.content() == b"precious"


@pytest.mark.parametrize("data", [{}, {"access-token": ""}])
def test_a_prepared_secret_is_filled(place, data):
    place.make(data=data)
    place.output().write(a_token(), NOW, SEALER)
    assert place.content() == b"acc3ss-1-"


class Meddled:
    """An API server with another client that writes right after our read."""

    def __init__(self, api: KubeApi, meddle: Callable[[], object]) -> None:
        self.namespace, self._api, self._meddle = api.namespace, api, meddle
        self.apply = api.apply

    def get(self, path):
        try:
            return self._api.get(path)
        finally:
            self._meddle()


def test_a_secret_created_at_the_same_moment_is_not_overwritten(place):
    other = place.output(owner="other/refresher")
    output = place.output(api=Meddled(place.api, lambda: other.write(a_token(1), NOW, SEALER)))
    assert "at the same moment" in refused_write(output)
    assert place.content() == b"acc3ss-1-"
    assert "'other/refresher'" in refused_write(place.output())


def test_a_secret_taken_at_the_same_moment_is_not_overwritten(place):
    place.make()
    other = place.output(owner="other/refresher")
    output = place.output(api=Meddled(place.api, lambda: other.write(a_token(1), NOW, SEALER)))
    assert "at the same moment" in refused_write(output)
    assert place.content() == b"acc3ss-1-"


def test_a_secret_deleted_at_the_same_moment_is_created_again(place):
    place.output().write(a_token(1), NOW, SEALER)
    place.output(api=Meddled(place.api, place.delete)).write(a_token(2), NOW, SEALER)
    assert place.content() == b"acc3ss-2-"
    assert place.output().inspect(NOW).intact


def test_one_of_two_starting_installations_gets_the_secret(place):
    for _ in range(10):
        written: list[int] = []
        together = threading.Barrier(2)

        def write(number, output, written=written, together=together):
            together.wait()
            try:
                output.write(a_token(number), NOW, SEALER)
            except OutputError:
                return
            written.append(number)

        installations = [place.output(owner=f"installation/{number}") for number in range(2)]
        writers = [threading.Thread(target=write, args=each) for each in enumerate(installations)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        (winner,) = written
        assert place.stored()["metadata"]["annotations"][OWNER] == f"installation/{winner}"
        assert place.content() == f"acc3ss-{winner}-".encode()
        place.delete()


class Distorting:
    """An API server that changes what it stores, like a mutating webhook."""

    def __init__(self, place: SecretPlace, distort: Callable[[SecretPlace], object]) -> None:
        self.namespace, self._place, self._distort = place.account.namespace, place, distort
        self.get = place.api.get

    def apply(self, *arguments, **more):
        self._place.api.apply(*arguments, **more)
        self._distort(self._place)
        return self._place.api.get(self._place.path)


@pytest.mark.parametrize(
    "distort",
    [
        lambda place: place.alter(b"distorted"),
        lambda place: place.annotate(OWNER, "other/refresher"),
        lambda place: place.patch({"metadata": {"labels": None}}),
    ],
    ids=["value", "owner", "label"],
)
def test_a_value_changed_by_the_api_server_is_an_error(place, distort):
    assert "admission webhook" in refused_write(place.output(api=Distorting(place, distort)))


# Obstacles


def test_another_type_is_named(place):
    place.make(type="kubernetes.io/basic-auth", data={"password": "cA=="})
    assert "'kubernetes.io/basic-auth'" in refused_write(place.output())


def test_an_immutable_secret_is_named_before_its_token_ends(place):
    place.output().write(a_token(1), NOW, SEALER)
    place.patch({"immutable": True})
    found = place.output().inspect(NOW)
    assert (found.facts, found.intact) == (a_token(1).facts, False)
    assert "immutable: true" in refused_write(place.output())
    assert "immutable: true" in refusal(place.output().dry_run)
    assert place.content() == b"acc3ss-1-"


def test_a_write_beyond_the_limit_of_a_secret_is_refused(place):
    room = len(b"acc3ss-1-")
    place.make(data={"others": base64.b64encode(b"o" * (LARGEST_SECRET - room)).decode()})
    place.output().write(a_token(1), NOW, SEALER)
    told = refusal(lambda: place.output().write(a_token(1, size=room + 1), NOW, SEALER))
    assert str(LARGEST_SECRET) in told
    assert place.content() == b"acc3ss-1-"


def test_a_missing_namespace_is_named(cluster, place):
    cluster.grant(place.account, [])
    api = connect(SystemClock(), {"KUBECONFIG": str(cluster.kubeconfig)})  # the administrator
    output = place.output(api=api, namespace="nowhere")
    assert output.inspect(NOW) == Holding()
    assert "namespace nowhere does not exist" in refused_write(output)
    assert "namespace nowhere does not exist" in refusal(output.dry_run)


def test_a_terminating_namespace_is_reported(cluster, namespace):
    account = cluster.service_account(namespace, "refresher", ENOUGH)
    api = connected(account)
    place = SecretPlace(cluster, account, api)
    place.output().write(a_token(1), NOW, SEALER)
    cluster.must("DELETE", f"/api/v1/namespaces/{namespace}")
    place.output().write(a_token(2), NOW, SEALER)  # existing objects may still be changed
    place.delete()
    told = refused_write(place.output())
    assert "being terminated" in told
    assert "create it again" in told


def test_an_unreachable_api_server_is_reported_until_it_is_back(cluster, place):
    place.output().write(a_token(1), NOW, SEALER)
    cluster.kill_apiserver()
    output = place.output()
    assert "Connection refused" in refused_write(output)
    with pytest.raises(OutputOutOfSightError, match=r"^cannot be read: "):
        output.inspect(NOW)
    cluster.start_apiserver()
    assert output.inspect(NOW).facts == a_token(1).facts


def test_retry_after_of_the_api_server_is_passed_on(tmp_path):
    plan = planned("ns/token", "ns", "ns/refresher", {"access-token": Format()}, "http://localhost")
    busy = answering(429, status(429, "slow down"), "Retry-After: 7")
    with asking(tmp_path, busy) as (api, _), pytest.raises(OutputError, match="slow down") as raised:
        SecretOutput(plan, api).write(a_token(1), NOW, SEALER)
    assert raised.value.retry_after == 7.0


# From process to process


def refresher(place: SecretPlace, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environ |= {"KUBECONFIG": str(place.account.kubeconfig), "PYTHONPATH": str(ROOT), "NO_PROXY": "*"}
    return subprocess.run(
        [sys.executable, "-m", "refresher", *arguments, "--to-secret", NAME],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_next_process_adopts_the_token(place, tmp_path):
    (tmp_path / "key").write_text(KEY)
    with Emulator(keys=[KEY]) as inlive:
        once = ["once", "--issuer-url", inlive.url, "--key-file", str(tmp_path / "key")]
        first = refresher(place, *once)
        assert first.returncode == 0, first.stderr
        token = place.content()
        assert inlive.valid(token.decode())
        second = refresher(place, *once)
        assert second.returncode == 0, second.stderr
        assert place.content() == token
    assert refresher(place, "wait", "--timeout", "1s").returncode == 0
    told = refresher(place, "status")
    assert told.returncode == 0, told.stderr
    assert f"secret:{place.account.namespace}/{NAME}" in told.stdout
    assert token.decode() not in told.stdout + told.stderr + first.stderr + second.stderr


def test_the_owner_is_the_namespace_and_the_name_in_the_environment(place, tmp_path):
    (tmp_path / "key").write_text(KEY)
    with Emulator(keys=[KEY]) as inlive:
        once = ["once", "--issuer-url", inlive.url, "--key-file", str(tmp_path / "key")]
        assert refresher(place, *once).returncode == 0
        assert place.stored()["metadata"]["annotations"][OWNER] == "secret-output/inlive-token-refresher"
        place.delete()
        assert refresher(place, *once, REFRESHER_OWNER="team-a").returncode == 0
        assert place.stored()["metadata"]["annotations"][OWNER] == "secret-output/team-a"
        refused = refresher(place, *once, REFRESHER_OWNER="team-b")
    assert refused.returncode == 73
    assert "'secret-output/team-a'" in refused.stderr


def test_a_missing_cluster_is_a_configuration_error():
    told = subprocess.run(
        [sys.executable, "-m", "refresher", "wait", "--to-secret", NAME],
        env={"HOME": "/nonexistent", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 78
    assert "no Kubernetes cluster is configured" in told.stderr


def test_a_watched_secret_is_read_again_only_when_its_version_changes_or_after_a_while(place):
    seen = [""]
    wants = planned(f"{place.account.namespace}/{NAME}", "home", OURS, {"access-token": Format()}, URL)
    output = SecretOutput(wants, place.api, watched=lambda: seen[0])
    token = a_token()
    output.write(token, NOW, SEALER)
    seen[0] = place.stored()["metadata"]["resourceVersion"]
    place.cluster.must("DELETE", place.path)
    later = output.inspect(NOW + 30.0)
    assert (later.facts.fingerprint, later.intact) == (token.facts.fingerprint, True)
    assert later.facts.issued.age(NOW + 30.0) == pytest.approx(token.facts.issued.age(NOW) + 30, abs=0.001)
    assert is_nothing(output.inspect(NOW + READ_ANEW))
    output.write(token, NOW, SEALER)
    for version in (place.stored()["metadata"]["resourceVersion"], "another", None):
        seen[0] = version
        assert output.inspect(NOW).intact
    place.cluster.must("DELETE", place.path)
    assert is_nothing(output.inspect(NOW)), "unknown to the watch"
    seen[0] = "another"
    assert is_nothing(output.inspect(NOW))


def test_a_comparison_reports_what_the_watch_sees_until_an_inspection_has_seen_it(place):
    seen, asked = [""], [None]
    wants = planned(f"{place.account.namespace}/{NAME}", "home", OURS, {"access-token": Format()}, URL)
    output = SecretOutput(wants, place.api, watched=lambda: seen[0], requested=lambda: asked[0])
    output.write(a_token(), NOW, SEALER)
    seen[0] = place.stored()["metadata"]["resourceVersion"]
    assert output.inspect(NOW).watched
    assert not output.has_changed()
    asked[0] = 5.0
    assert output.has_changed()
    output.inspect(NOW)
    assert not output.has_changed()
    seen[0] = None  # the watch fails
    assert output.has_changed()
    assert not output.inspect(NOW).watched
    assert not output.has_changed(), "nothing was promised"


def test_a_request_outside_the_secret_counts_if_it_is_newer(place):
    asked = [5.0]
    wants = planned(f"{place.account.namespace}/{NAME}", "home", OURS, {"access-token": Format()}, URL)
    output = SecretOutput(wants, place.api, requested=lambda: asked[0])
    assert output.inspect(NOW).refresh_requested == 5.0
    output.write(a_token(), NOW, SEALER)
    output.request_refresh(7.0)
    assert output.inspect(NOW).refresh_requested == 7.0
    asked[0] = 9.0
    assert output.inspect(NOW).refresh_requested == 9.0
