"""The time without a leader after the leader ends: two daemons and a Lease on the tests' API server."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

from refresher.emulator.server import Emulator
from tests.kube.cluster import Cluster
from tests.kube.installation import Installation

DURATION = 3  # seconds; the shortest allowed, so that the benchmark is quick
PATIENCE = 60.0  # seconds for a daemon to reach a state


def interregna(cluster: Cluster, number: signal.Signals, tries: int, place: Path) -> Iterator[float]:
    """Send this signal to the leader, so many times. Returns the seconds until the other daemon leads."""
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
