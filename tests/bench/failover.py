"""For how long nobody leads when the leader goes: two daemons and a Lease on the API server of the tests."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

from refresher.emulator.server import Emulator
from tests.kube.cluster import Cluster
from tests.kube.installation import Installation

DURATION = 3  # seconds that the Lease lasts; the least there is, so that it is over soon
PATIENCE = 60.0  # seconds for any daemon to be as far as it should


def interregna(cluster: Cluster, number: signal.Signals, tries: int, place: Path) -> Iterator[float]:
    """Send this signal to who leads, so many times; the seconds from that until the other one leads."""
    with (
        Emulator() as issuer,
        Installation(
            cluster, number.name.lower(), issuer, place, lease=DURATION, lifetime="1h"
        ) as installation,
    ):
        leader, standby = installation.pair()
        for _ in range(tries):
            began = time.monotonic()
            leader.send(number)
            standby.wait_for("LeaderChanged", leads=True, within=PATIENCE)
            yield time.monotonic() - began
            leader, standby = standby, installation.start()
            standby.wait_for("LeaderChanged", leads=False, within=PATIENCE)
            standby.wait_for("TokenAdopted", within=PATIENCE)
