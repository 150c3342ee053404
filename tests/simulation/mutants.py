"""Whether the simulator finds bugs: ``make mutants`` plants one after the other into a copy of the package,
and has the copy simulated. Exits 1 if one of them survives.

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

ROOT = Path(__file__).resolve().parents[2]

PATIENCE = 120.0  # seconds for all scenarios of a mutant, which take some twenty

# Runs in the copy: how many of so many scenarios are broken, and by what the first.
_TRIAL = """
import json, sys
from tests.simulation.scenario import Scenario
from tests.simulation.troubles import drawn

found, first = 0, ""
for seed in map(int, sys.argv[2:]):
    plan = drawn(seed)
    broken = Scenario(plan._replace(days=min(plan.days, float(sys.argv[1])))).run().broken
    found += bool(broken)
    first = first or (f"seed {seed}, {broken[0]}" if broken else "")
print(json.dumps([found, first]))
"""


def trial(mutation: Mutation | None, seeds: tuple[int, ...], days: float) -> tuple[int, str]:
    """In how many scenarios the mutant is found, and by what first; -1 where nothing was tried."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        leave_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "refresher", copy / "refresher", ignore=leave_out)
        shutil.copytree(ROOT / "tests" / "simulation", copy / "tests" / "simulation", ignore=leave_out)
        if mutation is not None:
            mutation.plant(copy / "refresher")
        try:
            done = subprocess.run(
                [sys.executable, "-c", _TRIAL, str(days), *map(str, seeds)],
                cwd=copy,
                env=os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            return len(seeds), f"it came to no end within {PATIENCE:.0f} s"
        if done.returncode != 0:
            return -1, f"the simulator stopped, which proves nothing: {done.stderr.strip().splitlines()[-1]}"
        found, first = json.loads(done.stdout)
        return found, first


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scenarios", type=int, default=60, help="for each mutant (default 60)")
    parser.add_argument("--days", type=float, default=2.0, help="of each scenario at most (default 2)")
    parser.add_argument("--only", default="", help="those with this in their name")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    wanted = parser.parse_args()
    chosen = [None, *(mutation for mutation in MUTATIONS if wanted.only in mutation.name)]
    first = tuple(range(wanted.scenarios))
    seeds = [(*first, *(mutation.seeds if mutation else ())) for mutation in chosen]
    survivors = 0
    with ThreadPoolExecutor(wanted.workers) as pool:
        trials = pool.map(lambda mutation, of: trial(mutation, of, wanted.days), chosen, seeds)
        for mutation, of, (found, why) in zip(chosen, seeds, trials, strict=True):
            is_right = found == 0 if mutation is None else found > 0
            survivors += not is_right
            name = "(the program as it is)" if mutation is None else mutation.name
            verdict = f"{found:>4} of {len(of)}" + ("" if is_right else "  !!")
            print(f"{name:<88}{verdict}\n    {why[:150]}", flush=True)
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
