"""Coverage-guided fuzzing of everything that reads input from outside, with libFuzzer (atheris).

make fuzz                          every target, ten minutes each
make fuzz ONLY=secret SECONDS=60   one of tests/fuzz/table.py, or several: ONLY="secret lease"

A finding is written to tests/fuzz/cases/TARGET/, where `make test` runs it from then on: rename it to
describe it. Interesting inputs are kept in .fuzz/TARGET/, where the next run begins.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("fuzzing needs atheris, which there is for Linux on x86-64 and Python 3.11 to 3.13")

with atheris.instrument_imports(include=["refresher"]):
    from tests.fuzz.table import TARGETS

from tests.fuzz.mutation import mutator

CASES = Path(__file__).parent / "cases"
KEPT = Path(".fuzz")
LONGEST = 8192  # octets of an input
SLOWEST = 5  # seconds for one
LARGEST = 2048  # MB of memory


def main(names: Sequence[str], seconds: int) -> int:
    unknown = set(names) - TARGETS.keys()
    if unknown:
        sys.exit(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    failed = []
    for name in names or TARGETS:
        print(f"--- {name}: {seconds} s", flush=True)
        one = [sys.executable, __file__, "--seconds", str(seconds), "--this", name]
        if subprocess.run(one, check=False).returncode:
            failed.append(name)
    print(f"findings in: {', '.join(failed)}; see {CASES}" if failed else "no findings")
    return 1 if failed else 0


def fuzz(name: str, seconds: int) -> None:
    """Does not return."""
    target, kept, cases = TARGETS[name], KEPT / name, CASES / name
    kept.mkdir(parents=True, exist_ok=True)
    cases.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (kept / f"seed-{number}").write_bytes(seed)
    words = KEPT / f"{name}.dict"
    lines = [f'"{_quoted(word)}"' for word in target.words]
    words.write_text("\n".join(["# of this target", *lines, ""]))
    options = {
        "artifact_prefix": f"{cases}/",
        "dict": words,
        "keep_seed": 1,  # libFuzzer does not see the C code of `json`, and so the structure of a document
        "max_len": LONGEST,
        "max_total_time": seconds,
        "print_final_stats": 1,
        "rss_limit_mb": LARGEST,
        "timeout": SLOWEST,
    }
    flags = [f"-{option}={value}" for option, value in options.items()]
    mutate = None if target.document is None else mutator(target.document, _mutate)
    atheris.Setup([name, str(kept), str(cases), *flags], target.check, custom_mutator=mutate)
    atheris.Fuzz()


def _mutate(octets: bytes, longest: int) -> bytes:
    return bytes(atheris.Mutate(octets, longest))  # not the function itself: Setup replaces it


def _quoted(word: str) -> str:
    return "".join(f"\\x{octet:02x}" for octet in word.encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--this", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.this:
        fuzz(given.this, given.seconds)
    sys.exit(main(given.names, given.seconds))
