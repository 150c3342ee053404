"""`refresher check`: one line for each thing that a deployment depends on, with advice for each failure."""

import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import requests
import trustme

from refresher.core.model import fingerprint
from refresher.emulator.server import Emulator
from tests import needs
from tests.commands.calls import caller
from tests.commands.daemon import INTERRUPTED, KEY, ROOT, eventually, free_port, plant, start
from tests.issuer.peer import answering, peer

OTHER_KEY = "application-key-of-another-token-7Tz"
NOBODY = 65534  # a user without any rights


@pytest.fixture
def inlive():
    with Emulator(keys=[KEY, OTHER_KEY]) as started:
        yield started


@pytest.fixture
def place(tmp_path):
    """A directory with two keys that only their owner can read."""
    for name, key in (("key", KEY), ("other-key", OTHER_KEY)):
        (tmp_path / name).write_text(key)
        (tmp_path / name).chmod(0o600)
    return tmp_path


@pytest.fixture
def call(capsys):
    return caller(capsys)


@pytest.fixture
def check(call, inlive, place):
    def perform(*words, url=None, key="key", token="token"):
        files = ("--key-file", place / key, "--to-file", place / token)
        return call("check", "--issuer-url", url or inlive.url, *files, *words)

    return perform


@pytest.fixture
def check_all(call, inlive, place):
    """Runs `check` on a configuration of these tokens: name, key file and output of each."""

    def perform(tokens, *words):
        document = {
            "issuer": {"url": inlive.url},
            "tokens": [
                {"name": name, "key_file": key, "outputs": [{"file": output}]}
                for name, (key, output) in tokens.items()
            ],
        }
        (place / "refresher.yaml").write_text(json.dumps(document))
        return call("check", "--config", place / "refresher.yaml", *words)

    return perform


def line(called, subject):
    """The one line of the report about `subject`."""
    (found,) = [each for each in called.out.splitlines() if each[5:].startswith(f"{subject}: ")]
    return found


def test_a_sound_deployment_has_only_ok_lines(check, inlive, place):
    checked = check()
    assert (checked.code, checked.err) == (0, "")
    assert checked.out.splitlines() == [
        "ok   configuration: flags and variables, 1 token",
        f"ok   key: file:{place}/key, fingerprint {fingerprint(KEY)}",
        f"ok   issuer: {inlive.url} accepted the key in {place}/key; minted a token of 1s to prove it",
        "ok   clock: within a second of the issuer's",
        f"ok   output: file:{place}/token can be written",
        "ok   token default: lives 1h, is replaced after 42m at the latest; headroom 16m50s: "
        "consumers do not notice a shorter outage of the issuer",
    ]


def test_check_publishes_nothing_and_keeps_the_old_value(check, place):
    planted = plant(place / "token", age=10.0)
    before = {path: (path.read_bytes(), path.stat()) for path in place.iterdir()}
    assert check().code == 0
    assert (place / "token").read_text() == planted
    assert {path: (path.read_bytes(), path.stat()) for path in place.iterdir()} == before


def test_an_output_held_by_the_daemon_is_a_hint_that_names_the_owner(check, inlive, place):
    files = ("--key-file", place / "key", "--to-file", place / "token")
    daemon = start("run", "--issuer-url", inlive.url, *files)
    try:
        eventually((place / "token").exists, "the daemon writes")
        checked = check()
    finally:
        daemon.kill()
        daemon.communicate()
    assert checked.code == 0
    assert line(checked, "output") == (
        f"hint output: file:{place}/token belongs to the refresher with process {daemon.pid}, which is "
        "running: give each its own file, or stop one of them"
    )


def test_a_setting_without_effect_is_a_hint(check, place):
    setfacl = [needs.tool("setfacl"), "--default", "--modify", "user:1234:r", place]
    assert subprocess.run(setfacl, check=False).returncode == 0
    checked = check("--mode", "0640")
    assert checked.code == 0
    assert f"ok   output: file:{place}/token can be written" in checked.out
    assert f"hint output: file:{place}/token: the default access control list of {place} lets" in checked.out


def test_check_leaves_no_files(check, place):
    assert check().code == 0
    assert sorted(os.listdir(place)) == ["key", "other-key"]


def test_check_prints_no_secret(check, inlive):
    inlive.faults(status=401, body={"ok": False, "message": f"I do not know {KEY}"})
    finding = check().said
    assert "key_refused" in finding
    assert KEY not in finding


# --- The configuration


def test_the_report_names_the_configuration(check_all, place):
    checked = check_all({"studio": ("key", "a"), "stage": ("key", "b")})
    assert line(checked, "configuration") == f"ok   configuration: {place}/refresher.yaml, 2 tokens"


