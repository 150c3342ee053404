"""The emulator as an object: addresses, keys, arguments, stopping, TLS."""

import contextlib
import http.client
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from cryptography.hazmat.primitives import serialization

from refresher.core.instant import Instant
from refresher.core.model import SecretStr, fingerprint
from refresher.emulator.application import CONNECTIONS
from refresher.emulator.server import Emulator
from refresher.errors import ConfigurationError, ListenError
from tests.http.server.site import has_ipv6

MINT = b"POST /v1/keys/accesstoken HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer the-application-key\r\n\r\n"
PROMPT = 1.0  # seconds within which a stop has to be over


def mint(emulator: Emulator, key: str | None = None, **options: Any) -> requests.Response:
    bearer = emulator.keys[0].reveal() if key is None else key
    headers = {"Authorization": f"Bearer {bearer}"}
    return requests.post(
        emulator.mint_url, json={"expiry_seconds": 60}, headers=headers, timeout=5, **options
    )


def test_importing_it_loads_no_needless_module() -> None:
    code = "import sys, refresher.emulator.server; print([m for m in sys.argv[1:] if m in sys.modules])"
    unwanted = ["requests", "urllib3", "yaml", "tenacity", "prometheus_client"]
    done = subprocess.run([sys.executable, "-c", code, *unwanted], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_a_key_it_creates_one() -> None:
    with Emulator() as emulator, Emulator() as another:
        assert len(emulator.keys) == 1
        assert emulator.keys != another.keys
        assert mint(emulator).status_code == 200
        assert mint(another, emulator.keys[0].reveal()).status_code == 401


def test_keys_are_added_and_revoked_while_it_runs(emulator: Emulator) -> None:
    made_up = emulator.add_key()
    emulator.add_key(SecretStr("third-key"))
    assert [key.reveal() for key in emulator.keys] == ["the-application-key", made_up.reveal(), "third-key"]
    assert mint(emulator, made_up.reveal()).status_code == 200
    emulator.revoke_key(made_up)
    emulator.revoke_key("the-application-key")
    assert mint(emulator, made_up.reveal()).status_code == 401
    assert [key.reveal() for key in emulator.keys] == ["third-key"]


def test_it_does_not_keep_the_text_of_a_key_added_over_http(emulator: Emulator) -> None:
    control = {"X-Emulator-Control": "1"}
    requests.post(f"{emulator.url}/_emulator/keys", json={"key": "over-http"}, headers=control, timeout=5)
    assert mint(emulator, "over-http").status_code == 200
    assert [key.reveal() for key in emulator.keys] == ["the-application-key"]


@pytest.mark.parametrize("refusal", [401, 403])
def test_a_wrong_key_is_refused_with_the_chosen_status(refusal: int) -> None:
    with Emulator(refusal=refusal) as emulator:
        assert mint(emulator, "another").status_code == refusal


def test_its_counts_can_be_reset(emulator: Emulator) -> None:
    mint(emulator)
    emulator.reset_counts()
    mint(emulator)
    assert emulator.counts.mints == 1


def test_heal_does_not_end_a_hanging_request(emulator: Emulator, eventually: Callable[..., None]) -> None:
    emulator.faults(hang=True)
    with socket.create_connection(("127.0.0.1", emulator.port), timeout=5) as hanging:
        hanging.sendall(MINT)
        eventually(lambda: emulator.counts.mints == 1)
        emulator.heal()
        assert mint(emulator).status_code == 200
        hanging.setblocking(False)
        with pytest.raises(BlockingIOError):
            hanging.recv(1)


def test_an_unknown_key_cannot_be_revoked(emulator: Emulator) -> None:
    with pytest.raises(ConfigurationError, match="is in force") as raised:
        emulator.revoke_key("never-added")
    assert "never-added" not in str(raised.value)


@pytest.mark.parametrize("end", [Emulator.expire_token, Emulator.revoke_token])
def test_a_token_is_ended_while_it_runs(emulator: Emulator, end: Callable[..., None]) -> None:
    first, second = (mint(emulator).json()["data"]["access_token"] for _ in range(2))
    end(emulator, first)
    assert (emulator.valid(first), emulator.valid(second)) == (False, True)
    with pytest.raises(ConfigurationError, match=f"no token with fingerprint {fingerprint(first)} is in"):
        end(emulator, first)
    end(emulator)
    assert not emulator.valid(second)
    end(emulator)  # all of none: nothing to report


def test_a_token_expires_by_the_given_clock() -> None:
    @dataclass
    class MovableClock:
        wall: float = 1_800_000_000.0

        def now(self) -> Instant:
            return Instant(self.wall, self.wall)

    clock = MovableClock()
    with Emulator(clock=clock, jwt=True) as emulator:
        access = mint(emulator).json()["data"]["access_token"]
        headers = {"Authorization": f"Bearer {access}"}
        room = requests.post(f"{emulator.url}/v1/rooms/create", json={"name": ""}, headers=headers, timeout=5)
        assert room.status_code == 200
        assert emulator.valid(access)
        assert not emulator.valid("never-issued")
        clock.wall += 60
        room = requests.post(f"{emulator.url}/v1/rooms/create", json={"name": ""}, headers=headers, timeout=5)
        assert (room.status_code, room.headers["X-Access-Token-Expired"]) == (403, "true")
        assert not emulator.valid(SecretStr(access))


@pytest.mark.parametrize(
    "wrong", [{"refusal": 404}, {"key": "tls.key"}, {"keys": ["good", "b\nad"]}, {"keys": [""]}]
)
def test_a_bad_argument_is_reported_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="accepted"):
        Emulator(**wrong)


