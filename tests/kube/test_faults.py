"""What can go wrong around a daemon that keeps a Secret, done to the real API server.

Of each fault it is shown that nothing is lost, neither a good token nor what belongs to somebody else; that
the reason stands in the log, in the metrics and in the status; and that it is over when the fault is.
"""

import json
import signal
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from refresher.emulator.server import Emulator
from refresher.outputs.secret_body import LARGEST, OWNER
from tests import needs
from tests.commands.daemon import Daemon, eventually
from tests.kube.cluster import Cluster
from tests.kube.installation import ENOUGH, NAME, Installation

DURATION = 3  # seconds that a Lease lasts
MERGE = "application/merge-patch+json"


@pytest.fixture
def installed(cluster: Cluster, namespace: str, issuer: Emulator, tmp_path: Path) -> Iterator[Installation]:
    with Installation(cluster, namespace, issuer, tmp_path) as installation:
        yield installation
        cluster.restore()


@pytest.fixture
def minute_long(cluster: Cluster, namespace: str, issuer: Emulator, tmp_path: Path) -> Iterator[Installation]:
    """Whose tokens outlive calls that time out."""
    with Installation(cluster, namespace, issuer, tmp_path, lifetime="60s") as installation:
        yield installation
        cluster.restore()


def running(installation: Installation, **environ: str) -> Daemon:
    """A daemon that has written its first token."""
    daemon = installation.start(**environ)
    daemon.wait_for("OutputWritten")
    return daemon


def refresh(daemon: Daemon) -> None:
    """Have it mint now; by the schedule that would take ten seconds."""
    daemon.send(signal.SIGUSR1)


def told(daemon: Daemon, says: str, event: str = "OutputFailed") -> None:
    """That it says why, wherever somebody may look."""
    eventually(
        lambda: [each for each in daemon.entries(event) if says in each["message"]], f"{says} in the log"
    )
    assert says in str(problems(daemon))


def problems(daemon: Daemon) -> list[str]:
    """Those in /status."""
    (token,) = daemon.get("/status").document["tokens"]
    return list(token["problems"])


def writes(installation: Installation, daemon: Daemon, result: str) -> float:
    return daemon.metric(installation.sample("output_writes_total", result=result))


def recovers(installation: Installation, daemon: Daemon) -> None:
    """That all is well, without anybody's doing."""
    eventually(lambda: not problems(daemon), "nothing in the status is wrong any more")
    assert installation.serves()
    assert daemon.get("/readyz").status == 200


# What is done to the Secret, and to the rights on it


class Fault(NamedTuple):
    """`says`: what is to be read of it."""

    breaks: Callable[[Installation], object]
    says: str
    mends: Callable[[Installation], object]


def change(installation: Installation, **fields: object) -> None:
    """Somebody else's change to the Secret; None deletes."""
    installation.cluster.must("PATCH", installation.path, fields, media_type=MERGE)


def delete(installation: Installation) -> None:
    installation.cluster.must("DELETE", installation.path)


def owned_by(owner: str | None) -> Callable[[Installation], None]:
    return lambda installation: change(installation, metadata={"annotations": {OWNER: owner}})


def filled(size: int) -> Callable[[Installation], None]:
    """Others put so much into the Secret that nothing of ours has room beside it, and throw ours out."""
    theirs = b64encode(bytes(size)).decode()
    return lambda installation: change(installation, data={NAME: None, "theirs": theirs})


