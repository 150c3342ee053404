"""Unix sockets: permissions, replacement of abandoned sockets, and errors."""

import grp
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from refresher.errors import AddressInUseError, ListenError
from refresher.http.server.loop import Server
from refresher.http.server.messages import Response
from refresher.http.server.sockets import LONGEST_PATH, bind, bind_unix, close, try_unix
from tests.http.server.site import DEADLINE, ONE_REQUEST, Plain, everything


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A short path of a socket, because the directories of tests are long."""
    monkeypatch.chdir(tmp_path)
    return "token.sock"


def bound(path: str, mode: int = 0o660, group: str | None = None) -> socket.socket:
    return bind_unix(path, mode=mode, group=group, option="--serve")


def connected(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(DEADLINE)
    sock.connect(path)
    return sock


def test_it_serves_requests_and_is_removed_at_the_end(path: str) -> None:
    server = Server(bound(path), Plain(lambda request: Response(200, request.path.encode())), ONE_REQUEST)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        with connected(path) as sock:
            sock.sendall(b"GET /there HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert everything(sock).endswith(b"/there")
    finally:
        server.stop()
        thread.join(DEADLINE)
    assert not os.path.lexists(path)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_it_has_the_given_mode_and_group(path: str, mode: int) -> None:
    own = grp.getgrgid(os.getgid())
    for group in (own.gr_name, str(own.gr_gid), None):
        listening = bound(path, mode, group)
        found = os.stat(path)
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (mode, own.gr_gid)
        close(listening)


ANOTHER = """
import os, socket, sys
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(socket.socket(socket.AF_UNIX).connect_ex(sys.argv[1]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("mode", "connects"), [(0o660, False), (0o666, True)])
def test_another_user_connects_only_if_the_mode_allows_it(mode: int, connects: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)  # others may enter it, unlike the directories of tests
        listening = bound(f"{directory}/socket", mode)
        program = [sys.executable, "-c", ANOTHER, f"{directory}/socket"]
        done = subprocess.run(program, capture_output=True, text=True, check=True, timeout=DEADLINE)
        assert (done.stdout.strip() == "0") is connects
        close(listening)


def test_a_socket_left_by_a_killed_process_is_replaced(path: str) -> None:
    bound(path).close()  # without removing it
    assert os.path.lexists(path)
    listening = bound(path)
    connected(path).close()
    close(listening)


def test_a_socket_in_use_is_not_replaced(path: str) -> None:
    first = bound(path)
    with pytest.raises(ListenError) as raised:
        bound(path)
    assert str(raised.value) == (
        "cannot listen on unix:token.sock: another process listens there; stop it or choose another --serve"
    )
    connected(path).close()
    close(first)


def test_a_socket_with_a_full_backlog_is_not_replaced(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as first:
        first.bind(path)
        first.listen(0)
        with connected(path), pytest.raises(ListenError, match="another process listens there"):
            bound(path)


def test_another_file_is_not_replaced(path: str, tmp_path: Path) -> None:
    Path(path).write_text("precious")
    with pytest.raises(ListenError, match="a file that is not a socket exists there; remove it or choose"):
        bound(path)
    assert Path(path).read_text() == "precious"
    Path(path).unlink()
    Path(path).symlink_to("nowhere")
    with pytest.raises(ListenError, match="a file that is not a socket exists there"):
        bound(path)


@pytest.mark.parametrize(
    ("path", "reported"),
    [
        (
            "missing/socket",
            "unix:missing/socket: its directory does not exist; create it or choose another --serve",
        ),
        (f"{__file__}/socket", "its parent is not a directory; choose another --serve"),
        ("x" * (LONGEST_PATH + 1), f"the path has more than {LONGEST_PATH} bytes; choose a shorter --serve"),
        ("\N{SNOWMAN}" * 40, "the path has more than 107 bytes"),
    ],
)
def test_an_unusable_path_is_reported(path: str, reported: str) -> None:
    for attempt in (bound, try_unix):
        with pytest.raises(ListenError) as raised:
            attempt(path)
        assert reported in str(raised.value)


def test_an_unknown_group_is_reported_and_leaves_no_file(path: str) -> None:
    with pytest.raises(
        ListenError, match=r"unix:token\.sock: this machine has no group 'nobody-has-t'…; create it"
    ):
        bound(path, group="nobody-has-this")
    assert not os.path.lexists(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="as root, which then gives its rights away")
def test_a_missing_permission_is_reported() -> None:
    code = """
import os, sys, tempfile  # the last one now, while the library may be read
from refresher.errors import ListenError
from refresher.http.server.sockets import bind_unix, try_unix
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
for path, group in (("/socket", None), (sys.argv[1], "0")):
    for attempt in (bind_unix, try_unix):
        try:
            attempt(path, group=group, option="--serve")
        except ListenError as error:
            print(error)
"""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        program = [sys.executable, "-c", code, f"{directory}/s"]
        done = subprocess.run(program, capture_output=True, text=True, check=True, timeout=DEADLINE)
        assert os.listdir(directory) == []
    directory_line = (
        "cannot listen on unix:/socket: not permitted; this process must be able to write to its directory"
    )
    group_line = (
        f"cannot listen on unix:{directory}/s: this process may not give it to group 0; run it as a member "
        "of that group"
    )
    assert done.stdout.splitlines() == [directory_line] * 2 + [group_line] * 2


def test_a_trial_reports_the_same_and_leaves_everything_as_it_was(path: str, tmp_path: Path) -> None:
    absolute = str(tmp_path / path)
    with tempfile.TemporaryDirectory() as folder:
        try_unix(f"{folder}/socket")
        assert os.listdir(folder) == []
        bound(f"{folder}/socket").close()  # abandoned
        try_unix(f"{folder}/socket")
        assert os.listdir(folder) == ["socket"]
        first = bound(f"{folder}/socket")
        with pytest.raises(AddressInUseError, match="another process listens there"):
            try_unix(f"{folder}/socket")
        connected(f"{folder}/socket").close()
        close(first)
        Path(folder, "file").touch()
        with pytest.raises(AddressInUseError, match="a file that is not a socket exists there"):
            try_unix(f"{folder}/file")
    with pytest.raises(ListenError, match="has no group"):
        try_unix(absolute, group="nobody-has-this")


@pytest.mark.parametrize("secret", ["NoDigitInThisKeyAtAllButCapitals", "sk.live.Zq1f0WcT5d9mN3x8Hn2XkLm"])
def test_a_message_shows_no_secret_typed_as_an_address(secret: str, tmp_path: Path) -> None:
    for attempt in (
        lambda: bind_unix(f"{tmp_path}/{secret}/s"),
        lambda: bind_unix(f"/missing/{secret}"),
        lambda: bind_unix("/missing/s", group=secret),
        lambda: try_unix("/missing/s", group=secret),
        lambda: bind(secret, 80_000),
    ):
        with pytest.raises(ListenError) as raised:
            attempt()
        assert secret[:13] not in str(raised.value)
