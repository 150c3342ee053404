"""Zero-code consumers: the examples of examples/proxies in the real proxies, with a real daemon."""

import json
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from refresher.client.listener import TokenListener
from refresher.core.model import fingerprint
from refresher.core.schedule import soonest
from refresher.emulator.server import Emulator
from refresher.http.server.messages import Request, Response
from tests.client.serving import EXPIRED, LIFETIME, daemon, early_mints, elsewhere, with_an_ended_token
from tests.commands.daemon import Daemon, eventually
from tests.http.server.site import Received, Site
from tests.proxies.conftest import issued
from tests.proxies.proxies import PROXIES, Proxy, Running, places_of, running

CALLERS = 8
ROOM = b'{"name": "My Room"}'
LARGE = json.dumps({"name": "x" * 50_000}).encode()

every_proxy = pytest.mark.parametrize("name", PROXIES)
that_repeats = pytest.mark.parametrize("name", [name for name, proxy in PROXIES.items() if proxy.repeats])


def create(site: Site, body: bytes = ROOM, **headers: str) -> Received:
    return site.call("/v1/rooms/create", "POST", body, headers={"Authorization": "Bearer mine", **headers})


@contextmanager
def served(
    proxy: Proxy,
    inlive: Emulator,
    place: Path,
    *,
    ended: bool = False,
    authority: str = "authority.pem",
    hub: int = 0,
) -> Iterator[tuple[Daemon, Running]]:
    """The daemon and the proxy. `ended`: the first token has ended early, which only Inlive knows."""
    places = places_of(place, hub or inlive.port, place / authority)
    serve = f"127.0.0.1:{places.listener}" if proxy.listener == "tcp" else f"unix:{place}/socket"
    trusted = ("--ca-file", place / "authority.pem")
    start = with_an_ended_token if ended else daemon
    with start(inlive, place, *trusted, serve=serve) as refresher, running(proxy, places) as started:
        if ended and not proxy.names_the_token:
            wait_until_replaceable(place)
        yield refresher, started


def tls_of(certificate: str) -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    return tls


def wait_until_replaceable(place: Path) -> None:
    old_enough = (place / "token").stat().st_mtime + soonest(LIFETIME) + 0.1
    eventually(lambda: time.time() > old_enough, "a report of this token costs a mint")


@every_proxy
def test_the_token_takes_the_place_of_the_clients_own(name: str, inlive: Emulator, place: Path) -> None:
    with served(PROXIES[name], inlive, place) as (_, proxy):
        answer = create(proxy.site)
        assert (answer.status, json.loads(answer.body)["data"]["name"]) == (200, "My Room")
        room = json.loads(answer.body)["data"]["id"]
        assert proxy.site.call(f"/v1/rooms/{room}").status == 200
        assert proxy.site.call("/v1/rooms/none").status == 404
        assert "-/token" not in answer.body.decode()
    assert inlive.counts.product == {"ok": 3}


@that_repeats
def test_an_expired_token_is_replaced_and_the_request_repeated(
    name: str, inlive: Emulator, place: Path
) -> None:
    with served(PROXIES[name], inlive, place, ended=True) as (refresher, proxy):
        answer = create(proxy.site)
        assert (answer.status, json.loads(answer.body)["data"]["name"]) == (200, "My Room")
        assert inlive.counts.product == {"expired": 1, "ok": 1}
        assert proxy.site.call("/v1/rooms/none").status == 404
        assert early_mints(refresher) == 1
    assert inlive.counts.product == {"expired": 1, "ok": 2}


@that_repeats
def test_many_clients_with_an_expired_token_cost_one_mint(name: str, inlive: Emulator, place: Path) -> None:
    with (
        served(PROXIES[name], inlive, place, ended=True) as (refresher, proxy),
        ThreadPoolExecutor(CALLERS) as pool,
    ):
        assert {each.status for each in pool.map(create, [proxy.site] * CALLERS)} == {200}
        assert early_mints(refresher) == 1


@that_repeats
def test_a_body_of_the_documented_size_is_sent_again(name: str, inlive: Emulator, place: Path) -> None:
    body = json.dumps({"name": "x" * PROXIES[name].repeats}).encode()
    with served(PROXIES[name], inlive, place, ended=True) as (_, proxy):
        answer = create(proxy.site, body)
        assert (answer.status, len(json.loads(answer.body)["data"]["name"])) == (200, PROXIES[name].repeats)


@every_proxy
def test_a_large_body_passes(name: str, inlive: Emulator, place: Path) -> None:
    with served(PROXIES[name], inlive, place) as (_, proxy):
        assert create(proxy.site, LARGE).status == 200


@every_proxy
def test_after_a_403_that_is_not_repeated_the_next_request_has_the_new_token(
    name: str, inlive: Emulator, place: Path
) -> None:
    """Traefik reports nothing, so another consumer has to."""
    with served(PROXIES[name], inlive, place, ended=True) as (refresher, proxy):
        if PROXIES[name].repeats < len(LARGE):
            assert create(proxy.site, LARGE).status == 403
        if name == "traefik":
            listener = TokenListener(f"127.0.0.1:{proxy.places.listener}")
            assert listener.replacement((place / "token").read_text()) is not None
        assert create(proxy.site, LARGE).status == 200
        assert early_mints(refresher) == 1