FAULTS = {
    "rights are taken away": Fault(
        lambda installation: installation.cluster.grant(installation.account, []),
        f"secrets/{NAME} in namespace",
        lambda installation: installation.cluster.grant(installation.account, ENOUGH),
    ),
    "it is made immutable": Fault(
        lambda installation: change(installation, immutable=True), "it is immutable", delete
    ),
    "another installation takes it": Fault(
        owned_by("elsewhere/refresher"), "it belongs to 'elsewhere/refresher'", owned_by(None)
    ),
    "others fill it to its limit": Fault(filled(LARGEST), f"a Secret takes {LARGEST}", filled(LARGEST // 2)),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_secret_that_cannot_be_written_stays_as_it_is_until_it_can(installed, fault):
    daemon = running(installed)
    fault.breaks(installed)
    broken = installed.stored()
    refresh(daemon)
    told(daemon, fault.says)
    assert writes(installed, daemon, "failure") >= 1
    assert installed.stored() == broken
    if NAME in broken["data"]:
        assert installed.serves()
        assert daemon.get("/readyz").status == 200
    assert installed.issuer.counts.issued == 2  # what cannot be written is not minted again and again
    fault.mends(installed)
    recovers(installed, daemon)


def test_what_others_keep_in_a_full_secret_is_theirs_also_when_there_is_room_again(installed):
    daemon = running(installed)
    filled(LARGEST)(installed)
    refresh(daemon)
    told(daemon, f"a Secret takes {LARGEST}")
    filled(1000)(installed)
    recovers(installed, daemon)
    assert installed.stored()["data"]["theirs"] == b64encode(bytes(1000)).decode()


def test_what_is_deleted_or_emptied_is_put_right_at_the_next_look_and_costs_no_mint(
    cluster, namespace, tmp_path
):
    with ExitStack() as stack:

        def hour_long(name: str) -> Installation:
            place = tmp_path / name
            place.mkdir()
            issuer = stack.enter_context(Emulator())
            one = Installation(cluster, f"{namespace}-{name}", issuer, place, lifetime="1h")
            return stack.enter_context(one)

        deleted, emptied = hour_long("deleted"), hour_long("emptied")
        both = [(each, running(each), each.token()) for each in (deleted, emptied)]
        delete(deleted)
        change(emptied, data={NAME: ""})
        for installed, daemon, token in both:
            daemon.wait_for("OutputDisturbed", within=60.0)  # it looks every thirty seconds
            daemon.wait_for("OutputWritten", reason="repair")
            assert (installed.token(), installed.issuer.counts.issued) == (token, 1)
            assert writes(installed, daemon, "success") == 2
            recovers(installed, daemon)


def test_of_two_installations_on_one_secret_the_second_waits_until_it_is_given_it(installed):
    first = running(installed)
    second = installed.start(REFRESHER_OWNER="second")
    told(second, f"it belongs to '{installed.account.namespace}/inlive-token-refresher'")
    first.wait_for("OutputWritten", times=2)
    assert installed.serves()
    assert not second.entries("OutputWritten")
    assert writes(installed, second, "failure") >= 1
    assert first.end() == 0
    owned_by(None)(installed)
    recovers(installed, second)
    second.wait_for("OutputWritten")
    assert installed.stored()["metadata"]["annotations"][OWNER] == f"{installed.account.namespace}/second"


def test_a_namespace_that_is_being_terminated_is_served_to_its_end_and_when_there_is_a_new_one(
    cluster, namespace, issuer, tmp_path
):
    apart = f"{namespace}-apart"
    role = cluster.service_account(apart, "refresher", ENOUGH)  # its Role, and an account of no use
    with Installation(cluster, namespace, issuer, tmp_path, secret=f"{apart}/{NAME}") as installed:
        subject = f"--serviceaccount={namespace}:refresher"
        cluster.kubectl("create", "rolebinding", "ours", f"-n={apart}", f"--role={role.name}", subject)
        daemon = running(installed)
        cluster.must("DELETE", f"/api/v1/namespaces/{apart}")
        refresh(daemon)
        daemon.wait_for("OutputWritten", times=2)
        assert installed.serves()
        delete(installed)  # as the namespace controller does, that is not here
        refresh(daemon)
        told(daemon, "being terminated")
        assert writes(installed, daemon, "failure") >= 1
        finish(cluster, apart)
        told(daemon, f"there is no namespace {apart}")
        cluster.namespace(apart)
        recovers(installed, daemon)


def finish(cluster: Cluster, namespace: str) -> None:
    """The end of a namespace that is being terminated, of which the controller takes care elsewhere."""
    path = f"/api/v1/namespaces/{namespace}"
    cluster.must("PUT", f"{path}/finalize", cluster.must("GET", path) | {"spec": {"finalizers": []}})


# What is done to the API server, and on the way to it


def test_a_refresh_outlives_an_api_server_that_is_killed_in_the_middle_and_started_again(installed):
    daemon = running(installed)
    held = installed.token()
    installed.issuer.faults(latency=1.0, scope="mint")
    refresh(daemon)
    eventually(lambda: installed.issuer.counts.mints == 2, "it is being minted")
    installed.cluster.kill_apiserver()
    told(daemon, "Connection refused")
    assert writes(installed, daemon, "failure") >= 1
    assert installed.issuer.valid(held)
    assert daemon.get("/readyz").status == 200  # what consumers have is good
    installed.cluster.start_apiserver()
    recovers(installed, daemon)
    assert installed.token() != held
    assert installed.issuer.counts.issued == 2  # what was in hand was written


def test_a_leader_whose_api_server_hangs_longer_than_its_lease_steps_back_and_leads_again(
    cluster, namespace, issuer, tmp_path
):
    with Installation(cluster, namespace, issuer, tmp_path, lease=DURATION) as installed:
        daemon = running(installed)
        held = installed.token()
        cluster.pause()
        daemon.wait_for("LeadershipTurned", leads=False)
        daemon.wait_for("LeaseFailed")
        assert daemon.metric("leader") == 0.0
        time.sleep(DURATION)  # that is what is tried: longer than the lease
        assert issuer.valid(held)
        assert daemon.get("/readyz").status == 200
        cluster.resume()
        daemon.wait_for("LeadershipTurned", times=2, leads=True)
        recovers(installed, daemon)
        assert daemon.metric("leader") == 1.0
        daemon.wait_for("OutputWritten", times=2)


def test_a_start_while_the_api_server_is_away_mints_nothing_and_takes_over_what_is_there(minute_long):
    assert running(minute_long).end() == 0
    held = minute_long.token()
    minute_long.cluster.kill_apiserver()
    daemon = minute_long.start()
    told(daemon, "Connection refused")
    assert daemon.get("/readyz").status == 503  # what consumers have is not known
    minute_long.cluster.start_apiserver()
    daemon.wait_for("TokenAdopted")
    recovers(minute_long, daemon)
    assert (minute_long.token(), minute_long.issuer.counts.issued) == (held, 1)


def test_without_etcd_the_token_in_hand_waits_until_it_can_be_written(cluster, minute_long):
    daemon = running(minute_long)
    held = minute_long.token()
    cluster.stop_etcd()
    refresh(daemon)
    told(daemon, f"secret:{minute_long.account.namespace}/{NAME} cannot be written")
    assert writes(minute_long, daemon, "failure") >= 1
    assert minute_long.issuer.valid(held)
    assert daemon.get("/readyz").status == 200
    cluster.start_etcd()
    recovers(minute_long, daemon)
    assert minute_long.token() != held
    assert minute_long.issuer.counts.issued == 2


def test_a_service_account_whose_token_has_expired_is_back_with_a_fresh_one(cluster, minute_long, tmp_path):
    account = minute_long.account
    soon = cluster.credentials.altered(
        account.token, exp=int(time.time()) - 55
    )  # the server forgives a minute
    file, kubeconfig = tmp_path / "its-token", tmp_path / "kubeconfig"
    file.write_text(soon)
    document = json.loads(account.kubeconfig.read_text())
    document["users"][0]["user"] = {"tokenFile": str(file)}
    kubeconfig.write_text(json.dumps(document))
    daemon = running(minute_long, KUBECONFIG=str(kubeconfig))
    held = minute_long.token()

    def has_expired() -> bool:
        return cluster.ask("GET", minute_long.path, token=soon).status_code == 401

    eventually(has_expired, "the API server, which remembers it for ten seconds, refuses it", within=30.0)
    refresh(daemon)
    told(daemon, "401")
    assert writes(minute_long, daemon, "failure") >= 1
    assert (minute_long.token(), minute_long.issuer.valid(held)) == (held, True)
    assert daemon.get("/readyz").status == 200
    file.write_text(account.token)
    recovers(minute_long, daemon)


# The clock of the Pod


@pytest.mark.parametrize("off", [600, -600])
def test_a_clock_that_is_ten_minutes_off_costs_no_token_and_a_mint_when_it_is_right_again(installed, off):
    daemon = running(installed, **clock(off))
    daemon.wait_for("OutputWritten", times=2)
    assert installed.serves()
    assert daemon.metric("clock_skew_seconds") == pytest.approx(off, abs=5)
    assert daemon.get("/readyz").status == 200
    assert daemon.end() == 0
    held, issued = installed.token(), installed.issuer.counts.issued
    right = running(installed)
    assert installed.issuer.valid(held)  # until the new one was there
    assert installed.issuer.counts.issued == issued + 1  # times that cannot be right are not believed
    recovers(installed, right)


def clock(off: int) -> dict[str, str]:
    """The environment of a program whose wall clock is so many seconds ahead; the others are as they are."""
    faked = [needs.tool("faketime"), "-m", "--exclude-monotonic", "-f", f"{off:+}s", "env"]
    said = subprocess.run(faked, capture_output=True, text=True, check=True).stdout
    names = ("LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC")
    return {
        name: value for name, _, value in (line.partition("=") for line in said.splitlines()) if name in names
    }
