"""The figures of the README. Each is a count, or a ratio of two things measured in turn on this machine.

make bench              everything, about twenty minutes
make bench ONLY=start   one of: start, memory, idle, secret, failover and controller (after make kube),
                        scale, first, scrape, growth, herd, consumers, proxies, hooks, mints

growth and herd also draw docs/growth.svg and docs/herd.svg. docs/performance.md explains the figures.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import requests

from refresher.clock import SystemClock
from refresher.core.model import Granted, SecretStr
from refresher.issuer.client import InliveIssuer
from tests.bench import consumers, controller, failover, growth, herd, hooks, proxies, renewals, scale
from tests.bench.secret import served
from tests.kube import binaries
from tests.kube.cluster import Cluster

HERE = Path(__file__).parent
PICTURES = HERE.parents[1] / "docs"
TRIES = 21  # for each way to end a leader
STARTS = 21  # processes of each kind, in turn
WORKERS = 16
MINTS = 1600
LATENCY = 0.05  # seconds for a response of the issuer, as across a continent
IDLE_SECONDS = 60

ISSUER = """
import sys
from refresher.emulator.server import Emulator
with Emulator() as inlive:
    print(inlive.url, inlive.keys[0].reveal(), flush=True)
    sys.stdin.read()
"""


@contextmanager
def emulated_inlive() -> Iterator[tuple[str, str]]:
    """An Inlive API in its own process: its URL and a key."""
    process = subprocess.Popen(
        [sys.executable, "-c", ISSUER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        url, key = process.stdout.readline().split()
        yield url, key
        process.stdin.close()


def report(what: str, figure: str, limit: str) -> None:
    print(f"  {what:<58}{figure:>12}   {limit}", flush=True)


def start(url: str, folder: Path) -> None:
    """From the start of a process until its token is in the file, compared with a bare script."""
    key_file = folder / "key"
    kinds = {
        "bare": [str(HERE / "bare.py"), str(key_file), "TOKEN", url],
        "once": ["-m", "refresher", "once", "--key-file", str(key_file), "--to-file", "TOKEN"],
        "run": ["-m", "refresher", "run", "--key-file", str(key_file), "--to-file", "TOKEN"],
    }
    for kind in ("once", "run"):
        kinds[kind] += (
            ["--issuer-url", url, "--listen", "127.0.0.1:0"] if kind == "run" else ["--issuer-url", url]
        )
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(STARTS + 1):
        for kind, command in kinds.items():
            token_file = folder / f"{kind}-{number}"
            took = until_written([each.replace("TOKEN", str(token_file)) for each in command], token_file)
            if number:  # the first of each warms the page cache
                seconds[kind].append(took)
    bare = statistics.median(seconds["bare"])
    report("a bare script (requests, POST, write): start to token", f"{bare * 1000:.0f} ms", "")
    for kind in ("once", "run"):
        ratios = [ours / theirs for ours, theirs in zip(seconds[kind], seconds["bare"], strict=True)]
        ratio = statistics.median(ratios)
        took = statistics.median(seconds[kind])
        report(
            f"refresher {kind}: start to token, {took * 1000:.0f} ms",
            f"{ratio:.2f} x",
            "at most 1.5, aim 1.3",
        )


def until_written(arguments: list[str], token_file: Path) -> float:
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, *arguments], stderr=subprocess.DEVNULL) as process:
        while not (token_file.exists() and token_file.stat().st_size):
            if process.poll() not in (None, 0):
                raise RuntimeError(f"{arguments} has ended with {process.returncode}")
            time.sleep(0.0002)
        took = time.perf_counter() - began
        process.kill()
    return took


def memory(url: str, folder: Path) -> None:
    """Resident memory on virtual time: after an hour, and how it grows over ten thousand refreshes."""
    hour, few, half, many = 720, 10, 5_000, 10_000
    command = [sys.executable, str(HERE / "leap.py"), str(folder / "key"), str(folder / "token"), url]
    command += [str(stop) for stop in (few, hour, half, many)]
    lines = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    seen = {each["refreshes"]: each for each in map(json.loads, lines.stdout.splitlines())}
    mib = {refreshes: each["rss"] / 2**20 for refreshes, each in seen.items()}
    what = f"resident after {hour} refreshes in {seen[hour]['seconds'] / 60:.0f} virtual minutes, scraped"
    report(what, f"{mib[hour]:.1f} MiB", "at most 36, aim 34")
    for first in (
        few,
        half,
    ):  # CPython's free lists, of up to 2,000 tuples of each length, fill up before that
        grown = (seen[many]["rss"] - seen[first]["rss"]) / 1024
        report(f"growth from refresh {first} to refresh {many}", f"{grown:+.0f} KiB", "none")


def idle(url: str, folder: Path) -> None:
    """CPU time of an idle daemon."""
    command = [sys.executable, "-m", "refresher", "run", "--key-file", str(folder / "key")]
    command += ["--to-file", str(folder / "idle"), "--issuer-url", url, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        time.sleep(3)  # the endpoints have imported their modules by then
        before = scale.cpu_of(process.pid)
        time.sleep(IDLE_SECONDS)
        share = (scale.cpu_of(process.pid) - before) / IDLE_SECONDS
        process.kill()
    report(f"CPU of an idle daemon over {IDLE_SECONDS} s", f"{share:.3%}", "at most 0.2 % of a core")


def secret(url: str, folder: Path) -> None:
    """A Secret compared with a file: from the start of a process until its token is there, and its memory."""
    if lacks_api_server():
        return
    command = ["-m", "refresher", "run", "--key-file", str(folder / "key"), "--issuer-url", url]
    command += ["--listen", "127.0.0.1:0"]
    files, secrets = [], []
    with served() as api_server:
        for number in range(STARTS + 1):
            path, name = folder / f"file-{number}", f"secret-{number}"
            files.append(until_written([*command, "--to-file", str(path)], path))
            secrets.append(
                api_server.until_written([*command, "--to-secret", name], name, settle=number == STARTS)
            )
    pairs = list(zip(secrets, files, strict=True))[1:]  # the first of each warms the page cache
    ratio = statistics.median(start.seconds / took for start, took in pairs)
    took = statistics.median(start.seconds for start, _ in pairs)
    report(
        f"refresher run: start to token in a Secret, {took * 1000:.0f} ms", f"{ratio:.2f} x file", "at most 2"
    )
    report("resident with a Secret, kubeconfig", f"{secrets[-1].resident / 2**20:.1f} MiB", "at most 50")


def lacks_api_server() -> bool:
    if binaries.missing():
        report("left out: make kube builds the API server for it", "", "")
    return bool(binaries.missing())


def succession(folder: Path) -> None:
    """The time without a leader after the leader is killed, or stopped by a signal."""
    if lacks_api_server():
        return
    ways = {
        signal.SIGKILL: ("kill -9", f"at most {failover.DURATION} s, the Lease's duration, + 1 s"),
        signal.SIGTERM: ("SIGTERM", "less than 2 s"),
    }
    with Cluster(binaries.directory()) as cluster:
        for number, (way, limit) in ways.items():
            took = sorted(failover.interregna(cluster, number, TRIES, folder))
            for what, seconds in (
                ("least", took[0]),
                ("median", statistics.median(took)),
                ("95 %", statistics.quantiles(took, n=20, method="inclusive")[-1]),
                ("most", took[-1]),
            ):
                report(f"{way} to the other one leads, {TRIES} tries: {what}", f"{seconds:.2f} s", limit)


def at_scale(url: str, key: str) -> None:
    """One daemon with ten thousand tokens, on tmpfs if available, as recommended for tokens."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        figures = scale.measured(url, key, Path(name), lambda faults: let_fail(url, faults))
    count = f"{scale.TOKENS:,} tokens in one directory"
    restart = "given up" if figures.restart is None else f"{figures.restart:.1f} s"
    report(f"{count}: start to all adopted", restart, "less than 15 s")
    for format_, took in figures.scrapes.items():
        report(f"scrape, {format_}: median", f"{statistics.median(took):.2f} s", "less than 1 s")
    alone, beside = (statistics.median(each) for each in (figures.alone, figures.beside))
    report(
        f"/livez beside a scrape, {1000 * beside:.1f} ms in the median", f"{beside / alone:.1f} x alone", ""
    )
    report("the same: most", f"{1000 * max(figures.beside):.0f} ms", "less than 50 ms")
    report("/readyz: median", f"{1000 * statistics.median(figures.readyz):.0f} ms", "")
    report("resident", f"{figures.resident / 2**20:.0f} MiB", "")
    report("failures a second in an outage", f"{figures.failures:.0f} /s", "more than 300 /s")


