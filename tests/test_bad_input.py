"""Bad input from outside is reported in one clear line, with the right exit code, without a traceback or a
secret. No valid value is lost. With a mistake in the configuration, no work starts."""

import json
import os
import socket
from pathlib import Path

import pytest
import trustme

from refresher.emulator.server import Emulator
from tests.commands.daemon import KEY, Ended, free_port, plant, refresher

HOUR = 3600.0
STATES = {"due": 0.9 * HOUR, "expired": 1.5 * HOUR}  # age of the token in the file, seconds
TOLD_OF = {"due": "consumers are served until", "expired": "CONSUMERS HAVE NO VALID TOKEN"}
SECRET = "t0ken-that-must-not-be-shown"


@pytest.fixture
def issuer():
    with Emulator(keys=[KEY]) as inlive:
        yield inlive


@pytest.fixture
def place(tmp_path):
    (tmp_path / "key").write_text(KEY)
    return tmp_path


def once(place: Path, url: str, *more: object) -> Ended:
    words = ("--key-file", place / "key", "--to-file", place / "token", "--issuer-url", url)
    return refresher("once", *words, *more)


def check(ended: Ended, code: int, *facts: str) -> None:
    """The process ended with `code`, and one line contains all of these texts. It printed no secret."""
    assert ended.code == code, ended.said
    assert "Traceback" not in ended.said
    assert KEY not in ended.said
    assert SECRET not in ended.said
    lines = [line.replace('\\"', '"') for line in ended.said.splitlines()]
    assert [line for line in lines if all(words in line for words in facts)], f"{facts} in:\n{ended.said}"


# The response of the issuer (docs/reliability.md, row by row)


def granting(access: object = SECRET, **more: object) -> bytes:
    return json.dumps(
        {"code": 200, "ok": True, "message": "", "data": {"access_token": access}} | more
    ).encode()


ANSWERS = {
    "401": ({"status": 401}, 77, "the issuer refuses the key"),
    "403": ({"status": 403}, 77, "the issuer refuses the key"),
    "429, seconds": ({"status": 429, "retry_after": "5"}, 75, "throttled: 429"),
    "429, a date": ({"status": 429, "retry_after": "Wed, 21 Oct 2099 07:28:00 GMT"}, 75, "throttled: 429"),
    "429, nonsense": ({"status": 429, "retry_after": "soon"}, 75, "throttled: 429"),
    "503 with Retry-After": ({"status": 503, "retry_after": "5"}, 75, "throttled: 503"),
    "503": ({"status": 503}, 75, "server_error: 503"),
    "500": ({"status": 500}, 75, "server_error: 500"),
    "400": ({"status": 400}, 75, "bad_response: 400"),
    "reset": ({"reset": True}, 75, "unreachable: 127.0.0.1:"),
    "hang": ({"hang": True}, 75, "timeout: no complete response from 127.0.0.1:"),
    "dripped": ({"drip": 0.2, "drip_head": True}, 75, "timeout: no complete response"),
    "cut off": ({"cut_body": True}, 75, "unreachable: the response of 127.0.0.1:"),
    "not JSON": ({"garbage": True}, 75, "bad_response: 200, but it is not JSON"),
    "an error page": (
        {"body": b"<html>", "content_type": "text/html"},
        75,
        "its content type is not application/json",
    ),
    "not UTF-8": ({"body": b'{"data": {"access_token": "\xff\xfe"}}'}, 75, "it is not JSON"),
    "nested 100,000 deep": ({"body": b"[" * 100_000}, 75, "it is not JSON"),
    "no object": ({"body": b"[]"}, 75, "it is not a JSON object"),
    "empty": ({"body": b""}, 75, "it is not JSON"),
    "ok: false": ({"body": granting(ok=False)}, 75, "its body reports a failure"),
    "no data": ({"body": b'{"ok": true}'}, 75, "its body has no data"),
    "no token": ({"body": granting(None)}, 75, "its body has no access token"),
    "an empty token": ({"body": granting("")}, 75, "its body has no access token"),
    "a token with a line break": (
        {"body": granting(f"{SECRET}\r\nX-Evil: 1")},
        75,
        "has invalid characters",
    ),
    "a token with a NUL": ({"body": granting(f"{SECRET}\0")}, 75, "has invalid characters"),
    "a number for a token": ({"body": granting(42)}, 75, "its access token is not a text"),
    "a list for a token": ({"body": granting([SECRET])}, 75, "its access token is not a text"),
    "a token of 100 kB": ({"body": granting(SECRET * 4000)}, 75, "longer than 65536 characters"),
    "over 1 MiB": ({"body": granting("x" * 2**20)}, 75, "longer than 1048576 bytes"),
    "without an end, chunked": ({"endless": "chunked"}, 75, "longer than 1048576 bytes"),
    "without an end, until closed": ({"endless": "close"}, 75, "longer than 1048576 bytes"),
    "a message with the key in it": (
        {"status": 401, "body": json.dumps({"message": f"no such key: {KEY}"})},
        77,
        "401: no such key: [part of a secret]",
    ),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("fault", "code", "facts"), ANSWERS.values(), ids=ANSWERS)
