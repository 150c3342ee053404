"""Real OAuth2 clients get the token from a real daemon: Prometheus, oauthlib, and Go's clientcredentials."""

import http.server
import json
import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from oauthlib.oauth2 import BackendApplicationClient, InvalidClientError
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from refresher.emulator.server import Emulator
from tests import needs
from tests.commands.daemon import DEADLINE, KEY, Daemon, eventually, free_port

SECRET = "s3cret+of/the:clients%&=" + "x" * 8
GO_CLIENT = Path(__file__).parent / "oauth2client"


class Place(NamedTuple):
    """A daemon that serves the token "default" on a TCP port, and its issuer."""

    issuer: Emulator
    token_url: str
    file: Path
    secret: Path


@pytest.fixture
def place() -> Iterator[Place]:
    with Emulator(keys=[KEY]) as inlive, tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, name) for name in ("key", "secret", "token")}
        files["key"].write_text(KEY)
        files["secret"].write_text(f"{SECRET}\n")
        port = free_port()
        words = ("--key-file", files["key"], "--to-file", files["token"], "--issuer-url", inlive.url)
        serve = ("--serve", f"127.0.0.1:{port}", "--serve-secret-file", files["secret"])
        with Daemon(*words, *serve) as running:
            for output in ("serve:default", f"file:{files['token']}"):
                running.wait_for("OutputWritten", output=output)
            yield Place(inlive, f"http://127.0.0.1:{port}/oauth2/token", files["token"], files["secret"])
            assert running.end() == 0
            assert SECRET not in running.said


@pytest.fixture(autouse=True)
def plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """oauthlib refuses http:// otherwise; the listener is on loopback."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.mark.parametrize("by", ["basic", "form"])
def test_oauthlib(place: Place, by: str) -> None:
    with OAuth2Session(client=BackendApplicationClient("default")) as session:
        if by == "basic":
            token = session.fetch_token(place.token_url, auth=HTTPBasicAuth("default", SECRET))
        else:
            token = session.fetch_token(place.token_url, client_secret=SECRET, include_client_id=True)
        assert token["access_token"] == place.file.read_text()
        assert 3500 < token["expires_in"] <= 3540
        assert session.post(f"{place.issuer.url}/v1/rooms/create", json={"name": "x"}).ok
    assert place.issuer.counts.mints == 1


def test_oauthlib_with_a_wrong_secret(place: Place) -> None:
    with OAuth2Session(client=BackendApplicationClient("default")) as session:
        with pytest.raises(InvalidClientError, match="client_secret is not the content of serve"):
            session.fetch_token(place.token_url, auth=HTTPBasicAuth("default", "wrong"))
        place.secret.write_text("wrong")  # now it is right

        def accepted() -> bool:
            try:
                return bool(session.fetch_token(place.token_url, auth=HTTPBasicAuth("default", "wrong")))
            except InvalidClientError:
                return False

        assert eventually(accepted, "the changed secret is in use")


def test_go(place: Place) -> None:
    room = f"{place.issuer.url}/v1/rooms/some-room"
    built = needs.go(GO_CLIENT, "build", "-o", str(place.file.parent / "client"), ".", timeout=100)
    assert built.returncode == 0, built.stderr
    told = {}
    for secret in (SECRET, "wrong"):
        program = [str(place.file.parent / "client"), place.token_url, "default", secret, room]
        told[secret] = subprocess.run(program, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert told[SECRET].returncode == 0, told[SECRET].stderr
    found = json.loads(told[SECRET].stdout)
    assert (found["access_token"], found["type"]) == (place.file.read_text(), "Bearer")
    assert 3400 < found["left"] <= 3540
    assert found["status"] == 404  # the token is accepted, and there is no such room
    assert '"invalid_client"' in told["wrong"].stderr


class Target(http.server.BaseHTTPRequestHandler):
    """Scraped by Prometheus; puts the Authorization header of each scrape into `seen`."""

    seen: queue.SimpleQueue[str]

    def do_GET(self) -> None:
        self.seen.put(self.headers["Authorization"] or "")
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"up_and_running 1\n")

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def target() -> Iterator[http.server.HTTPServer]:
    Target.seen = queue.SimpleQueue()
    with http.server.HTTPServer(("127.0.0.1", 0), Target) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_prometheus(place: Place, target: http.server.HTTPServer, tmp_path: Path) -> None:
    """Its own `oauth2:` block in a scrape configuration."""
    configuration = {
        "global": {"scrape_interval": "100ms", "scrape_timeout": "100ms"},
        "scrape_configs": [
            {
                "job_name": "studio",
                "oauth2": {
                    "client_id": "default",
                    "client_secret_file": str(place.secret),
                    "token_url": place.token_url,
                },
                "static_configs": [{"targets": [f"127.0.0.1:{target.server_port}"]}],
            }
        ],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    command = [
        needs.tool("prometheus"),
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{free_port()}",
    ]
    proxies = {name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")}
    with subprocess.Popen(
        command, env=proxies, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as prometheus:
        try:
            seen = {Target.seen.get(timeout=2 * DEADLINE) for _ in range(3)}
        finally:
            prometheus.kill()
    assert seen == {f"Bearer {place.file.read_text()}"}
    assert place.issuer.counts.mints == 1
