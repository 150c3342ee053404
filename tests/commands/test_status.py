"""`refresher status`: the state of every token and output, from the outputs or from a daemon."""

import json
import re
import socket

import pytest

from refresher import __version__
from refresher.core.model import fingerprint
from refresher.emulator.server import Emulator
from tests.commands.calls import caller
from tests.commands.daemon import KEY, Daemon, free_port, plant
from tests.issuer.peer import answering, peer, sending


@pytest.fixture
def call(capsys):
    return caller(capsys)


@pytest.fixture
def status(call, tmp_path):
    """Runs ``refresher status`` on files in a directory without a key."""

    def perform(*names, more=()):
        files = [word for name in names for word in ("--to-file", tmp_path / name)]
        return call("status", *files, *more)

    return perform


# --- From the outputs: neither a key nor a daemon is needed


def test_a_valid_token(status, tmp_path):
    plant(tmp_path / "token", age=60.0)
    called = status("token")
    assert (called.code, called.err) == (0, "")
    headline, source, empty, heads, token, output = called.out.splitlines()
    assert re.fullmatch(
        rf"refresher {__version__} on \S+ at [-0-9T:]+Z: every output holds a valid token", headline
    )
    assert source == "read from the outputs: no `listen:` is configured"
    assert (empty, heads.split()) == ("", ["TOKEN", "VALID", "LEFT", "EXPIRES", "NEXT", "MINT"])
    assert token.split()[:2] == ["default", "yes"]
    assert output.split()[0].endswith("/token")
    assert output.split()[1] == "yes"


@pytest.mark.parametrize("format_", [(), ("--json",)])
def test_status_contains_no_secret(status, tmp_path, format_):
    planted = plant(tmp_path / "token", age=60.0)
    called = status("token", more=format_)
    assert "default" in called.out
    assert planted not in called.said
    assert KEY not in called.said


def test_json_has_the_same_facts(status, tmp_path):
    planted = plant(tmp_path / "token", age=60.0)
    called = status("token", more=("--json",))
    assert called.code == 0
    document = json.loads(called.out)
    assert document["valid"] is True
    (token,) = document["tokens"]
    (output,) = token["outputs"]
    assert (output["name"], output["valid"], output["problem"]) == (f"file:{tmp_path}/token", True, None)
    assert output["token_fingerprint"] == fingerprint(planted)
    assert 3500 < output["remaining_seconds"] <= 3540
    assert token["key_fingerprint"] is None  # status does not read the key


def test_an_expired_token(status, tmp_path):
    plant(tmp_path / "token", age=3700.0)
    called = status("token")
    assert called.code == 75
    assert "NOT EVERY OUTPUT HOLDS A VALID TOKEN" in called.out
    assert ": its token has expired" in called.out


def test_a_missing_token(status):
    called = status("token")
    assert called.code == 75
    assert "! no_token: holds no token known to be valid" in called.out


def test_an_unreadable_output(status, tmp_path):
    (tmp_path / "token").mkdir()
    called = status("token")
    assert called.code == 75
    assert "Is a directory (EISDIR); an output is a file" in " ".join(called.out.split())


def test_one_valid_output_of_two(status, tmp_path):
    plant(tmp_path / "a", age=60.0)
    called = status("a", "b", more=("--json",))
    assert called.code == 75
    (token,) = json.loads(called.out)["tokens"]
    assert token["valid"] is False
    assert [output["valid"] for output in token["outputs"]] == [True, False]


def test_every_token_of_a_configuration(call, tmp_path):
    tokens = [
        {"name": name, "key_file": "absent", "outputs": [{"file": name}]} for name in ("studio", "stage")
    ]
    (tmp_path / "refresher.json").write_text(json.dumps({"tokens": tokens}))
    plant(tmp_path / "stage", age=60.0)
    called = call("status", "--config", tmp_path / "refresher.json")
    assert called.code == 75
    assert re.findall(r"^(\w+) +(yes|NO) ", called.out, re.MULTILINE) == [("studio", "NO"), ("stage", "yes")]


