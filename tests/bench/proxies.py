"""What the sub-request for the token costs in nginx: the example beside the same server without it.

Both pass requests on to a third server, which answers at once: so the share of the sub-request is as large as
it can be. Behind a real Inlive, milliseconds away, it is far smaller.
"""

import os
import pwd
import selectors
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.commands.daemon import DEADLINE, ROOT, Daemon, eventually, free_port

REQUESTS = {1: 3_000, 16: 10_000}  # in a round, by the number of clients; each has one connection
ROUNDS = 7  # of each kind, in turn
BODY = b"the answer of Inlive"
REQUEST = b"GET /v1/rooms/studio HTTP/1.1\r\nHost: localhost\r\n\r\n"

AROUND = """
daemon off; user {user}; pid {folder}/nginx.pid; worker_processes 2; error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off; keepalive_requests 1000000;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    {example}
    server {{
        listen 127.0.0.1:{without};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Authorization "Bearer a-token-of-forty-three-characters-as-it-is";
        location / {{ proxy_pass http://hub; proxy_intercept_errors on; error_page 403 = @second_try; }}
        location @second_try {{ proxy_pass http://hub; }}
    }}
    server {{ listen 127.0.0.1:{hub}; location / {{ return 200 "{body}"; }} }}
}}
"""


class Round(NamedTuple):
    """`rate`: requests a second. `median`, `p99`: seconds for one."""

    rate: float
    median: float
    p99: float


def available() -> bool:
    return nginx() is not None


def nginx() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def measured(url: str, folder: Path) -> dict[int, list[tuple[Round, Round]]]:
    """By the number of clients: rounds without the sub-request and with it. `folder` holds the key for the
    issuer at `url`."""
    words = ("--key-file", folder / "key", "--issuer-url", url, "--serve", f"unix:{folder}/socket")
    with Daemon(*words, "--to-file", folder / "proxied") as refresher:
        refresher.wait_for("OutputWritten", output="serve:default")
        with served(folder) as (without, with_it):
            for port in (without, with_it):
                one_round(port, max(REQUESTS))  # opens the connections behind nginx
            return {
                clients: [(one_round(without, clients), one_round(with_it, clients)) for _ in range(ROUNDS)]
                for clients in REQUESTS
            }


@contextmanager
def served(folder: Path) -> Iterator[tuple[int, int]]:
    """nginx, and its ports without and with the sub-request."""
    without, with_it, hub = free_port(), free_port(), free_port()
    example = (ROOT / "examples" / "proxies" / "nginx.conf").read_text()
    for old, new in {
        "/run/inlive/token.sock": f"{folder}/socket",
        "127.0.0.1:8080": f"127.0.0.1:{with_it}",
        "hub.inlive.app:443": f"127.0.0.1:{hub}",
        "https://hub": "http://hub",
    }.items():
        example = example.replace(old, new)
    user = pwd.getpwuid(os.geteuid()).pw_name
    text = AROUND.format(
        user=user, folder=folder, example=example, without=without, hub=hub, body=BODY.decode()
    )
    (folder / "nginx.conf").write_text(text)
    with subprocess.Popen([str(nginx()), "-e", "stderr", "-c", str(folder / "nginx.conf")]) as process:
        try:
            eventually(lambda: listens(with_it), "nginx listens")
            yield without, with_it
        finally:
            process.terminate()


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def one_round(port: int, number: int) -> Round:
    """With this number of clients. Each sends its next request when it has the response to the last."""
    took: list[float] = []
    received: dict[socket.socket, tuple[bytes, float]] = {}
    with selectors.EpollSelector() as selector:
        clients = [socket.create_connection(("127.0.0.1", port), DEADLINE) for _ in range(number)]
        began = time.perf_counter()
        for client in clients:
            selector.register(client, selectors.EVENT_READ, client)
            client.sendall(REQUEST)
            received[client] = (b"", began)
        while len(took) < REQUESTS[number]:
            for key, _ in selector.select():
                client = key.data
                content, sent = received[client]
                content += client.recv(65536)
                if content.endswith(BODY):
                    now = time.perf_counter()
                    took.append(now - sent)
                    client.sendall(REQUEST)
                    received[client] = (b"", now)
                elif BODY in content or not content.startswith(b"HTTP/1.1 200"[: len(content)]):
                    raise RuntimeError(f"unexpected: {content[:200]!r}")
                else:
                    received[client] = (content, sent)
        rate = len(took) / (time.perf_counter() - began)
        for client in clients:
            client.close()
    return Round(rate, statistics.median(took), statistics.quantiles(took, n=100)[-1])
