"""Responses of the API server become objects or our errors."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.core.disclosure import HIDDEN
from refresher.core.http_response import Response
from refresher.errors import (
    KubeApiMissingError,
    KubeConflictError,
    KubeDeniedError,
    KubeError,
    KubeNotFoundError,
    KubeRejectedError,
    KubeThrottledError,
    KubeUnreachableError,
)
from refresher.kube.paths import leases_path, secret_path
from refresher.kube.responses import LONGEST_REASON, Request, parse
from tests.kube.connecting import TOKEN, status

APPLY = Request("PATCH", secret_path("studio", "access-token"), {"data": {}})
NOW = 1_800_000_000.0
HTML = b"<html>Bad Gateway</html>"


def error_of(code: int, body: bytes, request: Request = APPLY, **headers: str) -> str:
    return str(raised_by(code, body, request, **headers))


def raised_by(code: int, body: bytes, request: Request = APPLY, **headers: str) -> KubeError:
    with pytest.raises(KubeError) as raised:
        parse(request, Response(code, headers, body), f"Bearer {TOKEN}", NOW)
    return raised.value


def test_an_object_is_returned_unchanged():
    answer = Response(201, {}, b'{"kind": "Secret", "data": {"k": "dg=="}}')
    assert parse(APPLY, answer, None, NOW) == {"kind": "Secret", "data": {"k": "dg=="}}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, KubeRejectedError),
        (401, KubeDeniedError),
        (403, KubeDeniedError),
        (404, KubeNotFoundError),
        (405, KubeRejectedError),
        (409, KubeConflictError),
        (413, KubeRejectedError),
        (415, KubeRejectedError),
        (422, KubeRejectedError),
        (429, KubeThrottledError),
        (500, KubeUnreachableError),
        (503, KubeUnreachableError),
        (504, KubeUnreachableError),
    ],
)
def test_a_status_code_is_one_of_our_errors(code, kind):
    assert type(raised_by(code, status(code, "because"))) is kind


@pytest.mark.parametrize("code", [400, 404, 409, 413, 422, 429, 500, 503])
def test_every_error_names_the_request_and_the_reason(code):
    told = error_of(code, status(code, "because"))
    assert told.startswith("patch secrets/access-token in namespace studio: ")
    assert "because" in told
    assert str(code) in told


@pytest.mark.parametrize("body", [b"404 page not found\n", HTML, b"[]", b'{"error": "nope"}', b""])
def test_a_404_that_is_no_status_is_not_a_missing_object(body):
    """A proxy on the way may send a 404 although the Secret exists."""
    assert type(raised_by(404, body)) is KubeApiMissingError


@pytest.mark.parametrize("body", [HTML, b"", b"[]", b'"yes"', b"[" * 100_000])
def test_a_success_without_an_object_is_an_error(body):
    assert "is this an API server" in error_of(200, body)


def test_a_redirect_is_reported_as_no_response_of_an_api_server():
    assert "302" in error_of(302, b"", location="https://login.example/")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT", "date": "Fri, 15 Jan 2027 08:00:00 GMT"}, 30.0),
        ({}, None),
        ({"retry-after": "soon"}, None),
    ],
)
def test_retry_after_is_parsed(headers, seconds):
    assert raised_by(429, status(429, "too many"), **headers).retry_after == seconds


def rbac(verb: str, resource: str, group: str = "") -> bytes:
    user = 'User "system:serviceaccount:inlive:refresher"'
    denial = f'cannot {verb} resource "{resource}" in API group "{group}" in the namespace "studio"'
    return status(403, f'{resource} "access-token" is forbidden: {user} {denial}', reason="Forbidden")


def test_a_denial_by_rbac_names_verb_resource_namespace_and_remedy():
    told = error_of(403, rbac("patch", "secrets"))
    assert told.startswith("not permitted (403): patch secrets/access-token in namespace studio; ")
    assert "`refresher check`" in told
    assert "system:serviceaccount:inlive:refresher" in told


def test_an_apply_to_a_missing_object_names_create_instead_of_patch():
    assert "(403): create secrets/access-token in namespace studio; " in error_of(
        403, rbac("create", "secrets")
    )


def test_a_denial_names_the_group_if_there_is_one():
    request = Request("POST", leases_path("studio"), {})
    told = error_of(403, rbac("create", "leases", "coordination.k8s.io"), request)
    assert "create leases.coordination.k8s.io in namespace studio" in told


@pytest.mark.parametrize("reason", ["exceeded quota: few", "namespace studio is being terminated"])
def test_no_role_is_recommended_for_other_forbidden_requests(reason):
    told = error_of(403, status(403, f'secrets "access-token" is forbidden: {reason}'))
    assert reason in told
    assert "refresher check" not in told


# Secrets

VALUE = "open-sesame-01"
ENCODED = base64.b64encode(VALUE.encode()).decode()


@pytest.mark.parametrize(
    ("sent", "quoted"),
    [
        ({"data": {"k": ENCODED}}, ENCODED),
        ({"data": {"k": ENCODED}}, VALUE),
        ({"data": {"k": ENCODED}}, VALUE[:12]),
        ({"data": {"k": VALUE}}, VALUE),
        ({"stringData": {"k": VALUE}}, VALUE),
        ({"data": {"k": [{"deep": VALUE}]}}, VALUE),
        ({"data": {"k": f"before {VALUE} after"}}, VALUE),
        ({"data": {"k": "eight-ch"}}, "eight-ch"),
    ],
)
@pytest.mark.parametrize("code", [400, 403, 409, 422, 429, 500])
def test_secrets_in_a_reason_are_masked(code, sent, quoted):
    told = error_of(code, status(code, f"expected string, got {quoted!r}"), APPLY._replace(body=sent))
    assert quoted not in told
    assert f"expected string, got '{HIDDEN}'" in told


def test_our_credentials_in_a_reason_are_masked():
    assert TOKEN not in error_of(422, status(422, f"who is {TOKEN}?"))


def test_the_missing_permission_is_named_even_if_the_secret_contains_its_words():
    request = APPLY._replace(body={"data": {"k": "system:serviceaccount:inlive:refresher"}})
    told = error_of(403, rbac("patch", "secrets"), request)
    assert told.startswith("not permitted (403): patch secrets/access-token in namespace studio; ")
    assert "system:serviceaccount" not in told


@pytest.mark.parametrize("says", ['cannot {} resource "secrets"', 'cannot patch resource "{}"'])
@pytest.mark.parametrize("secret", ["opensesameopen", "open-sesame-01"])
def test_a_secret_is_not_mistaken_for_a_verb_or_resource(says, secret):
    request = APPLY._replace(body={"data": {"k": secret}})
    assert secret not in error_of(403, status(403, says.format(secret)), request)


def test_a_value_too_short_for_a_secret_masks_nothing():
    request = APPLY._replace(body={"data": {"k": "true"}})
    assert "is not true" in error_of(422, status(422, "is not true"), request)


def test_the_rest_of_a_reason_is_shown():
    request = APPLY._replace(body={"metadata": {"name": "access-token"}, "data": {"k": "b3Blbi1zZXNhbWU="}})
    assert "access-token is odd" in error_of(422, status(422, "access-token is odd"), request)


def test_a_reason_cannot_forge_lines_of_the_log():
    assert "\n" not in error_of(422, status(422, "one\ntwo"))


def test_a_long_reason_is_cut():
    assert len(error_of(422, status(422, "x" * 100_000))) < LONGEST_REASON + 100


@pytest.mark.parametrize("shown", [0, 4, 7, 8, 11])
def test_a_secret_at_the_cut_of_a_reason_is_masked_whole(shown):
    secret = "0pen-sesame-of-forty-thieves"
    request = APPLY._replace(body={"data": {"k": secret}})
    told = error_of(422, status(422, "x" * (LONGEST_REASON - shown) + secret), request)
    assert secret[:8] not in told


def test_a_secret_beyond_the_shown_part_of_a_reason_masks_nothing():
    """The search stops there: in a reason of 16 MiB, with a few secrets, it took half a minute."""
    request = APPLY._replace(body={"data": {"k": "0pen-sesame-of-forty-thieves"}})
    told = error_of(422, status(422, "x" * 2 * LONGEST_REASON + "0pen-sesame-of-forty-thieves"), request)
    assert HIDDEN not in told
    assert "sesame" not in told


SECRET = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=12, max_size=30)
MESSAGE = st.none() | st.integers() | st.lists(st.integers()) | st.text(max_size=600)
BODY = st.binary() | st.fixed_dictionaries({"kind": st.just("Status"), "message": MESSAGE}).map(
    lambda content: json.dumps(content).encode()
)
HEADERS = st.dictionaries(st.sampled_from(["retry-after", "date", "content-type"]), st.text(max_size=40))


@given(st.sampled_from([403, 409, 429, 500]) | st.integers(100, 999), HEADERS, BODY)
def test_any_response_is_an_object_or_one_of_our_errors(code, headers, body):
    try:
        found = parse(APPLY, Response(code, headers, body), None, NOW)
        told = ""
    except KubeError as error:
        found, told = {}, str(error)
    assert isinstance(found, dict)
    assert told.isprintable()
    assert told or 200 <= code <= 299


@given(st.integers(400, 599), st.text(max_size=40), SECRET, st.text(max_size=40))
def test_no_reason_contains_the_secrets_of_the_request(code, before, secret, after):
    sent = base64.b64encode(secret.encode()).decode()
    request = APPLY._replace(body={"data": {"k": sent}})
    for repeated in (secret, sent):
        told = error_of(code, status(code, before + repeated + after), request)
        assert repeated not in told
