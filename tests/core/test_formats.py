import json

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from refresher.core import formats, rfc3339
from refresher.core.formats import Format
from refresher.core.instant import Instant
from refresher.core.model import SecretStr, Token, TokenFacts

ISSUED = Instant(1_793_872_800.75, 5000.0)  # 2026-11-05T10:00:00.75Z
NOW = ISSUED + 10.5
URL = "https://api.inlive.app"
READABLE = [Format(name) for name in formats.NAMES if name != "template"]

secrets = st.from_regex(formats.BEARER_TOKEN, fullmatch=True)


def token(access="a.b-c", refresh=None, lifetime=3600.0, requested=3600.0):
    access = SecretStr(access)
    facts = TokenFacts(ISSUED, lifetime, requested, "0" * 16, access.fingerprint, refresh is not None, URL)
    return Token(facts, access, refresh and SecretStr(refresh))


def rendered(form, of, now=NOW, url=URL):
    return formats.render(form, of, now, url)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("token", b"a.b-c"),
        ("bearer", b"Bearer a.b-c"),
        ("header", b"Authorization: Bearer a.b-c\n"),
        ("env", b"INLIVE_ACCESS_TOKEN=a.b-c\n"),
    ],
)
def test_a_plain_format_is_the_token_with_its_prefix_and_suffix(name, content):
    assert rendered(Format(name), token()) == content


def test_json_contains_token_type_and_expiry():
    assert json.loads(rendered(Format("json"), token(refresh="r"))) == {
        "access_token": "a.b-c",
        "token_type": "Bearer",
        "expires_at": "2026-11-05T11:00:00Z",  # of …00.75
        "expires_in": 3589,  # of 3589.5
    }


def test_the_envoy_secret_is_a_whole_header_value_under_a_fixed_name():
    assert json.loads(rendered(Format("envoy-sds"), token(refresh="r"))) == {
        "resources": [
            {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
                "name": "inlive-access-token",
                "generic_secret": {"secret": {"inline_string": "Bearer a.b-c"}},
            }
        ]
    }


def test_the_sdk_object_fits_set_auth():
    assert json.loads(rendered(Format("inlive-sdk"), token(refresh="r", lifetime=1800.0))) == {
        "url": "https://api.inlive.app/v1/keys/accesstoken",
        "code": 200,
        "ok": True,
        "message": "",
        # As requested, not as expected: the SDK requests the same lifetime at its own next mint.
        "data": {"accessToken": "a.b-c", "refreshToken": "r", "expirySeconds": 3600},
    }


def test_the_sdk_object_without_a_refresh_token_has_an_empty_one():
    document = json.loads(rendered(Format("inlive-sdk"), token()))
    assert document["data"]["refreshToken"] == ""


def test_a_slash_at_the_end_of_the_issuer_is_not_doubled():
    document = json.loads(rendered(Format("inlive-sdk"), token(), url="https://host/inlive/"))
    assert document["url"] == "https://host/inlive/v1/keys/accesstoken"


@pytest.mark.parametrize("name", ["json", "inlive-sdk", "envoy-sds", "env", "header"])
def test_printable_formats_end_with_a_newline(name):
    assert rendered(Format(name), token()).endswith(b"\n")


def test_a_template_is_filled_in():
    template = "$token_type ${access_token} r=$refresh_token $issued_at $expires_at $expires_in $$5"
    assert rendered(Format("template", template), token(refresh="r")) == (
        b"Bearer a.b-c r=r 2026-11-05T10:00:00Z 2026-11-05T11:00:00Z 3589 $5"
    )


def test_every_placeholder_has_a_value():
    template = " ".join(f"${name}" for name in formats.PLACEHOLDERS)
    assert b"$" not in rendered(Format("template", template), token())


def test_a_token_with_a_dollar_sign_is_not_filled_in_again():
    assert rendered(Format("template", "$access_token"), token("$refresh_token")) == b"$refresh_token"


def test_an_expired_token_expires_in_0_seconds():
    assert json.loads(rendered(Format("json"), token(), ISSUED + 9999.0))["expires_in"] == 0


@given(st.floats(min_value=0, max_value=4e9), st.floats(min_value=0.1, max_value=1e6), st.floats(0, 1e6))
def test_the_written_expiry_is_never_too_late(wall, lifetime, age):
    issued = Instant(wall, 0.0)
    facts = TokenFacts(issued, lifetime, lifetime, "0" * 16, "0" * 16, has_refresh_token=False, issuer=URL)
    now = issued + age
    document = json.loads(rendered(Format("json"), Token(facts, SecretStr("a")), now))
    assert rfc3339.parse(document["expires_at"]) <= facts.expiry.wall
    assert document["expires_in"] <= max(0.0, facts.remaining(now))