def test_an_address_in_use_is_reported(emulator: Emulator) -> None:
    with pytest.raises(
        ListenError, match=rf"cannot listen on 127\.0\.0\.1:{emulator.port}: another process listens there"
    ):
        Emulator(port=emulator.port).start()


@pytest.mark.parametrize(
    ("host", "port"), [("not..a.host", 0), ("127.0.0.1", 70_000), ("127.0.0.1", -1), ("192.0.2.1", 0)]
)
def test_an_unusable_address_is_reported(host: str, port: int) -> None:
    with pytest.raises(ListenError, match=f"cannot listen on {host}:{port}: "):
        Emulator(host, port).start()


def test_by_default_it_listens_on_loopback_only(emulator: Emulator) -> None:
    assert emulator.url == f"http://127.0.0.1:{emulator.port}"
    assert emulator.mint_url == f"{emulator.url}/v1/keys/accesstoken"
    with (
        pytest.raises(OSError, match="refused"),
        socket.create_connection(("127.0.0.2", emulator.port), timeout=5),
    ):
        pass


@pytest.mark.parametrize(
    ("host", "shown"),
    [("0.0.0.0", "127.0.0.1"), ("", "127.0.0.1"), ("::1", "[::1]"), ("localhost", "localhost")],
)
def test_the_url_can_be_called(host: str, shown: str) -> None:
    if host == "::1" and not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    with Emulator(host) as emulator:
        assert emulator.url == f"http://{shown}:{emulator.port}"
        assert mint(emulator).status_code == 200


def test_a_restart_keeps_port_tokens_and_counts(emulator: Emulator) -> None:
    session = requests.Session()
    headers = {"Authorization": "Bearer the-application-key"}
    access = session.post(emulator.mint_url, headers=headers, timeout=5).json()["data"]["access_token"]
    port = emulator.port
    emulator.stop()
    with pytest.raises(requests.ConnectionError):
        session.post(emulator.mint_url, headers=headers, timeout=5)
    emulator.start()
    assert emulator.port == port
    assert session.post(emulator.mint_url, headers=headers, timeout=5).status_code == 200
    assert emulator.valid(access)
    assert emulator.counts.mints == 2
    session.close()


def test_start_and_stop_are_idempotent(emulator: Emulator) -> None:
    port = emulator.port
    assert emulator.start() is emulator
    assert emulator.port == port
    emulator.stop()
    emulator.stop()


