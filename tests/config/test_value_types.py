import re

import pytest

from refresher.config import addresses, value_types
from refresher.config.source_map import Ambiguous, Mapping
from refresher.config.value_types import duration


def mapping(**items):
    """A mapping as it is read from a document."""
    read = Mapping()
    read.update(items)
    return read


LIFETIME = duration(10.0, 86400.0, "whole seconds, 10s to 24h", whole=True)

ACCEPTED = [
    (LIFETIME, "1h", 3600.0),
    (LIFETIME, 10, 10.0),
    (LIFETIME, "1.5h", 5400.0),
    (value_types.SHARE, "70%", 0.7),
    (value_types.SHARE, "62.5%", 0.625),
    (value_types.SHARE, "20%", 0.2),
    (value_types.SHARE, "95%", 0.95),
    (value_types.SHARE, "0.7", 0.7),
    (value_types.SHARE, 0.7, 0.7),
    (value_types.NAME, "studio", "studio"),
    (value_types.NAME, "a", "a"),
    (value_types.NAME, "a" * 63, "a" * 63),
    (value_types.FORMAT, "inlive-sdk", "inlive-sdk"),
    (value_types.GROUP, "www-data", "www-data"),
    (value_types.GROUP, "0", "0"),
    (value_types.GROUP, 1000, "1000"),
    (value_types.MODE, "0640", 0o640),
    (value_types.MODE, "600", 0o600),
    (addresses.FILE, "../access-token", "../access-token"),
    (addresses.FILE, "dir with spaces/tökén", "dir with spaces/tökén"),
    (addresses.FILE, "/a/.b", "/a/.b"),
    (value_types.TEMPLATE, "$$ ${access_token}\n", "$$ ${access_token}\n"),
    (addresses.SECRET, "a", "a"),
    (addresses.SECRET, "studio/inlive-access-token", "studio/inlive-access-token"),
    (addresses.SECRET, "0/a.b-c.0", "0/a.b-c.0"),
    (addresses.SECRET, "n" * 63 + "/" + "s" * 253, "n" * 63 + "/" + "s" * 253),
    (addresses.LEASE, "inlive/refresher", "inlive/refresher"),
    (addresses.DATA, mapping(b="token", a="json"), (("b", "token"), ("a", "json"))),
    (addresses.DATA, mapping(**{"A_b-c.d": "template"}), (("A_b-c.d", "template"),)),
    (addresses.DATA, mapping(**{".a": "token"}), ((".a", "token"),)),
    (addresses.DATA, mapping(**{"k" * 253: "token"}), (("k" * 253, "token"),)),
    (addresses.URL, "https://api.inlive.app/", "https://api.inlive.app"),
    (addresses.URL, "https://proxy.example:8443/inlive//", "https://proxy.example:8443/inlive"),
    (addresses.URL, "http://localhost:8080", "http://localhost:8080"),
    (addresses.URL, "http://127.8.0.1", "http://127.8.0.1"),
    (addresses.URL, "http://[::1]:80", "http://[::1]:80"),
    (addresses.URL, "https://[2001:db8::1]", "https://[2001:db8::1]"),
    (addresses.URL, "https://host/a@b", "https://host/a@b"),
]


@pytest.mark.parametrize(("value_type", "given", "setting"), ACCEPTED)
def test_a_value_is_accepted(value_type, given, setting):
    assert value_type.parse(given) == setting


