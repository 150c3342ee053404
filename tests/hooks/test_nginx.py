"""The whole story with a real nginx: it includes the file with the token, and reloads on each write."""

import http.client
import json
import os
import signal
import subprocess
from contextlib import contextmanager

import pytest

from refresher.emulator.server import Emulator
from tests import needs
from tests.commands.daemon import DEADLINE, KEY, Daemon, eventually, free_port

# The second line lets the test see which token nginx uses.
TEMPLATE = """\
proxy_set_header Authorization "Bearer $access_token";
add_header X-Sent "$access_token" always;
"""

NGINX = """\
daemon off;
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            include {place}/token.conf;
            proxy_pass {upstream};
        }}
    }}
}}
"""


@pytest.fixture
def issuer():
    with Emulator(keys=[KEY]) as inlive:
        yield inlive


def configured(place, issuer):
    """The path of a configuration whose output nginx includes."""
    (place / "key").write_text(KEY)
    output = {
        "file": str(place / "token.conf"),
        "format": "template",
        "template": TEMPLATE,
        "after": {"signal": {"pid_file": str(place / "nginx.pid"), "name": "HUP"}},
    }
    token = {"name": "studio", "key_file": str(place / "key"), "outputs": [output]}
    path = place / "refresher.json"
    path.write_text(json.dumps({"issuer": {"url": issuer.url}, "tokens": [token]}))
    return path


@contextmanager
def nginx(place, issuer):
    """An nginx that answers; yields its port."""
    port = free_port()
    (place / "nginx.conf").write_text(NGINX.format(place=place, port=port, upstream=issuer.url))
    words = [needs.tool("nginx"), "-p", place, "-c", place / "nginx.conf", "-e", place / "error.log"]
    with subprocess.Popen(words, start_new_session=True) as process:
        try:
            eventually(lambda: (place / "nginx.pid").exists() and asked(port), "nginx answers")
            yield port
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def asked(port: int) -> tuple[int, str] | None:
    """The status of a product call through nginx, and the token that nginx put in."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request("POST", "/v1/rooms/create", "{}", {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        return response.status, response.headers["X-Sent"] or ""
    except OSError:
        return None
    finally:
        connection.close()


def test_a_request_through_nginx_carries_the_new_token_after_a_refresh(tmp_path, issuer):
    needs.tool("nginx")
    path = configured(tmp_path, issuer)
    with Daemon("--config", path, endpoints=True) as daemon:
        failed = daemon.wait_for("HookFailed")
        assert "nginx.pid cannot be read" in failed["message"], "nginx does not run yet"
        assert daemon.wait_for("OutputWritten"), "that held nothing up"
        with nginx(tmp_path, issuer) as port:
            first = asked(port)
            daemon.wait_for("HookRan")  # the run that was still owed
            daemon.send(signal.SIGUSR1)
            daemon.wait_for("HookRan", times=2)
            status, token = eventually(lambda: (found := asked(port)) != first and found, "the new token")
            assert status == 200
            assert f"Bearer {token}" in (tmp_path / "token.conf").read_text()
            assert issuer.valid(token)
            output = f'output="file:{tmp_path}/token.conf"'
            assert daemon.metric(f'hook_runs_total{{{output},result="success",token="studio"}}') == 2
            (shown,) = daemon.get("/status").document["tokens"][0]["outputs"]
            assert shown["hook"] == {"owed": False, "failures": 0, "problem": None}
        assert daemon.end() == 0
    assert not list(tmp_path.glob(".*.hook-owed"))
