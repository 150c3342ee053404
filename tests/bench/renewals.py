"""How late the tokens of one process with ten thousand are renewed, in real time.

The daemon finds tokens of an hour that come due one after the other, as their jitter spreads them: about 28 a
second. The rules cause no more than that without an outage (`herd`).
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from refresher.config.output_kinds import record_path
from refresher.core import rfc3339, schedule
from tests.bench import scale

LIFETIME, REFRESH_AT = 3600.0, 0.70
HEAD_START = 150.0  # seconds to plant and adopt all tokens before the first one is due
WINDOW = 120.0  # seconds of renewals that are measured
GRACE = 10.0  # seconds for the last of them to end


def measured(url: str, key: str, report: Callable[[str, str, str], None]) -> None:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        folder, began = Path(name), time.time()
        age = LIFETIME * (REFRESH_AT - schedule.JITTER) - HEAD_START
        with scale.running(url, key, folder, age=age) as site:
            if site.until_adopted() is None or time.time() > began + HEAD_START:
                raise RuntimeError("the daemon has not adopted all tokens before the first one is due")
            end = began + HEAD_START + WINDOW
            due = {token: at for token, at in _due(folder) if at < end}
            time.sleep(end + GRACE - time.time())
        written = dict(_written(folder / "scale.log"))
    late = sorted(written[token] - at for token, at in due.items())
    report(
        f"{len(late):,} renewals of {scale.TOKENS:,} tokens: late, median",
        f"{statistics.median(late):.3f} s",
        "",
    )
    report("the same: p99", f"{statistics.quantiles(late, n=100)[-1]:.3f} s", "less than 1 s")
    report("the same: longest", f"{late[-1]:.3f} s", "")


def _due(folder: Path) -> Iterator[tuple[str, float]]:
    """When each token is due, by its record."""
    for name in scale.names():
        (content,) = json.loads(Path(record_path(str(folder / name))).read_bytes())["contents"]
        jitter = schedule.jitter_of(content["sha256"][:16])
        age = schedule.due_age(LIFETIME, REFRESH_AT, 0.0, jitter)
        yield name, rfc3339.parse(content["issued_at"]) + age


def _written(log: Path) -> Iterator[tuple[str, float]]:
    """When each token was written, by the log."""
    for line in log.read_bytes().splitlines():
        fields = json.loads(line)
        if fields.get("event") == "OutputWritten":
            yield fields["token"], rfc3339.parse(fields["ts"])
