"""The rules of the upstream, without a socket: keys, tokens, expiry, faults, counts."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.core.model import fingerprint
from refresher.emulator.api import Reply, Upstream
from refresher.emulator.faults import Fault
from refresher.emulator.tokens import jwt_maker
from refresher.http.server.messages import Request

KEY = "the-application-key"
NOW = 1_800_000_000.0


@pytest.fixture
def upstream() -> Upstream:
    made = Upstream()
    made.add_key(KEY)
    return made


def ask(
    upstream: Upstream, body: bytes = b"", bearer: str | None = KEY, now: float = NOW, **headers: str
) -> Reply:
    if bearer is not None:
        headers["authorization"] = f"Bearer {bearer}"
    return upstream.respond(Request("POST", "/v1/keys/accesstoken", headers, body), now)


def minted(upstream: Upstream, lifetime: int = 3600, bearer: str = KEY, now: float = NOW) -> tuple[str, str]:
    reply = ask(upstream, json.dumps({"expiry_seconds": lifetime}).encode(), bearer, now)
    data = content(reply)["data"]
    return data["access_token"], data["refresh_token"]


def use(upstream: Upstream, bearer: str | None, now: float = NOW) -> Reply:
    headers = {} if bearer is None else {"authorization": f"Bearer {bearer}"}
    return upstream.respond(Request("POST", "/v1/rooms/create", headers, b'{"name": "My Room"}'), now)


def content(reply: Reply) -> Any:
    assert reply.answer is not None
    return json.loads(reply.answer.body)


def status(reply: Reply) -> int:
    assert reply.answer is not None
    return reply.answer.status


def test_a_mint_returns_both_tokens_in_inlives_envelope(upstream: Upstream) -> None:
    document = content(ask(upstream, b'{"expiry_seconds": 60}'))
    assert (document["code"], document["ok"]) == (200, True)
    assert set(document) == {"code", "ok", "message", "data"}
    assert set(document["data"]) == {"access_token", "refresh_token"}
    assert document["data"]["access_token"] != document["data"]["refresh_token"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", 200),
        (b"{}", 200),
        (b'{"expiry_seconds": 1}', 200),
        (b'{"expiry_seconds": 2592000}', 200),
        (b'{"expiry_seconds": 0}', 400),
        (b'{"expiry_seconds": -5}', 400),
        (b'{"expiry_seconds": 90.5}', 400),
        (b'{"expiry_seconds": 3600.0}', 400),
        (b'{"expiry_seconds": "3600"}', 400),
        (b'{"expiry_seconds": true}', 400),
        (b'{"expiry_seconds": null}', 400),
        (b'{"expiry_seconds": NaN}', 400),
        (b'{"expiry_seconds": 1' + b"0" * 5000 + b"}", 400),
        (b"[3600]", 400),
        (b"3600", 400),
        (b'{"expiry_seconds":', 400),
        (b"\xff\xfe\xfd", 400),
        (b"[" * 60_000, 400),
    ],
)
def test_a_mint_accepts_only_valid_bodies(upstream: Upstream, body: bytes, expected: int) -> None:
    reply = ask(upstream, body)
    assert status(reply) == expected
    assert content(reply)["ok"] is (expected == 200)


def test_the_default_lifetime_is_an_hour(upstream: Upstream) -> None:
    access = content(ask(upstream))["data"]["access_token"]
    assert upstream.is_valid(access, NOW + 3599)
    assert not upstream.is_valid(access, NOW + 3600)


def test_a_lifetime_below_the_minimum_is_refused() -> None:
    upstream = Upstream(min_expiry=30)
    upstream.add_key(KEY)
    assert status(ask(upstream, b'{"expiry_seconds": 29}')) == 400
    assert status(ask(upstream, b'{"expiry_seconds": 30}')) == 200


@pytest.mark.parametrize("refusal", [401, 403])
@pytest.mark.parametrize("bearer", ["another-key", None])
def test_a_wrong_or_missing_key_is_refused_with_the_configured_status(
    refusal: int, bearer: str | None
) -> None:
    upstream = Upstream(refusal=refusal)
    upstream.add_key(KEY)
    reply = ask(upstream, bearer=bearer)
    assert status(reply) == refusal
    document = content(reply)
    assert (document["code"], document["ok"], document["data"]) == (refusal, False, None)


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (f"Bearer {KEY}", 200),
        (f"bearer {KEY}", 200),
        (f"Bearer  {KEY} ", 200),
        (f"Basic {KEY}", 401),
        (KEY, 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("", 401),
    ],
)
def test_only_a_bearer_is_a_credential(upstream: Upstream, authorization: str, expected: int) -> None:
    assert status(ask(upstream, bearer=None, authorization=authorization)) == expected


@given(lifetime=st.integers(1, 10**6), elapsed=st.floats(0, 2e6))
def test_a_token_is_accepted_until_its_expiry_and_then_called_expired(lifetime: int, elapsed: float) -> None:
    upstream = Upstream()
    upstream.add_key(KEY)
    access, _ = minted(upstream, lifetime, now=0.0)
    reply = use(upstream, access, now=elapsed)
    assert reply.answer is not None
    if elapsed < lifetime:
        assert reply.answer.status == 200
    else:
        assert reply.answer.status == 403
        assert ("X-Access-Token-Expired", "true") in reply.answer.headers


def test_an_unknown_token_is_refused_but_not_called_expired(upstream: Upstream) -> None:
    reply = use(upstream, "never-issued")
    assert reply.answer is not None
    assert reply.answer.status == 403
    assert "X-Access-Token-Expired" not in dict(reply.answer.headers)


def test_a_product_call_without_a_token_is_401(upstream: Upstream) -> None:
    assert status(use(upstream, None)) == 401


def test_a_refresh_token_mints_in_place_of_the_key_for_twice_the_lifetime(upstream: Upstream) -> None:
    _, refresh = minted(upstream, 100)
    assert status(ask(upstream, bearer=refresh, now=NOW + 199)) == 200
    assert status(ask(upstream, bearer=refresh, now=NOW + 200)) == 401


def test_each_kind_of_token_works_only_for_its_purpose(upstream: Upstream) -> None:
    access, refresh = minted(upstream)
    assert status(ask(upstream, bearer=access)) == 401
    assert status(use(upstream, refresh)) == 403
    assert status(use(upstream, KEY)) == 403


def test_revoking_a_key_ends_its_refresh_tokens_but_not_its_access_tokens(
    upstream: Upstream,
) -> None:
    access, refresh = minted(upstream)
    assert upstream.revoke_key(fingerprint(KEY))
    assert status(ask(upstream)) == 401
    assert status(ask(upstream, bearer=refresh)) == 401
    assert status(use(upstream, access)) == 200
    upstream.add_key(KEY)
    assert status(ask(upstream)) == 200


def test_only_a_key_in_force_can_be_revoked(upstream: Upstream) -> None:
    assert not upstream.revoke_key("0" * 16)
    assert upstream.revoke_key(fingerprint(KEY))
    assert not upstream.revoke_key(fingerprint(KEY))


@pytest.mark.parametrize(("expired", "header"), [(True, "true"), (False, None)])
def test_a_token_ended_early_is_refused_at_once_and_no_other(
    upstream: Upstream, expired: bool, header: str | None
) -> None:
    (ended, refresh), (other, _) = minted(upstream), minted(upstream)
    assert upstream.end_tokens(fingerprint(ended), NOW + 1, expired=expired) == 1
    answer = use(upstream, ended, NOW + 1).answer
    assert answer is not None
    assert (answer.status, dict(answer.headers).get("X-Access-Token-Expired")) == (403, header)
    assert status(use(upstream, other, NOW + 1)) == 200
    assert status(ask(upstream, bearer=refresh, now=NOW + 1)) == 200


def test_all_access_tokens_end_and_no_refresh_token(upstream: Upstream) -> None:
    pairs = [minted(upstream) for _ in range(3)]
    assert upstream.end_tokens(None, NOW, expired=True) == 3
    assert [status(use(upstream, access)) for access, _ in pairs] == [403] * 3
    assert [status(ask(upstream, bearer=refresh)) for _, refresh in pairs] == [200] * 3


@pytest.mark.parametrize("expired", [True, False])
def test_a_refresh_token_ended_early_no_longer_mints(upstream: Upstream, expired: bool) -> None:
    access, refresh = minted(upstream)
    assert upstream.end_tokens(fingerprint(refresh), NOW, expired=expired) == 1
    assert status(ask(upstream, bearer=refresh)) == 401
    assert status(use(upstream, access)) == 200


def test_only_a_token_in_force_can_end(upstream: Upstream) -> None:
    access, _ = minted(upstream, 60)
    assert upstream.end_tokens("0" * 16, NOW, expired=True) == 0
    assert upstream.end_tokens(fingerprint(access), NOW + 60, expired=False) == 0
    assert upstream.end_tokens(None, NOW + 60, expired=False) == 0
    answer = use(upstream, access, NOW + 61).answer
    assert answer is not None
    assert ("X-Access-Token-Expired", "true") in answer.headers  # it had expired, and stays so


def test_a_created_room_can_be_read(upstream: Upstream) -> None:
    access, _ = minted(upstream)
    bearer = {"authorization": f"Bearer {access}"}
    room = content(use(upstream, access))["data"]
    assert room["name"] == "My Room"
    found = upstream.respond(Request("GET", f"/v1/rooms/{room['id']}", bearer), NOW)
    assert content(found)["data"] == room
    assert status(upstream.respond(Request("GET", "/v1/rooms/none-such", bearer), NOW)) == 404


def test_a_room_gets_the_requested_id(upstream: Upstream) -> None:
    bearer = {"authorization": f"Bearer {minted(upstream)[0]}"}
    body = b'{"name": "", "id": "our room"}'
    created = upstream.respond(Request("POST", "/v1/rooms/create", bearer, body), NOW)
    assert content(created)["data"] == {"id": "our room", "name": ""}
    assert status(upstream.respond(Request("GET", "/v1/rooms/our%20room", bearer), NOW)) == 200


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"name": 1}', b'{"id": []}'])
def test_a_room_needs_a_valid_body(upstream: Upstream, body: bytes) -> None:
    bearer = {"authorization": f"Bearer {minted(upstream)[0]}"}
    assert status(upstream.respond(Request("POST", "/v1/rooms/create", bearer, body), NOW)) == 400


@pytest.mark.parametrize(
    ("method", "path", "expected", "allowed"),
    [
        ("GET", "/v1/keys/accesstoken", 405, "POST"),
        ("PUT", "/v1/keys/accesstoken", 405, "POST"),
        ("DELETE", "/v1/rooms/room-1", 405, "GET"),
        ("PUT", "/v1/rooms/create", 405, "POST"),
        ("POST", "/v1/keys/accesstoken/", 404, None),
        ("POST", "/v2/keys/accesstoken", 404, None),
        ("GET", "/", 404, None),
    ],
)
def test_other_paths_and_methods(
    upstream: Upstream, method: str, path: str, expected: int, allowed: str | None
) -> None:
    bearer = {"authorization": f"Bearer {minted(upstream)[0]}"}
    answer = upstream.respond(Request(method, path, bearer), NOW).answer
    assert answer is not None
    assert answer.status == expected
    assert dict(answer.headers).get("Allow") == allowed


def test_a_cors_preflight_passes_uncounted_and_without_faults(upstream: Upstream) -> None:
    upstream.set_faults([Fault(scope="all", status=500)])
    assert status(upstream.respond(Request("OPTIONS", "/v1/keys/accesstoken"), NOW)) == 204
    assert upstream.counts.mints == 0
    assert upstream.counts.other == 0


def test_a_fault_with_a_count_applies_that_many_times(upstream: Upstream) -> None:
    upstream.set_faults([Fault(status=500, count=2)])
    assert [status(ask(upstream)) for _ in range(4)] == [500, 500, 200, 200]
    assert upstream.faults == []


def test_several_faults_are_a_script(upstream: Upstream) -> None:
    upstream.set_faults(
        [Fault(status=500, count=2), Fault(status=429, count=1, retry_after="7"), Fault(status=503)]
    )
    replies = [ask(upstream) for _ in range(5)]
    assert [status(reply) for reply in replies] == [500, 500, 429, 503, 503]
    assert replies[2].answer is not None
    assert ("Retry-After", "7") in replies[2].answer.headers


@pytest.mark.parametrize(
    ("scope", "of_mint", "of_product"), [("mint", 500, 200), ("product", 200, 500), ("all", 500, 500)]
)
def test_a_fault_applies_to_its_scope(upstream: Upstream, scope: str, of_mint: int, of_product: int) -> None:
    access, _ = minted(upstream)
    upstream.set_faults([Fault(scope=scope, status=500)])
    assert (status(ask(upstream)), status(use(upstream, access))) == (of_mint, of_product)


def test_a_fault_in_place_of_a_token_is_counted_for_the_key(
    upstream: Upstream,
) -> None:
    upstream.set_faults([Fault(status=502)])
    ask(upstream)
    counts = upstream.counts
    assert (counts.mints, counts.issued) == (1, 0)
    assert counts.by_key == {fingerprint(KEY): 1}


def test_same_token_returns_the_last_token_with_its_old_expiry(upstream: Upstream) -> None:
    first = minted(upstream, 100)
    upstream.set_faults([Fault(same_token=True)])
    assert minted(upstream, 100, now=NOW + 70) == first
    assert not upstream.is_valid(first[0], NOW + 100)
    assert upstream.counts.issued == 1


def test_same_token_issues_a_first_token(upstream: Upstream) -> None:
    upstream.set_faults([Fault(same_token=True)])
    assert upstream.is_valid(minted(upstream)[0], NOW)


def test_a_fault_can_shorten_the_lifetime(upstream: Upstream) -> None:
    upstream.set_faults([Fault(lifetime=5.0)])
    access, _ = minted(upstream, 3600)
    assert upstream.is_valid(access, NOW + 4.9)
    assert not upstream.is_valid(access, NOW + 5)


def test_clock_offset_changes_the_jwt_and_the_date_but_no_lifetime() -> None:
    upstream = Upstream(make_token=jwt_maker(b"signing key"))
    upstream.add_key(KEY)
    upstream.set_faults([Fault(clock_offset=-500.0)])
    reply = ask(upstream, b'{"expiry_seconds": 100}')
    access = content(reply)["data"]["access_token"]
    claims = json.loads(base64.urlsafe_b64decode(access.split(".")[1] + "=="))
    assert (claims["iat"], claims["exp"]) == (NOW - 500, NOW - 400)
    assert reply.clock == NOW - 500
    assert upstream.is_valid(access, NOW + 99)
    assert not upstream.is_valid(access, NOW + 100)


def test_a_hang_and_a_reset_are_counted(upstream: Upstream) -> None:
    upstream.set_faults([Fault(hang=True, count=1), Fault(reset=True, count=1)])
    assert [ask(upstream).answer, ask(upstream).answer] == [None, None]
    assert upstream.counts.outcomes == {"hang": 1, "reset": 1}


def test_counts_record_requests_and_outcomes(upstream: Upstream) -> None:
    access, refresh = minted(upstream, 60)
    ask(upstream, bearer=refresh)
    ask(upstream, bearer="another-key")
    ask(upstream, b"not JSON")
    use(upstream, access)
    use(upstream, access, NOW + 60)
    use(upstream, "never-issued")
    use(upstream, None)
    upstream.respond(Request("GET", "/favicon.ico"), NOW)
    counts = upstream.counts
    assert (counts.mints, counts.issued, counts.other) == (4, 2, 1)
    assert counts.outcomes == {"200": 2, "401": 1, "400": 1}
    assert counts.by_key == {fingerprint(KEY): 3, "unknown": 1}
    assert counts.product == {"ok": 1, "expired": 1, "refused": 2}
    upstream.reset_counts()
    assert upstream.counts.mints == 0


def test_each_mint_request_is_recorded_with_its_sender(upstream: Upstream) -> None:
    ask(upstream, b'{"expiry_seconds": 60}', **{"user-agent": "refresher/1", "cookie": "private"})
    ask(upstream, b'{"expiry_seconds": "x"}', bearer=None, now=NOW + 1)
    first, second = upstream.counts.recent
    assert (first.at, first.expiry_seconds, first.kind, first.outcome) == (NOW, 60, "key", "200")
    assert first.credential == fingerprint(KEY)
    assert first.user_agent == "refresher/1"
    assert first.path == "/v1/keys/accesstoken"
    assert "cookie" not in first.headers
    assert (second.expiry_seconds, second.credential, second.kind) == (None, None, "unknown")


def test_records_contain_no_key_and_no_token(upstream: Upstream) -> None:
    access, refresh = minted(upstream)
    replies = [ask(upstream, bearer=refresh), use(upstream, access)]
    records = repr((upstream.counts, upstream.keys, upstream.faults, [reply.note for reply in replies]))
    assert fingerprint(KEY) in records
    assert not [secret for secret in (KEY, access, refresh) if secret in records]


def test_expired_tokens_are_forgotten_before_valid_ones() -> None:
    upstream = Upstream(remembered=10)
    upstream.add_key(KEY)
    long_lived, _ = minted(upstream, 10_000)
    short_lived = [minted(upstream, 1, now=NOW + 10 * count)[0] for count in range(50)]
    assert upstream.is_valid(long_lived, NOW + 500)
    assert upstream.is_valid(short_lived[-1], NOW + 490)
    assert status(use(upstream, short_lived[0], NOW + 500)) == 403


def test_the_number_of_remembered_tokens_is_bounded() -> None:
    upstream = Upstream(remembered=10)
    upstream.add_key(KEY)
    issued = [minted(upstream)[0] for _ in range(50)]
    assert upstream.is_valid(issued[-1], NOW)
    assert sum(upstream.is_valid(access, NOW) for access in issued) <= 5
