"""The emulator's own endpoints."""

from collections.abc import Callable
from typing import Any

import pytest

from refresher.core.model import fingerprint
from refresher.emulator.control import checked_key
from refresher.emulator.server import Emulator
from refresher.errors import ConfigurationError


def test_faults_are_set_listed_and_cleared_over_http(
    call: Callable[..., Any], mint: Callable[..., Any]
) -> None:
    script = [{"status": 500, "count": 1}, {"status": 429, "retry_after": "3"}]
    assert call("PUT", "/_emulator/faults", content=script).data == script
    assert [mint().status for _ in range(2)] == [500, 429]
    assert call("GET", "/_emulator/state").data["faults"] == script[1:]
    assert call("DELETE", "/_emulator/faults").data == []
    assert mint().status == 200


def test_one_fault_needs_no_list(call: Callable[..., Any], mint: Callable[..., Any]) -> None:
    assert call("PUT", "/_emulator/faults", content={"status": 502}).status == 200
    assert mint().status == 502


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"statsu": 500}, "statsu: no such fault; did you mean status?"),
        ([{"status": 500}, {"latency": "long"}], "latency: 'long' is not accepted; accepted: seconds"),
        ([500], "accepted: one fault as a JSON object, or a list of them"),
        (b"{", "the body is not JSON"),
        (b"", "the body is not JSON"),
        (b"[" * 60_000, "the body is not JSON"),
    ],
)
def test_a_mistake_in_a_fault_is_told_and_changes_nothing(
    call: Callable[..., Any], emulator: Emulator, content: Any, told: str
) -> None:
    emulator.faults(status=418)
    answer = call("PUT", "/_emulator/faults", content=content)
    assert answer.status == 400
    assert told in answer.document["message"]
    assert call("GET", "/_emulator/state").data["faults"] == [{"status": 418}]


def test_keys_come_and_go_over_http(call: Callable[..., Any], mint: Callable[..., Any]) -> None:
    assert mint("second-key").status == 401
    added = call("POST", "/_emulator/keys", content={"key": "second-key"})
    assert (added.status, added.data) == (201, {"fingerprint": fingerprint("second-key")})
    assert mint("second-key").status == 200
    path = f"/_emulator/keys/{fingerprint('second-key')}"
    assert call("DELETE", path).status == 200
    assert mint("second-key").status == 401
    assert call("DELETE", path).status == 404


@pytest.mark.parametrize(
    "content", [{}, {"key": ""}, {"key": 5}, {"key": "a b\n"}, {"key": "\ud800"}, [], b"{"]
)
def test_what_cannot_be_a_key_is_refused(call: Callable[..., Any], content: Any) -> None:
    assert call("POST", "/_emulator/keys", content=content).status == 400


@pytest.mark.parametrize("key", ["k", "a" * 8192, "with space inside", "a.b-c_d~e+f/g=="])
def test_what_can_be_a_key(key: str) -> None:
    assert checked_key(key) == key


@pytest.mark.parametrize("key", ["", " ", " k", "k ", "k\n", "a" * 8193, "ключ", "k\x7f", None, 5, b"k"])
def test_what_cannot_be_a_key(key: object) -> None:
    with pytest.raises(ConfigurationError, match="accepted: 1 to 8192 printable ASCII"):
        checked_key(key)


def test_the_state_tells_what_was_seen_and_no_secret(
    call: Callable[..., Any], mint: Callable[..., Any]
) -> None:
    tokens = mint().data
    call("POST", "/v1/rooms/create", tokens["access_token"], {"name": ""})
    answer = call("GET", "/_emulator/state")
    state = answer.data
    name = fingerprint("the-application-key")
    assert state["keys"] == [{"fingerprint": name, "in_force": True}]
    assert (state["counts"]["mints"], state["counts"]["product"]) == (1, {"ok": 1})
    assert state["counts"]["recent"][0]["credential"] == name
    for secret in ("the-application-key", *tokens.values()):
        assert secret.encode() not in answer.body


def test_counts_start_again_at_zero_when_told(call: Callable[..., Any], mint: Callable[..., Any]) -> None:
    mint()
    assert call("POST", "/_emulator/counts/reset").status == 200
    assert call("GET", "/_emulator/state").data["counts"]["mints"] == 0


def test_a_control_request_counts_as_nothing(call: Callable[..., Any], emulator: Emulator) -> None:
    call("GET", "/_emulator/state")
    call("GET", "/_emulator/none-such")
    assert (emulator.counts.mints, emulator.counts.other, emulator.counts.product) == (0, 0, {})


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("POST", "/_emulator/state", 405, "GET"),
        ("POST", "/_emulator/faults", 405, "PUT, DELETE"),
        ("GET", "/_emulator/keys", 405, "POST"),
        ("GET", "/_emulator/keys/0123456789abcdef", 405, "DELETE"),
        ("GET", "/_emulator/counts/reset", 405, "POST"),
        ("GET", "/_emulator/counts", 404, None),
        ("GET", "/_emulator/", 404, None),
        ("GET", "/_emulator/state/more", 404, None),
    ],
)
def test_other_paths_and_methods(
    call: Callable[..., Any], method: str, path: str, status: int, allowed: str | None
) -> None:
    answer = call(method, path)
    assert (answer.status, answer.headers.get("Allow")) == (status, allowed)
