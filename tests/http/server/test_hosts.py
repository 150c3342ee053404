"""Hosts that no web page can redirect."""

import pytest

from refresher.http.server.hosts import is_own_host

OWN_HOSTS = [
    "localhost",
    "LOCALHOST:8787",
    "studio.localhost:1",
    "127.0.0.1:8787",
    "[::1]:8787",
    "192.0.2.7",
    "emulator:8787",
]
OTHER_HOSTS = [
    "",
    "evil.example",
    "evil.example:8787",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "127.0.0.1@evil.example",
    "evillocalhost",
    "[::1",
    "..",
    ":8787",
]


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_a_host_that_can_only_mean_this_machine_is_accepted(host: str) -> None:
    assert is_own_host(host, "Emulator")


@pytest.mark.parametrize("host", [*OTHER_HOSTS, "emulator"])
def test_any_other_host_is_refused(host: str) -> None:
    assert not is_own_host(host, "")