def test_it_has_no_port_before_the_start() -> None:
    assert Emulator().port == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"hang": True},
        {"latency": 600},
        {"drip": 600},
        {"drip": 600, "drip_head": True},
        {"endless": "chunked"},
        {"endless": "close", "drip": 0.01},
        {},
    ],
    ids=str,
)
def test_it_stops_promptly_despite_its_connections(
    emulator: Emulator, fault: dict[str, object], eventually: Callable[..., None]
) -> None:
    emulator.faults(**fault)
    before = threading.active_count()
    clients = [socket.create_connection(("127.0.0.1", emulator.port), timeout=5) for _ in range(8)]
    for client in clients:
        client.sendall(MINT)
    eventually(lambda: emulator.counts.mints == 8)
    began = time.monotonic()
    emulator.stop()
    assert time.monotonic() - began < PROMPT
    assert (
        threading.active_count() < before
    )  # the accepting thread has gone, and none of a connection is left
    for client in clients:
        _read_to_the_end(client)
        client.close()


def _read_to_the_end(client: socket.socket) -> None:
    try:
        while client.recv(1 << 20):
            pass
    except ConnectionResetError:
        pass


def test_a_hanging_connection_ends_when_its_client_goes(
    emulator: Emulator, eventually: Callable[..., None]
) -> None:
    def is_hanging() -> bool:  # a thread of an earlier test may still be ending
        return any(thread.name == "http-takeover" for thread in threading.enumerate())

    eventually(lambda: not is_hanging())
    emulator.faults(hang=True)
    with socket.create_connection(("127.0.0.1", emulator.port), timeout=5) as client:
        client.sendall(MINT)
        eventually(lambda: emulator.counts.mints == 1)
        eventually(is_hanging)
    eventually(lambda: not is_hanging())


def test_with_too_many_connections_the_oldest_is_severed(emulator: Emulator) -> None:
    with contextlib.ExitStack() as hoard:
        idle = [
            hoard.enter_context(socket.create_connection(("127.0.0.1", emulator.port), timeout=5))
            for _ in range(CONNECTIONS + 20)
        ]
        headers = {"Authorization": "Bearer the-application-key"}
        assert requests.post(emulator.mint_url, headers=headers, timeout=5).status_code == 200
        assert idle[0].recv(1) == b""
        threads = [each for each in threading.enumerate() if each.name == "http-takeover"]
        assert len(threads) <= CONNECTIONS


NO_DESCRIPTORS = """
import resource, sys
from refresher.emulator.application import CONNECTIONS
from refresher.emulator.server import Emulator
resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
with Emulator(keys=["the-application-key"]) as emulator:
    print(emulator.port, flush=True)
    sys.stdin.read()
"""