def test_check_reports_every_mistake_of_the_configuration_and_tests_nothing(check, inlive):
    checked = check("--lifetime", "1s", "--mode", "rwx")
    assert (checked.code, checked.out) == (78, "")
    assert [each.split(": ")[1] for each in checked.err.splitlines()] == ["--lifetime", "--mode"]
    assert inlive.counts.mints == 0


# --- The key


def test_a_key_file_that_is_missing(check, inlive, place):
    checked = check(key="absent")
    assert checked.code == 78
    assert line(checked, "key") == (
        f"FAIL key: the key file {place}/absent cannot be read: No such file or directory; "
        "create or mount it, or name another file"
    )
    assert "issuer:" not in checked.out  # nothing to ask the issuer without a key
    assert line(checked, "output").startswith("ok ")  # check tests the rest nevertheless


def test_an_invalid_key_fails(check, place):
    (place / "key").write_text("two\nlines")
    checked = check()
    assert checked.code == 78
    assert "holds no key: a line break (more than one line?) at byte 4" in line(checked, "key")
    assert "two" not in checked.out


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_readable_by_others_is_a_hint(check, place, mode):
    """The kubelet mounts Secrets like this, in a directory of the Pod."""
    (place / "key").chmod(mode)
    checked = check()
    assert checked.code == 0
    finding = f"hint key: the key file {place}/key is open to others than its owner (mode {mode:04o}): "
    assert f"{finding}chmod 600 it, unless no other user can reach its directory" in checked.out.splitlines()


def test_a_key_readable_only_by_its_owner_gets_no_hint(check):
    assert "hint" not in check().out


# --- The issuer


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key(check, inlive, place, status):
    inlive.faults(status=status)
    checked = check()
    assert checked.code == 77
    assert line(checked, "issuer") == (
        f"FAIL issuer: {inlive.url}, key in {place}/key: key_refused: {status}: emulated fault "
        f"(URL: {inlive.mint_url}); put a valid key into the key file "
        "(for Inlive: create one on its integration page)"
    )
    assert inlive.counts.mints == 1  # another lifetime would not help


@pytest.mark.parametrize(
    ("fault", "finding", "advice"),
    [
        ({"status": 503}, "server_error: 503", "if this lasts, ask the issuer's operator"),
        ({"status": 429}, "throttled: 429", "let tokens live longer, or mint fewer"),
        (
            {"reset": True},
            "unreachable: ",
            "check the URL of the issuer and the way there: name resolution, firewall, proxy",
        ),
        ({"status": 404}, "bad_response: 404", "check the URL of the issuer, its verify (if set)"),
        (
            {"garbage": True},
            "bad_response: 200, but it is not JSON",
            "check the URL of the issuer, its verify (if set)",
        ),
        ({"redirect": "https://elsewhere.test/"}, "bad_response: 307", "correct url of the issuer"),
    ],
)
def test_an_issuer_that_fails(check, inlive, fault, finding, advice):
    inlive.faults(**fault)
    checked = check()
    assert checked.code == 75
    assert line(checked, "issuer").startswith("FAIL")
    assert finding in line(checked, "issuer")
    assert advice in line(checked, "issuer")


def test_an_unreachable_issuer(check):
    checked = check(url=f"http://127.0.0.1:{free_port()}")
    assert checked.code == 75
    assert "unreachable: 127.0.0.1:" in line(checked, "issuer")
    assert "Connection refused" in line(checked, "issuer")
    assert "; check the URL of the issuer and the way there" in line(checked, "issuer")


def test_check_waits_as_long_as_the_daemon(check, inlive):
    """At most a tenth of the lifetime, even with a longer time-out."""
    inlive.faults(hang=True)
    checked = check("--lifetime", "10s", "--issuer-timeout", "30s")
    assert checked.code == 75
    assert "timeout: no complete response" in line(checked, "issuer")
    assert "within 1 s" in line(checked, "issuer")


@pytest.fixture
def certified(place):
    """An emulator with TLS, and the certificate file of its authority."""
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(place / "server.pem")
    authority.cert_pem.write_to_path(place / "ca.pem")
    with Emulator(keys=[KEY], cert=str(place / "server.pem")) as inlive:
        yield inlive


def test_a_certificate_of_an_untrusted_authority_fails(check, certified):
    checked = check(url=certified.url)
    assert checked.code == 75
    assert "the TLS certificate of 127.0.0.1:" in line(checked, "issuer")
    assert "set ca_file of the issuer" in line(checked, "issuer")
    assert certified.counts.mints == 0


