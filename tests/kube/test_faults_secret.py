"""Real faults of a daemon's Secret and of its permissions, at the real API server.

Each test shows that a fault loses no good token and no data of others, that log, metrics and status have its
reason, and that the daemon recovers when the fault ends.
"""

from base64 import b64encode
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from refresher.emulator.server import Emulator
from refresher.outputs.secret_body import LARGEST_SECRET, OWNER
from tests.kube.cluster import Cluster
from tests.kube.diagnosis import recovers, refresh, running, wait_until_reported, writes
from tests.kube.installation import ENOUGH, NAME, Installation

MERGE = "application/merge-patch+json"


class Fault(NamedTuple):
    """A fault, the message about it (`says`), and its repair."""

    breaks: Callable[[Installation], object]
    says: str
    mends: Callable[[Installation], object]


def change(installation: Installation, **fields: object) -> None:
    """Another client's change to the Secret; None deletes a field."""
    installation.cluster.must("PATCH", installation.path, fields, media_type=MERGE)


def delete(installation: Installation) -> None:
    installation.cluster.must("DELETE", installation.path)


def owned_by(owner: str | None) -> Callable[[Installation], None]:
    return lambda installation: change(installation, metadata={"annotations": {OWNER: owner}})


def filled(size: int) -> Callable[[Installation], None]:
    """Another client fills the Secret, so that our value has no room, and removes our value."""
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
    "others fill it to its limit": Fault(
        filled(LARGEST_SECRET), f"a Secret holds at most {LARGEST_SECRET}", filled(LARGEST_SECRET // 2)
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_an_unwritable_secret_stays_unchanged_until_it_is_writable(minute_long, fault):
    daemon = running(minute_long)
    fault.breaks(minute_long)
    broken = minute_long.stored()
    refresh(daemon)
    wait_until_reported(daemon, fault.says)
    assert writes(minute_long, daemon, "failure") >= 1
    assert minute_long.stored() == broken
    if NAME in broken["data"]:
        assert minute_long.serves()
        assert daemon.get("/readyz").status == 200
    assert minute_long.issuer.counts.issued == 2  # failing writes cost no further mints
    fault.mends(minute_long)
    recovers(minute_long, daemon)


def test_keys_of_others_in_a_full_secret_are_kept(installed):
    daemon = running(installed)
    filled(LARGEST_SECRET)(installed)
    refresh(daemon)
    wait_until_reported(daemon, f"a Secret holds at most {LARGEST_SECRET}")
    filled(1000)(installed)
    recovers(installed, daemon)
    assert installed.stored()["data"]["theirs"] == b64encode(bytes(1000)).decode()


def test_a_deleted_or_emptied_secret_is_restored_without_a_mint(cluster, namespace, tmp_path):
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
            daemon.wait_for("OutputDisturbed", within=60.0)  # it inspects every thirty seconds
            daemon.wait_for("OutputWritten", reason="repair")
            assert (installed.token(), installed.issuer.counts.issued) == (token, 1)
            assert writes(installed, daemon, "success") == 2
            recovers(installed, daemon)


def test_a_second_installation_waits_until_it_owns_the_secret(installed):
    first = running(installed)
    second = installed.start(REFRESHER_OWNER="second")
    wait_until_reported(second, f"it belongs to '{installed.account.namespace}/inlive-token-refresher'")
    first.wait_for("OutputWritten", times=2)
    assert installed.serves()
    assert not second.entries("OutputWritten")
    assert writes(installed, second, "failure") >= 1
    assert first.end() == 0
    owned_by(None)(installed)
    recovers(installed, second)
    second.wait_for("OutputWritten")
    assert installed.stored()["metadata"]["annotations"][OWNER] == f"{installed.account.namespace}/second"


def test_a_terminating_namespace_is_served_to_its_end_and_when_created_again(
    cluster, namespace, issuer, tmp_path
):
    apart = f"{namespace}-apart"
    role = cluster.service_account(apart, "refresher", ENOUGH)  # only the Role is used
    with Installation(cluster, namespace, issuer, tmp_path, secret=f"{apart}/{NAME}") as installed:
        subject = f"--serviceaccount={namespace}:refresher"
        cluster.kubectl("create", "rolebinding", "ours", f"-n={apart}", f"--role={role.name}", subject)
        daemon = running(installed)
        cluster.must("DELETE", f"/api/v1/namespaces/{apart}")
        refresh(daemon)
        daemon.wait_for("OutputWritten", times=2)
        assert installed.serves()
        delete(installed)  # as the namespace controller does
        refresh(daemon)
        wait_until_reported(daemon, "being terminated")
        assert writes(installed, daemon, "failure") >= 1
        finish(cluster, apart)
        wait_until_reported(daemon, f"the namespace {apart} does not exist")
        cluster.namespace(apart)
        recovers(installed, daemon)


def finish(cluster: Cluster, namespace: str) -> None:
    """End the termination of a namespace, as a controller does in other clusters."""
    path = f"/api/v1/namespaces/{namespace}"
    cluster.must("PUT", f"{path}/finalize", cluster.must("GET", path) | {"spec": {"finalizers": []}})
