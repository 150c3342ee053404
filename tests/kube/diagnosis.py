"""Questions to a daemon during a fault."""

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
    """Have it mint now. The schedule would take ten seconds."""
    daemon.send(signal.SIGUSR1)


def wait_until_reported(daemon: Daemon, says: str, event: str = "OutputFailed") -> None:
    """The reason is in the log, the metrics and the status."""
    eventually(
        lambda: [each for each in daemon.entries(event) if says in each["message"]], f"{says} in the log"
    )
    assert says in str(problems(daemon))


def problems(daemon: Daemon) -> list[dict[str, Any]]:
    """The problems in /status."""
    (token,) = daemon.get("/status").document["tokens"]
    return list(token["problems"])


def standing(daemon: Daemon) -> dict[str, Any]:
    """The state of its Lease in /status."""
    (lease,) = daemon.get("/status").document["leases"]
    return dict(lease)


def writes(installation: Installation, daemon: Daemon, result: str) -> float:
    return daemon.metric(installation.sample("output_writes_total", result=result))


def recovers(installation: Installation, daemon: Daemon) -> None:
    """The daemon recovers without intervention."""
    eventually(lambda: not problems(daemon), "nothing in the status is wrong any more")
    assert installation.serves()
    assert daemon.get("/readyz").status == 200
