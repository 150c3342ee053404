"""Many scenarios at once, and a table of what was tried: ``make simulate``, or

    python -m tests.simulation.campaign [--days DAYS] [--seed SEED] [--workers N]

With --seed one scenario is told in full. A failure is told with its seed, as a story as short as it gets.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable

from tests.simulation.scenario import Outcome, Scenario
from tests.simulation.shrinking import shrunk
from tests.simulation.troubles import Plan, drawn

NOT_SOON = float("inf")


def played(seed: int) -> Outcome:
    return Scenario(drawn(seed)).run()


def campaign(seeds: Iterable[int], days: float, workers: int, seconds: float = NOT_SOON) -> list[Outcome]:
    """What comes of the seeds, in order, as many as make up so many days, or as take so many seconds."""
    done, had, by = [], 0.0, time.monotonic() + seconds
    with multiprocessing.Pool(workers) as pool:
        for outcome in pool.imap(played, seeds):
            done.append(outcome)
            had += outcome.plan.days
            if had >= days or time.monotonic() > by:
                break
    return done


def table(outcomes: list[Outcome], seconds: float) -> str:
    faults, kills = Counter[str](), Counter[str]()
    for outcome in outcomes:
        faults += outcome.faults
        kills += outcome.kills
    failed = [outcome for outcome in outcomes if outcome.broken]
    lines = [
        ("scenario-days", f"{sum(outcome.plan.days for outcome in outcomes):,.0f}"),
        ("scenarios", f"{len(outcomes):,}"),
        ("  of which with two processes", f"{sum(o.plan.wants.processes > 1 for o in outcomes):,}"),
        ("  of which with several tokens", f"{sum(bool(o.plan.wants.guests) for o in outcomes):,}"),
        ("  of which without lulls", f"{sum(o.plan.wants.dense for o in outcomes):,}"),
        ("troubles", f"{faults.total():,}"),
        *((f"  {kind.replace('_', ' ')}", f"{number:,}") for kind, number in faults.most_common()),
        ("kills", f"{kills.total():,}"),
        *((f"  before: {what}", f"{number:,}") for what, number in kills.most_common()),
        ("tokens minted", f"{sum(outcome.mints for outcome in outcomes):,}"),
        ("checks of what a consumer sees", f"{sum(outcome.checks for outcome in outcomes):,}"),
        ("scenarios with a violation", f"{len(failed):,}"),
        ("seconds", f"{seconds:,.0f}"),
    ]
    return "\n".join(f"{what:<50}{number:>12}" for what, number in lines)


def explained(outcome: Outcome) -> str:
    """A failure: its seed, what was broken, and the shortest story that breaks it."""

    def fails(plan: Plan) -> bool:
        return bool(Scenario(plan).run().broken)

    used = outcome.plan._replace(troubles=outcome.plan.troubles[: outcome.used])
    story = Scenario(shrunk(used, fails)).run()
    seed = outcome.plan.seed
    return "\n".join(
        [
            f"seed {seed}: {outcome.broken[0]}",
            f"replay: python -m tests.simulation.campaign --seed {seed}; shortened it is:",
            *(f"  {line}" for line in story.story[-40:]),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--days", type=float, default=10_000.0, help="scenario-days (default 10000)")
    parser.add_argument("--seed", type=int, help="replay this scenario and tell its story")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed (default 0)")
    parser.add_argument("--seconds", type=float, default=NOT_SOON, help="stop after these, days or not")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    if arguments.seed is not None:
        outcome = played(arguments.seed)
        print("\n".join(outcome.story))
        return int(bool(outcome.broken))
    began = time.monotonic()
    seeds = range(arguments.first, arguments.first + 100 + 4 * int(arguments.days))
    outcomes = campaign(seeds, arguments.days, arguments.workers, arguments.seconds)
    print(table(outcomes, time.monotonic() - began))
    failed = [outcome for outcome in outcomes if outcome.broken]
    for outcome in failed[:3]:
        print(f"\n{explained(outcome)}")
    if len(failed) > 3:
        print("\nand the seeds", *(outcome.plan.seed for outcome in failed[3:]))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
