"""What is asked of a daemon around which something has gone wrong."""

import signal
from typing import Any

from tests.commands.daemon import Daemon, eventually
from tests.kube.installation import Installation


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


def standing(daemon: Daemon) -> dict[str, Any]:
    """Its Lease, in /status."""
    (lease,) = daemon.get("/status").document["leases"]
    return dict(lease)


def writes(installation: Installation, daemon: Daemon, result: str) -> float:
    return daemon.metric(installation.sample("output_writes_total", result=result))


def recovers(installation: Installation, daemon: Daemon) -> None:
    """That all is well, without anybody's doing."""
    eventually(lambda: not problems(daemon), "nothing in the status is wrong any more")
    assert installation.serves()
    assert daemon.get("/readyz").status == 200
