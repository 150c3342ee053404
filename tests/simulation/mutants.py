"""Whether the simulator and the tests of the core find bugs: ``make mutants`` plants one after the other into
a copy of the package. The copy is simulated; where a value of the wrong kind was planted, the tests of the
core are run. Exits 1 if one of them survives.

    python -m tests.simulation.mutants [--scenarios N] [--only TEXT]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.wrong_kinds import wrong_kinds

ROOT = Path(__file__).resolve().parents[2]

PATIENCE = 600.0  # seconds for all scenarios of a mutant, which take some twenty on a quiet machine

# Runs in the copy: in which scenario, counted from 1, a promise is first broken, and which; 0 if none is.
_TRIAL = """
import json, sys
from tests.simulation.scenario import Scenario
from tests.simulation.troubles import drawn

found = [0, ""]
count, days, *often = sys.argv[1:]
for seed in range(int(count)):
    plan = drawn(seed, often=tuple(often))
    broken = Scenario(plan._replace(days=min(plan.days, float(days)))).run().broken
    if broken:
        found = [seed + 1, broken[0]]
        break
print(json.dumps(found))
"""


def simulated(
    mutation: Mutation | None, often: tuple[str, ...], scenarios: int, days: float
) -> tuple[int, str]:
    """In which scenario the mutant is found, and by what: 0 if in none, -1 where nothing was tried."""
    command = [sys.executable, "-c", _TRIAL, str(scenarios), str(days), *often]
    done = in_copy(mutation, ("tests/simulation",), command, PATIENCE)
    if done is None:
        return -1, f"the scenarios were not over within {PATIENCE:.0f} s, which proves nothing"
    if done.returncode != 0:
        (*_, last) = done.stderr.strip().splitlines() or ["no message"]
        return -1, f"the simulator stopped, which proves nothing: {last}"
    found, first = json.loads(done.stdout)
    return found, first


def tested(mutation: Mutation | None) -> tuple[int, str]:
    """1 if a test of the core fails, and which; 0 if none does; -1 where nothing was tried."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "tests/core"]
    done = in_copy(mutation, ("tests/core",), command, 5 * PATIENCE)
    if done is None or done.returncode not in (0, 1):  # 1: tests were run and some of them failed
        return -1, "the tests of the core were not run to their end, which proves nothing"
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    return done.returncode, " ".join(failed)


def in_copy(
    mutation: Mutation | None, folders: tuple[str, ...], command: list[str], patience: float
) -> subprocess.CompletedProcess[str] | None:
    """Run `command` in a copy of the package and `folders`; None if that takes over `patience` s."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as place:
        copy = Path(place)
        for folder in ("refresher", *folders):
            shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("pyproject.toml", "tests/conftest.py"):
            shutil.copy(ROOT / file, copy / file)
        if mutation is not None:
            mutation.plant(copy / "refresher")
        try:
            return subprocess.run(
                command,
                cwd=copy,
                env=os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                check=False,
                timeout=patience,
            )
        except subprocess.TimeoutExpired:
            return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scenarios", type=int, default=60, help="for each mutant (default 60)")
    parser.add_argument("--days", type=float, default=2.0, help="of each scenario at most (default 2)")
    parser.add_argument("--only", default="", help="those with this in their name")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    planted = [mutation for mutation in MUTATIONS if arguments.only in mutation.name]
    # First the program as it is, with the same troubles: the mutation alone must be what breaks a promise.
    simulations = [
        *((None, often) for often in sorted({mutation.often for mutation in planted})),
        *((mutation, mutation.often) for mutation in planted),
    ]
    wrong = [
        None,
        *(mutation for mutation in wrong_kinds(ROOT / "refresher") if arguments.only in mutation.name),
    ]
    survivors = 0
    with ThreadPoolExecutor(arguments.workers) as pool:
        trials = []
        for mutation, often in simulations:
            trial = pool.submit(simulated, mutation, often, arguments.scenarios, arguments.days)
            trials.append((mutation, "scenario", trial))
        trials += [(mutation, "test", pool.submit(tested, mutation)) for mutation in wrong]
        for mutation, by, trial in trials:
            found, why = trial.result()
            is_right = found == 0 if mutation is None else found > 0
            survivors += not is_right
            name = "(the program as it is)" if mutation is None else mutation.name
            verdict = f"found by {by} {found}" if found > 0 else "not found"
            print(f"{name:<88}{verdict}{'' if is_right else '  !!'}\n    {why[:150]}", flush=True)
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
