"""Tokens of OAuth2 servers that others wrote: oidc-provider (Node.js) and Authlib."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from tests.commands.daemon import Daemon, Ended, eventually, refresher
from tests.issuer.oauth2_servers import GRANTED, Settings, authlib, oidc_provider

BASIC, POST = "client_secret_basic", "client_secret_post"
SECRET = "s3cret-of-a-client-4f7c91d2"
WRONG = "not-the-secret-of-this-client"
# HTTP Basic has both form-encoded (RFC 6749 §2.3.1)
SPECIAL = "s3cret+with/special:characters=%20&%+~!*'()|4f7c91d2"
SPECIAL_ID = "the client: 100%+%2B&"
LONGEST = 3600.0  # `lifetime` of the tokens, the longest that is believed

# What the server answers as `expires_in`, and the lifetime that is believed
BELIEVED: dict[str, tuple[object, float]] = {
    "missing": (None, LONGEST),
    "text": ("300", 300.0),
    "float": (300.5, 300.5),
    "long": (864000, LONGEST),
}
DISBELIEVED: dict[str, tuple[object, str]] = {
    "zero": (0, "its expires_in is 0: the token has expired already"),
    "zero-text": ("0", "its expires_in is 0: the token has expired already"),
    "negative": (-1, "its expires_in is -1: the token has expired already"),
    "words": ("an hour", "its expires_in is not a number of seconds"),
    "list": ([600], "its expires_in is not a number of seconds"),
}


class Case(NamedTuple):
    """A token: its client, its secret, and options of its issuer."""

    client_id: str
    secret: str = SECRET
    options: Mapping[str, Any] = MappingProxyType({})


ACCOUNT = {"endpoint_params": {"grant_type": "account_credentials"}}
RESOURCE = {"endpoint_params": {"resource": "urn:reports"}}  # RFC 8707
CASES = {
    "basic": Case("basic"),
    "post": Case("post", options={"auth_method": POST}),
    "scoped": Case("basic", options={"scopes": ["reports.read"]}),
    "special-basic": Case(SPECIAL_ID, SPECIAL),
    "special-post": Case(f"{SPECIAL_ID} post", SPECIAL, {"auth_method": POST}),
    "wrong-basic": Case("basic", WRONG),
    "wrong-post": Case("post", WRONG, {"auth_method": POST}),
    "nobody": Case("nobody"),
    "for-people": Case("for-people"),
    "resource": Case("long", options=RESOURCE),
    "other-grant": Case("basic", options=ACCOUNT),
    **{name: Case(name) for name in (*BELIEVED, *DISBELIEVED)},
}


def clients(settings: Settings) -> None:
    for client_id in ("basic", *BELIEVED, *DISBELIEVED):
        settings.add(client_id, SECRET, BASIC)
    settings.add("post", SECRET, POST)
    settings.add(SPECIAL_ID, SPECIAL, BASIC)
    settings.add(f"{SPECIAL_ID} post", SPECIAL, POST)
    for_people = {
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "redirect_uris": ["https://a.test"],
    }
    settings.add("for-people", SECRET, BASIC, **for_people)
    for name, (expires_in, _) in (BELIEVED | DISBELIEVED).items():
        settings.answer(name, expires_in)


def configuration(place: Path, url: str, cases: dict[str, Case]) -> Path:
    """Each case has an issuer and a token of its name, and writes its token to a file of its name."""
    issuers = {
        name: {"token_url": url, "client_id": case.client_id} | case.options for name, case in cases.items()
    }
    tokens = [
        {"name": name, "issuer": name, "key_file": f"{name}.key", "outputs": [{"file": name}]}
        for name in cases
    ]
    for name, case in cases.items():
        (place / f"{name}.key").write_text(case.secret)
    path = place / "refresher.json"
    path.write_text(json.dumps({"issuers": issuers, "tokens": tokens}))
    return path


class Server(NamedTuple):
    url: str
    settings: Settings
    is_oidc_provider: bool


class OnePass(NamedTuple):
    """What `refresher once` made of `CASES`."""

    place: Path
    ended: Ended

    def token(self, name: str) -> str:
        return (self.place / name).read_text()

    def lifetime(self, name: str) -> float:
        record = json.loads((self.place / f".{name}.meta.json").read_text())
        lifetime: float = record["contents"][0]["lifetime"]
        return lifetime

    def failure(self, name: str) -> tuple[str, str]:
        """The outcome and the message."""
        assert not (self.place / name).exists()
        failures = [each for each in self.ended.log if each["event"] == "RefreshFailed"]
        (entry,) = [each for each in failures if each["token"] == name]
        return entry["outcome"], entry["message"]


@pytest.fixture(scope="module", params=[authlib, oidc_provider], ids=["authlib", "oidc-provider"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = Settings(tmp_path_factory.mktemp("server") / "settings.json")
    clients(settings)
    serving: Callable[[Settings], AbstractContextManager[str]] = request.param
    with serving(settings) as url:
        yield Server(url, settings, is_oidc_provider=serving is oidc_provider)


@pytest.fixture(scope="module")
def done(server: Server, tmp_path_factory: pytest.TempPathFactory) -> OnePass:
    place = tmp_path_factory.mktemp("once")
    config = configuration(place, server.url, CASES)
    return OnePass(place, refresher("once", "--config", config, "--log-format", "json"))


@pytest.mark.parametrize("name", ["basic", "post", "scoped", "special-basic", "special-post"])
def test_a_token_is_published_for_as_long_as_the_server_grants(done: OnePass, name: str) -> None:
    assert done.token(name)
    assert done.lifetime(name) == GRANTED


@pytest.mark.parametrize("name", BELIEVED)
def test_an_unusual_lifetime_is_believed_up_to_the_configured_one(done: OnePass, name: str) -> None:
    assert done.token(name)
    assert done.lifetime(name) == BELIEVED[name][1]


def test_the_times_in_a_jwt_count_even_if_the_server_states_a_longer_life(
    server: Server, done: OnePass
) -> None:
    is_jwt = done.token("resource").count(".") == 2
    assert is_jwt is server.is_oidc_provider  # so endpoint_params reached the server
    assert done.lifetime("resource") == (GRANTED if is_jwt else LONGEST)


@pytest.mark.parametrize("name", DISBELIEVED)
def test_a_token_without_a_life_is_not_published(done: OnePass, name: str) -> None:
    outcome, message = done.failure(name)
    assert outcome == "bad_response"
    assert DISBELIEVED[name][1] in message


@pytest.mark.parametrize(
    ("name", "explained"),
    [
        ("wrong-basic", "check client_id and auth_method too"),
        ("wrong-post", "check client_id and auth_method too"),
        ("nobody", "invalid_client"),
    ],
)
def test_a_client_that_is_refused_is_a_refused_key(done: OnePass, name: str, explained: str) -> None:
    outcome, message = done.failure(name)
    assert outcome == "key_refused"
    assert explained in message


def test_a_client_without_this_grant_is_named(server: Server, done: OnePass) -> None:
    outcome, message = done.failure("for-people")
    if server.is_oidc_provider:  # it sends invalid_request where RFC 6749 §5.2 has unauthorized_client
        assert outcome == "bad_response"
        assert "requested grant type is not allowed for this client" in message
    else:
        assert outcome == "key_refused"
        assert "unauthorized_client" in message
        assert "the server does not allow this grant to the client" in message


def test_a_grant_that_the_server_does_not_know_is_named(done: OnePass) -> None:
    outcome, message = done.failure("other-grant")
    assert outcome == "bad_response"
    assert "unsupported_grant_type" in message
    assert "correct grant_type in endpoint_params" in message


def test_the_exit_code_reports_the_refused_keys_and_no_secret_is_logged(done: OnePass) -> None:
    assert done.ended.code == 77
    assert SECRET not in done.ended.said
    assert SPECIAL not in done.ended.said


def test_a_new_secret_is_used_at_once_and_a_refused_one_is_not(server: Server, tmp_path: Path) -> None:
    server.settings.add("rotating", SECRET, BASIC)
    config = configuration(tmp_path, server.url, {"token": Case("rotating")})
    file, key_file = tmp_path / "token", tmp_path / "token.key"
    with Daemon("--config", config, "--log-format", "json") as daemon:
        daemon.wait_for("OutputWritten")
        first = file.read_text()
        key_file.write_text(WRONG)
        daemon.wait_for("RefreshFailed", outcome="key_refused")
        assert file.read_text() == first
        server.settings.add("rotating", f"{SECRET}-new", BASIC)
        key_file.write_text(f"{SECRET}-new")
        daemon.wait_for("TokenMinted", reason="key_changed")
        eventually(lambda: file.read_text() != first, "the token of the new secret is published")
        assert daemon.end() == 0
        assert SECRET not in daemon.said
