"""How the figures grow with the number of tokens, from 1 to 10,000. The daemon finds all of them valid."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.bench import picture, scale
from tests.bench.secret import resident_of

COUNTS = (1, 10, 100, 1_000, 10_000)
IDLE_SECONDS = 60.0  # each output is compared several times
BARE = """
import os, requests, time
print(time.process_time(), int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
"""


class Figures(NamedTuple):
    """`start`, `scrape`: CPU seconds, the scrape without what the daemon does at rest. `idle`: share of a
    core. `resident`: bytes at rest."""

    start: float
    idle: float
    scrape: float
    resident: int


def figures(url: str, key: str, tokens: int) -> Figures:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(dir=memory) as name,
        scale.running(url, key, Path(name), tokens) as site,
    ):
        pid = site.process.pid
        if site.until_adopted(tokens) is None:
            raise RuntimeError(f"the daemon has not adopted {tokens} tokens")
        start = scale.cpu_of(pid)
        time.sleep(scale.SETTLED)
        resident = resident_of(pid)
        cpu, began = scale.cpu_of(pid), time.monotonic()
        time.sleep(IDLE_SECONDS)
        idle = (scale.cpu_of(pid) - cpu) / (time.monotonic() - began)
        costs = scale.costs_at_rest(site, idle)
    return Figures(start, idle, statistics.median(cost.cpu for cost in costs), resident)


def bare() -> tuple[float, int]:
    """CPU seconds and resident bytes of a script that only imports requests: the floor."""
    seen = [
        subprocess.run([sys.executable, "-c", BARE], stdout=subprocess.PIPE, check=True).stdout
        for _ in range(7)
    ]
    pairs = [line.split() for line in seen]
    return statistics.median(float(cpu) for cpu, _ in pairs), max(int(resident) for _, resident in pairs)


def measured(url: str, key: str, report: Callable[[str, str, str], None], image: Path) -> None:
    """Report and draw the growth."""
    floor_cpu, floor_memory = bare()
    report("a bare script (import requests): CPU", f"{floor_cpu * 1000:.0f} ms", "the floor")
    report("the same: resident", f"{floor_memory / 2**20:.1f} MiB", "the floor")
    seen = {tokens: figures(url, key, tokens) for tokens in COUNTS}
    for tokens, found in seen.items():
        report(f"{tokens:,} tokens: CPU until all are adopted", f"{found.start:.2f} s", "")
        report("the same: at rest, share of a core", f"{found.idle:.2%}", "less than 5 % for 10,000")
        report("the same: CPU of a scrape", f"{found.scrape * 1000:.1f} ms", "at most 150 ms for 10,000")
        report("the same: resident", f"{found.resident / 2**20:.1f} MiB", "")
    fewest, most = COUNTS[0], COUNTS[-1]
    each = (seen[most].resident - seen[fewest].resident) / (most - fewest)
    report("memory for each further token", f"{each / 1024:.2f} KiB", "at most 3 KiB")
    by = {name: {tokens: getattr(found, name) for tokens, found in seen.items()} for name in Figures._fields}
    mib = {tokens: resident / 2**20 for tokens, resident in by["resident"].items()}
    scrapes = {tokens: 1000 * cpu for tokens, cpu in by["scrape"].items()}
    shares = {tokens: 100 * share for tokens, share in by["idle"].items()}
    picture.save(
        image,
        [
            picture.curve("resident memory", "MiB", mib, floor_memory / 2**20),
            picture.curve("CPU at rest", "% of a core", shares),
            picture.curve("CPU of a scrape", "ms", scrapes),
            picture.curve("CPU from start to all adopted", "s", by["start"], floor_cpu),
        ],
    )
