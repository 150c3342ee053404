"""Listening sockets, and the errors when listening fails."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from refresher.errors import ListenError
from refresher.http.server.sockets import bind
from tests.http.server.site import has_ipv6


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def taken(opened: ExitStack) -> int:
    """A port on 127.0.0.1 that is in use."""
    other = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    port: int = other.getsockname()[1]
    return port


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback address")


def connects(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_without_a_host_it_listens_on_every_ipv4_address(opened: ExitStack) -> None:
    port = opened.enter_context(bind("", 0)).getsockname()[1]
    assert connects("127.0.0.1", port)
    assert connects("127.0.0.2", port)


@needs_ipv6
def test_without_a_host_it_listens_on_ipv6_too(opened: ExitStack) -> None:
    port = opened.enter_context(bind("", 0)).getsockname()[1]
    assert connects("::1", port)


@needs_ipv6
def test_with_an_ipv6_address_it_listens_on_no_other(opened: ExitStack) -> None:
    port = opened.enter_context(bind("::1", 0)).getsockname()[1]
    assert connects("::1", port)
    assert not connects("127.0.0.1", port)


def test_with_an_address_it_listens_on_no_other(opened: ExitStack) -> None:
    port = opened.enter_context(bind("127.0.0.1", 0)).getsockname()[1]
    assert connects("127.0.0.1", port)
    assert not connects("127.0.0.2", port)


def test_localhost_can_be_reached_by_ipv4(opened: ExitStack) -> None:
    port = opened.enter_context(bind("localhost", 0)).getsockname()[1]
    assert connects("127.0.0.1", port)


def test_a_restart_can_listen_after_connections_of_its_predecessor(
    opened: ExitStack,
) -> None:
    first = bind("127.0.0.1", 0)
    port = first.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)) as client:
        served, _ = first.accept()
        served.close()  # first: the address stays in TIME_WAIT on this side
        assert client.recv(1) == b""
    first.close()
    opened.enter_context(bind("127.0.0.1", port))


def test_a_port_in_use_is_reported_with_advice(taken: int) -> None:
    with pytest.raises(ListenError) as raised:
        bind("127.0.0.1", taken)
    assert str(raised.value) == (
        f"cannot listen on 127.0.0.1:{taken}: another process listens there; "
        "stop it or choose another --listen"
    )


def test_a_port_in_use_on_one_address_is_in_use_for_every_address(taken: int) -> None:
    with pytest.raises(ListenError, match=f"cannot listen on :{taken}: another process listens there"):
        bind("", taken)


@pytest.mark.parametrize(
    ("host", "reported"),
    [
        ("192.0.2.1", "192.0.2.1:9464: this machine has no such address; choose"),
        pytest.param(
            "2001:db8::1",
            "[2001:db8::1]:9464: this machine has no such address; choose",
            marks=needs_ipv6,
        ),
        ("host.invalid", "host.invalid:9464: no such host"),
        ("not..a.host", "not..a.host:9464: no such host"),
    ],
)
def test_an_unusable_address_is_reported(host: str, reported: str) -> None:
    with pytest.raises(ListenError) as raised:
        bind(host, 9464)
    assert str(raised.value).startswith(f"cannot listen on {reported}")
    assert isinstance(raised.value.__cause__, OSError)


UNPRIVILEGED = """
import os
from refresher.errors import ListenError
from refresher.http.server.sockets import bind
if os.geteuid() == 0:
    os.setuid(65534)
try:
    bind("127.0.0.1", 1)
except ListenError as error:
    print(error)
"""


def test_a_privileged_port_is_reported() -> None:
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as start:
        if int(start.read()) <= 1:
            pytest.skip("on this machine no port takes a privilege (net.ipv4.ip_unprivileged_port_start)")
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == (
        "cannot listen on 127.0.0.1:1: not permitted; a port below 1024 needs CAP_NET_BIND_SERVICE: "
        "choose a higher port\n"
    )


def test_another_error_is_reported_in_the_words_of_the_system(opened: ExitStack) -> None:
    with pytest.raises(ListenError) as raised:  # no socket can listen on a multicast address
        opened.enter_context(bind("ff02::1", 0))
    assert "while attempting" not in str(raised.value)
    assert os.strerror(errno.EINVAL) in str(raised.value) or "no such address" in str(raised.value)


FRUGAL = """
import sys
from refresher.http.server.sockets import bind
bind("127.0.0.1", 0).close()
print([module for module in sys.argv[1:] if module in sys.modules])
"""


def test_it_imports_no_slow_module() -> None:
    unwanted = ["http.server", "http.client", "email", "encodings.idna", "prometheus_client"]
    done = subprocess.run(
        [sys.executable, "-c", FRUGAL, *unwanted], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"
