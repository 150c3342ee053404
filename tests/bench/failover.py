"""For how long nobody leads when the leader goes: two daemons and a Lease on the API server of the tests."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from refresher.emulator.server import Emulator
from tests.kube import binaries
from tests.kube.cluster import Cluster
from tests.kube.installation import Installation

NAMESPACE = "bench"
DURATION = 3  # seconds that the Lease lasts; the least there is, so that it is over soon
PATIENCE = 60.0  # seconds for any daemon to be as far as it should


@contextmanager
def installed(place: Path) -> Iterator[Installation]:
    with (
        Cluster(binaries.directory()) as cluster,
        Emulator() as issuer,
        Installation(cluster, NAMESPACE, issuer, place, lease=DURATION, lifetime="1h") as installation,
    ):
        yield installation


def interregna(installation: Installation, signals: list[signal.Signals]) -> Iterator[float]:
    """Send each of these signals to who leads then; the seconds from that until the other one leads."""
    leader, standby = installation.pair()
    for number in signals:
        began = time.monotonic()
        leader.send(number)
        standby.wait_for("LeadershipTurned", leads=True, within=PATIENCE)
        yield time.monotonic() - began
        leader, standby = standby, installation.start()
        standby.wait_for("LeadershipTurned", leads=False, within=PATIENCE)
        standby.wait_for("TokenAdopted", within=PATIENCE)
