"""The official JavaScript SDK mints for itself: a real daemon serves it, and it needs no key."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from refresher.emulator.server import Emulator
from tests import needs
from tests.commands.daemon import DEADLINE, KEY, Daemon, eventually, free_port

SDK = Path(__file__).parent / "sdk"


class Place(NamedTuple):
    issuer: Emulator
    daemon: Daemon
    url: str
    file: Path


@pytest.fixture
def place() -> Iterator[Place]:
    """A daemon that serves a token of an hour."""
    with Emulator(keys=[KEY]) as inlive:
        yield from serving(inlive, "1h")


@pytest.fixture
def expiring() -> Iterator[Place]:
    """A daemon that serves a token of 30 s, replaced after 3 s at the earliest. The first one expires after
    two seconds, and nobody knows."""
    with Emulator(keys=[KEY]) as inlive:
        inlive.faults(lifetime=2.0)
        yield from serving(inlive, "30s")


def serving(inlive: Emulator, lifetime: str) -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("key", "secret"):
            Path(folder, name).write_text(KEY if name == "key" else "client-secret")
        port, file = free_port(), Path(folder, "token")
        words = ("--key-file", f"{folder}/key", "--to-file", file, "--issuer-url", inlive.url)
        serve = ("--serve", f"127.0.0.1:{port}", "--serve-secret-file", f"{folder}/secret")
        with Daemon(*words, *serve, "--lifetime", lifetime) as running:
            for output in ("serve:default", f"file:{file}"):
                running.wait_for("OutputWritten", output=output)
            inlive.heal()
            yield Place(inlive, running, f"http://127.0.0.1:{port}", file)


def start(scene: str, *words: str) -> subprocess.Popen[str]:
    needs.npm(SDK)
    command = [needs.tool("node"), str(SDK / "sdk.mjs"), scene, *words]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def result(process: subprocess.Popen[str], said: str = "") -> object:
    """The last line that a scene prints, as JSON."""
    out, err = process.communicate(said, timeout=2 * DEADLINE)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def test_create_auth_returns_the_object_without_a_key(place: Place) -> None:
    auth = result(start("one", place.url))
    assert isinstance(auth, dict)
    assert (auth["code"], auth["ok"]) == (200, True)
    assert auth["url"] == f"{place.url}/v1/keys/accesstoken"
    assert auth["data"]["accessToken"] == place.file.read_text()
    assert auth["data"]["refreshToken"].startswith("default:")  # it cannot mint


def test_a_thousand_calls_cost_one_mint(place: Place) -> None:
    assert result(start("thousand", place.url)) == [place.file.read_text()]
    assert place.issuer.counts.mints == 1


def test_the_sdk_reports_an_expired_token_and_replays_its_call(expiring: Place) -> None:
    process = start("renewal", expiring.url, expiring.issuer.url)
    with process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == 200
        token = expiring.file.read_text()
        eventually(lambda: not expiring.issuer.valid(token), "the first token has expired")
        assert result(process, "go on\n") == 200
    assert len(expiring.daemon.entries("TokenMinted", reason="reported_expired")) == 1
    assert expiring.issuer.counts.mints == 2