def test_a_response_without_a_token_is_reported_and_the_old_value_stays(
    issuer, place, fault, code, facts, state
):
    old = plant(place / "token", age=STATES[state], issuer=issuer.url)
    issuer.faults(**fault)
    ended = once(place, issuer.url, "--issuer-timeout", "1s")
    check(ended, code, facts, TOLD_OF[state])
    assert (place / "token").read_text() == old


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(issuer, place, status):
    with Emulator(keys=[KEY]) as elsewhere:
        issuer.faults(status=status, redirect=elsewhere.mint_url)
        check(once(place, issuer.url), 75, f"{status}: a redirect, which is not followed", "correct url")
        assert elsewhere.counts.mints + elsewhere.counts.other == 0
    assert not (place / "token").exists()


def test_the_same_token_again_is_not_accepted_as_new(issuer, place):
    assert once(place, issuer.url, "--lifetime", "10s").code == 0
    old = (place / "token").read_text()
    record = place / ".token.meta.json"
    document = json.loads(record.read_text())
    assert document["contents"][0]["lifetime"] == 10
    issuer.faults(same_token=True)
    ended = once(place, issuer.url, "--lifetime", "1h")  # another lifetime: the old one is not adopted
    check(ended, 75, "the issuer gave the same token as before; its old expiry stands")
    assert (place / "token").read_text() == old
    assert json.loads(record.read_text()) == document


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize(
    ("named", "trusted", "facts"),
    [
        ("elsewhere.test", True, "IP address mismatch"),
        ("127.0.0.1", False, "set ca_file of the issuer"),
    ],
    ids=["of another name", "of an unknown authority"],
)
def test_a_bad_certificate_is_reported_and_no_key_is_sent(place, authority, named, trusted, facts):
    certificate = place / "server.pem"
    certificate.write_bytes(authority.issue_cert(named).private_key_and_cert_chain_pem.bytes())
    authority.cert_pem.write_to_path(str(place / "ca.pem"))
    ca_file = ("--ca-file", place / "ca.pem") if trusted else ()
    with Emulator(keys=[KEY], cert=str(certificate)) as issuer:
        old = plant(place / "token", age=0.9 * HOUR, issuer=issuer.url)
        ended = once(place, issuer.url, *ca_file)
        check(ended, 75, "the TLS certificate of 127.0.0.1:", "could not be verified", facts)
        assert issuer.counts.mints + issuer.counts.other == 0
    assert (place / "token").read_text() == old


def test_an_unreachable_issuer_is_reported(place):
    check(once(place, f"http://127.0.0.1:{free_port()}"), 75, "unreachable", "Connection refused")


# The key file

