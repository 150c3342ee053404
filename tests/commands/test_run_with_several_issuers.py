"""`refresher run` with several issuers: each mints its own tokens, and none holds back another."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from refresher.emulator.server import Emulator
from refresher.executor import MINTS_AT_ONCE
from tests.commands.daemon import Daemon, free_port, refresher

MANY = MINTS_AT_ONCE + 8  # more than one issuer may be asked for at once


@pytest.fixture
def other() -> Iterator[Emulator]:
    with Emulator() as issuer:
        yield issuer


def token(name: str, issuer: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "issuer": issuer, "key_file": f"{issuer}.key", "outputs": [{"file": name}]} | more


@pytest.fixture
def config(place: Path, issuer: Emulator, other: Emulator) -> Any:
    def written(*tokens: dict[str, Any]) -> Path:
        for name, at in (("studio", issuer), ("hub", other), ("third", other)):
            (place / f"{name}.key").write_text(at.keys[0].reveal())
        third = other.url.replace("127.0.0.1", "localhost")
        issuers = {
            "studio": {"url": issuer.url},
            "hub": {"url": other.url, "timeout": "60s"},
            "third": {"url": third, "timeout": "60s"},
        }
        path = place / "refresher.json"
        path.write_text(json.dumps({"issuers": issuers, "tokens": tokens}))
        return path

    return written


def test_each_issuer_mints_its_own_tokens(
    config: Any, place: Path, issuer: Emulator, other: Emulator
) -> None:
    ended = refresher("once", "--config", config(token("a", "studio"), token("b", "hub"), token("c", "hub")))
    assert ended.code == 0, ended
    assert (issuer.counts.issued, other.counts.issued) == (1, 2)
    recorded = {name: json.loads((place / f".{name}.meta.json").read_text()) for name in "abc"}
    assert {name: found["contents"][0]["issuer"] for name, found in recorded.items()} == {
        "a": issuer.url,
        "b": other.url,
        "c": other.url,
    }


def test_check_names_each_issuer(config: Any, issuer: Emulator, other: Emulator) -> None:
    ended = refresher("check", "--config", config(token("a", "studio"), token("b", "hub")))
    assert ended.code == 0, ended
    for at in (issuer, other):
        assert f"issuer: {at.url} accepted the key in " in ended.said


def test_mint_asks_the_issuer_of_the_token(config: Any, issuer: Emulator, other: Emulator) -> None:
    ended = refresher("mint", "b", "--config", config(token("a", "studio"), token("b", "hub")))
    assert ended.code == 0, ended
    assert (issuer.counts.issued, other.counts.issued) == (0, 1)


def test_issuers_that_hang_do_not_hold_back_another(config: Any, other: Emulator) -> None:
    other.faults(hang=True)
    hanging = [
        token(f"{name}-{number}", name, lifetime="10m") for name in ("hub", "third") for number in range(MANY)
    ]
    with Daemon("--config", config(*hanging, token("a", "studio", lifetime="10s"))) as daemon:
        daemon.wait_for("OutputWritten", token="a", times=3)
        assert {entry["token"] for entry in daemon.entries("OutputWritten")} == {"a"}


def test_an_oauth2_issuer_mints(place: Path, issuer: Emulator) -> None:
    """The server is another refresher, whose listener serves OAuth2."""
    for name in ("secret", "client.key"):
        (place / name).write_text("secret-of-the-clients")
    address = f"127.0.0.1:{free_port()}"
    serve = ("--serve", address, "--serve-secret-file", place / "secret")
    files = ("--key-file", place / "key", "--to-file", place / "inner", "--name", "inner")
    reports = {"token_url": f"http://{address}/oauth2/token", "client_id": "inner"}
    token = {"name": "t", "key_file": "client.key", "outputs": [{"file": "outer"}]}
    config = place / "outer.json"
    config.write_text(json.dumps({"issuers": {"reports": reports}, "tokens": [token]}))
    with Daemon("--issuer-url", issuer.url, *files, *serve) as server:
        server.wait_for("OutputWritten", output=f"file:{place}/inner")
        checked = refresher("check", "--config", config)
        assert f"issuer: http://{address}/oauth2/token accepted the key in " in checked.said
        for _ in range(2):  # the second pass adopts the token
            ended = refresher("once", "--config", config)
            assert ended.code == 0, ended
        assert (place / "outer").read_text() == (place / "inner").read_text()
        (place / "client.key").write_text("another-secret")
        config.write_text(config.read_text().replace('outer"', 'other"'))
        assert refresher("once", "--config", config).code == 77
