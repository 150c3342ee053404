"""`refresher run` with several issuers: each mints its own tokens, and none holds back another."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from refresher.emulator.server import Emulator
from refresher.executor import MINTS_AT_ONCE
from tests.commands.daemon import Daemon, refresher

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
