"""Envoy's credential injector with our token: a file in the format ``envoy-sds``, and OAuth2 by the listener.
The filters are those of the documentation; the rest of the configuration is the least that works."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from refresher.core import formats
from refresher.core.formats import Format
from refresher.emulator.server import Emulator
from tests import needs
from tests.client.serving import daemon
from tests.commands.daemon import ROOT, Daemon, eventually
from tests.http.server.site import Site
from tests.proxies.proxies import Places, Proxy, Running, places_of, running

TYPE = "type.googleapis.com/envoy.extensions."
HTTP = f"{TYPE}filters.network.http_connection_manager.v3.HttpConnectionManager"
_ENVOY = ("--use-dynamic-base-id", "--concurrency", "1")


def shown(page: str, word: str) -> str:
    """The one filter on this page that contains `word`."""
    blocks = re.findall(r"```yaml\n(name: .*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    (found,) = [block for block in blocks if word in block]
    return str(found)


def cluster(name: str, port: int, **more: Any) -> dict[str, Any]:
    endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
    endpoints = [{"lb_endpoints": [{"endpoint": endpoint}]}]
    return {"name": name, "load_assignment": {"cluster_name": name, "endpoints": endpoints}, **more}


def around(filter_: str, places: Places) -> str:
    """A configuration with one listener, this filter, and Inlive behind it."""
    trusted = {"trusted_ca": {"filename": str(places.authority)}}
    upstream = {
        "@type": f"{TYPE}transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {"validation_context": trusted},
    }
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "hub"}}]
    router = {"name": "router", "typed_config": {"@type": f"{TYPE}filters.http.router.v3.Router"}}
    manager = {
        "@type": HTTP,
        "stat_prefix": "clients",
        "http_filters": [yaml.safe_load(filter_), router],
        "route_config": {"virtual_hosts": [{"name": "inlive", "domains": ["*"], "routes": routes}]},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": places.port}}
    hub = cluster("hub", places.hub, transport_socket={"name": "tls", "typed_config": upstream})
    return yaml.safe_dump(
        {
            "node": {"id": "test", "cluster": "test"},
            "static_resources": {
                "listeners": [{"name": "clients", "address": address, "filter_chains": [chain]}],
                "clusters": [hub, cluster("refresher", places.listener)],
            },
        }
    )


@contextmanager
def envoy(filter_: str, places: Places) -> Iterator[Running]:
    written = places.folder / "envoy.yaml"
    written.write_text(around(filter_, places))
    command = [needs.tool("envoy"), "-c", str(written), *_ENVOY]
    with running(Proxy(str(written), lambda *_: command, lambda _: {}), places) as started:
        yield started


def expect_new_tokens(inlive: Emulator, refresher: Daemon, token: Path, site: Site) -> None:
    """Requests carry our token and not the client's; after a refresh they carry the next one."""
    eventually(lambda: creates_a_room(site), "Envoy has the first token")
    first = access_token(token)
    refresher.process.send_signal(signal.SIGUSR1)
    eventually(lambda: access_token(token) != first, "the second token is there")
    inlive.expire_token(first)
    eventually(lambda: creates_a_room(site), "Envoy has the second token")


def creates_a_room(site: Site) -> bool:
    answer = site.call("/v1/rooms/create", "POST", b"{}", headers={"Authorization": "Bearer mine"})
    return answer.status == 200


def access_token(path: Path) -> str:
    found = formats.read_back(Format("envoy-sds"), path.read_bytes())
    assert found is not None
    return found[0].reveal()


def test_envoy_reads_the_format_envoy_sds_and_notices_each_new_token(inlive: Emulator, place: Path) -> None:
    places, token = places_of(place, inlive.port, place / "authority.pem"), place / "token.json"
    filter_ = shown("proxies.md", "generic").replace("/run/inlive/token.json", str(token))
    wanted = ("--to-file", token, "--format", "envoy-sds", "--ca-file", places.authority)
    with daemon(inlive, place, *wanted) as refresher, envoy(filter_, places) as proxy:
        expect_new_tokens(inlive, refresher, token, proxy.site)


def test_envoy_fetches_the_token_by_oauth2(inlive: Emulator, place: Path) -> None:
    """Until the token that it has fetched ends, Envoy does not ask again: no refresh is tried here."""
    places, secret = places_of(place, inlive.port, place / "authority.pem"), place / "secret.json"
    listener = f"127.0.0.1:{places.listener}"
    filter_ = shown("consumers.md", "oauth2.v3").replace("127.0.0.1:9470", listener)
    filter_ = filter_.replace("/etc/envoy/secret.yaml", str(secret))
    with daemon(inlive, place, "--ca-file", places.authority, serve=listener):
        inline = {"secret": {"inline_string": (place / "secret").read_text()}}
        resource = {"@type": formats.SDS_TYPE, "name": "client-secret", "generic_secret": inline}
        secret.write_text(json.dumps({"resources": [resource]}))
        with envoy(filter_, places) as proxy:
            eventually(lambda: creates_a_room(proxy.site), "Envoy has our token")