@pytest.mark.parametrize("form", READABLE, ids=lambda form: form.name)
@given(access=secrets, refresh=st.none() | secrets)
def test_rendered_content_is_read_back(form, access, refresh):
    found = formats.read_back(form, rendered(form, token(access, refresh)))
    kept = refresh if formats.includes_refresh_token(form) else None
    assert found is not None
    assert found[0].reveal() == access
    assert (found[1] and found[1].reveal()) == kept


@pytest.mark.parametrize("form", READABLE, ids=lambda form: form.name)
@given(text=st.text(st.characters(exclude_categories=("Cs",))))
@example(text="x;id")
@example(text="$(id)")
@example(text="a b")
@example(text="a=b")
def test_text_that_is_not_a_bearer_token_is_not_read_back(form, text):
    """A shell may read an output in format env as it is."""
    assume(not formats.BEARER_TOKEN.fullmatch(text))
    assert formats.read_back(form, rendered(form, token(text))) is None


def test_a_template_is_not_read_back():
    form = Format("template", "$access_token")
    assert formats.read_back(form, rendered(form, token())) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("token", b""),
        ("token", b"two\nlines"),
        ("token", b"\xff\xfe"),
        ("bearer", b"a.b-c"),
        ("bearer", b"Bearer "),
        ("env", b"INLIVE_ACCESS_TOKEN=a"),
        ("env", b"INLIVE_ACCESS_TOKEN=\n"),
        ("env", b"INLIVE_ACCESS_TOKEN=a\nB=c\n"),
        ("json", b"a.b-c"),
        ("json", b"null"),
        ("json", b"[]"),
        ("json", b'{"access_token": ""}'),
        ("json", b'{"access_token": 7}'),
        ("json", b'{"access_token": "\\ud800"}'),
        ("json", b'{"access_token": "a\\nb"}'),
        ("json", b'{"data": {"accessToken": "a", "refreshToken": ""}}'),
        ("json", b"[" * 100_000),
        ("inlive-sdk", b'{"access_token": "a"}'),
        ("inlive-sdk", b'{"data": "a"}'),
        ("inlive-sdk", b'{"data": {"accessToken": "a"}}'),
        ("header", b"Authorization: Bearer a"),
        ("header", b"Bearer a\n"),
        ("header", b"Authorization: Bearer a\nX: b\n"),
        ("envoy-sds", b'{"resources": []}'),
        ("envoy-sds", b'{"resources": [{"generic_secret": {"secret": {"inline_string": "a"}}}]}'),
        ("envoy-sds", b'{"resources": [{"generic_secret": {"secret": {"inline_string": 7}}}]}'),
        ("a format of tomorrow", b"a.b-c"),
    ],
)
def test_content_from_elsewhere_is_not_read_back(name, content):
    assert formats.read_back(Format(name), content) is None


@pytest.mark.parametrize("name", formats.NAMES)
@given(content=st.binary())
def test_any_content_is_credentials_or_nothing(name, content):
    found = formats.read_back(Format(name), content)
    assert found is None or found[0].reveal()


@pytest.mark.parametrize(
    ("form", "needed"),
    [
        *((Format(name), name == "inlive-sdk") for name in formats.NAMES if name != "template"),
        (Format("template", "$access_token"), False),
        (Format("template", "$access_token $refresh_token"), True),
        (Format("template", "$access_token ${refresh_token}"), True),
        (Format("template", "$access_token $$refresh_token"), False),
    ],
)
def test_includes_refresh_token_matches_the_rendered_content(form, needed):
    assert formats.includes_refresh_token(form) is needed
    assert (b"R3fr3sh" in rendered(form, token(refresh="R3fr3sh"))) is needed


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((Format("token"), URL), (Format("token"), "https://elsewhere"), True),
        ((Format("token"), URL), (Format("bearer"), URL), False),
        ((Format("inlive-sdk"), URL), (Format("inlive-sdk"), URL), True),
        ((Format("inlive-sdk"), URL), (Format("inlive-sdk"), "https://elsewhere"), False),
        ((Format("template", "$access_token"), URL), (Format("template", "$access_token"), URL), True),
        ((Format("template", "$access_token"), URL), (Format("template", "a $access_token"), URL), False),
    ],
)
def test_identities_differ_if_the_contents_differ(one, other, same):
    identities = one[0].identity(one[1]), other[0].identity(other[1])
    assert (identities[0] == identities[1]) is same
    assert (rendered(one[0], token(), url=one[1]) == rendered(other[0], token(), url=other[1])) is same


@pytest.mark.parametrize("name", formats.NAMES)
def test_a_format_is_recovered_from_its_identity(name):
    assert formats.of_identity(Format(name, "x" if name == "template" else None).identity(URL)).name == name


def test_an_identity_does_not_reveal_the_template():
    assert "hunter2" not in Format("template", "password=hunter2 $access_token").identity(URL)
