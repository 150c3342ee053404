"""The meaning of responses of the issuer. Every row of the design's table "Failures" is a row here."""

import gzip
import json
from base64 import b64encode
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from refresher.core.disclosure import HIDDEN
from refresher.core.expiry import LONGEST_TOKEN
from refresher.core.http_response import Response
from refresher.core.issuer_response import LONGEST_MESSAGE, LONGEST_RESPONSE, classify
from refresher.core.model import Declined, Granted, Outcome, SecretStr
from tests.core.test_expiry import jwt

KEY = SecretStr("inlive-4f7c91d2aa")
HOUR = 3600.0  # is requested
NOW = datetime(2026, 11, 5, 10, 0, 0, tzinfo=UTC).timestamp()
A_MINUTE_LATER = "Thu, 05 Nov 2026 10:01:00 GMT"


def answer(status: int, content: object = b"", **headers: str) -> Response:
    """A response with the body `content`: raw bytes, or a value that becomes JSON with its content type."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(content, bytes):
        return Response(status, named, content)
    return Response(status, {"content-type": "application/json", **named}, json.dumps(content).encode())


def granting(**data: object) -> dict[str, object]:
    return {"code": 200, "ok": True, "message": "", "data": {"access_token": "T0ken", **data}}


def declined(raw: Response) -> Declined:
    meaning = classify(raw, KEY, HOUR, NOW)
    assert isinstance(meaning, Declined)
    return meaning


# --- a token


@pytest.mark.parametrize("status", [200, 201, 299])
def test_a_success_with_a_token_is_granted(status: int) -> None:
    granted = classify(answer(status, granting(refresh_token="r3fresh")), KEY, HOUR, NOW)
    assert granted == Granted(SecretStr("T0ken"), SecretStr("r3fresh"), HOUR)


@pytest.mark.parametrize("data", [{}, {"refresh_token": None}, {"refresh_token": ""}])
def test_a_refresh_token_is_not_needed(data: dict[str, object]) -> None:
    assert classify(answer(200, granting(**data)), KEY, HOUR, NOW) == Granted(SecretStr("T0ken"), None, HOUR)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_a_content_type_may_have_parameters_and_capitals(content_type: str) -> None:
    assert isinstance(classify(answer(200, granting(), content_type=content_type), KEY, HOUR, NOW), Granted)


def test_fields_other_than_the_token_are_optional() -> None:
    assert isinstance(classify(answer(200, {"data": {"access_token": "T0ken"}}), KEY, HOUR, NOW), Granted)


def test_the_last_of_two_equal_names_counts_as_in_the_official_sdk() -> None:
    body = b'{"data": {"access_token": "first"}, "data": {"access_token": "last"}}'
    assert classify(answer(200, body, content_type="application/json"), KEY, HOUR, NOW) == Granted(
        SecretStr("last"), None, HOUR
    )


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        pytest.param(answer(200, granting() | {"ok": False}), "reports a failure", id="ok: false"),
        pytest.param(answer(200, {"ok": True}), "no data", id="no data"),
        pytest.param(answer(200, {"data": "T0ken"}), "no data", id="data that is no object"),
        pytest.param(answer(200, {"data": {}}), "no access token", id="no token"),
        pytest.param(answer(200, granting(access_token="")), "no access token", id="empty token"),
        pytest.param(answer(200, granting(access_token=None)), "no access token", id="null token"),
        pytest.param(answer(200, granting(access_token=7)), "access token is not a text", id="a number"),
        pytest.param(answer(200, granting(access_token=["T0ken"])), "is not a text", id="a list"),
        pytest.param(answer(200, granting(access_token="a\nb")), "invalid characters", id="a line break"),
        pytest.param(answer(200, granting(access_token="a b")), "invalid characters", id="a space"),
        pytest.param(
            answer(200, granting(access_token="T0ken\n")), "invalid characters", id="a final line break"
        ),
        pytest.param(answer(200, granting(access_token="a\0")), "invalid characters", id="a NUL"),
        pytest.param(answer(200, granting(access_token="tök")), "invalid characters", id="not ASCII"),
        pytest.param(
            answer(200, granting(access_token="\ud800")), "invalid characters", id="half a surrogate"
        ),
        pytest.param(
            answer(200, granting(access_token="t" * (LONGEST_TOKEN + 1))), "longer", id="over 64 KiB"
        ),
        pytest.param(
            answer(200, granting(refresh_token=7)), "refresh token is not", id="malformed refresh token"
        ),
        pytest.param(answer(200, granting(refresh_token="a b")), "its refresh token", id="a space in it"),
        pytest.param(answer(200, granting(access_token="x;id")), "invalid characters", id="for a shell"),
        pytest.param(answer(200, granting(access_token="a=b")), "invalid characters", id="= within it"),
        pytest.param(
            answer(200, granting(refresh_token="$(id)")), "its refresh token", id="for a shell, too"
        ),
        pytest.param(
            answer(200, granting(access_token=jwt({"iat": NOW, "exp": NOW + 1}))), "too short", id="a second"
        ),
        pytest.param(
            answer(200, granting(access_token=jwt({"exp": NOW + 80})), date=A_MINUTE_LATER),
            "lives 20 s",
            id="20 s by the issuer's Date",
        ),
        pytest.param(answer(200), "content type", id="no body"),
        pytest.param(answer(200, b"T0ken", content_type="application/json"), "not JSON", id="not JSON"),
        pytest.param(answer(200, granting(), content_type="text/html"), "content type", id="another type"),
        pytest.param(answer(200, ["T0ken"]), "not a JSON object", id="no object"),
        pytest.param(answer(200, b'{"data"', content_type="application/json"), "not JSON", id="half of it"),
        pytest.param(answer(200, b"\xff{}", content_type="application/json"), "not JSON", id="not UTF-8"),
        pytest.param(answer(200, b'{"a": NaN}', content_type="application/json"), "not JSON", id="NaN"),
        pytest.param(
            answer(200, b"[" * 100_000, content_type="application/json"), "not JSON", id="deep nesting"
        ),
        pytest.param(
            answer(200, b"9" * 10_000, content_type="application/json"), "not JSON", id="10,000 digits"
        ),
        pytest.param(
            answer(200, gzip.compress(b"{}"), content_type="application/json", content_encoding="gzip"),
            "compressed",
            id="compressed",
        ),
        pytest.param(answer(200, b" " * (LONGEST_RESPONSE + 1)), "longer than 1048576", id="over 1 MiB"),
        pytest.param(Response(200, {}, b"", overlong=True), "longer than 1048576", id="cut off at 1 MiB"),
    ],
)
def test_a_success_without_a_usable_token_is_a_bad_response_with_a_reason(raw: Response, why: str) -> None:
    meaning = declined(raw)
    assert meaning.outcome is Outcome.BAD_RESPONSE
    assert meaning.message.startswith("200, but ")
    assert why in meaning.message
    assert "T0ken" not in meaning.message


@pytest.mark.parametrize("sort", ["access_token", "refresh_token"])
@pytest.mark.parametrize(
    "echo",
    [
        pytest.param(KEY.reveal(), id="the key"),
        pytest.param(f"Bearer.{KEY.reveal()}.1", id="the key within it"),
        pytest.param(b64encode(KEY.reveal().encode()).decode(), id="in base64"),
        pytest.param(b64encode(b64encode(f"id:{KEY.reveal()}".encode())).decode(), id="in base64 of base64"),
        pytest.param(jwt({"sub": KEY.reveal()}), id="among the claims of a JWT"),
    ],
)
def test_a_token_that_contains_the_key_is_refused(sort: str, echo: str) -> None:
    meaning = declined(answer(200, granting(**{sort: echo})))
    assert meaning.outcome is Outcome.BAD_RESPONSE
    assert "contains the key" in meaning.message
    assert sort.partition("_")[0] in meaning.message


def test_a_token_may_share_a_beginning_with_the_key() -> None:
    token = KEY.reveal()[:-1] + "~"
    assert isinstance(classify(answer(200, granting(access_token=token)), KEY, HOUR, NOW), Granted)


def test_the_claims_of_a_token_limit_its_lifetime() -> None:
    token = jwt({"iat": NOW, "exp": NOW + 1800})
    assert classify(answer(200, granting(access_token=token)), KEY, HOUR, NOW) == Granted(
        SecretStr(token), None, 1800.0
    )


# --- no token


@pytest.mark.parametrize(
    ("raw", "outcome", "wait"),
    [
        pytest.param(answer(401, {}), Outcome.KEY_REFUSED, None, id="401"),
        pytest.param(answer(403, {}), Outcome.KEY_REFUSED, None, id="403"),
        pytest.param(
            answer(403, {}, retry_after="60"), Outcome.KEY_REFUSED, None, id="403, even if asked to wait"
        ),
        pytest.param(answer(429), Outcome.THROTTLED, None, id="429"),
        pytest.param(answer(429, retry_after="60"), Outcome.THROTTLED, 60.0, id="429 with seconds"),
        pytest.param(answer(429, retry_after="soon"), Outcome.THROTTLED, None, id="429 with nonsense"),
        pytest.param(answer(503, retry_after="60"), Outcome.THROTTLED, 60.0, id="503 with seconds"),
        pytest.param(answer(503, retry_after=A_MINUTE_LATER), Outcome.THROTTLED, 60.0, id="503 with a date"),
        pytest.param(answer(503), Outcome.SERVER_ERROR, None, id="503"),
        pytest.param(answer(503, retry_after="soon"), Outcome.SERVER_ERROR, None, id="503 with nonsense"),
        pytest.param(answer(500), Outcome.SERVER_ERROR, None, id="500"),
        pytest.param(answer(502, retry_after="60"), Outcome.SERVER_ERROR, None, id="502"),
        pytest.param(answer(599), Outcome.SERVER_ERROR, None, id="599"),
        pytest.param(answer(400), Outcome.BAD_RESPONSE, None, id="400"),
        pytest.param(answer(404), Outcome.BAD_RESPONSE, None, id="404"),
        pytest.param(answer(301, location="https://else.where"), Outcome.BAD_RESPONSE, None, id="301"),
        pytest.param(answer(307, granting()), Outcome.BAD_RESPONSE, None, id="307 with a token"),
        pytest.param(answer(101), Outcome.BAD_RESPONSE, None, id="101"),
        pytest.param(answer(600), Outcome.BAD_RESPONSE, None, id="600"),
    ],
)
def test_every_other_status_has_its_outcome(raw: Response, outcome: Outcome, wait: float | None) -> None:
    meaning = declined(raw)
    assert (meaning.outcome, meaning.retry_after) == (outcome, wait)
    assert str(raw.status) in meaning.message


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    "page",
    [
        pytest.param({"content": b""}, id="nothing"),
        pytest.param({"content": b"<html>Blocked</html>", "content_type": "text/html"}, id="HTML"),
        pytest.param(
            {"content": b"<html>", "content_type": "application/json"}, id="HTML that claims to be JSON"
        ),
        pytest.param({"content": b"Unauthorized", "content_type": "text/plain"}, id="plain text"),
        pytest.param({"content": b'"no"', "content_type": "application/json"}, id="JSON, but no object"),
    ],
)
def test_only_the_issuer_itself_can_refuse_the_key(status: int, page: dict[str, object]) -> None:
    meaning = declined(answer(status, **page))  # type: ignore[arg-type]
    assert meaning.outcome is Outcome.BAD_RESPONSE
    assert meaning.retry_after is None
    assert meaning.message.startswith(f"{status}, but ")
    assert "a proxy, a firewall or a portal may have answered" in meaning.message


# --- messages


def message_of(status: int, content: object, **headers: str) -> str:
    return declined(answer(status, content, **headers)).message


def test_a_short_error_message_is_shown() -> None:
    assert message_of(401, {"code": 401, "ok": False, "message": "no such key"}) == "401: no such key"
    assert (
        message_of(200, {"ok": False, "message": "not today"})
        == "200, but its body reports a failure: not today"
    )


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        pytest.param({"message": "x" * (LONGEST_MESSAGE + 1)}, {}, id="long"),
        pytest.param({"message": {"text": "no"}}, {}, id="not a text"),
        pytest.param({"error": "no such key"}, {}, id="another name"),
        pytest.param(b"no such key", {"content_type": "text/plain"}, id="no JSON"),
        pytest.param(b'{"message": "no such key"}', {"content_type": "text/html"}, id="announced as HTML"),
    ],
)
def test_no_other_error_body_is_shown(content: object, headers: dict[str, str]) -> None:
    assert message_of(400, content, **headers) == "400"


def test_control_characters_of_a_message_are_escaped() -> None:
    assert message_of(400, {"message": "a\nb\x1b[2J\u202ec"}) == "400: a\\nb\\x1b[2J\\u202ec"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({"message": f"no such key: {KEY.reveal()}"}, id="the key"),
        pytest.param({"message": f"no such key: {KEY.reveal()[:8]}..."}, id="the beginning of the key"),
        pytest.param({"message": f"no such key: ***{KEY.reveal()[-8:]}"}, id="the end of the key"),
        pytest.param(
            {"message": b64encode(f"Authorization: Bearer {KEY.reveal()}".encode()).decode()}, id="in base64"
        ),
        pytest.param(
            {"message": "".join(f"%{ord(each):02x}" for each in KEY.reveal())}, id="percent-encoded"
        ),
        pytest.param({"message": "token abc.def is old", "data": {"refresh_token": "abc.def"}}, id="a token"),
    ],
)
def test_a_message_that_repeats_part_of_a_secret_is_shown_without_that_part(content: object) -> None:
    text = message_of(401, content)
    assert HIDDEN in text
    assert KEY.reveal()[:8] not in text
    assert KEY.reveal()[-8:] not in text
    assert "abc.def" not in text


_SECRET = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=40)
_HEADER = st.text(max_size=60) | st.datetimes().map(
    lambda when: format_datetime(when.replace(tzinfo=UTC), usegmt=True)
)
_HEADERS = st.dictionaries(
    st.sampled_from(["content-type", "content-encoding", "retry-after", "date"]),
    _HEADER | st.just("application/json"),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner)
    | st.dictionaries(st.text() | st.sampled_from(["data", "ok", "message"]), inner),
    max_leaves=8,
)


@given(
    st.integers(100, 999),
    _HEADERS,
    st.binary() | _JSON.map(lambda content: json.dumps(content).encode()),
    _SECRET,
)
@example(503, {"retry-after": "Thu, 32 Foo 2026 99:99:99 +9999999999"}, b"", "12345678")
def test_no_response_raises_an_error(status: int, headers: dict[str, str], body: bytes, key: str) -> None:
    meaning = classify(Response(status, headers, body), SecretStr(key), HOUR, NOW)
    assert isinstance(meaning, Granted) or meaning.message.isprintable()


@given(
    st.integers(100, 999),
    st.text(max_size=60),
    st.text(max_size=60),
    _SECRET,
    st.sampled_from(["key", "token"]),
)
def test_no_message_contains_a_secret(status: int, before: str, after: str, secret: str, sort: str) -> None:
    key = secret if sort == "key" else KEY.reveal()
    content = {"ok": False, "message": before + secret + after, "data": {"access_token": secret}}
    meaning = classify(answer(status, content), SecretStr(key), HOUR, NOW)
    assert isinstance(meaning, Declined)
    assert secret not in meaning.message


# --- the request id


@pytest.mark.parametrize("status", [200, 302, 401, 429, 500])
def test_a_failure_keeps_the_request_id(status: int) -> None:
    assert declined(answer(status, {}, x_request_id="req-1")).request_id == "req-1"


@pytest.mark.parametrize("value", ["{}", "id-{}", b64encode(KEY.reveal().encode()).decode()])
def test_a_request_id_with_the_key_is_dropped(value: str) -> None:
    response = answer(500, {}, x_request_id=value.format(KEY.reveal()))
    assert response.request_id != ""
    assert declined(response).request_id == ""
