"""Figures of the consumers' listener: requests a second, latency, mints for reports, and hostile clients."""

import asyncio
import contextlib
import json
import select
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from refresher.http.server.limits import allow_connections
from tests.commands.daemon import Daemon, free_port

CLIENTS = 16
SECONDS = 5.0
REPORTS = 1000
ATTACKERS = 10_000
UNDER_ATTACK = 40.0  # seconds
SHORT = 10.0  # seconds that a token lives under attack
CONNECT_AT_ONCE = 500

HTTP_SERVER = """
import http.server
class Constant(http.server.BaseHTTPRequestHandler):
    protocol_version, wbufsize = "HTTP/1.1", 65536
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "300")
        self.end_headers()
        self.wfile.write(b"x" * 300)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", {port}), Constant).serve_forever()
"""
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 10000000;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; }}
}}
"""

Report = Callable[[str, str, str], None]


class Rate(NamedTuple):
    """Requests a second, and latencies in milliseconds."""

    requests: float
    p50: float
    p99: float

    def __str__(self) -> str:
        return f"{self.requests:,.0f}/s"


def measured(address: str | tuple[str, int], path: str) -> Rate:
    """A process with keep-alive clients, each of which sends the next request after each response."""
    command = [sys.executable, "-m", "tests.bench.consumers", json.dumps(address), path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Rate(*json.loads(done.stdout))


def _load(address: str | tuple[str, int], path: str) -> Rate:
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Token-Refresher: 1\r\n\r\n".encode()
    poll, sockets, since = select.epoll(), dict[int, socket.socket](), dict[int, float]()
    for _ in range(CLIENTS):
        sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        sock.connect(address)
        poll.register(sock.fileno(), select.EPOLLIN)
        sockets[sock.fileno()] = sock
    latencies: list[float] = []
    began = time.perf_counter()
    for number, sock in sockets.items():
        since[number] = time.perf_counter()
        sock.sendall(request)
    while (now := time.perf_counter()) < began + SECONDS:
        for number, _ in poll.poll(1.0):
            response = sockets[number].recv(65536)
            now = time.perf_counter()
            assert response.startswith(b"HTTP/1.1 200 "), response
            latencies.append(now - since[number])
            since[number] = now
            sockets[number].sendall(request)
    hundredths = statistics.quantiles(latencies, n=100)
    return Rate(len(latencies) / SECONDS, hundredths[49] * 1000, hundredths[98] * 1000)


@contextmanager
def process(*command: str) -> Iterator[None]:
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as running:
        try:
            yield
        finally:
            running.terminate()


def wait_for(port: int) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")


def daemon(url: str, folder: Path, serve: str, *more: str) -> Daemon:
    (folder / "client-secret").write_text("client-secret-of-the-bench")
    words = ("--key-file", folder / "key", "--to-file", folder / "served", "--issuer-url", url, "--serve")
    return Daemon(*words, serve, "--serve-secret-file", folder / "client-secret", *more)


def throughput(url: str, folder: Path, report: Report) -> None:
    port, unix = free_port(), str(folder / "socket")
    rates: dict[str, Rate] = {}
    with daemon(url, folder, f"127.0.0.1:{port}") as running:
        running.wait_for("OutputWritten", output="serve:default")
        for path in ("/token", "/authorize"):
            rates[f"GET {path} over TCP"] = measured(("127.0.0.1", port), path)
    with daemon(url, folder, f"unix:{unix}") as running:
        running.wait_for("OutputWritten", output="serve:default")
        rates["GET /token over a Unix socket"] = measured(unix, "/token")
    port = free_port()
    with process(sys.executable, "-c", HTTP_SERVER.format(port=port)):
        wait_for(port)
        constant = rates["http.server, a constant"] = measured(("127.0.0.1", port), "/")
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if nginx:
        port = free_port()
        (folder / "www").mkdir()
        (folder / "www" / "token").write_text("x" * 300)
        folder.chmod(0o755)
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
        with process(nginx, "-c", str(folder / "nginx.conf")):
            wait_for(port)
            rates["nginx, a file"] = measured(("127.0.0.1", port), "/token")
    for what, rate in rates.items():
        ratio = f"{rate.requests / constant.requests:.1f} x http.server"
        aim = "aim 5,000/s, 5 ms; " if what.startswith("GET") else ""
        report(f"{what}: p50 {rate.p50:.1f} ms, p99 {rate.p99:.1f} ms", str(rate), f"{aim}{ratio}")


def reports(url: str, folder: Path, report: Report) -> None:
    """A thousand consumers report the same token at once."""
    allow_connections(REPORTS)
    unix = str(folder / "reports")
    with daemon(url, folder, f"unix:{unix}", "--lifetime", "30s") as running:
        running.wait_for("OutputWritten", output="serve:default")
        body = json.dumps({"access_token": (folder / "served").read_text()}).encode()
        head = (
            f"POST /expired HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        answers = asyncio.run(_all(unix, head.encode() + body))
        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
        running.wait_for("TokenMinted", times=2)  # the log may come after the responses
        mints = len(running.entries("TokenMinted")) - 1
    report(f"mints for {REPORTS:,} simultaneous reports", str(mints), "1")


async def _all(unix: str, request: bytes) -> list[bytes]:
    async def one() -> bytes:
        reader, writer = await asyncio.open_unix_connection(unix)
        writer.write(request)
        try:
            return await reader.read()
        finally:
            writer.close()

    return await asyncio.gather(*(one() for _ in range(REPORTS)))


def attack(url: str, folder: Path, report: Report) -> None:
    """Silent connections, half requests and slow ones, and how late the tokens are replaced meanwhile."""
    for attackers in (0, ATTACKERS):
        unix = str(folder / f"attack-{attackers}")
        command = (sys.executable, "-m", "tests.bench.consumers", "attack", unix, str(attackers))
        with daemon(url, folder, f"unix:{unix}", "--lifetime", f"{SHORT:g}s") as running:
            running.wait_for("OutputWritten", output="serve:default")
            with process(*command):
                latencies = _good_client(unix)
            minted = running.entries("TokenMinted")
        ages = [_seconds(later["ts"]) - _seconds(before["ts"]) for before, later in pairwise(minted)]
        what = f"{attackers:,} hostile clients: age of a {SHORT:g} s token when replaced"
        report(what, f"{max(ages):.2f} s", "5 s at the latest")
        what = "a good client's request on a new connection: median, slowest"
        report(what, f"{statistics.median(latencies) * 1000:.0f} ms", f"{max(latencies) * 1000:.0f} ms")


def _good_client(unix: str) -> list[float]:
    """The seconds for each request, on connections of their own."""
    latencies, ends = [], time.monotonic() + UNDER_ATTACK
    while (began := time.monotonic()) < ends:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(unix)
            sock.sendall(b"GET /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            if not sock.recv(65536).startswith(b"HTTP/1.1 200 "):
                raise RuntimeError("a good client was refused")
        latencies.append(time.monotonic() - began)
        time.sleep(0.05)
    return latencies


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


async def _besiege(unix: str, attackers: int) -> None:
    """Open hostile connections, and open them again when the server closes them, for ever."""
    halves = (b"", b"GET /tok", b"POST /expired HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
    at_once = asyncio.Semaphore(CONNECT_AT_ONCE)

    async def attacker(number: int) -> None:
        while True:
            with contextlib.suppress(OSError):
                async with at_once:
                    reader, writer = await asyncio.open_unix_connection(unix)
                writer.write(halves[number % 3])
                await reader.read()
                writer.close()
            await asyncio.sleep(0.5)

    await asyncio.gather(*(attacker(number) for number in range(attackers)))


def _main(first: str, second: str, third: str = "") -> None:
    if first == "attack":
        allow_connections(ATTACKERS)
        asyncio.run(_besiege(second, int(third)))
    else:
        where = json.loads(first)
        print(json.dumps(_load(where if isinstance(where, str) else (where[0], where[1]), second)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
