"""The options of the consumers' listener, in a file and as flags."""

import pytest

from refresher.config.serving import ServeAddress, ServeSettings

FILE = "tokens: [{name: t, key_file: key, outputs: [{file: token}]}]\n"
SECRET = "tokens: [{name: t, key_file: key, outputs: [{secret: s}]}]\n"


@pytest.mark.parametrize(
    ("address", "read"),
    [
        ("unix:/run/inlive/token.sock", ServeAddress("/run/inlive/token.sock")),
        ("127.0.0.1:9470", ServeAddress(host="127.0.0.1", port=9470)),
        ("127.0.0.53:9470", ServeAddress(host="127.0.0.53", port=9470)),
        ("localhost:0", ServeAddress(host="localhost", port=0)),
        ("[::1]:9470", ServeAddress(host="::1", port=9470)),
    ],
)
def test_a_socket_or_a_port_of_this_machine_is_accepted(loaded, address, read):
    more = 'group: www-data, mode: "0600", secret_file: /secret'
    settings = loaded(f'serve: {{address: "{address}", {more}}}\n' + FILE).settings
    assert settings.serve == ServeSettings(read, "www-data", 0o600, "/secret")
    found = loaded(FILE, serve=address, serve_secret_file="/secret").settings.serve
    assert found == ServeSettings(read, None, 0o660, "/secret")


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        (":9470", "can be reached from other machines"),
        ("0.0.0.0:9470", "can be reached from other machines"),
        ("[::]:9470", "can be reached from other machines"),
        ("token.example:9470", "can be reached from other machines"),
        ("localhost.example:9470", "can be reached from other machines"),
        ("127.0.0.1.example:9470", "can be reached from other machines"),
        ("unix:token.sock", "is not an address"),
        ("unix:/run/", "is not an address"),
        ("/run/token.sock", "is not an address"),
        ("9470", "is not an address"),
        ("127.0.0.1", "is not an address"),
        ("127.0.0.1:99999", "is not an address"),
    ],
)
def test_any_other_address_is_refused(loaded, problems, address, problem):
    [found] = problems(FILE, serve=address)
    assert found.startswith("--serve: ")
    assert problem in found
    [found] = problems(f'serve: {{address: "{address}"}}\n' + FILE)
    assert found.startswith("refresher.yaml:1: serve.address: ")


def test_others_may_never_connect(problems):
    [found] = problems('serve: {address: "unix:/s", mode: "0666"}\n' + FILE)
    assert "serve.mode: " in found


def test_a_flag_about_the_socket_needs_an_address(loaded, problems):
    assert problems(FILE, serve_mode="0600") == ["--serve: is missing; the listener needs an address"]
    text = "serve: {address: 'unix:/a'}\n" + FILE
    assert loaded(text, serve_group="7").settings.serve == ServeSettings(ServeAddress("/a"), "7")


@pytest.mark.parametrize(("text", "served"), [("true", True), ("false", False)])
def test_the_refresh_token_is_served_only_where_that_is_wanted(loaded, text, served):
    assert not loaded(FILE).settings.tokens[0].serve_refresh_token
    found = loaded(FILE.replace("name: t", f"name: t, serve_refresh_token: {text}")).settings
    assert found.tokens[0].serve_refresh_token is served
    assert loaded(FILE, serve_refresh_token=text).settings.tokens[0].serve_refresh_token is served


def test_serve_and_leader_election_exclude_each_other(problems):
    [found] = problems("serve: {address: 'unix:/a'}\nleader_election: {lease: l}\n" + SECRET)
    assert found == (
        "refresher.yaml:1: serve.address: serve and leader election, leader_election.lease (line 2), "
        "exclude each other: a standby has no token to serve; take one out"
    )


def test_a_tcp_port_needs_a_client_secret(loaded, problems):
    assert loaded(FILE, serve="unix:/s").settings.serve.secret_file is None
    [found] = problems(FILE, serve="127.0.0.1:9470")
    assert found == (
        "--serve: a TCP port needs secret_file, the client secret of OAuth2 clients; write a value such as "
        "secret_file: /etc/inlive/client-secret, or serve on a Unix socket"
    )
    [found] = problems('serve: {address: "localhost:1"}\n' + FILE)
    assert found.startswith("refresher.yaml:1: serve.address: a TCP port needs secret_file")


def test_the_client_secret_is_no_application_key_and_no_output(problems, tmp_path):
    (tmp_path / "link").symlink_to("key")
    for path in ("key", "link"):
        [found] = problems(f"serve: {{address: 'unix:/a', secret_file: {path}}}\n" + FILE)
        assert found.startswith("refresher.yaml:1: serve.secret_file: is the file of a key, tok")
        assert found.endswith("(line 2); give the clients a secret of their own")
    [found] = problems("serve: {address: 'unix:/a', secret_file: token}\n" + FILE)
    assert "would overwrite serve.secret_file" in found