def test_a_certificate_of_the_configured_authority_is_accepted(check, certified, place):
    checked = check("--ca-file", place / "ca.pem", url=certified.url)
    assert checked.code == 0
    assert certified.counts.issued == 1


def test_an_unreadable_authority_fails(check, certified, place):
    checked = check("--ca-file", place / "absent.pem", url=certified.url)
    assert checked.code == 75
    assert f"the CA file {place}/absent.pem cannot be used: No such file" in line(checked, "issuer")


def asked(inlive):
    return [seen.expiry_seconds for seen in inlive.counts.recent]


def test_check_mints_with_the_shortest_lifetime_that_the_issuer_accepts(check, place):
    with Emulator(keys=[KEY], min_expiry=60) as choosy:
        checked = check(url=choosy.url)
        assert asked(choosy) == [1, 10, 60]
    assert checked.code == 0
    assert line(checked, "issuer").endswith("minted a token of 1m to prove it")


def test_check_mints_no_longer_lifetime_than_the_token_has(check):
    """So check fails when the daemon would, and exceeds no policy about lifetimes."""
    with Emulator(keys=[KEY], min_expiry=60) as choosy:
        checked = check("--lifetime", "30s", url=choosy.url)
        assert asked(choosy) == [1, 10, 30]
    assert checked.code == 75
    assert "bad_response: 400: expiry_seconds must be 60 to" in line(checked, "issuer")
    assert "whether it grants the lifetime" in line(checked, "issuer")


def test_check_proves_every_key_once(check_all, inlive, place):
    inlive.revoke_key(OTHER_KEY)
    checked = check_all({"a": ("other-key", "1"), "b": ("key", "2"), "c": ("key", "3")})
    assert checked.code == 77
    refused, accepted = [each for each in checked.out.splitlines() if "issuer: " in each]
    assert refused.startswith(f"FAIL issuer: {inlive.url}, key in {place}/other-key: key_refused")
    assert accepted.startswith(f"ok   issuer: {inlive.url} accepted the key in {place}/key")
    assert inlive.counts.mints == 2


def test_after_an_issuer_without_a_response_no_other_key_is_tried(check_all, inlive):
    inlive.faults(reset=True, count=3)  # the number of tries of one attempt
    checked = check_all({"a": ("other-key", "1"), "b": ("key", "2")})
    assert checked.code == 75
    assert line(checked, "issuer").endswith("; keys not tried: 1")
    assert inlive.counts.issued == 0


@pytest.mark.parametrize(
    ("ahead", "finding"),
    [
        (-120.0, "hint clock: 12[01] s ahead of the issuer's; check time synchronisation (chrony, ntpd)"),
        (120.0, "hint clock: 1(19|20) s behind the issuer's; check time synchronisation (chrony, ntpd)"),
        (-3.0, "ok   clock: [34] s ahead of the issuer's"),
    ],
)
def test_clock_skew_is_reported_but_is_not_a_failure(check, inlive, ahead, finding):
    inlive.faults(clock_offset=ahead)
    checked = check()
    assert checked.code == 0
    pattern = finding.replace("(chrony, ntpd)", r"\(chrony, ntpd\)")
    assert re.fullmatch(pattern, line(checked, "clock"))


@pytest.mark.parametrize(
    ("status", "mark", "code"),
    [
        (200, "ok   verify: {}: good", 0),
        (500, "hint verify: {}: inconclusive: 500", 0),
        (401, "FAIL verify", 75),
    ],
)
def test_check_uses_issuer_verify(check, status, mark, code):
    with peer(answering(status)) as product:
        checked = check("--verify-url", product.url)
        assert checked.code == code
        assert line(checked, "verify").startswith(mark.format(product.url))
        assert "minted a token of 1m to prove it" in line(
            checked, "issuer"
        )  # no hurry looks like an early end


def test_offline_contacts_no_server(check, inlive):
    checked = check("--offline")
    assert checked.code == 0
    assert line(checked, "issuer") == f"ok   issuer: {inlive.url} was not contacted (--offline)"
    assert line(checked, "output").startswith("ok ")
    assert inlive.counts.mints + inlive.counts.other == 0


# --- The outputs and the arithmetic


def test_a_missing_directory_fails(check, place):
    checked = check(token="absent/token")
    assert checked.code == 73
    assert line(checked, "output") == (
        f"FAIL output: file:{place}/absent/token cannot be written: No such file or directory (ENOENT); "
        f"create {place}/absent, or mount the volume there"
    )


def test_a_directory_that_is_a_file_fails(check, place):
    checked = check(token="key/token")
    assert checked.code == 73
    assert f"{place}/key is not a directory: correct the path" in line(checked, "output")


