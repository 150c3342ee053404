"""`refresher run --serve`: a real daemon whose consumers get the token and report that it has expired."""

import asyncio
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from refresher.core.model import fingerprint
from refresher.emulator.server import Emulator
from refresher.http.server.limits import allow_connections
from tests.commands.daemon import DEADLINE, KEY, Daemon, eventually, free_port, plant, refresher

CALLERS = 1000
SECRET = "client-secret-8Kq2"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a key, open to all users. Its path is short enough for a socket."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        (Path(folder) / "key").write_text(KEY)
        yield Path(folder)


@pytest.fixture
def daemon(issuer: Emulator, place: Path) -> Callable[..., Daemon]:
    """Starts a daemon that serves the token at `place`/socket, with more arguments."""

    def make(*more: object, serve: str = f"unix:{place}/socket", **options: Any) -> Daemon:
        words = ("--key-file", place / "key", "--to-file", place / "token", "--issuer-url", issuer.url)
        return Daemon(*words, "--serve", serve, *more, **options)

    return make


async def answered(address: Path | int, request: str, body: bytes = b"") -> tuple[int, bytes]:
    """Status and body of the response to a request on its own connection."""
    if isinstance(address, Path):
        reader, writer = await asyncio.open_unix_connection(address)
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", address)
    head = f"{request} HTTP/1.1\r\nHost: localhost\r\nX-Token-Refresher: 1\r\nConnection: close\r\n"
    try:
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    head_of_answer, _, rest = answer.partition(b"\r\n\r\n")
    return int(head_of_answer.split(b" ")[1]), rest


def ask(address: Path | int, request: str, body: bytes = b"") -> tuple[int, bytes]:
    return asyncio.run(asyncio.wait_for(answered(address, request, body), DEADLINE))


async def all_at_once(address: Path | int, request: str, body: bytes) -> list[tuple[int, bytes]]:
    return await asyncio.gather(*(answered(address, request, body) for _ in range(CALLERS)))


@pytest.mark.parametrize("how", ["unix", "tcp"])
def test_a_thousand_simultaneous_reports_cost_one_mint_and_all_get_its_token(
    issuer: Emulator, place: Path, daemon: Callable[..., Daemon], how: str
) -> None:
    """A token of half a minute is replaced after 3 s at the earliest, so the callers wait that long."""
    allow_connections(CALLERS)
    port = free_port()
    address, serve = (
        (place / "socket", f"unix:{place}/socket") if how == "unix" else (port, f"127.0.0.1:{port}")
    )
    (place / "secret").write_text(SECRET)
    with daemon("--lifetime", "30s", "--serve-secret-file", place / "secret", serve=serve) as running:
        running.wait_for("OutputWritten", output="serve:default")
        token = json.loads(ask(address, "GET /token")[1])["access_token"]
        report = json.dumps({"access_token": token}).encode()
        answers = asyncio.run(asyncio.wait_for(all_at_once(address, "POST /expired", report), 2 * DEADLINE))
        assert {status for status, _ in answers} == {200}
        (new,) = {json.loads(body)["access_token"] for _, body in answers}
        assert new != token
        assert issuer.valid(new)
        assert len(running.entries("TokenMinted", reason="reported_expired")) == 1
        second = running.wait_for("TokenMinted", times=2)
        assert second["token_fingerprint"] == fingerprint(new)
        assert running.end() == 0
        assert token not in running.said
        assert new not in running.said


def test_a_thousand_programs_that_mint_for_themselves_cost_one_mint(
    issuer: Emulator, place: Path, daemon: Callable[..., Daemon]
) -> None:
    """They need no key: the listener reads only the name of a token from the credential."""
    allow_connections(CALLERS)
    with daemon():
        eventually((place / "socket").exists, "it listens")
        request = "POST /v1/keys/accesstoken"
        answers = asyncio.run(
            asyncio.wait_for(
                all_at_once(place / "socket", request, b'{"expiry_seconds": 3600}'), 2 * DEADLINE
            )
        )
        assert {status for status, _ in answers} == {200}
        assert len({json.loads(body)["data"]["access_token"] for _, body in answers}) == 1
        assert issuer.counts.mints == 1


def test_an_adopted_token_is_served_without_a_mint(
    issuer: Emulator, place: Path, daemon: Callable[..., Daemon]
) -> None:
    planted = plant(place / "token", age=60.0, issuer=issuer.url)
    with daemon() as running:
        running.wait_for("OutputWritten", output="serve:default")
        assert json.loads(ask(place / "socket", "GET /token")[1])["access_token"] == planted
        assert issuer.counts.mints == 0


