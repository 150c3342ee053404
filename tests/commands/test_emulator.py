"""`refresher emulator`, as a process started from a shell."""

import json
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import trustme

COMMAND = (sys.executable, "-m", "refresher", "emulator", "--listen", "127.0.0.1:0")
DEADLINE = 20.0  # seconds; far more than anything here takes
PROMPT = 5.0  # seconds within which a signal has to end it


class Started:
    """A running emulator, and its output at the start."""

    def __init__(self, *flags: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        lines: list[str] = []
        while not (lines and lines[-1].endswith("/_emulator/state\n")):
            line = self.process.stdout.readline()
            assert line, "".join(lines) + self.process.communicate()[1]
            lines.append(line)
        self.welcome = "".join(lines)
        self.url = re.findall(r"Inlive API at (\S+)", self.welcome)[0]

    @property
    def new_key(self) -> str:
        return re.findall(r"valid only for this emulator: (\S+)", self.welcome)[0]

    def mint(self, key: str, lifetime: int = 60, verify: str | bool = True) -> requests.Response:
        return requests.post(
            f"{self.url}/v1/keys/accesstoken",
            json={"expiry_seconds": lifetime},
            headers={"Authorization": f"Bearer {key}"},
            timeout=DEADLINE,
            verify=verify,
        )

    def shell(self, pattern: str, **environment: str) -> str:
        """The output of the one welcome line that matches `pattern`, run in a shell."""
        (line,) = re.findall(rf"^  ({pattern}.*)$", self.welcome, re.MULTILINE)
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        ended = subprocess.run(
            line,
            check=False,
            shell=True,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            env={"PATH": path} | environment,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Its exit code, and its standard error."""
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=PROMPT)
        return self.process.returncode, log


@pytest.fixture
def start() -> Iterator[Callable[..., Started]]:
    started: list[Started] = []

    def perform(*flags: str) -> Started:
        started.append(Started(*flags))
        return started[-1]

    yield perform
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


def refused(*flags: str) -> str:
    """The message about refused flags, after exit code 78 without a start."""
    ended = subprocess.run([*COMMAND, *flags], check=False, capture_output=True, text=True, timeout=DEADLINE)
    assert (ended.returncode, ended.stdout) == (78, "")
    return ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0(start: Callable[..., Started], number: int) -> None:
    assert start().end(number) == (0, "")


def test_a_signal_ends_it_while_clients_wait(start: Callable[..., Started]) -> None:
    emulator = start()
    control = {"X-Emulator-Control": "1"}
    requests.put(f"{emulator.url}/_emulator/faults", json={"drip": 600}, headers=control, timeout=DEADLINE)
    with requests.post(f"{emulator.url}/v1/keys/accesstoken", timeout=DEADLINE, stream=True):
        assert emulator.end()[0] == 0


def test_it_warns_if_other_machines_can_reach_it(start: Callable[..., Started]) -> None:
    assert start("--listen", ":0").end()[1].startswith("WARNING: --listen :0 is not on loopback.")
    assert "WARNING" not in start("--listen", "localhost:0").end()[1]


def test_its_new_key_mints(start: Callable[..., Started]) -> None:
    emulator = start()
    assert emulator.mint(emulator.new_key).status_code == 200
    assert emulator.mint("another").status_code == 401


def test_it_accepts_the_keys_of_all_key_files_without_printing_them(
    start: Callable[..., Started], tmp_path: Path
) -> None:
    keys = ("sesame-number-one", "sesame-number-two")
    flags = []
    for key in keys:
        (tmp_path / key[-3:]).write_text(f"{key}\n")
        flags += ["--key-file", str(tmp_path / key[-3:])]
    emulator = start(*flags)
    assert [emulator.mint(key).status_code for key in keys] == [200, 200]
    assert "application key" not in emulator.welcome
    _, log = emulator.end()
    assert "sesame" not in emulator.welcome + log


def test_a_key_file_is_readable_only_by_its_owner_and_the_key_is_not_printed(
    start: Callable[..., Started], tmp_path: Path
) -> None:
    path = tmp_path / "key"
    emulator = start("--write-key", str(path))
    key = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert emulator.mint(key).status_code == 200
    assert key not in emulator.welcome


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("somebody's own")
    assert "exists and is not overwritten; accepted: a new file, or --key-file" in refused(
        "--write-key", str(path)
    )
    assert path.read_text() == "somebody's own"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("given", ["printed", "in a file"])
def test_the_welcome_lines_work_in_a_shell(start: Callable[..., Started], given: str, tmp_path: Path) -> None:
    emulator = start() if given == "printed" else start("--write-key", str(tmp_path / "a key"))
    token = json.loads(emulator.shell(r"curl \S+/accesstoken"))["data"]["access_token"]
    assert emulator.shell(r"curl -i \S+/rooms", TOKEN=token).startswith("HTTP/1.1 200")
    assert json.loads(emulator.shell(r"curl \S+/oauth2/token"))["expires_in"] == 3600
    assert json.loads(emulator.shell(r"curl \S+/v1/tokens"))["data"]["ttl"] == 60
    assert json.loads(emulator.shell("curl -X PUT"))["data"][0]["status"] == 503
    assert emulator.mint("whichever").status_code == 503
    assert json.loads(emulator.shell(r"curl \S+/state"))["data"]["counts"]["outcomes"] == {"200": 3, "503": 1}


def test_the_welcome_line_with_refresher_mint_prints_a_token(
    start: Callable[..., Started], tmp_path: Path
) -> None:
    emulator = start("--write-key", str(tmp_path / "a key"))
    token = emulator.shell("refresher mint")
    room = requests.post(
        f"{emulator.url}/v1/rooms/create", headers={"Authorization": f"Bearer {token}"}, timeout=DEADLINE
    )
    assert room.status_code == 200


def test_every_request_has_a_line_on_standard_error_without_a_secret(start: Callable[..., Started]) -> None:
    emulator = start()
    token = emulator.mint(emulator.new_key).json()["data"]["access_token"]
    refused = emulator.mint("another")
    _, log = emulator.end()
    first, second = log.splitlines()
    assert first.startswith("POST /v1/keys/accesstoken 200 id=")
    assert second.startswith(f"POST /v1/keys/accesstoken 401 id={refused.headers['X-Request-Id']} ")
    assert emulator.new_key not in log
    assert token not in log


def test_it_keeps_serving_after_the_reader_of_its_log_has_gone(start: Callable[..., Started]) -> None:
    emulator = start()
    assert emulator.process.stderr is not None
    emulator.process.stderr.close()
    assert [emulator.mint(emulator.new_key).status_code for _ in range(3)] == [200] * 3
    emulator.process.send_signal(signal.SIGTERM)
    assert emulator.process.wait(PROMPT) == 0


def test_flags_select_jwts_and_a_shortest_lifetime(start: Callable[..., Started]) -> None:
    emulator = start("--jwt", "--min-lifetime", "1m")
    assert emulator.mint(emulator.new_key, 59).status_code == 400
    token = emulator.mint(emulator.new_key, 60).json()["data"]["access_token"]
    assert token.count(".") == 2


def test_it_serves_https_with_a_certificate_and_its_key(
    start: Callable[..., Started], tmp_path: Path
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(tmp_path / "tls.key"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "tls.crt"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    emulator = start("--cert", str(tmp_path / "tls.crt"), "--key", str(tmp_path / "tls.key"))
    assert emulator.url.startswith("https://127.0.0.1:")
    assert emulator.mint(emulator.new_key, verify=str(tmp_path / "ca.pem")).status_code == 200


@pytest.mark.parametrize(
    ("flags", "welcome"),
    [
        (("--listen", "8787"), "--listen: '8787' is not an address; did you mean :8787?"),
        (("--listen", "192.0.2.1:0"), "cannot listen on 192.0.2.1:0: "),
        (("--key-file", "/none/such"), "the key file /none/such cannot be read: No such file"),
        (("--write-key", "/none/such"), "--write-key: /none/such: No such file"),
        (("--min-lifetime", "soon"), "--min-lifetime: 'soon' is not a duration"),
        (("--lifetime", "soon"), "--lifetime: 'soon' is not a duration"),
        (("--json-answer", "{}"), "json_answer: is not a JSON object with the text $access_token; accepted:"),
        (("--json-answer", "{"), "json_answer: is not a JSON object with the text $access_token; accepted:"),
        (("--cert", "/none/such"), "cert: /none/such cannot be used: No such file"),
        (("--key", "tls.key"), "key: is given without cert"),
    ],
)
def test_a_mistake_is_reported_with_exit_code_78(flags: tuple[str, ...], welcome: str) -> None:
    assert welcome in refused(*flags)