AS_NOBODY = f"""\
import os, sys
from refresher.cli import main
main(sys.argv[1:])  # imports everything first: the next call may lack the rights to do so
os.setuid({NOBODY})
print("as nobody:")
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without rights")
def test_a_directory_without_write_permission_fails(place):
    for parent in place.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    place.chmod(0o755)
    (place / "key").chmod(0o644)
    words = ("check", "--offline", "--key-file", place / "key", "--to-file", place / "token")
    command = [sys.executable, "-c", AS_NOBODY, *map(str, words)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 73, ended.stderr
    finding = ended.stdout.partition("as nobody:")[2]
    assert (
        f"FAIL output: file:{place}/token cannot be written: Permission denied (EACCES); let user 65534"
        in finding
    )


def test_every_output_of_every_token_has_a_line(check_all, place):
    checked = check_all({"a": ("key", "here"), "b": ("key", "absent/there"), "c": ("key", "also-here")})
    assert [each[:4] for each in checked.out.splitlines() if "output: " in each] == ["ok  ", "FAIL", "ok  "]
    assert [each[:12] for each in checked.out.splitlines() if "token " in each and "lives" in each] == [
        "ok   token a",
        "ok   token b",
        "ok   token c",
    ]


@pytest.mark.parametrize(
    ("words", "finding"),
    [
        (
            ("--lifetime", "24h"),
            "lives 24h, is replaced after 16h48m at the latest; headroom 7h10m50s: consumers do not",
        ),
        (
            ("--refresh-at", "50%"),
            "lives 1h, is replaced after 30m at the latest; headroom 28m50s: consumers do not",
        ),
        (
            ("--propagation-delay", "2m"),
            "lives 1h, is replaced after 42m at the latest; headroom 14m50s: consumers do not",
        ),
    ],
)
def test_the_headroom_follows_from_lifetime_and_propagation_delay(check, words, finding):
    checked = check("--offline", *words)
    assert line(checked, "token default").startswith(f"ok   token default: {finding}")


def test_no_headroom_is_a_hint(check):
    checked = check("--offline", "--lifetime", "100s", "--propagation-delay", "49s")
    assert checked.code == 0
    assert line(checked, "token default").startswith("hint")
    assert line(checked, "token default").endswith(
        "headroom 0s: consumers may notice every outage of the issuer"
    )


# --- The exit code: of several failures 78 before 77 before 73 before 75


@pytest.mark.parametrize(
    ("tokens", "down", "code"),
    [
        ({"a": ("absent", "1"), "b": ("other-key", "2"), "c": ("key", "absent/3")}, False, 78),
        ({"b": ("other-key", "2"), "c": ("key", "absent/3")}, False, 77),
        ({"c": ("key", "absent/3")}, True, 73),
        ({"d": ("key", "4")}, True, 75),
        ({"d": ("key", "4")}, False, 0),
    ],
)
def test_the_exit_code_is_the_one_of_the_gravest_failure(check_all, inlive, tokens, down, code):
    inlive.revoke_key(OTHER_KEY)
    if down:
        inlive.faults(status=500)
    assert check_all(tokens).code == code


def test_an_interrupted_check_has_printed_its_findings_so_far(inlive, place):
    inlive.faults(hang=True)
    words = ("check", "--issuer-url", inlive.url, "--key-file", place / "key", "--to-file", place / "token")
    with start(*words, PYTHONUNBUFFERED="") as process:
        assert process.stdout is not None
        finding = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=30)
    assert [each[:10] for each in finding] == ["ok   confi", "ok   key: "]
    assert process.returncode in INTERRUPTED
    assert (rest, err) == ("", "")


# A key that may have to be decoded


def test_a_key_in_base64_is_a_hint(check, place):
    (place / "key").write_text(base64.b64encode(KEY.encode()).decode())
    checked = check("--offline")
    assert checked.code == 0
    assert (
        f"hint key: the content of {place}/key looks like base64; if the issuer refuses it, decode it"
        in checked.out
    )


@pytest.fixture
def short():
    """A directory with a path short enough for a socket, and a client secret in it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "secret").write_text("a-client-secret-of-this-machine")
        yield Path(folder)


# The port


def daemon_on(port, inlive, place, *more):
    words = ("--issuer-url", inlive.url, "--key-file", place / "key", "--to-file", place / "token")
    return start("run", *words, "--listen", f"127.0.0.1:{port}", *more)


def test_a_free_port_is_ok(check):
    port = free_port()
    assert (
        line(check("--offline", "--listen", f"127.0.0.1:{port}"), "listen")
        == f"ok   listen: port {port} is free"
    )


