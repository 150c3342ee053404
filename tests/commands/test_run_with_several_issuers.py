"""`refresher run` with several issuers: each mints its own tokens, and none holds back another."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from refresher.emulator.server import Emulator
from refresher.executor import MINTS_AT_ONCE
from tests.commands.daemon import Daemon, free_port, refresher
from tests.issuer.peer import Caller, peer

MANY = MINTS_AT_ONCE + 8  # more than one issuer may be asked for at once
SECRET = "secret-of-the-clients"  # of issuers of other kinds


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
        (place / name).write_text(SECRET)
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
        proof = rf"issuer: http://{address}/oauth2/token accepted the key in \S+; minted a token of (\d+)m"
        granted = re.search(proof, checked.said)  # by the server: a lifetime is not requested
        assert granted is not None, checked
        assert 50 <= int(granted[1]) < 60
        for _ in range(2):  # the second pass adopts the token
            ended = refresher("once", "--config", config)
            assert ended.code == 0, ended
        assert (place / "outer").read_text() == (place / "inner").read_text()
        (place / "client.key").write_text("another-secret")
        config.write_text(config.read_text().replace('outer"', 'other"'))
        assert refresher("once", "--config", config).code == 77


def minting(caller: Caller) -> None:
    """An OAuth2 server at /oauth, and a JSON endpoint elsewhere. They refuse other secrets than SECRET."""
    while caller.request():
        request = caller.peer.requests[-1]
        head, _, sent = request.partition("\r\n\r\n")
        number = len(caller.peer.requests)
        if head.startswith("POST /oauth "):
            answer = {"access_token": f"oauth-{number}", "token_type": "bearer", "expires_in": 600}
        elif f"x-key: {SECRET}" in head:
            answer = {"data": {"token": f"mint-{number}", "ttl": json.loads(sent)["ttl"]}}
        else:
            caller.answer(401, b'{"message": "no such key"}')
            continue
        caller.answer(200, json.dumps(answer).encode())


@pytest.fixture
def kinds(place: Path, issuer: Emulator) -> Iterator[Any]:
    """Writes a configuration with an issuer of each kind, and a token of each. Yields what writes it."""
    (place / "secret").write_text(SECRET)
    path = place / "refresher.json"
    with peer(minting) as server:

        def written(**headers: str) -> Path:
            mint = {
                "mint": f"{server.url}/mint",
                "headers": {"x-key": "$key"} | headers,
                "json": {"ttl": "$lifetime"},
                "answer": {"access_token": "data.token", "expires_in": "data.ttl"},
            }
            oauth2 = {"token_url": f"{server.url}/oauth", "client_id": "c"}
            issuers = {"inlive": {"url": issuer.url}, "oauth2": oauth2, "mint": mint}
            tokens = [token(name, name, key_file="secret") for name in issuers]
            tokens[0]["key_file"] = "key"
            path.write_text(json.dumps({"issuers": issuers, "tokens": tokens}))
            return path

        yield written


def test_each_kind_of_issuer_is_proved_and_asked_once(kinds: Any, place: Path) -> None:
    checked = refresher("check", "--config", kinds())
    assert checked.code == 0, checked
    assert checked.said.count(" accepted the key in ") == 3
    published = []
    for _ in range(2):  # the second pass adopts the tokens
        ended = refresher("once", "--config", kinds())
        assert ended.code == 0, ended
        published.append([(place / name).read_text() for name in ("inlive", "oauth2", "mint")])
    assert published[0] == published[1]
    assert [token.split("-")[0] for token in published[0][1:]] == ["oauth", "mint"]
    (place / "secret").write_text("another-secret-of-clients")
    printed = refresher("mint", "mint", "--config", kinds())
    assert printed.code == 77
    assert "401: no such key" in printed.said


def test_a_reload_changes_the_request_of_one_issuer(kinds: Any, place: Path) -> None:
    with Daemon("--config", kinds()) as daemon:
        for name in ("inlive", "oauth2", "mint"):
            daemon.wait_for("OutputWritten", token=name)
        kinds(**{"x-team": "$kye"})
        daemon.send(signal.SIGHUP)
        assert "$kye is not a placeholder" in daemon.wait_for("ConfigurationRefused")["message"]
        kinds(**{"x-team": "studio"})
        daemon.send(signal.SIGHUP)
        assert daemon.wait_for("ConfigurationApplied")["changed"] == 1
        daemon.wait_for("OutputWritten", token="mint", times=2)
        assert len(daemon.entries("OutputWritten")) == 4
        assert SECRET not in daemon.said