KEYS = {
    "empty": (b"", "empty"),
    "white space": (b" \n", "nothing but white space"),
    "a UTF-8 byte order mark": (b"\xef\xbb\xbf" + KEY.encode(), "begins with a UTF-8 byte order mark"),
    "a UTF-16 byte order mark": (KEY.encode("utf-16"), "begins with a UTF-16 byte order mark"),
    "CRLF inside": (f"{KEY}\r\n{KEY}\r\n".encode(), "a line break (more than one line?) at byte 28"),
    "a NUL": (f"{KEY}\0".encode(), "a NUL at byte 28"),
    "an escape": (f"{KEY}\x1b[2J".encode(), "a control character at byte 28"),
    "not ASCII": (f"{KEY}é".encode(), "a character that is not ASCII at byte 28"),
    "over 8 KiB": (b"k" * 8193, "longer than 8192 bytes"),
}


@pytest.mark.parametrize(("content", "facts"), KEYS.values(), ids=KEYS)
def test_an_invalid_key_is_reported_and_never_sent(issuer, place, content, facts):
    (place / "key").write_bytes(content)
    old = plant(place / "token", age=0.9 * HOUR, issuer=issuer.url)
    check(once(place, issuer.url), 78, f"the key file {place}/key holds no key: {facts}")
    assert issuer.counts.mints == 0
    assert (place / "token").read_text() == old


def test_white_space_after_a_key_is_ignored(issuer, place):
    (place / "key").write_text(f"{KEY} \r\n\n")
    assert once(place, issuer.url).code == 0
    assert issuer.counts.by_key == {issuer.keys[0].fingerprint: 1}


def remove(key: Path) -> None:
    key.unlink()


def make_directory(key: Path) -> None:
    key.unlink()
    key.mkdir()


def make_pipe(key: Path) -> None:
    key.unlink()
    os.mkfifo(key)


@pytest.mark.parametrize(
    ("spoil", "facts"),
    [
        (remove, "No such file or directory; create or mount it"),
        (make_directory, "Is a directory; name the file in it"),
        (make_pipe, "not a regular file; name a file that can be read"),
    ],
)
def test_an_unusable_key_file_is_reported(issuer, place, spoil, facts):
    spoil(place / "key")
    check(once(place, issuer.url), 78, f"the key file {place}/key cannot be read: {facts}")


# The configuration file

GOOD = "tokens:\n  - name: t\n    key_file: key\n    outputs:\n      - file: token\n"


def line(number: int, instead: str) -> str:
    """`GOOD` with another text in place of this line."""
    lines = GOOD.splitlines()
    lines[number - 1] = instead
    return "\n".join([*lines, ""])


SHARED = "/token is the target of tokens[0].outputs[0].file"

