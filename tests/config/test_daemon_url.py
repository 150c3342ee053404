"""The addresses of a daemon that `refresher status` accepts."""

import pytest

from refresher.config.daemon_url import ACCEPTED, local_url, parse_daemon_url


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("node-1", "http://node-1:9464"),
        ("node-1:80", "http://node-1:80"),
        ("node-1.example.org/", "http://node-1.example.org:9464"),
        (":9464", "http://localhost:9464"),
        ("10.0.0.7", "http://10.0.0.7:9464"),
        ("[::1]", "http://[::1]:9464"),
        ("[fe80::1]:9000", "http://[fe80::1]:9000"),
        ("localhost:9464/status", "http://localhost:9464"),
        ("http://node-1", "http://node-1:80"),
        ("https://node-1", "https://node-1:443"),
        ("HTTP://node-1:9464/", "http://node-1:9464"),
        ("http://node-1:9464/status", "http://node-1:9464"),
        ("http://node-1:9464/status/", "http://node-1:9464"),
        ("http://[::1]:9464/status", "http://[::1]:9464"),
        ("https://example.org/tokens/status", "https://example.org:443/tokens"),
    ],
)
def test_the_forms_of_an_address(given, url):
    assert parse_daemon_url(given) == url


@pytest.mark.parametrize(
    "given",
    ["", "::1", "http://", "http://:80", ":0", "h:99999", "ftp://h", "h?x=1", "h#x", "a b", "u:p@h", "1.2.3"],
)
def test_another_text_is_refused_with_the_accepted_forms(given):
    with pytest.raises(ValueError, match="accepted: HOST") as caught:
        parse_daemon_url(given)
    assert ACCEPTED in str(caught.value)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:9464"),
        ("0.0.0.0", "http://127.0.0.1:9464"),
        ("::", "http://[::1]:9464"),
        ("10.0.0.7", "http://10.0.0.7:9464"),
        ("fd00::7", "http://[fd00::7]:9464"),
    ],
)
def test_a_wildcard_is_asked_at_loopback(host, url):
    assert local_url(host, 9464) == url
