"""The table at the end of a run."""

from collections import Counter
from collections.abc import Iterable

from tests.chaos.installation import Installation
from tests.chaos.proxy import FAULTS
from tests.chaos.reader import Verdict

FIRST = ("seconds", "kills", "kills aimed at a write", "kills within a write", "stops")
LAST = ("log pipes that were full", "refreshes that failed", "writes that failed", "mints")


def table(installations: Iterable[Installation], more: Counter[str]) -> str:
    """All counts, one per line: actions, faults met, values read."""
    did, met, reads = Counter(more), Counter[str](), Counter[Verdict]()
    for each in installations:
        did += each.did
        met += each.proxy.met
        reads += each.reader.reads
    lines = [f"{name:<30}{did[name]:>9}" for name in FIRST]
    for name in sorted(name for name in did if name.startswith("fault: ")):
        kind = name.removeprefix("fault: ")
        hit = f"   {met[kind]} requests met it" if kind in FAULTS else ""
        lines.append(f"{name:<30}{did[name]:>9}{hit}")
    lines += [f"{name:<30}{did[name]:>9}" for name in LAST]
    lines.append(f"{'reads':<30}{reads.total():>9}")
    lines += [f"{verdict:<30}{reads[verdict]:>9}" for verdict in Verdict if verdict is not Verdict.GOOD]
    return "\n".join(f"  {line}" for line in lines)
