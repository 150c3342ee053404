"""The proxies of examples/proxies, each as a process with its example as the configuration. Only places are
changed: where it listens, the refresher's socket, Inlive's address, and the certificates to trust."""

import os
import pwd
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests import needs
from tests.commands.daemon import ROOT, eventually, free_port
from tests.http.server.site import Site

EXAMPLES = ROOT / "examples" / "proxies"
STOP_WITHIN = 10.0  # seconds


class Places(NamedTuple):
    """Where everything is in one test. `listener`: the daemon's TCP port. `authority`: the certificate
    that the proxy trusts."""

    folder: Path
    port: int
    hub: int
    listener: int
    authority: Path


class Proxy(NamedTuple):
    """`example`: its file. `command`: how it is run with a configuration. `replaced`: the texts of the
    example that stand for a place, and what takes their place."""

    example: str
    command: Callable[[Path, Places], list[str]]
    replaced: Callable[[Places], dict[str, str]]
    wrapped: str = "{}"  # what a complete configuration has around the example
    listener: str = "unix"
    repeats: int = 0  # bytes of the largest body that is sent again; 0 if the proxy repeats no request
    names_the_token: bool = True  # in its report; otherwise a young token is believed to be good
    status_alone: int = 503  # what a client gets while the daemon is stopped
    also: str = ""  # another file beside the example


def configured(proxy: Proxy, places: Places) -> Path:
    """The configuration of a proxy in this test."""
    for name in filter(None, (proxy.example, proxy.also)):
        text = (EXAMPLES / name).read_text()
        for old, new in proxy.replaced(places).items():
            text = text.replace(old, new)
        written = proxy.wrapped.replace("{}", text) if name == proxy.example else text
        (places.folder / name).write_text(written.replace("FOLDER", str(places.folder)))
    return places.folder / proxy.example


class Running(NamedTuple):
    places: Places
    site: Site
    log: list[str]

    @property
    def said(self) -> str:
        return "".join(self.log)


@contextmanager
def running(proxy: Proxy, places: Places) -> Iterator[Running]:
    """The proxy, once it passes requests on."""
    command = proxy.command(configured(proxy, places), places)
    environ = os.environ | {"XDG_CONFIG_HOME": str(places.folder), "XDG_DATA_HOME": str(places.folder)}
    process = subprocess.Popen(
        command, cwd=places.folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    log: list[str] = []
    stream = process.stdout
    assert stream is not None
    reader = threading.Thread(target=lambda: log.extend(stream))
    reader.start()

    def is_ready() -> bool:
        assert process.poll() is None, f"{command[0]} has ended: {''.join(log)}"
        return passes_on(places.port)

    try:
        eventually(is_ready, f"{command[0]} passes requests on")
        yield Running(places, Site(places.port), log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        stream.close()


def passes_on(port: int) -> bool:
    try:
        # A preflight needs no token. Traefik answers 404 until it has read its configuration.
        return Site(port).call("/", "OPTIONS").status != 404
    except OSError:
        return False


def places_of(folder: Path, hub: int, authority: Path) -> Places:
    return Places(folder, free_port(), hub, free_port(), authority)


def _common(places: Places) -> dict[str, str]:
    return {
        "/run/inlive/token.sock": f"{places.folder}/socket",
        "127.0.0.1:8080": f"127.0.0.1:{places.port}",
        "hub.inlive.app:443": f"127.0.0.1:{places.hub}",
        "/etc/ssl/certs/ca-certificates.crt": str(places.authority),
    }


PROXIES = {
    "nginx": Proxy(
        "nginx.conf",
        lambda file, _: [needs.tool("nginx"), "-c", str(file), "-e", "stderr"],
        _common,
        wrapped=(
            f"user {pwd.getpwuid(os.geteuid()).pw_name}; "
            "daemon off; pid FOLDER/nginx.pid; worker_processes 1; error_log stderr info;\n"
            "events { worker_connections 256; }\nhttp {\naccess_log /dev/stdout;\n"
            "client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy; fastcgi_temp_path FOLDER/f;\n"
            "uwsgi_temp_path FOLDER/u; scgi_temp_path FOLDER/s;\n{}\n}\n"
        ),
        repeats=60_000,
        status_alone=500,
    ),
    "haproxy": Proxy(
        "haproxy.cfg",
        lambda file, _: [needs.tool("haproxy"), "-db", "-f", str(file)],
        lambda places: _common(places)
        | {"/etc/haproxy/inlive-token.lua": f"{places.folder}/inlive-token.lua"}
        | {"abns@inlive": f"abns@inlive-{places.port}"},
        repeats=8_000,
        also="inlive-token.lua",
    ),
    "caddy": Proxy(
        "Caddyfile",
        lambda file, _: [needs.tool("caddy"), "run", "--adapter", "caddyfile", "--config", str(file)],
        lambda places: _common(places)
        | {
            "https://hub.inlive.app": f"https://127.0.0.1:{places.hub}",
            "header_up Host hub.inlive.app": "header_up Host hub.inlive.app\n"
            f"transport http {{\ntls_trust_pool file {places.authority}\n}}",
        },
        wrapped="{\nadmin off\nauto_https off\nlog default {\nlevel DEBUG\n}\n}\n{}",
        repeats=60_000,
        status_alone=502,
    ),
    "envoy": Proxy(
        "envoy.yaml",
        lambda file, _: [needs.tool("envoy"), "-c", str(file), "--use-dynamic-base-id", "--concurrency", "1"],
        lambda places: _common(places)
        | {
            "address: 127.0.0.1, port_value: 8080": f"address: 127.0.0.1, port_value: {places.port}",
            "address: hub.inlive.app, port_value: 443": f"address: 127.0.0.1, port_value: {places.hub}",
            "@inlive": f"@inlive-{places.port}",
        },
        repeats=60_000,
        names_the_token=False,
    ),
    "traefik": Proxy(
        "traefik-dynamic.yaml",
        lambda file, places: [
            needs.tool("traefik"),
            f"--entrypoints.inlive.address=127.0.0.1:{places.port}",
            f"--providers.file.filename={file}",
            "--accesslog=true",
            "--log.level=DEBUG",
            "--global.checknewversion=false",
            "--global.sendanonymoususage=false",
        ],
        lambda places: {
            "127.0.0.1:9470": f"127.0.0.1:{places.listener}",
            "https://hub.inlive.app": f"https://127.0.0.1:{places.hub}",
            "serverName: hub.inlive.app": f"serverName: hub.inlive.app\n      rootCAs: [{places.authority}]",
        },
        listener="tcp",
        status_alone=500,
    ),
}