def test_a_port_in_use_is_a_failure(check):
    with socket.create_server(("127.0.0.1", 0)) as other:
        checked = check("--offline", "--listen", f"127.0.0.1:{other.getsockname()[1]}")
    assert checked.code == 78
    finding = line(checked, "listen")
    assert finding.startswith("FAIL listen: cannot listen on 127.0.0.1:")
    assert "another process listens there; stop it or choose another --listen" in finding


@pytest.mark.parametrize(("name", "code"), [("default", 0), ("another", 78)])
def test_a_port_used_by_our_daemon_is_a_hint_by_another_a_failure(check, inlive, place, name, code):
    port = free_port()
    listen = ("--listen", f"127.0.0.1:{port}")
    with daemon_on(port, inlive, place) as process:
        try:
            eventually(lambda: answers(port), "it serves its endpoints")
            checked = check("--offline", *listen, "--name", name)
        finally:
            process.kill()
    assert checked.code == code
    finding = line(checked, "listen")
    if code:
        assert finding.endswith("; a refresher with other tokens listens there")
    else:
        assert finding == f"hint listen: port {port} is used by the daemon of these tokens"


# The consumers' listener


def test_a_free_serve_address_is_ok_and_stays_free(check, short):
    port = free_port()
    for address in (f"unix:{short}/socket", f"127.0.0.1:{port}"):
        words = () if address.startswith("unix") else ("--serve-secret-file", short / "secret")
        checked = check("--offline", "--serve", address, *words)
        assert (checked.code, line(checked, "serve")) == (0, f"ok   serve: {address} is free")
    assert os.listdir(short) == ["secret"]


@pytest.mark.parametrize(
    ("words", "finding"),
    [
        (("--serve", "unix:{}/missing/socket"), "its directory does not exist; create it or choose another"),
        (("--serve", "unix:{}/secret"), "a file that is not a socket exists there; remove it or choose"),
        (("--serve", "unix:{}/" + "x" * 107), "the path has more than 107 bytes; choose a shorter --serve"),
        (
            ("--serve", "unix:{}/s", "--serve-group", "nobody-at-all"),
            "this machine has no group 'nobody-at-al'…",
        ),
    ],
)
def test_a_serve_address_that_cannot_be_used_is_a_failure(check, short, words, finding):
    checked = check("--offline", *(word.format(short) for word in words))
    assert checked.code == 78
    assert line(checked, "serve").startswith("FAIL serve: cannot listen on unix:")
    assert finding in line(checked, "serve")


def test_the_client_secret_is_read(check, short):
    serve = ("--serve", f"unix:{short}/socket", "--serve-secret-file")
    checked = check("--offline", *serve, short / "secret")
    assert checked.code == 0
    assert line(checked, "client secret").startswith(f"ok   client secret: file:{short}/secret, fingerprint ")
    checked = check("--offline", *serve, short / "none")
    assert checked.code == 78
    assert line(checked, "client secret").startswith(
        f"FAIL client secret: the client secret file {short}/none cannot be read: No such file or directory"
    )


def respond_to_the_second(listening):
    """As a server of others: `check` connects first only to see whether somebody listens."""
    for response in (b"", b"HTTP/1.1 200 OK\r\nServer: another\r\nContent-Length: 0\r\n\r\n"):
        sock, _ = listening.accept()
        with sock, contextlib.suppress(OSError):
            if response:
                sock.recv(4096)
                sock.sendall(response)


@pytest.mark.parametrize("by", ["the daemon", "another process"])
def test_a_serve_address_used_by_a_refresher_is_a_hint_by_another_a_failure(check, inlive, place, short, by):
    address = f"{short}/socket"
    serve = ("--serve", f"unix:{address}")
    if by == "the daemon":
        with daemon_on(free_port(), inlive, place, *serve) as process:
            try:
                eventually(lambda: os.path.exists(address), "it listens")
                checked = check("--offline", *serve)
            finally:
                process.kill()
        assert checked.code == 0
        assert line(checked, "serve") == (
            f"hint serve: unix:{address} is used by a refresher, most likely the daemon"
        )
        return
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(address)
        other.listen()
        thread = threading.Thread(target=respond_to_the_second, args=(other,))
        thread.start()
        checked = check("--offline", *serve)
        thread.join()
    assert checked.code == 78
    assert "another process listens there; stop it or choose another --serve" in line(checked, "serve")


def answers(port):
    try:
        return requests.get(f"http://127.0.0.1:{port}/status", timeout=10).ok
    except requests.ConnectionError:
        return False
