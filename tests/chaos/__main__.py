"""Never without a token, with real processes: ``python -m tests.chaos --help``.

Kills and stops several daemons, and cuts them off from their issuer and their disk, at random from a seed,
while consumers read. Ends with exit code 1 at the first value that is torn, empty or expired, or when a
daemon ends by itself, mints without need, or leaves files behind. The promise covers outages shorter than the
headroom, so all outages are shorter. It does not cover a machine that takes over four seconds to start a
process.
"""

import argparse
import compileall
import random
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path

from refresher.emulator.server import Emulator
from tests.chaos import tasks
from tests.chaos.installation import Installation
from tests.chaos.place import Disk, enter_namespace
from tests.chaos.report import table
from tests.chaos.scenario import TERMS, Scenario
from tests.commands.daemon import ROOT

DAEMONS = 8
DISKS = (Disk.SMALL, Disk.HANGING)
KILLS = 500
NEEDS = {
    Disk.SMALL: "root, and the right to mount",
    Disk.HANGING: "root, the right to mount, /dev/fuse and bindfs (Debian: apt-get install bindfs)",
}
RATE = 1.0  # kills and stops per second and daemon during an outage: as many restarts as two cores can do
ENDING = 6.0  # of --seconds, to recover and to stop


def main() -> int:
    arguments = _arguments()
    enter_namespace([sys.executable, "-m", "tests.chaos", *sys.argv[1:]])
    print(f"chaos: seed {arguments.seed}, {arguments.daemons} daemons", flush=True)
    for reason in _left_out():
        print(f"chaos: {reason}", flush=True)
    compileall.compile_dir(ROOT / "refresher", quiet=1)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        issuer = stack.enter_context(Emulator())
        began = time.monotonic()
        installations = [
            stack.enter_context(
                Installation(
                    folder / f"daemon-{number}",
                    issuer,
                    TERMS[number % len(TERMS)],
                    random.Random(f"{arguments.seed} wire {number}"),
                    DISKS[number // len(TERMS) % len(DISKS)],
                )
            )
            for number in range(arguments.daemons)
        ]
        broken = _play(installations, arguments, began)
        totals = Counter({"seconds": round(time.monotonic() - began), "mints": issuer.counts.issued})
    print(table(installations, totals))
    for error in broken:  # last, so that the end of a log shows them
        print(f"\nVIOLATION with --seed {arguments.seed}: {error}", flush=True)
    return 1 if broken else 0


def _left_out() -> list[str]:
    """The faults that this machine does not allow, with the reason."""
    reasons = [f"there is not {disk.value}: needs {NEEDS[disk]}" for disk in DISKS if not disk.is_to_be_had()]
    limit = tasks.made()
    if limit is None:
        reasons.append("no threads are refused: root needs a control group with a pids controller")
    else:
        limit.close()
    return reasons


def _play(installations: list[Installation], arguments: argparse.Namespace, began: float) -> list[str]:
    """Run the scenarios until there are enough kills. Returns the violations."""
    over = threading.Event()
    scenarios = [
        Scenario(each, random.Random(f"{arguments.seed} {number}"), over, RATE)
        for number, each in enumerate(installations)
    ]
    with ThreadPoolExecutor(len(scenarios)) as workers:
        played = [workers.submit(scenario.play) for scenario in scenarios]
        while not over.is_set():
            broken = any(each.violations for each in installations) or any(each.done() for each in played)
            if broken or _is_enough(installations, arguments, began):
                over.set()
            wait(played, 0.2, FIRST_EXCEPTION)
    for each, future in zip(installations, played, strict=True):
        if (error := future.exception()) is not None:
            each.violated("".join(traceback.format_exception(error)))
    return [each.violations[0] for each in installations if each.violations]


def _is_enough(installations: list[Installation], arguments: argparse.Namespace, began: float) -> bool:
    if arguments.seconds is not None:
        return bool(time.monotonic() - began > arguments.seconds - ENDING)
    return sum(each.did["kills"] for each in installations) >= arguments.kills


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--seconds", type=float, help="how long to run; default: until there are --kills")
    parser.add_argument(
        "--kills", type=int, default=KILLS, help=f"the least number of kills. Default: {KILLS}"
    )
    parser.add_argument("--daemons", type=int, default=DAEMONS, help=f"number of daemons. Default: {DAEMONS}")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