CONFIGURATIONS = {
    "empty": ("", "refresher.yaml: is empty"),
    "not UTF-8": (b"tokens:\n- name: \xff\n", "refresher.yaml:2: not UTF-8 text"),
    "a NUL": ("tokens:\n\0", "refresher.yaml:2: a NUL character"),
    "a tab": (line(3, "\tkey_file: key"), "refresher.yaml:3:1: a tab; YAML is indented with spaces"),
    "not YAML": (line(3, "    key_file: [key"), "not YAML"),
    "a duplicate key": (
        f"{GOOD}tokens: []\n",
        "refresher.yaml:6: tokens: given twice, first in line 1; keep one",
    ),
    "an alias bomb": (
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\ntokens: [*c, *c]\n",
        "refresher.yaml:2:8: aliases (*name) are not supported",
    ),
    "nested 100,000 deep": ("[" * 100_000, "nest"),
    "a tag": (line(2, "  - name: !!python/object/apply:os.system [true]"), "tags (!name) are not supported"),
    "two documents": (f"{GOOD}---\n{GOOD}", "refresher.yaml:6:1: a second document (---)"),
    "no in the place of a text": (line(2, "  - name: no"), "YAML reads no as a boolean; write it in quotes"),
    "1:30 in the place of a duration": (
        line(2, "  - name: t\n    lifetime: 1:30"),
        "refresher.yaml:3: tokens[0].lifetime: '1:30' could be minutes or hours; write 1m30s or 1h30m",
    ),
    "no in the place of a duration": (line(2, "  - name: t\n    lifetime: no"), "YAML reads no as a boolean"),
    "a mode without quotes": (
        line(5, "      - file: token\n        mode: 0640"),
        'YAML reads 0640 as the number 416; write it in quotes: "0640"',
    ),
    "a list in the place of a mapping": ("- tokens\n", "a list is given; accepted: a mapping with tokens"),
    "a text in the place of a mapping": (KEY, "a text is given; accepted: a mapping with tokens"),
    "no outputs": (line(4, "    outputs: []").replace("      - file: token\n", ""), "an empty list is given"),
    "an unknown key": (line(3, "    keyfile: key"), "tokens[0].keyfile: no option; did you mean key_file?"),
    "an unknown key in an output": (
        line(5, "      - file: token\n        fromat: json"),
        "refresher.yaml:6: tokens[0].outputs[0].fromat: no option; did you mean format?",
    ),
    "the key itself": (line(3, f"    key: {KEY}"), "is read from the key_file of a token"),
    "nested 30 deep": ("[" * 30, "refresher.yaml:1:21: nested more than 20 deep"),
    "a key of two lines for its path": (line(3, f'    key_file: "{KEY}\\n"'), "the value is not a path"),
    "two outputs with one target": (f"{GOOD}      - file: token\n", SHARED),
    "one target, by way of ..": (f"{GOOD}      - file: sub/../token\n", SHARED),
    "one target, by a symbolic link": (f"{GOOD}      - file: link\n", SHARED),
    "an output over the key": (line(5, "      - file: key"), "would overwrite the key"),
    "an output over the record of another": (
        f"{GOOD}      - file: .token.meta.json\n",
        "is the record beside",
    ),
    "a lifetime of 9 s": (line(2, "  - name: t\n    lifetime: 9s"), "'9s' is out of range"),
    "a lifetime of two days": (
        line(2, "  - name: t\n    lifetime: 2d"),
        "is more than max_lifetime of its issuer",
    ),
    "an issuer without TLS": (f"issuer: {{url: http://issuer.test}}\n{GOOD}", "the key unencrypted"),
}


@pytest.mark.parametrize(("content", "facts"), CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_a_mistake_in_the_configuration_is_reported_with_its_line_and_no_work_starts(
    issuer, place, content, facts
):
    (place / "sub").mkdir()
    (place / "link").symlink_to("token")
    config = place / "refresher.yaml"
    config.write_bytes(content if isinstance(content, bytes) else content.encode())
    old = plant(place / "token", age=0.9 * HOUR, issuer=issuer.url)
    url = () if b"issuer:" in config.read_bytes() else ("--issuer-url", issuer.url)
    check(refresher("once", "--config", config, *url), 78, "refresher: ", facts)
    assert issuer.counts.mints == 0
    assert (place / "token").read_text() == old


def test_every_mistake_is_reported_at_once(place):
    config = place / "refresher.yaml"
    config.write_text("lisen: x\n" + line(2, "  - name: T!\n    lifetime: 5") + "        mode: '0777'\n")
    ended = refresher("run", "--config", config, "--issuer-timeout", "never")
    assert ended.code == 78
    assert [facts.split(": ")[1].removeprefix(f"{place}/") for facts in ended.said.splitlines()] == [
        "--issuer-timeout", "refresher.yaml:1", "refresher.yaml:3", "refresher.yaml:4", "refresher.yaml:8"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "facts"),
    [("missing.yaml", "No such file or directory"), (".", "names a directory"), ("sub", "Is a directory")],
)
def test_an_unusable_configuration_file_is_reported(place, name, facts):
    (place / "sub").mkdir()
    check(refresher("run", "--config", f"{place}/{name}"), 78, "refresher: ", facts)


