"""The emulator's own endpoints."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from refresher.core.model import fingerprint
from refresher.emulator.control import HEADER, checked_key
from refresher.emulator.server import Emulator
from refresher.errors import ConfigurationError


@pytest.fixture
def control(call: Callable[..., Any]) -> Callable[..., Any]:
    """Sends one request as curl does, with the control header."""
    return partial(call, **{HEADER: "1"})


def test_faults_are_set_listed_and_cleared_over_http(
    control: Callable[..., Any], mint: Callable[..., Any]
) -> None:
    script = [{"status": 500, "count": 1}, {"status": 429, "retry_after": "3"}]
    assert control("PUT", "/_emulator/faults", content=script).data == script
    assert [mint().status for _ in range(2)] == [500, 429]
    assert control("GET", "/_emulator/state").data["faults"] == script[1:]
    assert control("DELETE", "/_emulator/faults").data == []
    assert mint().status == 200


def test_one_fault_needs_no_list(control: Callable[..., Any], mint: Callable[..., Any]) -> None:
    assert control("PUT", "/_emulator/faults", content={"status": 502}).status == 200
    assert mint().status == 502


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"statsu": 500}, "statsu: no such fault; did you mean status?"),
        ([{"status": 500}, {"latency": "long"}], "latency: 'long' is not accepted; accepted: seconds"),
        ([500], "accepted: one fault as a JSON object, or a list of them"),
        (b"{", "the body is not JSON"),
        (b"", "the body is not JSON"),
        (b"[" * 60_000, "the body is not JSON"),
    ],
)
def test_a_mistake_in_a_fault_is_reported_and_changes_nothing(
    control: Callable[..., Any], emulator: Emulator, content: Any, expected: str
) -> None:
    emulator.faults(status=418)
    answer = control("PUT", "/_emulator/faults", content=content)
    assert answer.status == 400
    assert expected in answer.document["message"]
    assert control("GET", "/_emulator/state").data["faults"] == [{"status": 418}]


def test_keys_are_added_and_revoked_over_http(control: Callable[..., Any], mint: Callable[..., Any]) -> None:
    assert mint("second-key").status == 401
    added = control("POST", "/_emulator/keys", content={"key": "second-key"})
    assert (added.status, added.data) == (201, {"fingerprint": fingerprint("second-key")})
    assert mint("second-key").status == 200
    path = f"/_emulator/keys/{fingerprint('second-key')}"
    assert control("DELETE", path).status == 200
    assert mint("second-key").status == 401
    assert control("DELETE", path).status == 404


@pytest.mark.parametrize("how", ["expire", "revoke"])
@pytest.mark.parametrize("by", ["access_token", "fingerprint", "all"])
def test_a_token_is_ended_over_http(
    control: Callable[..., Any], call: Callable[..., Any], mint: Callable[..., Any], how: str, by: str
) -> None:
    token = mint().data["access_token"]
    body = {by: {"access_token": token, "fingerprint": fingerprint(token), "all": True}[by]}
    ended = control("POST", f"/_emulator/tokens/{how}", content=body)
    assert (ended.status, ended.data) == (200, {"ended": 1})
    used = call("POST", "/v1/rooms/create", token, {})
    assert (used.status, "X-Access-Token-Expired" in used.headers) == (403, how == "expire")
    assert control("POST", f"/_emulator/tokens/{how}", content=body).data == {"ended": 0}


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"access_token": 5},
        {"access_token": "\ud800"},
        {"fingerprint": None},
        {"all": False},
        {"all": True, "fingerprint": "0"},
        [],
        b"{",
    ],
)
def test_a_request_that_names_no_token_ends_none(
    control: Callable[..., Any], mint: Callable[..., Any], emulator: Emulator, content: Any
) -> None:
    token = mint().data["access_token"]
    assert control("POST", "/_emulator/tokens/revoke", content=content).status == 400
    assert emulator.valid(token)


@pytest.mark.parametrize(
    "content", [{}, {"key": ""}, {"key": 5}, {"key": "a b\n"}, {"key": "\ud800"}, [], b"{"]
)
def test_an_invalid_key_is_refused(control: Callable[..., Any], content: Any) -> None:
    assert control("POST", "/_emulator/keys", content=content).status == 400


@pytest.mark.parametrize("key", ["k", "a" * 8192, "with space inside", "a.b-c_d~e+f/g=="])
def test_valid_keys(key: str) -> None:
    assert checked_key(key) == key


@pytest.mark.parametrize("key", ["", " ", " k", "k ", "k\n", "a" * 8193, "ключ", "k\x7f", None, 5, b"k"])
def test_invalid_keys(key: object) -> None:
    with pytest.raises(ConfigurationError, match="accepted: 1 to 8192 printable ASCII"):
        checked_key(key)


def test_the_state_contains_the_records_and_no_secret(
    call: Callable[..., Any], control: Callable[..., Any], mint: Callable[..., Any]
) -> None:
    tokens = mint().data
    call("POST", "/v1/rooms/create", tokens["access_token"], {"name": ""})
    answer = control("GET", "/_emulator/state")
    state = answer.data
    name = fingerprint("the-application-key")
    assert state["keys"] == [{"fingerprint": name, "in_force": True}]
    assert (state["counts"]["mints"], state["counts"]["product"]) == (1, {"ok": 1})
    assert state["counts"]["recent"][0]["credential"] == name
    for secret in ("the-application-key", *tokens.values()):
        assert secret.encode() not in answer.body


def test_counts_can_be_reset(control: Callable[..., Any], mint: Callable[..., Any]) -> None:
    mint()
    assert control("POST", "/_emulator/counts/reset").status == 200
    assert control("GET", "/_emulator/state").data["counts"]["mints"] == 0


def test_control_requests_are_not_counted(control: Callable[..., Any], emulator: Emulator) -> None:
    control("GET", "/_emulator/state")
    control("GET", "/_emulator/none-such")
    assert (emulator.counts.mints, emulator.counts.other, emulator.counts.product) == (0, 0, {})


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("POST", "/_emulator/state", 405, "GET"),
        ("POST", "/_emulator/faults", 405, "PUT, DELETE"),
        ("GET", "/_emulator/keys", 405, "POST"),
        ("GET", "/_emulator/keys/0123456789abcdef", 405, "DELETE"),
        ("GET", "/_emulator/counts/reset", 405, "POST"),
        ("GET", "/_emulator/tokens/expire", 405, "POST"),
        ("GET", "/_emulator/tokens/revoke", 405, "POST"),
        ("POST", "/_emulator/tokens", 404, None),
        ("GET", "/_emulator/counts", 404, None),
        ("GET", "/_emulator/", 404, None),
        ("GET", "/_emulator/state/more", 404, None),
    ],
)
def test_other_paths_and_methods(
    control: Callable[..., Any], method: str, path: str, status: int, allowed: str | None
) -> None:
    answer = control(method, path)
    assert (answer.status, answer.headers.get("Allow")) == (status, allowed)


# Attacks by web pages: they cannot send our header without a preflight, or they use their own host name.

CHANGES = [
    ("PUT", "/_emulator/faults", {"status": 500}),
    ("DELETE", "/_emulator/faults", None),
    ("POST", "/_emulator/keys", {"key": "the-key-of-a-page"}),
    ("DELETE", f"/_emulator/keys/{fingerprint('the-application-key')}", None),
    ("POST", "/_emulator/tokens/expire", {"all": True}),
    ("POST", "/_emulator/tokens/revoke", {"all": True}),
    ("POST", "/_emulator/counts/reset", None),
    ("POST", "/_emulator/none-such", None),
]
OTHER_HOSTS = ["", "evil.example", "localhost.evil.example:8787", "127.0.0.1@evil.example", "[::1"]


@pytest.mark.parametrize(("method", "path", "content"), CHANGES)
def test_nothing_is_changed_without_the_header_that_a_page_cannot_send(
    call: Callable[..., Any],
    mint: Callable[..., Any],
    emulator: Emulator,
    method: str,
    path: str,
    content: Any,
) -> None:
    token = mint().data["access_token"]
    emulator.faults(status=418, count=1)
    mint()
    before = emulator.counts
    answer = call(
        method, path, content=content, Origin="https://evil.example", **{"Content-Type": "text/plain"}
    )
    assert answer.status == 403
    assert f"{HEADER}: 1" in answer.document["message"]
    assert emulator.counts == before
    assert emulator.valid(token)
    assert mint().status == 200
    assert mint("the-key-of-a-page").status == 401


@pytest.mark.parametrize("path", [path for _, path, _ in CHANGES] + ["/_emulator/state"])
def test_control_allows_no_preflight_and_no_page(control: Callable[..., Any], path: str) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"}
    for answer in (control("OPTIONS", path, **asked), control("GET", path, Origin="https://evil.example")):
        assert [name for name in answer.headers if name.lower().startswith("access-control")] == []
    assert control("OPTIONS", path, **asked).status >= 400


@pytest.mark.parametrize("host", OTHER_HOSTS)
@pytest.mark.parametrize(("method", "path", "content"), [*CHANGES, ("GET", "/_emulator/state", None)])
def test_dns_rebinding_gives_no_control(
    control: Callable[..., Any], mint: Callable[..., Any], method: str, path: str, content: Any, host: str
) -> None:
    answer = control(method, path, content=content, Host=host)
    assert answer.status == 403
    assert "accepted: localhost" in answer.document["message"]
    assert b"evil" not in answer.body
    assert mint().status == 200


def test_the_product_serves_pages_and_any_host(mint: Callable[..., Any], call: Callable[..., Any]) -> None:
    token = mint().data["access_token"]
    answer = call(
        "POST", "/v1/rooms/create", token, {}, Host="emulator.in-a-container", Origin="http://app.example"
    )
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")


def test_the_host_in_an_absolute_target_overrides_the_header(raw: Callable[[bytes], bytes]) -> None:
    request = b"GET http://%b/_emulator/state HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"
    assert raw(request % (b"evil.example", b"localhost")).startswith(b"HTTP/1.1 403 ")
    assert raw(request % (b"localhost", b"evil.example")).startswith(b"HTTP/1.1 200 ")
