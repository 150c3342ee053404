"""The consumers' listener of a real daemon as the source of a token."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from refresher.client.listener import REQUIRED, TokenListener
from refresher.client.opening import open_source
from refresher.client.source import EXPIRED_HEADER, TokenUnavailableError
from refresher.core import inlive as wire
from refresher.emulator.server import Emulator
from refresher.http.server.messages import Response
from refresher.web import guard
from tests.client.serving import daemon, early_mints, elsewhere, with_an_ended_token
from tests.commands.daemon import Daemon, eventually, free_port

THREADS = 32


@pytest.fixture(params=["unix", "tcp"])
def address(request: pytest.FixtureRequest, place: Path) -> str:
    return f"unix:{place}/socket" if request.param == "unix" else f"127.0.0.1:{free_port()}"


def test_it_gives_the_token_of_the_file(inlive: Emulator, place: Path, address: str) -> None:
    with daemon(inlive, place, serve=address):
        source = TokenListener(address)
        assert source.token() == (place / "token").read_text()
        assert source.token() == TokenListener(address, "default").token()


def test_a_new_token_is_noticed_without_a_403(inlive: Emulator, place: Path, address: str) -> None:
    with daemon(inlive, place, serve=address) as running:
        source = TokenListener(address)
        first = source.token()
        running.send(signal.SIGUSR1)  # mints anew
        running.wait_for("OutputWritten", times=2, output="serve:default")
        eventually(lambda: source.token() != first, "the new token")
        assert source.token() == (place / "token").read_text()


def test_reports_from_many_threads_cost_one_mint(inlive: Emulator, place: Path, address: str) -> None:
    with with_an_ended_token(inlive, place, serve=address) as running:
        source = TokenListener(address)
        expired = source.token()
        assert not inlive.valid(expired)
        with ThreadPoolExecutor(THREADS) as pool:
            (new,) = set(pool.map(source.replacement, [expired] * THREADS))
        assert new is not None
        assert inlive.valid(new)
        assert source.token() == new
        assert early_mints(running) == 1


def test_who_reports_late_gets_the_token_that_another_thread_has_got(inlive: Emulator, place: Path) -> None:
    with with_an_ended_token(inlive, place):
        source = TokenListener(f"unix:{place}/socket")
        expired = source.token()
        new = source.after(expired)
    assert source.after(expired) == new, "although the listener is gone"


def test_a_token_in_hand_outlives_its_listener(inlive: Emulator, place: Path, address: str) -> None:
    source = TokenListener(address)
    with daemon(inlive, place, serve=address) as running:
        token = source.token()
        assert running.end() == 0
    looked = source._held.ask_at if source._held else 0.0
    eventually(lambda: source.token() == token and source._held.ask_at > looked, "it has asked in vain")
    with pytest.raises(TokenUnavailableError, match="does not answer: "):
        TokenListener(address).token()
    assert source.replacement(token) is None


def test_while_there_is_no_token_it_reports_the_reason(inlive: Emulator, place: Path) -> None:
    inlive.faults(status=503, scope="mint")
    (place / "key").write_text("some-key-of-ours")
    words = ("--key-file", place / "key", "--to-file", place / "token", "--issuer-url", inlive.url)
    with Daemon(*words, "--serve", f"unix:{place}/socket") as running:
        running.wait_for("RefreshFailed")
        source = TokenListener(f"unix:{place}/socket")
        with pytest.raises(TokenUnavailableError, match="has no token to give: 503 no valid token"):
            source.token()


def test_an_unknown_name_is_answered_with_the_known_ones(inlive: Emulator, place: Path) -> None:
    refused = pytest.raises(TokenUnavailableError, match="404 no such token; accepted: default")
    with daemon(inlive, place), refused:
        TokenListener(f"unix:{place}/socket", "studio").token()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hidden",
        b'{"access_token": 1}',
        b'{"access_token": "hid den"}',
        b'{"token": "hidden"}',
        b"[" * 9999,
    ],
)
def test_a_response_without_a_token_is_reported_without_its_content(body: bytes) -> None:
    with elsewhere(lambda _: Response(200, body, "application/json")) as other:
        source = TokenListener(other.url.removeprefix("http://"))
        with pytest.raises(TokenUnavailableError, match="the response is not in the format json") as caught:
            source.token()
        assert "hid" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    ["https://hub.inlive.app", "http://127.0.0.1:9470", "unix:token.sock", "10.0.0.1:9470", "issuer.test:80"],
)
def test_an_address_on_another_machine_or_a_url_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"accepted: (a file, )?unix:/PATH, 127.0.0.1:PORT"):
        open_source(given, "")


def test_a_file_takes_no_name() -> None:
    with pytest.raises(ValueError, match="a file holds one token; leave out the name 'studio'"):
        open_source("/run/inlive/token", "studio")


def test_its_headers_are_those_of_the_program() -> None:
    """The client imports nothing of it, so it has names of its own."""
    assert EXPIRED_HEADER == wire.EXPIRED_HEADER
    assert REQUIRED == (guard.HEADER, "1")