# Outputs and the port


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        (".", "Is a directory (EISDIR); an output is a file: add the file's name to the path"),
        ("missing/token", "No such file or directory (ENOENT); create"),
        ("key/token", "Not a directory (ENOTDIR)"),
        ("pipe", "It is a pipe, a socket or a device (EINVAL); an output is a regular file"),
        ("loop", "Too many levels of symbolic links (ELOOP)"),
        ("n" * 250, "File name too long (ENAMETOOLONG)"),
    ],
)
def test_an_unwritable_output_is_reported_with_advice(issuer, place, name, facts):
    (place / "there").mkdir()
    os.mkfifo(place / "pipe")
    (place / "loop").symlink_to("loop")
    output = place / "there" if name == "." else place / name
    words = ("--key-file", place / "key", "--to-file", output, "--issuer-url", issuer.url)
    check(refresher("once", *words), 73, f"file:{output} cannot be written", facts)


def test_a_port_in_use_is_reported_before_a_mint(issuer, place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        words = ("--key-file", place / "key", "--to-file", place / "token", "--issuer-url", issuer.url)
        ended = refresher("run", *words, "--listen", address)
    check(ended, 78, f"refresher: cannot listen on {address}: another process listens there")
    assert issuer.counts.mints == 0
    assert sorted(os.listdir(place)) == ["key"]


# The command line

RUN = ("run", "--key-file", "k", "--to-file", "t")


@pytest.mark.parametrize(
    ("words", "code", "facts"),
    [
        ((), 2, "refresher demo"),
        (("rum",), 2, "'rum' is unknown; did you mean run?"),
        (("run", "--no-such-flag"), 2, "'--no-such-fl'…: is not a flag of refresher run"),
        (("run", "--key", "key"), 2, "--key: is not a flag of refresher run, but of emulator; did you mean"),
        (("run", "--key-file"), 2, "--key-file: needs a value: --key-file=FILE"),
        ((*RUN, "--log-level", "loud"), 78, "--log-level: 'loud' is not a log level; accepted: debug"),
        (("once", "--listen", ":9464"), 2, "--listen: is not a flag of refresher once, but of run"),
        (("once", "--every", "often"), 78, "--every: 'often' is not a duration"),
        (("run",), 78, "--config: no token is configured; the shortest command that works: refresher run"),
        (("run", "--to-file", "t"), 78, "--key-file: is missing"),
        ((*RUN, "--lifetime", "1:30"), 78, "--lifetime: '1:30' could be minutes or hours"),
        ((*RUN, "--to-file", "./t"), 78, "is the target of --to-file as well"),
        ((*RUN, "--to-file", "k"), 78, "would overwrite the key"),
        ((*RUN, "--listen", "9464"), 78, "did you mean :9464?"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_wrong_command_line_is_reported(words, code, facts):
    once_flags = ("--key-file", "k", "--to-file", "t") if "--every" in words else ()
    check(refresher(*words, *once_flags), code, "refresher", facts)


def test_a_key_given_by_mistake_in_the_environment_is_not_repeated(issuer, place):
    words = ("--to-file", place / "token", "--issuer-url", issuer.url)
    ended = refresher("once", *words, REFRESHER_API_KEY=KEY)
    check(ended, 78, "REFRESHER_API_KEY: has no effect; the key is read from the file that")
    check(ended, 78, "--key-file: is missing")


def test_a_mistake_in_a_variable_is_reported_with_its_name(place):
    flags = {"REFRESHER_KEY_FILE": str(place / "key"), "REFRESHER_TO_FILE": f"{place}/a:{place}/a"}
    check(
        refresher("once", **flags, REFRESHER_LIFETIME="1 h"),
        78,
        "REFRESHER_LIFETIME: '1 h' is not a duration",
    )
    check(
        refresher("once", **flags),
        78,
        f"REFRESHER_TO_FILE: {place}/a is the target of REFRESHER_TO_FILE as well",
    )