@pytest.fixture
def crowd(call, tmp_path):
    """Runs ``refresher status`` on thirty tokens; the last one is not valid."""
    names = [*(f"studio-{number:02}" for number in range(29)), "stage"]
    tokens = [{"name": name, "key_file": "absent", "outputs": [{"file": name}]} for name in names]
    (tmp_path / "refresher.json").write_text(json.dumps({"tokens": tokens}))
    for name in names[:-1]:
        plant(tmp_path / name, age=60.0)
    return lambda *more: call("status", "--config", tmp_path / "refresher.json", *more)


def tokens_in(text):
    return re.findall(r"^([a-z0-9-]+) +(?:yes|NO) ", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("pattern", "count", "code"), [("studio", 29, 0), ("studio-0?", 10, 0), ("stage", 1, 75), ("st*", 30, 75)]
)
def test_a_pattern_selects_tokens_and_the_exit_code_is_of_these(crowd, pattern, count, code):
    called = crowd(pattern)
    assert (len(tokens_in(called.out)), called.code) == (count, code)
    as_json = json.loads(crowd(pattern, "--json").out)
    assert (len(as_json["tokens"]), as_json["valid"]) == (count, code == 0)


def test_a_pattern_that_selects_no_token_is_an_error(crowd):
    called = crowd("studio-?")
    assert called.code == 78
    assert "'studio-?'" in called.err
    assert crowd("studio-?", "--exit-code").code == 3


def test_a_limit_shows_what_needs_attention_and_counts_the_rest(crowd):
    assert len(tokens_in(crowd().out)) == 30  # a pipe has no limit
    called = crowd("--limit", "2")
    assert tokens_in(called.out) == ["stage", "studio-00"]
    assert "28 more tokens, 0 of them" in called.out
    assert len(json.loads(crowd("--limit", "2", "--json").out)["tokens"]) == 30


@pytest.mark.parametrize("limit", ["0", "-1", "many", "1" * 10])
def test_an_invalid_limit_is_reported(crowd, limit):
    called = crowd(f"--limit={limit}")
    assert called.code == 78
    assert "--limit" in called.err


def test_a_pipe_gets_whole_paths(status, tmp_path):
    folder = tmp_path / "/".join(["a-directory-with-a-long-name"] * 5)
    folder.mkdir(parents=True)
    plant(folder / "token", age=60.0)
    called = status(folder / "token", folder / "absent", folder)
    assert f"  file:{folder}/token " in called.out
    assert "…" not in called.out
    assert "\x1b" not in called.out


def test_without_outputs_status_is_an_error(call):
    called = call("status")
    assert (called.code, called.out) == (78, "")
    assert "the shortest command that works: refresher status --to-file FILE" in called.err


# --- From a running daemon


@pytest.fixture
def inlive():
    with Emulator(keys=[KEY]) as started:
        yield started


@pytest.fixture
def daemon(inlive, tmp_path):
    (tmp_path / "key").write_text(KEY)
    words = ("--key-file", tmp_path / "key", "--to-file", tmp_path / "token", "--issuer-url", inlive.url)
    with Daemon(*words, endpoints=True) as started:
        yield started


def test_a_daemon_also_reports_its_key_and_its_next_mint(call, daemon, tmp_path):
    daemon.wait_for("OutputWritten")
    url = f"http://127.0.0.1:{daemon.port}"
    called = call("status", "--url", url, "--json")
    assert called.code == 0
    document = json.loads(called.out)
    (token,) = document["tokens"]
    assert token["key_fingerprint"] == fingerprint(KEY)
    assert (token["key_accepted"], token["next_reason"]) == (True, "scheduled")
    assert call("status", "--url", f"{url}/").out.splitlines()[4].split()[:2] == ["default", "yes"]
    assert KEY not in called.said
    assert (tmp_path / "token").read_text() not in called.said


