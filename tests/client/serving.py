"""A daemon that serves a token from the emulator, whose first token Inlive has already ended."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import requests

from refresher.emulator.server import Emulator
from refresher.http.server.loop import Server
from refresher.http.server.messages import Reply, Request, Response
from tests.commands.daemon import KEY, Daemon
from tests.http.server.site import Plain, running

LIFETIME = 20.0  # seconds; a token is replaced after 2 s at the earliest, and unasked after 8 s
EXPIRED = ("X-Access-Token-Expired", "true")


def minted(inlive: Emulator, **fault: object) -> str:
    """A token of the emulator's, made under this fault: ``lifetime=0`` for one that has expired."""
    inlive.faults(**fault)
    answer = requests.post(inlive.mint_url, headers={"Authorization": f"Bearer {KEY}"}, timeout=10)
    inlive.heal()
    return str(answer.json()["data"]["access_token"])


@contextmanager
def daemon(inlive: Emulator, place: Path, *words: object, serve: str = "") -> Iterator[Daemon]:
    """Serves at `place`/socket; its files are there too. By now it serves a token."""
    (place / "key").write_text(KEY)
    begun = ("--key-file", place / "key", "--to-file", place / "token", "--issuer-url", inlive.url)
    lifetime = ("--lifetime", f"{LIFETIME:g}s")
    (place / "secret").write_text("client-secret-Zq1f0WcT")
    secret = ("--serve-secret-file", place / "secret") if serve and not serve.startswith("unix:") else ()
    with Daemon(*begun, *lifetime, "--serve", serve or f"unix:{place}/socket", *secret, *words) as started:
        for output in ("serve:default", f"file:{place}/token"):
            started.wait_for("OutputWritten", output=output)
        yield started


@contextmanager
def with_an_ended_token(inlive: Emulator, place: Path, *words: object, serve: str = "") -> Iterator[Daemon]:
    """The same. It takes its token for good, but Inlive answers that it has expired."""
    inlive.faults(lifetime=0, count=1)
    with daemon(inlive, place, *words, serve=serve) as started:
        yield started


def early_mints(running: Daemon) -> int:
    """Ends the daemon, and counts the tokens that it has minted because of a report. Others come on schedule,
    if a busy machine takes its time."""
    assert running.end() == 0
    return len(running.entries("TokenMinted", reason="reported_expired"))


class Elsewhere(NamedTuple):
    """Another host. It keeps what it receives."""

    url: str
    port: int
    received: list[Request]


@contextmanager
def elsewhere(answer: Callable[[Request], Reply], tls: ssl.SSLContext | None = None) -> Iterator[Elsewhere]:
    """What answers so, under a name that is not the emulator's."""
    received: list[Request] = []

    def keep(request: Request) -> Reply:
        received.append(request)
        return answer(request)

    with running() as run:
        site = run(lambda listening: Server(listening, Plain(keep), tls=tls))
        yield Elsewhere(f"http://localhost:{site.port}", site.port, received)


def redirect(to: str, status: int = 307) -> Response:
    return Response(status, headers=(("Location", to),))