REFUSED = [
    (LIFETIME, "9s", "'9s' is out of range; accepted: whole seconds, 10s to 24h"),
    (LIFETIME, 86401, "86401 is out of range"),
    (LIFETIME, 10.5, "10.5 is out of range"),
    (LIFETIME, True, "true is not a duration"),
    (LIFETIME, Ambiguous("012", "the number 10"), "YAML reads 012 as the number 10; accepted: whole seconds"),
    (LIFETIME, Ambiguous("1:30", "a number to the base of sixty"), "write 1m30s or 1h30m"),
    (value_types.SHARE, 70, "70 is not a share; did you mean 70%? accepted: 20% to 95%"),
    (value_types.SHARE, "70", "did you mean 70%?"),
    (value_types.SHARE, "19.9%", "accepted: 20% to 95% of the lifetime, such as 70% or 0.7"),
    (value_types.SHARE, "95.1%", "accepted: 20%"),
    (value_types.SHARE, 0.96, "accepted: 20%"),
    (value_types.SHARE, 1, "1 is not a share; accepted"),
    (value_types.SHARE, True, "true is not a share; accepted"),
    (value_types.SHARE, "x%", "'x%' is not a share; accepted"),
    (value_types.NAME, "Studio", "'Studio' is not a name; accepted: 1 to 63 of a-z, 0-9 and -"),
    (value_types.NAME, "-a", "accepted"),
    (value_types.NAME, "a\n", r"'a\n' is not a name"),
    (value_types.NAME, "a" * 64, "accepted"),
    (value_types.NAME, "", "'' is not a name"),
    (value_types.NAME, 12, "12 is a number; write it in quotes"),
    (value_types.NAME, True, "true is a boolean; write it in quotes"),
    (value_types.NAME, {}, "a mapping is given; accepted"),
    (value_types.NAME, Ambiguous("no", "a boolean"), 'YAML reads no as a boolean; write it in quotes: "no"'),
    (
        value_types.FORMAT,
        "jsn",
        "'jsn' is not a format; did you mean json? accepted: token, bearer, header, env",
    ),
    (value_types.FORMAT, "wholly else", "'wholly else' is not a format; accepted"),
    (value_types.GROUP, -1, "-1 is not a group"),
    (value_types.GROUP, 2**32 - 1, "4294967295 is not a group; accepted: a group's name or number"),
    (value_types.GROUP, "4294967295", "is not a group"),
    (value_types.GROUP, "", "is not a group"),
    (value_types.GROUP, "a:b", "is not a group"),
    (value_types.MODE, "rwx", "'rwx' is not a file mode; accepted: octal digits in quotes such as \"0600\""),
    (value_types.MODE, 640, "640 is not a text; accepted: octal digits in quotes"),
    (value_types.MODE, Ambiguous("0640", "the number 416"), 'write it in quotes: "0640"'),
    (value_types.MODE, Ambiguous("0o640", "the number 416"), 'write it in quotes: "0640"'),
    (value_types.MODE, "0440", "keeps its owner, the refresher, from reading and writing it"),
    (value_types.MODE, "0602", "lets everybody write it"),
    (value_types.MODE, "4600", "sets setuid, setgid or sticky"),
    (value_types.MODE, "1600", "sets setuid, setgid or sticky"),
    (addresses.FILE, "~/token", "'~/token' begins with ~, which is not expanded; write the whole path"),
    (addresses.FILE, "", "'' is not a path"),
    (addresses.FILE, "a\0b", "is not a path"),
    (addresses.FILE, "a\nb", "is not a path"),
    (addresses.FILE, "a/", "'a/' names a directory"),
    (addresses.FILE, "a/..", "'a/..' names a directory"),
    (addresses.FILE, ".", "'.' names a directory"),
    (addresses.FILE, "a" * 4096, "is longer than 4095 characters"),
    (addresses.FILE, "\ud800", "half a character"),
    (value_types.TEMPLATE, "x", "the token, $access_token, is not in it"),
    (value_types.TEMPLATE, "$refresh_token", "the token, $access_token, is not in it"),
    (value_types.TEMPLATE, "$acces_token", "$acces_token is not a placeholder; did you mean $access_token?"),
    (value_types.TEMPLATE, "a\n$ $access_token", "a lone $ in line 2; write $$ for a dollar"),
    (value_types.TEMPLATE, "$access_token" + "x" * 65536, "at most 65536 characters"),
    (
        addresses.SECRET,
        "Studio/My_Token",
        "'Studio/My_To'… is not the name of a Secret; accepted: [NAMESPACE/]NAME",
    ),
    (
        addresses.SECRET,
        "studio:token",
        "did you mean studio/token? accepted: [NAMESPACE/]NAME, both of a-z, 0-9",
    ),
    (addresses.SECRET, "/token", "did you mean token?"),
    (addresses.SECRET, "a/b/c", "'a/b/c' is not the name of a Secret; accepted: [NAMESPACE/]NAME"),
    (addresses.SECRET, "a.b/c", "'a.b/c' is not the name of a Secret; accepted"),
    (addresses.SECRET, "", "'' is not the name of a Secret; accepted"),
    (addresses.SECRET, "a\n", r"'a\n' is not the name of a Secret; did you mean a?"),
    (addresses.SECRET, "a..b", "is not the name of a Secret; accepted"),
    (addresses.SECRET, "ä", "is not the name of a Secret; accepted"),
    (addresses.SECRET, "n" * 64 + "/s", "'nnnnnnnnnnnn'… is not the name of a Secret; accepted"),
    (addresses.SECRET, "s" * 254, "'ssssssssssss'… is not the name of a Secret; accepted"),
    (addresses.SECRET, 12, "12 is a number; write it in quotes"),
    (addresses.SECRET, {}, "a mapping is given; accepted: [NAMESPACE/]NAME"),
    (addresses.LEASE, "A", "'A' is not the name of a Lease; did you mean a?"),
    (
        addresses.DATA,
        "token",
        "a text is given; accepted: a mapping of the Secret's keys to formats, such as {acc",
    ),
    (addresses.DATA, mapping(), "an empty mapping is given; accepted"),
    (
        addresses.DATA,
        mapping(a="jsn"),
        "'a': 'jsn' is not a format; did you mean json? accepted: token, bearer",
    ),
    (addresses.DATA, mapping(a=None), "'a': nothing is given; accepted: token, bearer"),
    (addresses.DATA, mapping(**{"a b": "token"}), "'a b': not a valid key of a Secret; did you mean a-b?"),
    (
        addresses.DATA,
        mapping(**{"": "token"}),
        "'': not a valid key of a Secret; accepted: 1 to 253 of a-z",
    ),
    (addresses.DATA, mapping(**{".": "token"}), "not a valid key"),
    (addresses.DATA, mapping(**{"..a": "token"}), "not a valid key of a Secret; did you mean a?"),
    (addresses.DATA, mapping(**{"k" * 254: "token"}), "not a valid key of a Secret; accepted"),
    (addresses.URL, "http://api.inlive.app", "would send the key unencrypted; accepted: https://HOST"),
    (addresses.URL, "http://127.0.0.1.evil.example", "would send the key unencrypted"),
    (addresses.URL, "http://localhost.evil.example", "would send the key unencrypted"),
    (addresses.URL, "http://127.1", "accepted"),
    (addresses.VERIFY_URL, "http://hub.inlive.app/v1", "would send the token unencrypted"),
    (addresses.VERIFY_URL, "hub.inlive.app/v1", "is not a URL to verify tokens with"),
    (addresses.URL, "http://[::2]", "would send the key unencrypted"),
    (addresses.URL, r"http://localhost\@evil.example", "accepted"),
    (addresses.URL, "api.inlive.app", "is not an issuer's URL"),
    (addresses.URL, "ftp://api.inlive.app", "is not an issuer's URL"),
    (addresses.URL, "https://", "is not an issuer's URL"),
    (addresses.URL, "https://host:0", "no valid host or port"),
    (addresses.URL, "https://host:65536", "no valid host or port"),
    (addresses.URL, "https://1.2.3", "no valid host or port"),
    (addresses.URL, "https://[::::]", "no valid host or port"),
    (addresses.URL, "https://h" + "o" * 2048, "is not an issuer's URL"),
    (addresses.URL, "https://api.inlive.app/v1/keys/accesstoken", "/v1/keys/accesstoken, which is added"),
]