def first_tokens(url: str, key: str) -> None:
    """Ten thousand tokens that do not exist yet."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        used = scale.first_tokens(url, key, Path(name))
    for written, cpu in used.items():
        report(f"{written:,} of {scale.TOKENS:,} new tokens in their files: CPU", f"{cpu:.1f} s", "")


def scrapes(url: str, key: str) -> None:
    """The cost of a scrape for the daemon, by the number of its tokens."""
    for tokens in (1, 1_000, scale.TOKENS):
        with tempfile.TemporaryDirectory() as name:
            costs = scale.scrape_costs(url, key, Path(name), tokens)
        cpu, memory, sent = (statistics.median(each) for each in zip(*costs, strict=True))
        report(f"scrape of {tokens:,} tokens: CPU", f"{cpu * 1000:.0f} ms", "at most 150 ms for 10,000")
        report("the same: memory on top", f"{memory / 2**20:.1f} MiB", "at most 10 MiB")
        report("the same: sent, compressed", f"{sent / 2**20:.2f} MiB", "")


def through_proxies(url: str, folder: Path) -> None:
    """nginx that asks for the token before each request, compared with nginx that does not."""
    if not proxies.available():
        report("left out: it needs nginx", "", "")
        return
    for clients, rounds in proxies.measured(url, folder).items():
        for what, unit, factor in (("rate", "/s", 1), ("median", "ms", 1000), ("p99", "ms", 1000)):
            pairs = [(getattr(plain, what), getattr(ours, what)) for plain, ours in rounds]
            ratio = statistics.median(ours / plain for plain, ours in pairs)
            plain, ours = (statistics.median(pair[which] for pair in pairs) * factor for which in (0, 1))
            figures = f"{what} {plain:.4g} {unit}, with the token {ours:.4g} {unit}"
            report(f"nginx, clients: {clients}, {figures}", f"{ratio:.2f} x", "")


def let_fail(url: str, faults: dict[str, object]) -> None:
    opener = build_opener(ProxyHandler({}))
    body, control = json.dumps(faults).encode(), {"X-Emulator-Control": "1"}
    opener.open(Request(f"{url}/_emulator/faults", data=body, headers=control, method="PUT")).close()


def mints(url: str, key: str) -> None:
    """Mints per second with our client and with plain requests, both with 16 threads."""
    let_fail(url, {"latency": LATENCY, "scope": "mint"})
    issuer, secret = InliveIssuer(url, SystemClock(), pool_size=WORKERS), SecretStr(key)
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=WORKERS))

    def ours(_: int) -> bool:
        return isinstance(issuer.mint(secret, 3600.0, 10.0).answer, Granted)

    def plain(_: int) -> bool:
        answer = session.post(
            f"{url}/v1/keys/accesstoken",
            json={"expiry_seconds": 3600},
            headers={"Authorization": f"Bearer {key}"},
            timeout=10,
            allow_redirects=False,
        )
        return bool(answer.json()["data"]["access_token"])

    rates: dict[Callable[[int], bool], list[float]] = {plain: [], ours: []}
    for _ in range(5):
        for way, seen in rates.items():
            seen.append(rate(way))
    report(f"plain requests, {WORKERS} threads", f"{statistics.median(rates[plain]):.0f} /s", "")
    ratio = statistics.median(a / b for a, b in zip(rates[ours], rates[plain], strict=True))
    what = f"our client, {WORKERS} threads, {statistics.median(rates[ours]):.0f} mints a second"
    report(what, f"{ratio:.2f} x", "at least 0.9")


def served_to_consumers(url: str, folder: Path) -> None:
    """The consumers' listener: speed, one mint for all reports, and refreshes under attack."""
    for measure in (consumers.throughput, consumers.reports, consumers.attack):
        measure(url, folder, report)


