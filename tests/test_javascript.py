"""docs/javascript.md: its snippets are the files in examples/javascript, and those work."""

import json
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from refresher.emulator.server import Emulator
from tests.commands.daemon import DEADLINE, KEY, ROOT, Daemon
from tests.needs import tool

EXAMPLES = ROOT / "examples" / "javascript"
PAGE = (ROOT / "docs" / "javascript.md").read_text()
IN_A_BROWSER = """\
const auth = await (await fetch("/auth")).json();
room.setAuth(auth);
"""
CREATE_A_ROOM = """\
const create = { method: "POST", body: JSON.stringify({ name: "My Room" }) };
const response = await call("/v1/rooms/create", create);
"""
SCRIPT = f"""\
import {{ call }} from "./call.mjs";
{CREATE_A_ROOM}
console.log(JSON.stringify([response.status, await response.json()]));
"""


@pytest.fixture
def inlive():
    with Emulator(keys=[KEY]) as started:
        yield started


def arguments(inlive, place: Path) -> list[object]:
    (place / "key").write_text(KEY)
    return ["--key-file", place / "key", "--issuer-url", inlive.url]


def create_a_room(inlive, place: Path, **environ: str) -> list:
    line = [tool("node"), "--input-type=module", "--eval", SCRIPT]
    environ |= {"TOKEN_FILE": str(place / "token"), "INLIVE_URL": inlive.url}
    done = subprocess.run(
        line, cwd=EXAMPLES, env=environ, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_snippet_of_the_page_is_a_file_and_every_file_is_on_the_page():
    snippets = re.findall(r"^```js\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    files = [path.read_text() for path in EXAMPLES.iterdir()]
    assert sorted(snippets) == sorted([*files, IN_A_BROWSER, CREATE_A_ROOM])


def test_node_calls_with_the_token_in_the_file(inlive, tmp_path):
    with Daemon(*arguments(inlive, tmp_path), "--to-file", tmp_path / "token") as daemon:
        daemon.wait_for("OutputWritten")
        status, document = create_a_room(inlive, tmp_path)
    assert (status, document["data"]["name"]) == (200, "My Room")


def test_a_token_that_ends_early_is_reported_and_the_call_sent_again(inlive, tmp_path):
    serve = ("--serve", f"unix:{tmp_path / 's'}")
    with Daemon(
        *arguments(inlive, tmp_path), "--to-file", tmp_path / "token", "--lifetime", "10s", *serve
    ) as daemon:
        daemon.wait_for("OutputWritten", times=2)  # the file, and the listener's
        inlive.expire_token((tmp_path / "token").read_text())
        status, _ = create_a_room(inlive, tmp_path, REFRESHER_SOCKET=str(tmp_path / "s"))
    assert (status, inlive.counts.product) == (200, {"expired": 1, "ok": 1})


@pytest.mark.parametrize(("end", "standing"), [("expire_token", "expired"), ("revoke_token", "refused")])
def test_without_a_successor_the_refusal_is_the_result(inlive, tmp_path, end, standing):
    with Daemon(*arguments(inlive, tmp_path), "--to-file", tmp_path / "token") as daemon:
        daemon.wait_for("OutputWritten")
        getattr(inlive, end)((tmp_path / "token").read_text())
        status, _ = create_a_room(inlive, tmp_path)
    assert (status, inlive.counts.product) == (403, {standing: 1})


@contextmanager
def auth_server(path: Path):
    line = [tool("node"), EXAMPLES / "auth-server.mjs"]
    environ = {"AUTH_FILE": str(path), "PORT": "0"}
    with subprocess.Popen(line, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/auth"
        finally:
            process.kill()


def test_a_browser_gets_the_object_of_the_sdk_without_the_refresh_token(inlive, tmp_path):
    path = tmp_path / "auth.json"
    with auth_server(path) as url:
        assert requests.get(url, timeout=DEADLINE).status_code == 503
        output = ("--to-file", path, "--format", "inlive-sdk")
        with Daemon(*arguments(inlive, tmp_path), *output) as daemon:
            daemon.wait_for("OutputWritten")
            answer = requests.get(url, timeout=DEADLINE)
        refused = requests.post(url, timeout=DEADLINE)
    whole, auth = json.loads(path.read_text()), answer.json()
    assert whole["data"].pop("refreshToken") != ""
    assert auth["data"].pop("refreshToken") == ""
    assert auth == whole
    assert (answer.headers["cache-control"], refused.status_code) == ("no-store", 404)
    assert inlive.valid(auth["data"]["accessToken"])
