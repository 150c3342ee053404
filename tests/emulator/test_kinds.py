"""The endpoints of other kinds of issuers: OAuth2 client credentials, and JSON of any shape."""

import base64
import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from refresher.core.model import fingerprint
from refresher.emulator.api import Upstream
from refresher.emulator.faults import Fault
from refresher.http.server.messages import Request, Response

KEY = "the+key/of:all%kinds"
NOW = 1_800_000_000.0
LIFETIME = 600.0
FORM = {"content-type": "application/x-www-form-urlencoded"}


def upstream(**options: Any) -> Upstream:
    made = Upstream(lifetime=LIFETIME, **options)
    made.add_key(KEY)
    return made


def basic(client: str, secret: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode()}


def answer(emulated: Upstream, request: Request, now: float = NOW) -> Response:
    found = emulated.respond(request, now).answer
    assert found is not None
    return found


def oauth2(emulated: Upstream, headers: dict[str, str] | None = None, **fields: str) -> Response:
    form = urlencode({"grant_type": "client_credentials"} | fields).encode()
    return answer(emulated, Request("POST", "/oauth2/token", FORM | (headers or {}), form))


def posted(emulated: Upstream, body: object, **headers: str) -> Response:
    return answer(emulated, Request("POST", "/v1/tokens", headers, json.dumps(body).encode()))


def use(emulated: Upstream, access: str, now: float = NOW) -> Response:
    headers = {"authorization": f"Bearer {access}"}
    return answer(emulated, Request("POST", "/v1/rooms/create", headers, b"{}"), now)


def document(response: Response) -> Any:
    return json.loads(response.body)


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        (basic("a client", KEY), {}),
        (basic(quote("a client", safe=""), quote(KEY, safe="")), {}),
        ({}, {"client_id": "a client", "client_secret": KEY}),
        (basic("a client", KEY), {"scope": "read write", "audience": "https://api.test"}),
        (basic("a client", KEY), {"grant_type": "account_credentials", "account_id": "Xy"}),
    ],
)
def test_an_oauth2_client_with_a_key_as_secret_gets_a_token(
    headers: dict[str, str], fields: dict[str, str]
) -> None:
    emulated = upstream()
    granted = oauth2(emulated, headers, **fields)
    assert granted.status == 200
    assert document(granted) | {"access_token": ""} == {
        "access_token": "",
        "token_type": "Bearer",
        "expires_in": int(LIFETIME),
    }
    access = document(granted)["access_token"]
    assert use(emulated, access, NOW + LIFETIME - 1).status == 200
    assert use(emulated, access, NOW + LIFETIME).status == 403
    assert emulated.counts.by_key == {fingerprint(KEY): 1}


@pytest.mark.parametrize(
    ("headers", "fields", "status", "error"),
    [
        (basic("a", "another"), {}, 401, "invalid_client"),
        ({}, {"client_id": "a", "client_secret": "another"}, 401, "invalid_client"),
        ({}, {}, 401, "invalid_client"),
        ({"authorization": f"Bearer {KEY}"}, {}, 401, "invalid_client"),
        (basic("a", KEY), {"client_secret": KEY}, 400, "invalid_request"),
        (basic("a", KEY) | {"content-type": "application/json"}, {}, 400, "invalid_request"),
        (basic("a", KEY), {"grant_type": ""}, 400, "invalid_request"),
        (basic("a", KEY), {"grant_type": "password"}, 400, "unsupported_grant_type"),
        (basic("a", "another"), {"grant_type": "password"}, 401, "invalid_client"),
    ],
)
def test_a_wrong_oauth2_request_gets_an_error_of_rfc_6749(
    headers: dict[str, str], fields: dict[str, str], status: int, error: str
) -> None:
    refused = oauth2(upstream(), headers, **fields)
    assert (refused.status, document(refused)["error"]) == (status, error)
    assert document(refused)["error_description"]
    assert ("WWW-Authenticate" in dict(refused.headers)) is (status == 401)  # RFC 6749 §5.2


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"authorization": f"Bearer {KEY}"}, {}),
        ({"x-api-key": KEY}, {}),
        ({}, {"auth": [{"key": KEY}]}),
        ({}, {"auth": f"Key {KEY}"}),
    ],
)
def test_a_json_endpoint_finds_the_key_anywhere(headers: dict[str, str], body: object) -> None:
    emulated = upstream()
    granted = document(posted(emulated, body, **headers))["data"]
    assert granted["ttl"] == int(LIFETIME)
    assert use(emulated, granted["token"]).status == 200


def test_a_json_endpoint_takes_the_first_whole_number_as_the_lifetime() -> None:
    body = {"name": "5", "exact": True, "half": 0.5, "none": 0, "options": [{"ttl": 90}, 7]}
    granted = document(posted(upstream(), body, key=KEY))["data"]
    assert granted["ttl"] == 90


def test_a_json_endpoint_answers_in_the_shape_that_is_given() -> None:
    shape = {"a": [{"jwt": "$access_token"}], "until": "$expires_at", "for": "$expires_in", "kept": ["$x", 1]}
    granted = document(posted(upstream(json_answer=json.dumps(shape)), {}, key=KEY))
    assert granted.pop("a")[0]["jwt"]
    assert granted == {"until": "2027-01-15T08:10:00Z", "for": 600, "kept": ["$x", 1]}


@pytest.mark.parametrize(("body", "status"), [(b"[]", 400), (b"{", 400), (b"{}", 401), (b"", 401)])
def test_a_json_request_without_a_key_is_refused_with_a_message(body: bytes, status: int) -> None:
    refused = answer(upstream(), Request("POST", "/v1/tokens", {"x-api-key": "another"}, body))
    assert refused.status == status
    assert document(refused)["message"]


def test_a_deep_body_is_searched() -> None:
    deep: object = KEY
    for _ in range(400):
        deep = [deep]
    assert posted(upstream(), {"deep": deep}).status == 200


def test_a_revoked_key_is_refused_by_all_kinds() -> None:
    emulated = upstream()
    emulated.revoke_key(fingerprint(KEY))
    assert oauth2(emulated, basic("a", KEY)).status == 401
    assert posted(emulated, {}, key=KEY).status == 401


def test_faults_apply_to_all_kinds() -> None:
    emulated = upstream()
    emulated.set_faults([Fault(status=503, count=1), Fault(lifetime=5.0)])
    assert oauth2(emulated, basic("a", KEY)).status == 503
    assert document(oauth2(emulated, basic("a", KEY)))["expires_in"] == 5


def test_an_exclusive_token_ends_the_former_one_of_the_same_client() -> None:
    emulated = upstream(exclusive=True)
    others = [
        document(oauth2(emulated, basic("another", KEY)))["access_token"],
        document(posted(emulated, {}, key=KEY))["data"]["token"],
    ]
    first, second = (document(oauth2(emulated, basic("zoom", KEY)))["access_token"] for _ in range(2))
    ended = use(emulated, first)
    assert (ended.status, dict(ended.headers).get("X-Access-Token-Expired")) == (403, "true")
    assert [use(emulated, token).status for token in (second, *others)] == [200, 200, 200]


def test_tokens_live_side_by_side_by_default() -> None:
    emulated = upstream()
    first, _ = (document(oauth2(emulated, basic("zoom", KEY)))["access_token"] for _ in range(2))
    assert use(emulated, first).status == 200