def test_idle_clients_with_every_descriptor_do_not_prevent_a_mint() -> None:
    with (
        subprocess.Popen(
            [sys.executable, "-c", NO_DESCRIPTORS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
        contextlib.ExitStack() as hoard,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        for _ in range(60):
            hoard.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        headers = {"Authorization": "Bearer the-application-key"}
        url = f"http://127.0.0.1:{port}/v1/keys/accesstoken"
        assert requests.post(url, headers=headers, timeout=10).status_code == 200
        process.stdin.close()


@pytest.mark.parametrize(
    ("host", "only_this_machine"), [("127.0.0.1", True), ("localhost", True), ("", False)]
)
def test_it_knows_whether_only_this_machine_can_reach_it(host: str, only_this_machine: bool) -> None:
    with Emulator(host) as emulator:
        assert emulator.on_loopback is only_this_machine


def test_many_clients_at_once_are_served_and_counted(emulator: Emulator) -> None:
    def mint_often(_: int) -> set[int]:
        with requests.Session() as session:
            headers = {"Authorization": "Bearer the-application-key"}
            return {
                session.post(emulator.mint_url, headers=headers, timeout=5).status_code for _ in range(20)
            }

    with ThreadPoolExecutor(16) as pool:
        assert set.union(*pool.map(mint_often, range(16))) == {200}
    assert emulator.counts.mints == emulator.counts.issued == 320


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def pem(tmp_path: Path, authority: trustme.CA) -> dict[str, str]:
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "tls.key"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "tls.crt"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    private = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    locked = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"a passphrase"),
    )
    (tmp_path / "encrypted.key").write_bytes(locked)
    names = ("both.pem", "tls.key", "encrypted.key", "tls.crt", "ca.pem", "absent")
    return {name: str(tmp_path / name) for name in names}


@pytest.mark.parametrize(("cert", "key"), [("both.pem", None), ("tls.crt", "tls.key")])
def test_it_serves_https_to_clients_that_trust_its_certificate(
    pem: dict[str, str], cert: str, key: str | None
) -> None:
    with Emulator(cert=pem[cert], key=key and pem[key]) as emulator:
        assert emulator.url == f"https://127.0.0.1:{emulator.port}"
        assert mint(emulator, verify=pem["ca.pem"]).status_code == 200
        with pytest.raises(requests.exceptions.SSLError):
            mint(emulator)


@pytest.mark.parametrize(
    ("cert", "key"),
    [("absent", None), ("tls.crt", None), ("tls.key", "tls.crt"), ("tls.crt", "encrypted.key")],
)
def test_an_unusable_certificate_is_reported(pem: dict[str, str], cert: str, key: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be used: .+; accepted: PEM files"):
        Emulator(cert=pem[cert], key=key and pem[key]).start()


def test_a_silent_client_or_one_without_tls_blocks_no_other(
    pem: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    with Emulator(cert=pem["both.pem"]) as emulator:
        silent = socket.create_connection(("127.0.0.1", emulator.port), timeout=5)
        with socket.create_connection(("127.0.0.1", emulator.port), timeout=5) as plain:
            plain.sendall(MINT)
            _read_to_the_end(plain)
        assert mint(emulator, verify=pem["ca.pem"]).status_code == 200
        began = time.monotonic()
        emulator.stop()
        assert time.monotonic() - began < PROMPT
        silent.close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("fault", [{"hang": True}, {"endless": "chunked"}, {"drip": 600}], ids=str)
def test_it_stops_promptly_over_tls_too(
    pem: dict[str, str],
    fault: dict[str, object],
    eventually: Callable[..., None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Emulator(keys=["the-application-key"], cert=pem["both.pem"]) as emulator:
        emulator.faults(**fault)
        trusting = ssl.create_default_context(cafile=pem["ca.pem"])
        with socket.create_connection(("127.0.0.1", emulator.port), timeout=5) as plain:
            client = trusting.wrap_socket(plain, server_hostname="127.0.0.1")
            client.sendall(MINT)
            eventually(lambda: emulator.counts.mints == 1)
            began = time.monotonic()
            emulator.stop()
            assert time.monotonic() - began < PROMPT
            client.close()
    assert capfd.readouterr().err == ""


def test_a_reset_and_a_cut_body_work_over_tls(pem: dict[str, str]) -> None:
    with Emulator(keys=["the-application-key"], cert=pem["both.pem"]) as emulator:
        trusting = ssl.create_default_context(cafile=pem["ca.pem"])
        emulator.faults(cut_body=True)
        connection = http.client.HTTPSConnection("127.0.0.1", emulator.port, timeout=5, context=trusting)
        connection.request(
            "POST", "/v1/keys/accesstoken", headers={"Authorization": "Bearer the-application-key"}
        )
        with pytest.raises(http.client.IncompleteRead):
            connection.getresponse().read()
        connection.close()
        emulator.faults(reset=True)
        with (
            socket.create_connection(("127.0.0.1", emulator.port), timeout=5) as plain,
            trusting.wrap_socket(plain, server_hostname="127.0.0.1") as client,
        ):
            client.sendall(MINT)
            with pytest.raises(ConnectionResetError):  # an orderly close would be an empty read
                list(iter(lambda: socket.socket.recv(client, 65536), b""))  # TLS would make an end of either