@every_proxy
def test_inlive_gets_the_token_and_no_other_header_for_it(name: str, inlive: Emulator, place: Path) -> None:
    """Neither with the first try nor with the second."""
    tls = tls_of(str(place / "certificate.pem"))

    def answer(request: Request) -> Response:
        return Response(204) if request.method == "OPTIONS" else Response(403, headers=(EXPIRED,))

    with (
        elsewhere(answer, tls) as hub,
        served(PROXIES[name], inlive, place, hub=hub.port) as (refresher, proxy),
    ):
        wait_until_replaceable(place)
        hub.received.clear()  # without what showed that the proxy is ready
        assert create(proxy.site).status == 403
        tokens = [each.headers["authorization"].removeprefix("Bearer ") for each in hub.received]
        refresher.wait_for("TokenMinted", times=len(tokens))  # the log may come after the requests
        minted = [entry["token_fingerprint"] for entry in refresher.entries("TokenMinted")]
    assert [fingerprint(token) for token in tokens] == minted[: len(tokens)]  # HAProxy reports the second too
    assert len(tokens) == (2 if PROXIES[name].repeats else 1)
    assert {each.headers["host"] for each in hub.received} <= {"hub.inlive.app", f"127.0.0.1:{hub.port}"}
    assert [each.body for each in hub.received] == [ROOM] * len(tokens)
    named = {header for each in hub.received for header in each.headers}
    assert {header for header in named if "token" in header} == set()


@every_proxy
def test_a_certificate_of_an_unknown_authority_is_refused(name: str, inlive: Emulator, place: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(place / "other.pem"))
    with served(PROXIES[name], inlive, place, authority="other.pem") as (_, proxy):
        assert create(proxy.site).status >= 500
    assert inlive.counts.product == {}


@every_proxy
def test_a_certificate_of_another_host_is_refused(
    name: str, inlive: Emulator, place: Path, authority: trustme.CA
) -> None:
    tls = tls_of(issued(authority, place / "other.pem", "hub.elsewhere.test"))
    with (
        elsewhere(lambda _: Response(200), tls) as hub,
        served(PROXIES[name], inlive, place, hub=hub.port) as (_, proxy),
    ):
        assert create(proxy.site).status >= 500
    assert hub.received == []


@every_proxy
def test_a_request_is_repeated_only_once(name: str, inlive: Emulator, place: Path) -> None:
    """Inlive ends every token at once."""
    with served(PROXIES[name], inlive, place, ended=True) as (_, proxy):
        inlive.faults(lifetime=0)
        answer = create(proxy.site)
        assert (answer.status, answer.headers["X-Access-Token-Expired"]) == (403, "true")
        assert json.loads(answer.body)["message"] == "access token expired"
    assert inlive.counts.product == {"expired": 2 if PROXIES[name].repeats else 1}


@every_proxy
def test_a_403_of_another_kind_reaches_the_client_whole_and_costs_no_mint(
    name: str, inlive: Emulator, place: Path
) -> None:
    with served(PROXIES[name], inlive, place) as (refresher, proxy):
        inlive.faults(status=403, scope="product", body='{"message": "not yours"}')
        answer = create(proxy.site)
        assert (answer.status, json.loads(answer.body)) == (403, {"message": "not yours"})
        assert early_mints(refresher) == 0


@every_proxy
def test_a_client_can_report_nothing(name: str, inlive: Emulator, place: Path) -> None:
    """Only a response of Inlive's says that a token has expired."""
    with served(PROXIES[name], inlive, place) as (refresher, proxy):
        known = fingerprint((place / "token").read_text())
        wait_until_replaceable(place)
        for value in (known, "true"):
            answer = create(proxy.site, **{"X-Access-Token-Expired": value, "x-envoy-attempt-count": "2"})
            assert answer.status == 200
        assert early_mints(refresher) == 0


@every_proxy
def test_without_the_refresher_no_request_reaches_inlive(name: str, inlive: Emulator, place: Path) -> None:
    with served(PROXIES[name], inlive, place) as (refresher, proxy):
        assert refresher.end() == 0
        assert create(proxy.site).status == PROXIES[name].status_alone
    assert inlive.counts.product == {}


@every_proxy
def test_no_token_gets_to_a_client_or_into_a_log(name: str, inlive: Emulator, place: Path) -> None:
    ended = bool(PROXIES[name].repeats)
    with served(PROXIES[name], inlive, place, ended=ended) as (_, proxy):
        tokens = [(place / "token").read_text()]
        answer = create(proxy.site)
        assert answer.status == 200
        if ended:
            eventually(lambda: (place / "token").read_text() != tokens[0], "the file has the second token")
            tokens.append((place / "token").read_text())
    shown = str(answer.headers) + answer.body.decode() + proxy.said
    assert [token for token in tokens if token in shown] == []
    assert answer.headers["Authorization"] is None
