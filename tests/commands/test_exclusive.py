"""Issuers whose new token ends the old one, with the real program: no consumer keeps an ended token."""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from refresher.emulator.server import Emulator
from tests import needs
from tests.commands.daemon import DEADLINE, KEY, Daemon, refresher


@pytest.fixture
def exclusive() -> Iterator[Emulator]:
    with Emulator(keys=[KEY], exclusive=True) as issuer:
        yield issuer


@pytest.fixture
def config(place: Path, exclusive: Emulator) -> Path:
    (place / "locked").mkdir()
    outputs = [{"file": "a"}, {"file": "locked/b"}]
    path = place / "refresher.json"
    token = {"name": "t", "key_file": "key", "lifetime": "10m", "outputs": outputs}
    path.write_text(json.dumps({"issuer": {"url": exclusive.url, "exclusive": True}, "tokens": [token]}))
    return path


@pytest.fixture
def locked(place: Path) -> Iterator[Path]:
    """Keeps the directory of b from being written, also by root, until `unlock` or the end of the test."""
    yield place / "locked"
    unlock(place / "locked")


def lock(folder: Path) -> None:
    tried = subprocess.run([needs.tool("chattr"), "+i", folder], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"this file system has no attributes: {tried.stderr.strip()}")


def unlock(folder: Path) -> None:
    if chattr := shutil.which("chattr"):
        subprocess.run([chattr, "-i", folder], check=False)


def status_of(token: Path, issuer: Emulator) -> int:
    """How the product answers a call with this token."""
    headers = {"Authorization": f"Bearer {token.read_text()}"}
    url = f"{issuer.url}/v1/rooms/create"
    return requests.post(url, headers=headers, json={}, timeout=DEADLINE).status_code


def test_no_token_is_minted_while_an_output_cannot_be_written(
    config: Path, place: Path, locked: Path, exclusive: Emulator
) -> None:
    with Daemon("--config", config) as daemon:
        daemon.wait_for("OutputWritten", times=2)
        lock(locked)
        daemon.send(signal.SIGUSR1)
        daemon.wait_for("OutputFailed", output=f"file:{locked}/b")
        assert exclusive.counts.issued == 1
        assert [status_of(file, exclusive) for file in (place / "a", locked / "b")] == [200, 200]
        unlock(locked)
        daemon.wait_for("OutputWritten", times=4)
        assert exclusive.counts.issued == 2
        assert [status_of(file, exclusive) for file in (place / "a", locked / "b")] == [200, 200]


def test_no_command_ends_the_token_in_use_unless_asked(
    config: Path, place: Path, exclusive: Emulator
) -> None:
    assert refresher("once", "--config", config).code == 0
    checked = refresher("check", "--config", config)
    assert checked.code == 0
    assert "was not asked for a token, which would end the one in use (exclusive); --mint" in checked.said
    minted = refresher("mint", "--config", config)
    assert minted.code == 78
    assert "is exclusive: a new token ends the one in use; to do it all the same, add --force" in minted.said
    bare = place / "bare.json"
    bare.write_text(json.dumps({"issuer": {"url": exclusive.url, "exclusive": True}}))
    executed = refresher("exec", "--config", bare, "--key-file", place / "key", "--", "true")
    assert executed.code == 78
    assert "would end the one in use; name the outputs that have it" in executed.said
    assert refresher("exec", "--config", config, "--", "true").code == 0
    assert status_of(place / "a", exclusive) == 200
    assert exclusive.counts.issued == 1


@pytest.mark.parametrize("command", ["check --mint", "mint --force"])
def test_a_command_that_is_asked_to_mints(
    config: Path, place: Path, exclusive: Emulator, command: str
) -> None:
    assert refresher("once", "--config", config).code == 0
    ended = refresher(*command.split(), "--config", config)
    assert ended.code == 0, ended
    assert ("the token in use has ended" in ended.said) == (command == "check --mint")
    assert status_of(place / "a", exclusive) == 403