def test_a_token_that_cannot_be_read_back_is_minted_again(
    issuer: Emulator, place: Path, daemon: Callable[..., Daemon]
) -> None:
    words = ("--format", "template", "--template", "token = $access_token\n")
    for mints in (1, 2):
        with daemon(*words) as running:
            running.wait_for("OutputWritten", output="serve:default")
            token = json.loads(ask(place / "socket", "GET /token")[1])["access_token"]
            running.wait_for("OutputWritten", output=f"file:{place}/token")
            assert token in (place / "token").read_text()
            assert issuer.counts.mints == mints
            assert running.end() == 0


def test_readiness_and_metrics_include_the_listener(place: Path, daemon: Callable[..., Daemon]) -> None:
    with daemon(endpoints=True) as running:
        running.wait_for("OutputWritten", output="serve:default")
        eventually(lambda: running.get("/readyz").status == 200, "ready")
        sample = 'output_writes_total{output="serve:default",result="success",token="default"}'
        assert running.metric(sample) == 1
        outputs = running.get("/status").document["tokens"][0]["outputs"]
        assert {output["name"] for output in outputs} == {f"file:{place}/token", "serve:default"}


def test_the_socket_has_its_mode_and_group_and_is_removed_at_the_end(
    place: Path, daemon: Callable[..., Daemon]
) -> None:
    with daemon("--serve-group", str(os.getgid()), "--serve-mode", "0600") as running:
        running.wait_for("OutputWritten", output="serve:default")  # it listens by then
        found = os.stat(place / "socket")
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o600, os.getgid())
        assert running.end() == 0
    assert not os.path.lexists(place / "socket")


ANOTHER = """
import os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
try:
    sock.connect(sys.argv[1])
except PermissionError:
    sys.exit("refused")
sock.sendall(b"GET /token HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
sock.settimeout(15)
while piece := sock.recv(65536):
    sys.stdout.buffer.write(piece)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_gets_the_token_only_as_a_member_of_the_group(
    place: Path, daemon: Callable[..., Daemon]
) -> None:
    with daemon("--serve-group", "4242") as running:
        running.wait_for("OutputWritten", output="serve:default")
        said = {}
        for group in ("65534", "4242"):
            program = [sys.executable, "-c", ANOTHER, str(place / "socket"), group]
            done = subprocess.run(program, capture_output=True, text=True, timeout=DEADLINE, check=False)
            said[group] = done.stdout + done.stderr
        assert said["65534"].strip() == "refused"
        assert "access_token" in said["4242"]


def test_an_address_in_use_is_reported_before_anything_is_minted(
    issuer: Emulator, place: Path, daemon: Callable[..., Daemon]
) -> None:
    with daemon() as running:
        running.wait_for("OutputWritten", output="serve:default")
        minted = issuer.counts.mints
        words = ("--key-file", place / "key", "--to-file", place / "other", "--issuer-url", issuer.url)
        second = refresher("run", *words, "--serve", f"unix:{place}/socket")
        assert second.code != 0
        assert "another process listens there; stop it or choose another --serve" in second.said
        assert issuer.counts.mints == minted
        assert ask(place / "socket", "GET /token")[0] == 200, "the first one still serves"


def test_hostile_clients_do_not_delay_a_refresh(
    issuer: Emulator, place: Path, daemon: Callable[..., Daemon]
) -> None:
    """Idle connections, half a request, and reports in a loop. The token of 10 s is due after 5 s at most."""
    with daemon("--lifetime", "10s") as running:
        running.wait_for("OutputWritten", output="serve:default")
        asyncio.run(asyncio.wait_for(_besiege(place / "socket", running), 3 * DEADLINE))
        assert issuer.valid((place / "token").read_text())
        assert running.end() == 0


async def _besiege(path: Path, running: Daemon) -> None:
    besiegers = [await asyncio.open_unix_connection(path) for _ in range(400)]
    for _, writer in besiegers[::2]:
        writer.write(b"POST /expired HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")

    async def report() -> None:
        while True:
            await answered(path, "POST /expired", b'{"fingerprint": "0123456789abcdef"}')

    loops = [asyncio.create_task(report()) for _ in range(8)]
    await asyncio.to_thread(running.wait_for, "TokenMinted", 3)
    for loop in loops:
        loop.cancel()
    ended = await asyncio.gather(*loops, return_exceptions=True)
    assert {type(each) for each in ended} == {asyncio.CancelledError}, "each was answered until the end"
    for _, writer in besiegers:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for _, writer in besiegers), return_exceptions=True)
