"""The commands at the real API server: their reports about Kubernetes, and their Events."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from refresher.clock import SystemClock
from refresher.core import rfc3339
from refresher.core.formats import Format
from refresher.core.model import SecretStr, Token, TokenFacts
from refresher.core.seal import Sealer
from refresher.emulator.server import Emulator
from refresher.kube.api import connect
from refresher.outputs import secret_body, secret_plan
from refresher.outputs.record import DEFAULT_OWNER
from refresher.outputs.secret import SecretOutput
from tests.commands.daemon import Daemon, Ended, ended, eventually, free_port, refresher, start
from tests.issuer.peer import answering, peer, silent
from tests.kube.administrator import Account, Rule
from tests.kube.cluster import Cluster
from tests.kube.connecting import kubeconfig, status

SECRETS = {"apiGroups": [""], "resources": ["secrets"]}
NAMED = SECRETS | {"verbs": ["get", "patch"], "resourceNames": ["access-token"]}
MAKING = SECRETS | {"verbs": ["create"], "resourceNames": ["access-token"]}
TELLING = {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}
ALL: list[Rule] = [NAMED, MAKING, TELLING]


@pytest.fixture
def inlive():
    with Emulator() as started:
        yield started


class Place:
    """A service account in its own namespace, and commands that use it."""

    def __init__(self, cluster: Cluster, account: Account, inlive: Emulator, directory: Path) -> None:
        self.cluster, self.account, self.inlive = cluster, account, inlive
        self.key = directory / "key"
        self.key.write_text(inlive.keys[0].reveal())
        self.key.chmod(0o600)
        self.environ = {"KUBECONFIG": str(account.kubeconfig)}
        self.secret = f"/api/v1/namespaces/{account.namespace}/secrets/access-token"

    @property
    def minting(self) -> tuple[object, ...]:
        return ("--key-file", self.key, "--issuer-url", self.inlive.url, "--to-secret", "access-token")

    def prepare(self) -> None:
        """Create the Secret without data, as an administrator."""
        in_namespace = f"--namespace={self.account.namespace}"
        self.cluster.kubectl("create", "secret", "generic", "access-token", in_namespace)

    def check(self, *words: object) -> Ended:
        return refresher("check", *self.minting, *words, **self.environ)

    def once(self) -> Ended:
        return refresher("once", *self.minting, **self.environ)

    def status(self, *words: object) -> Ended:
        return refresher("status", "--to-secret", "access-token", *words, **self.environ)

    def events(self) -> list[dict[str, Any]]:
        found = self.cluster.must("GET", f"/api/v1/namespaces/{self.account.namespace}/events")
        return list(found["items"])


@pytest.fixture
def place(cluster: Cluster, namespace: str, inlive: Emulator, tmp_path: Path) -> Place:
    return Place(cluster, cluster.service_account(namespace, "refresher", ALL), inlive, tmp_path)


def lines(checked: Ended, subject: str) -> list[str]:
    return [each for each in checked.said.splitlines() if each[5:].startswith(f"{subject}: ")]


# once


def test_a_writer_of_one_secret_does_not_choose_the_token_of_another_output(place, tmp_path):
    both = (*place.minting, "--to-file", tmp_path / "token", "--log-level", "info")
    assert refresher("once", *both, **place.environ).code == 0
    genuine = (tmp_path / "token").read_text()
    forge(place, "f0reign-token")
    passed = refresher("once", *both, **place.environ)
    assert passed.code == 0
    assert [entry["event"] for entry in passed.log].count("OutputForged") == 1
    data = place.cluster.must("GET", place.secret)["data"]
    assert base64.b64decode(data["access-token"]).decode() == genuine == (tmp_path / "token").read_text()
    assert place.inlive.counts.mints == 1


def forge(place: Place, value: str) -> None:
    """Publish `value` like the refresher, with all annotations and issued now, but without its key."""
    publish(place, value, SecretStr("a guess"))


def publish(place: Place, value: str, sealed_with: SecretStr, *, age: float = 0.0) -> None:
    """Publish the token `value`, issued `age` seconds ago."""
    clock, access = SystemClock(), SecretStr(value)
    api = connect(clock, place.environ)
    key = place.inlive.keys[0].fingerprint
    url = place.inlive.url
    facts = TokenFacts(
        clock.now() + -age, 3600.0, 3600.0, key, access.fingerprint, has_refresh_token=False, issuer=url
    )
    plan = secret_plan.planned("access-token", api.namespace, DEFAULT_OWNER, {"access-token": Format()}, url)
    SecretOutput(plan, api).write(Token(facts, access), clock.now(), Sealer(sealed_with))


# check


def test_check_names_the_user_if_all_permissions_are_granted(place):
    checked = place.check()
    assert checked.code == 0, checked.said
    (server,) = lines(checked, "kubernetes")
    assert server.endswith(f"system:serviceaccount:{place.account.namespace}:refresher")
    assert lines(checked, "permissions") == [
        "ok   permissions: every permission needed to publish is granted"
    ]
    assert lines(checked, "output") == [
        f"ok   output: secret:{place.account.namespace}/access-token can be written"
    ]
    assert place.cluster.ask("GET", place.secret).status_code == 404  # nothing was published
    assert "RoleBinding" not in checked.said


@pytest.mark.parametrize("granted", [[], [TELLING]], ids=["nothing", "all but what it takes"])
def test_the_printed_role_for_missing_permissions_can_be_applied(place, tmp_path, granted):
    """Like an administrator: the end of the output is applied, and the next check passes."""
    config = tmp_path / "refresher.yaml"
    config.write_text("leader_election: {lease: leader}\n")
    place.cluster.grant(place.account, granted)
    checked = place.check("--config", config)
    assert checked.code == 73
    (told,) = lines(checked, "permissions")[:1]
    for verb in ("get", "patch"):
        assert f"{verb} secrets/access-token in namespace {place.account.namespace}" in told
    assert "update leases.coordination.k8s.io/leader" in told
    _, remedy = checked.said.split("\n# ", 1)
    pasted = tmp_path / "pasted.yaml"
    pasted.write_text(f"# {remedy}")
    place.cluster.kubectl("apply", "-f", str(pasted))
    again = place.check("--config", config)
    assert (again.code, again.said.count("RoleBinding")) == (0, 0)
    granted = [
        rule for each in yaml.safe_load_all(remedy) if each["kind"] == "Role" for rule in each["rules"]
    ]
    assert not [rule for rule in granted if {"list", "watch", "*", "delete"} & set(rule["verbs"])]
    verbs = {verb for rule in granted if rule["resources"] == ["secrets"] for verb in rule["verbs"]}
    assert verbs == {"get", "patch"}


def test_a_missing_optional_permission_is_a_hint(place):
    place.cluster.grant(place.account, [NAMED])
    place.prepare()
    checked = place.check()
    assert checked.code == 0, checked.said
    ok, telling, creating = lines(checked, "permissions")
    assert ok.startswith("ok")
    assert telling.startswith("hint permissions: not granted: create events")
    assert creating.startswith("ok   permissions: create is not granted, which is safer")
    assert checked.said.count("RoleBinding") == 1


def test_a_missing_secret_that_we_may_not_create_is_printed(place, tmp_path):
    """The Secret is printed, and no permission to create it."""
    place.cluster.grant(place.account, [NAMED, TELLING])
    refused = place.check()
    assert refused.code == 73
    (told,) = lines(refused, "permissions")
    assert told.startswith(f"FAIL permissions: Secret {place.account.namespace}/access-token does not exist")
    assert "Role" not in refused.said
    _, remedy = refused.said.split("\n# ", 1)
    pasted = tmp_path / "pasted.yaml"
    pasted.write_text(f"# {remedy}")
    place.cluster.kubectl("apply", "-f", str(pasted))
    assert place.check().code == 0
    assert place.once().code == 0
    assert "(403)" not in place.once().said


def test_an_unreachable_api_server_is_reported_once(place, tmp_path):
    away = tmp_path / "away.kubeconfig"
    port = free_port()
    written = place.account.kubeconfig.read_text()
    away.write_text(re.sub(r"https://127\.0\.0\.1:\d+", f"https://127.0.0.1:{port}", written))
    checked = refresher("check", *place.minting, KUBECONFIG=str(away))
    assert checked.code == 73
    (told,) = lines(checked, "kubernetes")
    assert "Connection refused" in told
    assert lines(checked, "output")[0].endswith("was not tested")


def test_check_offline_sends_no_request_to_kubernetes(place, tmp_path):
    silent = tmp_path / "away.kubeconfig"
    silent.write_text(place.account.kubeconfig.read_text().replace("127.0.0.1", "192.0.2.1"))
    checked = refresher("check", *place.minting, "--offline", KUBECONFIG=str(silent))
    assert checked.code == 0, checked.said
    assert not lines(checked, "kubernetes")


def test_without_access_reviews_check_reports_failed_dry_runs(place, tmp_path):
    """An administrator has forbidden SelfSubjectAccessReviews to all users."""
    denied = answering(403, status(403, 'cannot create resource "selfsubjectaccessreviews"'))
    with peer(denied) as server:
        checked = refresher("check", *place.minting, KUBECONFIG=str(kubeconfig(tmp_path, server.url)))
    assert lines(checked, "permissions")[0].startswith("hint permissions: cannot list our own permissions")
    assert lines(checked, "output")[0].startswith("FAIL output")  # it was tried


def test_once_mints_nothing_while_the_api_server_hangs(place, tmp_path):
    with peer(silent) as server:
        passed = refresher("once", *place.minting, KUBECONFIG=str(kubeconfig(tmp_path, server.url)))
    assert passed.code == 73
    assert "no complete response" in passed.said
    assert place.inlive.counts.mints == 0


# status


def test_a_secret_is_listed_with_age_expiry_and_owner_but_without_its_value(place):
    assert place.once().code == 0
    told = place.status()
    owner = f"{place.account.namespace}/inlive-token-refresher"
    assert told.code == 0, told.said
    assert re.search(rf"issued \d+s? ago, belongs to {re.escape(owner)}", told.said)
    document = json.loads(place.status("--json").said)
    (output,) = document["tokens"][0]["outputs"]
    assert output["owner"] == owner
    assert output["issued_at"] < output["expires_at"]
    minted = base64.b64decode(place.cluster.must("GET", place.secret)["data"]["access-token"]).decode()
    assert place.inlive.valid(minted)
    assert minted not in told.said + json.dumps(document)


def test_a_secret_of_another_installation_is_marked(place):
    assert place.once().code == 0
    annotation = {"metadata": {"annotations": {"token-refresher.inlive.app/owner": "studio/other"}}}
    place.cluster.must("PATCH", place.secret, annotation, media_type="application/merge-patch+json")
    assert "belongs to studio/other" in place.status().said


# Events


def test_once_writes_an_event_about_a_refused_key(place):
    place.key.write_text("no-such-key")
    assert place.once().code == 77
    (event,) = place.events()
    assert (event["reason"], event["type"]) == ("KeyRefused", "Warning")
    assert event["involvedObject"]["name"] == "access-token"
    assert "no-such-key" not in json.dumps(event)


def test_the_daemon_writes_events_about_a_failing_and_a_recovered_write(place):
    place.cluster.grant(place.account, [NAMED | {"verbs": ["get"]}, TELLING])
    with Daemon(*place.minting, "--lifetime", "20s", **place.environ) as daemon:
        eventually(
            lambda: [each["reason"] for each in place.events()] == ["WriteFailed"], "an Event is written"
        )
        place.cluster.grant(place.account, ALL)
        daemon.wait_for("OutputWritten")
        eventually(lambda: "Written" in {each["reason"] for each in place.events()}, "an Event about the end")


def test_without_permission_for_events_the_daemon_works(place):
    place.cluster.grant(place.account, [NAMED, MAKING])
    place.key.write_text("no-such-key")
    with Daemon(*place.minting, **place.environ) as daemon:
        daemon.wait_for("RefreshFailed")
        eventually(lambda: "cannot write Events in namespace" in daemon.said, "it is in the log")
        place.key.write_text(place.inlive.keys[0].reveal())
        daemon.wait_for("OutputWritten")


# refresh


def patching(place: Place) -> dict[str, str]:
    """The environment of another service account, which may only read and patch the Secret."""
    account = place.cluster.service_account(place.account.namespace, "operator", [NAMED])
    return {"KUBECONFIG": str(account.kubeconfig)}


def test_a_pass_obeys_a_request_once_and_the_command_waits_for_the_new_token(place):
    publish(place, "acc3ss-old", place.inlive.keys[0], age=600.0)
    asking = start("refresh", "--to-secret", "access-token", "--timeout", "15s", **patching(place))
    eventually(lambda: secret_body.REFRESH in annotations(place), "the request is there")
    requested = annotations(place)[secret_body.REFRESH]
    for _ in range(2):
        assert place.once().code == 0
        assert place.inlive.counts.mints == 1
    asked = ended(asking)
    assert asked.code == 0, asked.said
    assert f"secret:{place.account.namespace}/access-token holds a new token, valid until 2" in asked.said
    assert annotations(place)[secret_body.REFRESH] == requested, "writes of the token keep it"


def test_kubectl_annotate_places_a_request(place):
    publish(place, "acc3ss-old", place.inlive.keys[0], age=600.0)
    request = f"{secret_body.REFRESH}={rfc3339.to_second(SystemClock().now().wall)}"
    place.cluster.kubectl(
        "annotate", "secret", "access-token", f"--namespace={place.account.namespace}", request
    )
    assert place.once().code == 0
    assert place.inlive.counts.mints == 1


@pytest.mark.parametrize("text", ["", "now", "2026-11-05T10:00:00", "1" * 10_000, "9999-01-01T00:00:00Z"])
def test_an_annotation_that_names_no_time_until_now_is_no_request(place, text):
    publish(place, "acc3ss-old", place.inlive.keys[0], age=600.0)
    connect(SystemClock(), place.environ).annotate(place.secret, {secret_body.REFRESH: text})
    assert place.once().code == 0
    assert place.inlive.counts.mints == 0


def test_without_permission_to_patch_no_request_is_placed(place):
    place.prepare()
    assert place.once().code == 0
    reader = place.cluster.service_account(
        place.account.namespace, "reader", [SECRETS | {"verbs": ["get"], "resourceNames": ["access-token"]}]
    )
    asked = refresher("refresh", "--to-secret", "access-token", KUBECONFIG=str(reader.kubeconfig))
    assert asked.code == 73
    assert "patch" in asked.said


def test_a_secret_that_does_not_exist_takes_no_request_and_is_not_created(place):
    asked = refresher("refresh", "--to-secret", "access-token", **patching(place))
    assert asked.code == 73
    assert place.cluster.ask("GET", place.secret).status_code == 404


def annotations(place: Place) -> dict[str, str]:
    found = place.cluster.must("GET", place.secret)["metadata"]["annotations"]
    return dict(found)