def rate(way: Callable[[int], bool]) -> float:
    with ThreadPoolExecutor(WORKERS) as pool:
        began = time.perf_counter()
        if not all(pool.map(way, range(MINTS))):
            raise RuntimeError("a mint failed")
        return MINTS / (time.perf_counter() - began)


def main(only: str = "") -> None:
    with emulated_inlive() as (url, key), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "key").write_text(key)
        measures: dict[str, Callable[[], None]] = {
            "start": lambda: start(url, folder),
            "memory": lambda: memory(url, folder),
            "idle": lambda: idle(url, folder),
            "secret": lambda: secret(url, folder),
            "failover": lambda: succession(folder),
            "controller": lambda: controller.measured(url, key, report),
            "scale": lambda: at_scale(url, key),
            "first": lambda: first_tokens(url, key),
            "scrape": lambda: scrapes(url, key),
            "growth": lambda: growth.measured(url, key, report, PICTURES / "growth.svg"),
            "herd": lambda: herd.measured(report, PICTURES / "herd.svg"),
            "renewals": lambda: renewals.measured(url, key, report),
            "consumers": lambda: served_to_consumers(url, folder),
            "proxies": lambda: through_proxies(url, folder),
            "hooks": lambda: hooks.lateness(url, folder, report),
            "mints": lambda: mints(url, key),  # last, because it makes the issuer slow
        }
        for wanted, measure in measures.items():
            if only in ("", wanted):
                print(wanted)
                measure()


if __name__ == "__main__":
    main(*sys.argv[1:])
