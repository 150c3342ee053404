"""Two daemons and one Lease at the real API server: one leads, the other stands by."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from refresher.emulator.server import Emulator
from tests.commands.daemon import eventually
from tests.kube.cluster import Cluster
from tests.kube.diagnosis import refresh
from tests.kube.installation import Installation

DURATION = 3  # seconds


@pytest.fixture
def site(cluster: Cluster, namespace: str, issuer: Emulator, tmp_path: Path) -> Iterator[Installation]:
    with Installation(cluster, namespace, issuer, tmp_path, lease=DURATION) as installed:
        yield installed
        cluster.restore()


def took(since: float, happens: Callable[[], object], what: str) -> float:
    eventually(happens, what)
    return time.monotonic() - since


def test_leader_election_turned_off_and_on_keeps_the_secret(site):
    """The name of the installation does not depend on the Lease."""
    elected = site.config.read_text()
    alone = "".join(line for line in elected.splitlines(keepends=True) if "leader_election" not in line)
    for number, mode in enumerate((elected, alone, elected)):
        site.config.write_text(mode)
        daemon = site.start()
        if mode is elected:
            daemon.wait_for("LeaderChanged", leads=True)
        daemon.wait_for("TokenAdopted" if number else "OutputWritten")
        refresh(daemon)
        daemon.wait_for("OutputWritten", reason="new", times=1 if number else 2)
        assert daemon.end() == 0
        assert not daemon.entries("OutputFailed")


def test_a_standby_mints_nothing_and_stays_ready(site):
    leader, standby = site.pair()
    assert (site.leads(leader), site.leads(standby)) == (True, False)
    assert standby.get("/readyz").status == 200
    leader.wait_for("OutputWritten", times=2)
    assert site.issuer.counts.issued == 2
    standby.send(signal.SIGUSR1)
    standby.wait_for("RequestIgnored")
    assert "this process stands by" in standby.said
    assert not standby.entries("TokenMinted")
    assert not standby.entries("OutputWritten")


def test_a_killed_leader_is_replaced_within_the_lease_and_a_second_without_a_mint(site):
    leader, standby = site.pair()
    token = site.token()
    killed = time.monotonic()
    leader.send(signal.SIGKILL)
    assert took(killed, lambda: standby.entries("LeaderChanged", leads=True), "it leads") <= DURATION + 1.0
    standby.wait_for("TokenAdopted", times=2)
    assert (site.token(), site.issuer.counts.issued) == (token, 1)
    standby.wait_for("OutputWritten")  # it continues as leader
    assert site.issuer.valid(site.token())
    assert not standby.entries("OutputDisturbed")


def test_a_leader_that_is_stopped_hands_over_within_two_seconds(site):
    leader, standby = site.pair()
    stopped = time.monotonic()
    assert leader.end() == 0
    assert took(stopped, lambda: standby.entries("LeaderChanged", leads=True), "it leads") < 2.0
    assert site.issuer.counts.issued == 1


def test_a_hung_api_server_loses_no_token_and_costs_no_mint(site):
    leader, standby = site.pair()
    site.cluster.pause()
    leader.wait_for("LeaderChanged", leads=False)
    minted = site.issuer.counts.issued
    time.sleep(DURATION + 1.0)  # the test needs it: longer than the lease
    assert site.issuer.counts.issued == minted
    site.cluster.resume()
    both = [leader, standby]
    eventually(lambda: sum(site.leads(each) for each in both) == 1, "one of them leads")
    eventually(lambda: site.issuer.valid(site.token()), "consumers have a valid token")
    assert site.issuer.counts.issued <= minted + 1


def test_a_standby_takes_over_a_key_that_the_leader_has_proven(site):
    leader, standby = site.pair()
    new = site.issuer.add_key()
    site.key.write_text(new.reveal())
    leader.wait_for("OutputWritten", key_fingerprint=new.fingerprint)
    site.issuer.revoke_key(site.issuer.keys[0])
    leader.send(signal.SIGKILL)
    standby.wait_for("LeaderChanged", leads=True)
    standby.wait_for("TokenAdopted", key_fingerprint=new.fingerprint)
    assert not standby.entries("RefreshFailed")


def test_files_and_an_election_exclude_each_other(site):
    site.config.write_text(
        site.config.read_text().replace("secret: access-token, propagation_delay: 0s", "file: token")
    )
    daemon = site.start()
    assert daemon.code() == 78
    assert "leader" in daemon.said
