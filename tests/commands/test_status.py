"""`refresher status`: how every token and output stands, from the outputs themselves or from a daemon."""

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
    """``refresher status`` of files in a directory in which there is no key."""

    def perform(*names, more=()):
        files = [word for name in names for word in ("--to-file", tmp_path / name)]
        return call("status", *files, *more)

    return perform


# --- From the outputs: neither a key nor a daemon is needed


def test_a_valid_token(status, tmp_path):
    plant(tmp_path / "token", age=60.0)
    told = status("token")
    assert (told.code, told.err) == (0, "")
    headline, empty, heads, token, output = told.out.splitlines()
    assert re.fullmatch(rf"refresher {__version__} at [-0-9T:]+Z: every output holds a valid token", headline)
    assert (empty, heads.split()) == ("", ["TOKEN", "VALID", "LEFT", "EXPIRES", "NEXT", "MINT"])
    assert token.split()[:2] == ["default", "yes"]
    assert output.split()[0].endswith("/token")
    assert output.split()[1] == "yes"


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_no_secret_is_in_it(status, tmp_path, form):
    planted = plant(tmp_path / "token", age=60.0)
    told = status("token", more=form)
    assert "default" in told.out
    assert planted not in told.said
    assert KEY not in told.said


def test_the_same_as_json(status, tmp_path):
    planted = plant(tmp_path / "token", age=60.0)
    told = status("token", more=("--json",))
    assert told.code == 0
    document = json.loads(told.out)
    assert document["valid"] is True
    (token,) = document["tokens"]
    (output,) = token["outputs"]
    assert (output["name"], output["valid"], output["problem"]) == (f"file:{tmp_path}/token", True, None)
    assert output["token_fingerprint"] == fingerprint(planted)
    assert 3500 < output["remaining_seconds"] <= 3540
    assert token["key_fingerprint"] is None  # nobody has read it


def test_an_expired_token(status, tmp_path):
    plant(tmp_path / "token", age=3700.0)
    told = status("token")
    assert told.code == 75
    assert "NOT EVERY OUTPUT HOLDS A VALID TOKEN" in told.out
    assert "! its token has expired" in told.out


def test_no_token_at_all(status):
    told = status("token")
    assert told.code == 75
    assert "! holds no token known to be valid" in told.out


def test_an_output_that_cannot_be_read(status, tmp_path):
    (tmp_path / "token").mkdir()
    told = status("token")
    assert told.code == 75
    assert "Is a directory (EISDIR); an output is a file" in " ".join(told.out.split())


def test_one_output_of_two(status, tmp_path):
    plant(tmp_path / "a", age=60.0)
    told = status("a", "b", more=("--json",))
    assert told.code == 75
    (token,) = json.loads(told.out)["tokens"]
    assert token["valid"] is False
    assert [output["valid"] for output in token["outputs"]] == [True, False]


def test_every_token_of_a_configuration(call, tmp_path):
    tokens = [
        {"name": name, "key_file": "absent", "outputs": [{"file": name}]} for name in ("studio", "stage")
    ]
    (tmp_path / "refresher.json").write_text(json.dumps({"tokens": tokens}))
    plant(tmp_path / "stage", age=60.0)
    told = call("status", "--config", tmp_path / "refresher.json")
    assert told.code == 75
    assert re.findall(r"^(\w+) +(yes|NO) ", told.out, re.MULTILINE) == [("studio", "NO"), ("stage", "yes")]


def test_it_fits_a_terminal_of_a_hundred_columns(status, tmp_path):
    folder = tmp_path / "/".join(["a-directory-with-a-long-name"] * 5)
    folder.mkdir(parents=True)
    plant(folder / "token", age=60.0)
    told = status(folder / "token", folder / "absent", folder)
    assert len(told.out.splitlines()) > 5
    assert all(len(line) <= 100 for line in told.out.splitlines())


def test_nothing_to_tell_of(call):
    told = call("status")
    assert (told.code, told.out) == (78, "")
    assert "the shortest command that works: refresher status --to-file FILE" in told.err


# --- Of a running daemon


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


def test_a_daemon_knows_its_key_and_its_next_mint_as_well(call, daemon, tmp_path):
    daemon.wait_for("OutputWritten")
    url = f"http://127.0.0.1:{daemon.port}"
    told = call("status", "--url", url, "--json")
    assert told.code == 0
    document = json.loads(told.out)
    (token,) = document["tokens"]
    assert token["key_fingerprint"] == fingerprint(KEY)
    assert (token["key_accepted"], token["next_reason"]) == (True, "scheduled")
    assert call("status", "--url", f"{url}/").out.splitlines()[3].split()[:2] == ["default", "yes"]
    assert KEY not in told.said
    assert (tmp_path / "token").read_text() not in told.said


def test_a_daemon_whose_new_key_is_refused_while_the_old_token_serves(call, daemon, tmp_path):
    daemon.wait_for("OutputWritten")
    (tmp_path / "key").write_text("another-key-that-is-refused")
    daemon.wait_for("RefreshFailed")
    told = call("status", "--url", f"http://127.0.0.1:{daemon.port}")
    assert told.code == 0
    assert "! key_refused" in told.out
    assert "another-key" not in told.out


def test_a_daemon_without_a_token(call, inlive, tmp_path):
    inlive.faults(status=500)
    (tmp_path / "key").write_text(KEY)
    words = ("--key-file", tmp_path / "key", "--to-file", tmp_path / "token", "--issuer-url", inlive.url)
    with Daemon(*words, endpoints=True) as without:
        without.wait_for("RefreshFailed")
        told = call("status", "--url", f"http://127.0.0.1:{without.port}")
    assert told.code == 75
    assert "! server_error" in told.out
    assert "! holds no token known to be valid" in told.out


def test_neither_a_proxy_nor_netrc_is_asked(call, monkeypatch, tmp_path):
    """A daemon is a neighbour; a password for its host is of no concern to it."""
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
def test_what_is_no_refresher(call, script):
    with peer(script) as serving:
        told = call("status", "--url", serving.url)
    assert (told.code, told.out) == (75, "")
    assert told.err.startswith(f"refresher: {serving.url}: ")
    assert "refresher" in told.err.removeprefix("refresher: ")
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(
    "document", [{"tokens": ["studio"]}, {"tokens": [{}]}, {"tokens": [], "valid": "yes"}]
)
def test_what_does_not_say_that_all_is_well_is_not_taken_for_it(call, document):
    with peer(answering(200, json.dumps(document).encode())) as serving:
        assert call("status", "--url", serving.url).code == 75


@pytest.mark.parametrize(
    "url", ["", "localhost", "localhost:9464", ":9464", "ftp://localhost", "http://", "http://[::"]
)
def test_what_is_no_address(call, url):
    told = call("status", "--url", url)
    assert (told.code, told.out) == (75, "")
    assert "no refresher answers there" in told.err
    assert "such as http://localhost:9464" in told.err


def test_nobody_listens(call):
    told = call("status", "--url", f"http://127.0.0.1:{free_port()}")
    assert (told.code, told.out) == (75, "")
    assert "no refresher answers there (ConnectionError); give the address of its --listen" in told.err


def test_somebody_who_listens_and_does_not_answer(call):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        told = call("status", "--url", f"http://127.0.0.1:{mute.getsockname()[1]}")
    assert told.code == 75
    assert "(ReadTimeout)" in told.err
