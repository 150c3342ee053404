"""Each kind of issuer passes the contract suite, and sends the request that its plan describes."""

import base64
import json
from urllib.parse import parse_qs, unquote_plus

import pytest

from refresher.clock import SystemClock
from refresher.core.issuer_plans import JsonPlan, OAuth2Plan
from refresher.core.model import Granted
from refresher.issuer.client import InliveIssuer
from refresher.issuer.json_mint import JsonIssuer
from refresher.issuer.oauth2 import OAuth2Issuer
from refresher.ports import Issuer
from tests.issuer.contract import KEY, IssuerContract, Kind
from tests.issuer.peer import answering, peer

OAUTH2_GRANT = b'{"access_token": "T0ken", "token_type": "bearer", "expires_in": 600}'


def body(content: object) -> bytes:
    return json.dumps(content).encode()


def oauth2(url: str, ca_file: str | None = None, **fields: object) -> Issuer:
    plan = OAuth2Plan(f"{url}/token", **{"client_id": "id", **fields})  # type: ignore[arg-type]
    return OAuth2Issuer(plan, SystemClock(), ca_file)


def json_mint(url: str, ca_file: str | None = None) -> Issuer:
    headers = (("authorization", "Bearer $key"), ("x-cost", "$$5 for $lifetime"))
    sent = '{"ttl": "$lifetime", "note": "$key for $lifetime s", "list": [1, null, "$lifetime"]}'
    plan = JsonPlan(f"{url}/v1/tokens", headers, sent, "data.token", "data.ttl")
    return JsonIssuer(plan, SystemClock(), ca_file)


class TestInlive(IssuerContract):
    @pytest.fixture
    def kind(self) -> Kind:
        refusal = body({"ok": False, "message": f"no key {KEY.reveal()}"})
        grant = body({"ok": True, "data": {"access_token": "T0ken"}})
        return Kind(lambda url, ca: InliveIssuer(url, SystemClock(), ca), grant, refusal, 3600.0)


class TestOAuth2(IssuerContract):
    @pytest.fixture(params=["header", "body"])
    def kind(self, request: pytest.FixtureRequest) -> Kind:
        refusal = body({"error": "invalid_client", "error_description": f"no secret {KEY.reveal()}"})
        return Kind(lambda url, ca: oauth2(url, ca, secret_in=request.param), OAUTH2_GRANT, refusal, 600.0)


class TestJson(IssuerContract):
    @pytest.fixture
    def kind(self) -> Kind:
        refusal = body({"message": f"no key {KEY.reveal()}"})
        return Kind(json_mint, body({"data": {"token": "T0ken", "ttl": "600"}}), refusal, 600.0)


def sent_to(grant: bytes, make: object, **fields: object) -> tuple[dict[str, str], str]:
    """The headers, by names in lower case, and the body of the request of a mint."""
    with peer(answering(200, grant)) as server:
        assert isinstance(make(server.url, **fields).mint(KEY, 90.5, 5.0).answer, Granted)  # type: ignore[operator]
        head, _, sent = server.requests[0].partition("\r\n\r\n")
    lines = (line.partition(": ") for line in head.split("\r\n")[1:])
    return {name.lower(): value for name, _, value in lines}, sent


GRANT = b'{"access_token": "T0ken", "token_type": "Bearer"}'


def test_oauth2_sends_id_and_secret_form_encoded_in_basic() -> None:
    headers, sent = sent_to(GRANT, oauth2, client_id="my id:ü", scopes=("a", "b"))
    pair = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode()
    assert [unquote_plus(part) for part in pair.split(":")] == ["my id:ü", KEY.reveal()]
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(sent) == {"grant_type": ["client_credentials"], "scope": ["a b"]}


def test_oauth2_sends_the_secret_in_the_body_and_not_in_a_header() -> None:
    params = (("grant_type", "account_credentials"), ("account_id", "Xy"))
    headers, sent = sent_to(GRANT, oauth2, secret_in="body", endpoint_params=params)
    assert "authorization" not in headers
    assert parse_qs(sent) == {
        "grant_type": ["account_credentials"],
        "account_id": ["Xy"],
        "client_id": ["id"],
        "client_secret": [KEY.reveal()],
    }


def test_a_json_endpoint_gets_key_and_lifetime_where_the_plan_has_them() -> None:
    headers, sent = sent_to(b'{"data": {"token": "T0ken", "ttl": 91}}', json_mint)
    assert headers["authorization"] == f"Bearer {KEY.reveal()}"
    assert headers["x-cost"] == "$5 for 91"
    assert headers["content-type"] == "application/json"
    assert json.loads(sent) == {"ttl": 91, "note": f"{KEY.reveal()} for 91 s", "list": [1, None, 91]}


def test_a_json_endpoint_without_a_body_gets_none() -> None:
    def make(url: str) -> Issuer:
        return JsonIssuer(JsonPlan(url, (("x-key", "$key"),), None), SystemClock())

    headers, sent = sent_to(GRANT, make)
    assert (headers["x-key"], sent) == (KEY.reveal(), "")
    assert "content-type" not in headers
