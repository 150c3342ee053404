"""Real faults of a daemon's API server, of the connection to it, and of the clock.

Each test shows that a fault loses no good token and no data of others, that log, metrics and status have its
reason, and that the daemon recovers when the fault ends.
"""

import json
import subprocess
import time

import pytest

from tests import needs
from tests.commands.daemon import eventually
from tests.kube.diagnosis import recovers, refresh, running, standing, wait_until_reported, writes
from tests.kube.installation import ENOUGH, Installation

DURATION = 3  # seconds that a Lease lasts


def test_a_refresh_survives_a_restart_of_the_api_server(minute_long):
    daemon = running(minute_long)
    held = minute_long.token()
    minute_long.issuer.faults(latency=1.0, scope="mint")
    refresh(daemon)
    eventually(lambda: minute_long.issuer.counts.mints == 2, "it is being minted")
    minute_long.cluster.kill_apiserver()
    wait_until_reported(daemon, "Connection refused")
    assert writes(minute_long, daemon, "failure") >= 1
    assert minute_long.issuer.valid(held)
    assert daemon.get("/readyz").status == 200  # consumers have a valid token
    minute_long.cluster.start_apiserver()
    recovers(minute_long, daemon)
    assert minute_long.token() != held
    assert minute_long.issuer.counts.issued == 2  # the minted token was written


def test_a_leader_steps_down_while_the_api_server_hangs_and_leads_again(cluster, namespace, issuer, tmp_path):
    with Installation(cluster, namespace, issuer, tmp_path, lease=DURATION) as installed:
        daemon = running(installed)
        held = installed.token()
        cluster.pause()
        lapsed = daemon.wait_for("LeaderChanged", leads=False)["message"]
        assert "no process is known to hold" in lapsed
        assert "had failed" not in lapsed  # it still fails
        daemon.wait_for("LeaseFailed")
        assert not installed.leads(daemon)
        leadership = eventually(lambda: standing(daemon)["problem"] and standing(daemon), "it says why")
        assert (leadership["leads"], leadership["holder"]) == (False, "")
        time.sleep(DURATION)  # the test needs it: longer than the lease
        assert issuer.valid(held)
        assert daemon.get("/readyz").status == 200
        cluster.resume()
        daemon.wait_for("LeaderChanged", times=2, leads=True)
        recovers(installed, daemon)
        assert installed.leads(daemon)
        assert (standing(daemon)["leads"], standing(daemon)["problem"]) == (True, None)
        daemon.wait_for("OutputWritten", times=2)


def test_a_start_without_the_api_server_mints_nothing_and_adopts_the_token_later(minute_long):
    assert running(minute_long).end() == 0
    held = minute_long.token()
    minute_long.cluster.kill_apiserver()
    daemon = minute_long.start()
    wait_until_reported(daemon, "Connection refused")
    assert daemon.get("/readyz").status == 503  # the token of the consumers is unknown
    minute_long.cluster.start_apiserver()
    daemon.wait_for("TokenAdopted")
    recovers(minute_long, daemon)
    assert (minute_long.token(), minute_long.issuer.counts.issued) == (held, 1)


def test_without_etcd_the_minted_token_waits_for_its_write(cluster, minute_long):
    daemon = running(minute_long)
    held = minute_long.token()
    cluster.stop_etcd()
    refresh(daemon)
    wait_until_reported(daemon, "cannot be written")
    assert writes(minute_long, daemon, "failure") >= 1
    assert minute_long.issuer.valid(held)
    assert daemon.get("/readyz").status == 200
    cluster.start_etcd()
    recovers(minute_long, daemon)
    assert minute_long.token() != held
    assert minute_long.issuer.counts.issued == 2


def test_a_fresh_service_account_token_restores_the_daemon(cluster, minute_long, tmp_path):
    account = minute_long.account
    other = cluster.service_account(account.namespace, "revoked", ENOUGH)
    file, kubeconfig = tmp_path / "its-token", tmp_path / "kubeconfig"
    file.write_text(other.token)
    document = json.loads(account.kubeconfig.read_text())
    document["users"][0]["user"] = {"tokenFile": str(file)}
    kubeconfig.write_text(json.dumps(document))
    daemon = running(minute_long, KUBECONFIG=str(kubeconfig))
    held = minute_long.token()
    cluster.must("DELETE", f"/api/v1/namespaces/{other.namespace}/serviceaccounts/{other.name}")

    def is_refused() -> bool:
        return cluster.ask("GET", minute_long.path, token=other.token).status_code == 401

    eventually(is_refused, "the API server, which remembers it for ten seconds, refuses it", within=30.0)
    refresh(daemon)
    wait_until_reported(daemon, "401")
    assert writes(minute_long, daemon, "failure") >= 1
    assert (minute_long.token(), minute_long.issuer.valid(held)) == (held, True)
    assert daemon.get("/readyz").status == 200
    file.write_text(account.token)
    recovers(minute_long, daemon)


# The clock of the Pod


@pytest.mark.parametrize("off", [600, -600])
def test_a_clock_ten_minutes_off_costs_one_mint_when_it_is_corrected(installed, off):
    daemon = running(installed, **clock(off))
    daemon.wait_for("OutputWritten", times=2)
    assert installed.serves()
    assert daemon.metric("clock_skew_seconds") == pytest.approx(off, abs=5)
    assert daemon.get("/readyz").status == 200
    assert daemon.end() == 0
    held, issued = installed.token(), installed.issuer.counts.issued
    right = running(installed)
    assert installed.issuer.valid(held)  # until the new one was there
    assert installed.issuer.counts.issued == issued + 1  # impossible times are ignored
    recovers(installed, right)


def clock(off: int) -> dict[str, str]:
    """The environment of a program with its wall clock so many seconds ahead. Other clocks are unchanged."""
    faked = [needs.tool("faketime"), "-m", "--exclude-monotonic", "-f", f"{off:+}s", "env"]
    said = subprocess.run(faked, capture_output=True, text=True, check=True).stdout
    names = ("LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC")
    return {
        name: value for name, _, value in (line.partition("=") for line in said.splitlines()) if name in names
    }