def test_a_daemon_with_a_refused_new_key_and_a_valid_token(call, daemon, tmp_path):
    daemon.wait_for("OutputWritten")
    (tmp_path / "key").write_text("another-key-that-is-refused")
    daemon.wait_for("RefreshFailed")
    called = call("status", "--url", f"http://127.0.0.1:{daemon.port}")
    assert called.code == 0
    assert "! key_refused" in called.out
    assert "another-key" not in called.out


def test_a_daemon_without_a_token(call, inlive, tmp_path):
    inlive.faults(status=500)
    (tmp_path / "key").write_text(KEY)
    words = ("--key-file", tmp_path / "key", "--to-file", tmp_path / "token", "--issuer-url", inlive.url)
    with Daemon(*words, endpoints=True) as without:
        without.wait_for("RefreshFailed")
        called = call("status", "--url", f"http://127.0.0.1:{without.port}")
    assert called.code == 75
    assert "! server_error" in called.out
    assert "! no_token: holds no token known to be valid" in called.out


def test_status_uses_neither_a_proxy_nor_netrc(call, monkeypatch, tmp_path):
    """The daemon is nearby, and must not get a password for its host."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with peer(answering(200, b'{"version": "1", "valid": true, "tokens": []}')) as serving:
        assert call("status", "--url", f"{serving.url}/").code == 0
    (request,) = serving.requests
    assert request.startswith("GET /status HTTP/1.1\r\n")
    assert "authorization" not in request.lower()


OTHERS = {
    "another status": answering(404, b'{"tokens": [], "valid": true}'),
    "not JSON": answering(200, b"<html>"),
    "no object": answering(200, b'["tokens"]'),
    "a text": answering(200, b'"tokens"'),
    "no tokens": answering(200, b'{"valid": true}'),
    "tokens of another kind": answering(200, b'{"valid": true, "tokens": 3}'),
    "nested too deep": answering(200, b"[" * 100_000),
    "not UTF-8": answering(200, b'{"tokens": [], "valid": "\xff"}'),
    "no HTTP": sending(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "cut off": sending(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"tokens": []'),
    "no answer": sending(),
}


@pytest.mark.parametrize("script", OTHERS.values(), ids=OTHERS)
def test_a_server_that_is_not_a_refresher_is_reported(call, script):
    with peer(script) as serving:
        called = call("status", "--url", serving.url)
    assert (called.code, called.out) == (75, "")
    assert called.err.startswith(f"refresher: {serving.url}: ")
    assert "refresher" in called.err.removeprefix("refresher: ")
    assert called.err.count("\n") == 1


@pytest.mark.parametrize(
    "document", [{"tokens": ["studio"]}, {"tokens": [{}]}, {"tokens": [], "valid": "yes"}]
)
def test_a_document_without_valid_true_is_a_failure(call, document):
    with peer(answering(200, json.dumps(document).encode())) as serving:
        assert call("status", "--url", serving.url).code == 75


@pytest.mark.parametrize(
    "url",
    ["", "ftp://localhost", "http://", "http://[::", "::1", "localhost:0", "localhost:99999", "a b", "h?q=1"],
)
def test_an_invalid_address_is_reported(call, url):
    called = call("status", "--url", url)
    assert (called.code, called.out) == (78, "")
    assert called.err.startswith("refresher: --url: ")
    assert "accepted: HOST, HOST:PORT, :PORT or http://HOST:PORT" in called.err


def test_a_password_in_an_address_is_not_shown(call):
    called = call("status", "--url", "http://me:password@localhost:9464")
    assert called.code == 78
    assert "password" not in called.err


def test_a_refused_connection_is_reported(call):
    called = call("status", "--url", f"http://127.0.0.1:{free_port()}")
    assert (called.code, called.out) == (75, "")
    assert "no refresher responds (ConnectionError); give the address of its --listen" in called.err


def test_a_silent_server_is_reported(call):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        called = call("status", "--url", f"http://127.0.0.1:{mute.getsockname()[1]}")
    assert called.code == 75
    assert "(ReadTimeout)" in called.err