@pytest.mark.parametrize(("value_type", "given", "message"), REFUSED)
def test_a_value_is_refused_with_what_was_given_and_what_is_accepted(value_type, given, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        value_type.parse(given)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("value_type", "given"),
    [
        (addresses.URL, "https://user:hunter2@api.inlive.app"),
        (addresses.URL, "user:hunter2@api.inlive.app"),
        (addresses.URL, "https://user:hunter2/and-more@api.inlive.app"),
        (addresses.URL, "http://user:1234/hunter2@api.inlive.app"),
        (addresses.URL, "https://api.inlive.app/?key=hunter2"),
        (addresses.URL, "https://api.inlive.app/#hunter2"),
        (addresses.SECRET_FILE, "~hunter2"),
        (addresses.SECRET_FILE, "hunter2\n"),
        (addresses.SECRET_FILE, Ambiguous("0x22hunter2", "a number")),
        (value_types.TEMPLATE, "hunter2"),
        (value_types.TEMPLATE, "$ hunter2"),
        (value_types.FORMAT, "not-shown-to-hunter2"),
        (addresses.DATA, mapping(a="not-shown-to-hunter2")),
        (addresses.SECRET, "not shown to Hunter2"),
    ],
)
def test_a_value_that_may_hold_a_secret_is_not_quoted(value_type, given):
    with pytest.raises(ValueError, match=r"accepted|write") as caught:
        value_type.parse(given)
    assert "hunter2" not in str(caught.value).lower()


@pytest.mark.parametrize(
    ("given", "host", "port"),
    [
        (":9464", "", 9464),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[::1]:9464", "::1", 9464),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
        ("metrics.local:65535", "metrics.local", 65535),
    ],
)
def test_an_address_to_listen_on_is_host_and_port(given, host, port):
    assert addresses.split_listen(given) == (host, port)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("9464", "did you mean :9464?"),
        (9464, "9464 is a number; write it in quotes"),
        ("::1:9464", "is not an address"),
        ("localhost", "is not an address"),
        (":65536", "is not an address"),
        (":", "is not an address"),
        ("[::1::]:1", "is not an address"),
        ("300.0.0.1:1", "is not an address"),
        ("*:80", 'accepted: [HOST]:PORT such as ":9464"'),
        ("http://localhost:80", "is not an address"),
    ],
)
def test_any_other_address_is_refused(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        addresses.split_listen(given)
