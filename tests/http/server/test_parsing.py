"""Valid requests, refused requests, and the status for each refusal (RFC 9112)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refresher.http.server.messages import Request
from refresher.http.server.parsing import RefusedError, parsed
from tests.http.server.wire import outcome

HOST, X = b"Host: x\r\n", {"host": "x"}
LINE = b"GET /there HTTP/1.1\r\n"
POST = b"POST /there HTTP/1.1\r\n" + HOST
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

ACCEPTED = {
    "plain": (LINE + HOST, Request("GET", "/there", X, host="x")),
    "a query": (b"GET /a?b=/c?d HTTP/1.1\r\n" + HOST, Request("GET", "/a", X, query="b=/c?d", host="x")),
    "percent-encoded": (b"GET /%2e%2E HTTP/1.1\r\n" + HOST, Request("GET", "/%2e%2E", X, host="x")),
    "two slashes": (b"GET //a HTTP/1.1\r\n" + HOST, Request("GET", "//a", X, host="x")),
    "an absolute target names the host": (
        b"GET http://y:1/a?b HTTP/1.1\r\n" + HOST,
        Request("GET", "/a", X, query="b", host="y:1"),
    ),
    "an absolute target without a path": (
        b"GET HTTP://y?b HTTP/1.1\r\n" + HOST,
        Request("GET", "/", X, query="b", host="y"),
    ),
    "an asterisk": (b"OPTIONS * HTTP/1.1\r\n" + HOST, Request("OPTIONS", "*", X, host="x")),
    "a tunnel": (b"CONNECT y:1 HTTP/1.1\r\n" + HOST, Request("CONNECT", "y:1", X, host="x")),
    "an old client": (b"GET / HTTP/1.0\r\n", Request("GET", "/", old=True)),
    "a later minor version": (b"GET / HTTP/1.9\r\n" + HOST, Request("GET", "/", X, host="x")),
    "an empty host": (b"GET / HTTP/1.1\r\nHost:\r\n", Request("GET", "/", {"host": ""})),
    "empty lines before": (b"\r\n\r\n" + LINE + HOST, Request("GET", "/there", X, host="x")),
    "headers of one name": (
        b"GET / HTTP/1.0\r\nAccept: a\r\nX:\r\naccept:\tb \t\r\n",
        Request("GET", "/", {"accept": "a, b", "x": ""}, old=True),
    ),
    "Latin-1 in a value": (b"GET / HTTP/1.0\r\nX: \xe9\r\n", Request("GET", "/", {"x": "\xe9"}, old=True)),
    "a body": (
        POST + b"Content-Length: 007\r\n",
        Request("POST", "/there", {**X, "content-length": "007"}, b"seven..", host="x"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_valid_request_is_parsed(name: str) -> None:
    head, expected = ACCEPTED[name]
    sent = head + b"\r\n" + (b"seven.." if expected.body else b"")
    assert outcome([sent]) == (200, [expected])
    assert outcome(sent[at : at + 1] for at in range(len(sent))) == (200, [expected])


# Requests that two servers may read differently, so that a client can smuggle a request past a proxy.
AMBIGUOUS = {
    "a length and a coding": (
        POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a coding and a length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two lengths": (POST + b"Content-Length: 0\r\nContent-Length: 37\r\n\r\n", 400),
    "the same length twice": (POST + b"Content-Length: 37\r\nContent-Length: 37\r\n\r\n", 400),
    "a list of lengths": (POST + b"Content-Length: 37, 37\r\n\r\n", 400),
    "a signed length": (POST + b"Content-Length: +37\r\n\r\n", 400),
    "a negative length": (POST + b"Content-Length: -37\r\n\r\n", 400),
    "a hexadecimal length": (POST + b"Content-Length: 0x25\r\n\r\n", 400),
    "a length with an underscore": (POST + b"Content-Length: 3_7\r\n\r\n", 400),
    "an empty length": (POST + b"Content-Length:\r\n\r\n", 400),
    "a length in other digits": (POST + b"Content-Length: \xb2\r\n\r\n", 400),
    "a coding with space before the colon": (POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "a length with a tab before the colon": (POST + b"Content-Length\t: 37\r\n\r\n", 400),
    "a folded line": (POST + b"X: a\r\n Content-Length: 37\r\n\r\n", 400),
    "a folded first line": (LINE + b" X: a\r\n" + HOST + b"\r\n", 400),
    "a bare line feed": (POST + b"X: a\nContent-Length: 37\r\n\r\n", 400),
    "bare line feeds only": (b"GET /there HTTP/1.1\nHost: x\n\n", 400),
    "a bare carriage return": (POST + b"X: a\rContent-Length: 37\r\n\r\n", 400),
    "a bare line feed in another version": (b"GET / HTTP/2.0\r\nX: a\nb\r\n\r\n", 400),
    "a null": (POST + b"X: a\0\r\n\r\n", 400),
    "no colon": (POST + b"X\r\n\r\n", 400),
    "no name": (POST + b": x\r\n\r\n", 400),
    "an odd name": (POST + b"X(): x\r\n\r\n", 400),
    "a coding by another name": (POST + b"Transfer-Encoding: identity\r\n\r\n", 501),
    "a coding that hides": (POST + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
    "two codings": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 501),
    "no host": (LINE + b"\r\n", 400),
    "two hosts": (LINE + HOST + HOST + b"\r\n", 400),
    "two hosts in one": (LINE + b"Host: x, y\r\n\r\n", 400),
    "a host with a path": (LINE + b"Host: x/y\r\n\r\n", 400),
}
REFUSED = AMBIGUOUS | {
    "nonsense": (b"not http at all\r\n\r\n", 400),
    "a space": (b" \r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "space at the end": (b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", 400),
    "an absolute target without a host": (b"GET http:///a HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "an absolute target with an odd host": (b'GET http://"x"/a HTTP/1.1\r\n' + HOST + b"\r\n", 400),
    "a target of another scheme": (b"GET file:///a HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a target without a slash": (b"GET there HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "no version": (b"GET /\r\n\r\n", 400),
    "no number": (b"GET / HTTP/nine\r\n\r\n", 400),
    "a small http": (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400),
    "a control character in the target": (b"GET /\x1b[31m HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a target beyond ASCII": (b"GET /\xe9 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "the start of TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "HTTP/0.9": (b"GET / HTTP/0.9\r\n\r\n", 505),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/3": (b"GET / HTTP/3.0\r\n\r\n", 505),
    "a chunked body": (POST + b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", 411),
    "too large a body": (POST + b"Content-Length: 101\r\n\r\n", 413),
    "far too large a body": (POST + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n", 413),
    "too long a line": (b"GET /" + b"y" * 2000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "a line without an end": (b"GET /" + b"y" * 2000, 414),
    "too large a header": (LINE + b"X: " + b"y" * 2000 + b"\r\n\r\n", 431),
    "headers without an end": (LINE + b"X: y\r\n" * 200, 431),
    "too many headers": (LINE + HOST + b"X:\r\n" * 101 + b"\r\n", 431),
    "an unknown expectation": (POST + b"Expect: the worst\r\n\r\n", 417),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_invalid_request_is_refused_and_nothing_after_it_is_read(name: str) -> None:
    sent, status = REFUSED[name]
    assert outcome([sent + SMUGGLED]) == (status, [])
    sent += SMUGGLED
    assert outcome(sent[at : at + 1] for at in range(len(sent))) == (status, [])


ODD = st.lists(st.sampled_from([b"\r\n ", b"\r", b"\n", b"\t", b"\0", b":", b",", b"/", b"a", b"\xe9"])).map(
    b"".join
)
HEADS = st.builds(
    lambda method, target, version, fields: b"%b /%b %b\r\n%b" % (method, target, version, b"".join(fields)),
    st.sampled_from([b"GET", b"HEAD", b"PUT", b""]),
    ODD,
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/1", b""]),
    st.lists(st.builds(lambda name, value: b"X-%b: %b\r\n" % (name, value), ODD, ODD), max_size=3),
)


@settings(max_examples=200, deadline=None)
@given(HEADS | st.binary(max_size=100))
def test_any_input_is_a_request_or_refused(sent: bytes) -> None:
    status, requests = outcome([sent + b"\r\n\r\n"])
    if status is None:
        assert not sent.strip(b"\r\n")  # only empty lines, which begin no request
    else:
        assert status == 200 or 400 <= status < 600
    for request in requests:
        assert request.method.isascii()
        assert request.path.isprintable()
        assert not any(set(value) & {"\r", "\n", "\0"} for value in request.headers.values())


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([LINE + HOST + b"\r\n", POST, b"Content-Length: 2\r\n", b"\r\n", b"a"])).map(
        b"".join
    )
    | HEADS,
    st.data(),
)
def test_the_result_does_not_depend_on_how_the_input_is_split(sent: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(sent)))
    assert outcome(filter(None, [sent[:cut], sent[cut:]])) == outcome(filter(None, [sent]))


def test_bare_line_feeds_are_refused_at_once() -> None:
    assert outcome([b"GET /there HTTP/1.1\nHost: x\n\n"]) == (400, [])
    assert outcome([b"GET /there HTTP/1.1\r", b"\nHost: x\r", b"\n\r\n"])[0] == 200


def test_a_length_with_too_many_digits_is_too_large() -> None:
    with pytest.raises(RefusedError) as raised:
        parsed(POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n")
    assert raised.value.status == 413


def test_a_refusal_repeats_no_part_of_the_request() -> None:
    with pytest.raises(RefusedError) as raised:
        parsed(b"GET /a-secret HTTP/7.0\r\n\r\n")
    assert str(raised.value) == "HTTP Version Not Supported"
