"""Hiding parts of secrets in texts. Responses of the issuer and of the API server are shown this way."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.core.disclosure import HIDDEN, censored, contains, printable
from refresher.core.http_response import Response
from refresher.core.issuer_response import classify
from refresher.core.model import Declined, SecretStr
from refresher.errors import KubeError
from refresher.kube.paths import secret_path
from refresher.kube.responses import Request, meaning

KEY = "ilk_application-4F7c91d2aaBz"
END = KEY[-12:]
WORDS = "inlive-demo-application-authentication-key"

VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=40)
BETWEEN = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def of_issuer(text: str, secret: str) -> str:
    body = json.dumps({"message": text}).encode()
    declined = classify(
        Response(404, {"content-type": "application/json"}, body), SecretStr(secret), 60.0, 0.0
    )
    assert isinstance(declined, Declined)
    return declined.message


def of_api_server(text: str, secret: str) -> str:
    body = json.dumps({"kind": "Status", "message": text}).encode()
    sent = {"data": {"k": base64.b64encode(secret.encode()).decode()}}
    with pytest.raises(KubeError) as raised:
        meaning(Request("PATCH", secret_path("ns", "s"), sent), Response(422, {}, body), None, 0.0)
    return str(raised.value)


def percent(text: str) -> str:
    return "".join(f"%{ord(each):02x}" for each in text)


SHOWN = pytest.mark.parametrize("shown", [of_issuer, of_api_server])


@SHOWN
@pytest.mark.parametrize(
    "text",
    [
        "no such path; there are the application and its authentication",
        "Application unknown",
        "APPLICATION UNKNOWN",
        "the key is unknown",
    ],
)
@pytest.mark.parametrize("secret", [KEY, WORDS])
def test_a_common_word_in_the_secret_is_not_hidden(shown, text, secret):
    assert text in shown(text, secret)


@SHOWN
@pytest.mark.parametrize(
    "part",
    [
        pytest.param(KEY, id="all of it"),
        pytest.param(KEY[:8], id="its beginning"),
        pytest.param(KEY[-8:], id="its end"),
        pytest.param(KEY[8:20], id="its middle"),
        pytest.param(quote(END, safe=""), id="its end, percent-encoded"),
        pytest.param(percent(KEY), id="percent-encoded"),
        pytest.param(quote(percent(KEY)), id="percent-encoded, twice"),
        pytest.param("".join(f"\\u{ord(each):04x}" for each in KEY), id="escaped as in JSON"),
        pytest.param("".join(f"\\\\u{ord(each):04X}" for each in END), id="escaped as in JSON in JSON"),
        pytest.param("".join(f"\\x{ord(each):02x}" for each in KEY), id="escaped as in Python and Go"),
        pytest.param(base64.b64encode(KEY.encode()).decode(), id="in base64"),
        pytest.param(base64.b64encode(base64.b64encode(KEY.encode())).decode(), id="in base64, twice"),
        pytest.param(
            base64.urlsafe_b64encode(b"\xff" + KEY.encode()).decode().rstrip("="), id="in base64url"
        ),
        pytest.param(base64.b64encode(f"k={KEY}".encode())[2:].decode(), id="in base64, from its middle"),
        pytest.param(
            quote(base64.b64encode(b"\xff" + KEY.encode()).decode(), safe=""), id="in base64 in a URL"
        ),
        pytest.param(KEY.encode().hex(), id="in hexadecimal"),
        pytest.param("0x" + KEY.encode().hex().upper(), id="in hexadecimal, in capitals"),
        *(
            pytest.param(form, id=f"in {encoding}{where}")
            for encoding in ("utf-16-le", "utf-16-be", "utf-16", "utf-32-le")
            for where, form in (
                ("", END.encode(encoding).decode("latin-1")),
                (", in base64", base64.b64encode(END.encode(encoding)).decode()),
                (", in hexadecimal", END.encode(encoding).hex()),
                (", percent-encoded", quote(END.encode(encoding))),
            )
        ),
    ],
)
def test_a_part_of_the_secret_is_hidden_and_the_rest_is_shown(shown, part):
    text = shown(f"no such key: {part} (see the manual)", KEY)
    assert f"no such key: {HIDDEN} (see the manual)" in text


@SHOWN
def test_half_of_a_secret_is_hidden_even_if_it_is_a_word(shown):
    assert f"is {HIDDEN} right?" in shown("is authentication right?", "authentication-0")


@given(BETWEEN, VISIBLE, BETWEEN)
def test_no_text_shows_a_secret(before, secret, after):
    for form in (secret, base64.b64encode(secret.encode()).decode()):
        assert form not in censored(before + form + after, [secret])


@pytest.mark.parametrize("secret", ["true", "", "short"])
def test_a_value_too_short_to_be_a_secret_is_not_hidden(secret):
    assert censored("not true, but short", [secret]) == "not true, but short"


def test_a_whole_secret_is_found_in_encoded_text():
    assert contains(KEY, KEY)
    assert contains(f"a.{base64.b64encode(KEY.encode()).decode()}", KEY)
    assert not contains(KEY[:-1], KEY)
    assert contains("key", "key")
    assert not contains("another key", "key")  # a long token may contain a short text by chance


def test_characters_that_control_a_terminal_or_break_lines_are_escaped():
    assert printable("a\nb\x1b[2J\u202ec\ud800 é") == "a\\nb\\x1b[2J\\u202ec\\ud800 é"
