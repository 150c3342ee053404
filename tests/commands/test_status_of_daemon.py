"""`refresher status` and a running daemon: finding it, watching it, exit codes of monitoring plugins."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from refresher.emulator.server import Emulator
from tests.commands.calls import caller
from tests.commands.daemon import DEADLINE, KEY, Daemon, eventually, free_port, plant, start
from tests.terminal import Terminal


class Running(NamedTuple):
    """A daemon with one valid token, and the options of its configuration."""

    daemon: Daemon
    options: tuple[str, ...]
    token: Path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("running")
    (place / "key").write_text(KEY)
    with Emulator(keys=[KEY]) as inlive:
        words = ("--key-file", str(place / "key"), "--issuer-url", inlive.url)
        output = ("--to-file", str(place / "token"))
        with Daemon(*words, *output, endpoints=True) as daemon:
            daemon.wait_for("OutputWritten")
            yield Running(daemon, (*output, "--listen", f"127.0.0.1:{daemon.port}"), place / "token")


@pytest.fixture
def call(capsys):
    return caller(capsys)


# --- Which source


@pytest.mark.parametrize("host", ["127.0.0.1", "", "0.0.0.0"])
def test_the_daemon_at_the_configured_address_is_asked(call, running, host):
    listen = f"{host}:{running.daemon.port}"
    called = call("status", *running.options[:2], "--listen", listen, "--json")
    document = json.loads(called.out)
    assert called.code == 0
    assert (document["source"], document["tokens"][0]["key_accepted"]) == ("daemon", True)
    assert document["source_detail"] == f"from the daemon at http://127.0.0.1:{running.daemon.port}"


def test_the_address_may_come_from_the_configuration_file(call, running, tmp_path):
    token = {"name": "default", "key_file": "absent", "outputs": [{"file": str(running.token)}]}
    configuration = {"listen": f"127.0.0.1:{running.daemon.port}", "tokens": [token]}
    (tmp_path / "refresher.json").write_text(json.dumps(configuration))
    called = call("status", "--config", tmp_path / "refresher.json")
    assert f"from the daemon at http://127.0.0.1:{running.daemon.port}" in called.out


def test_without_an_answer_the_outputs_are_read(call, running):
    listen = f"127.0.0.1:{free_port()}"
    called = call("status", *running.options[:2], "--listen", listen, "--json")
    document = json.loads(called.out)
    assert called.code == 0
    assert (document["source"], document["started_at"], document["tokens"][0]["valid"]) == (
        "outputs",
        None,
        True,
    )
    detail = f"read from the outputs: no daemon answers at http://{listen} (ConnectionError)"
    assert document["source_detail"] == detail
    assert detail in call("status", *running.options[:2], "--listen", listen).out


def test_a_daemon_of_other_tokens_is_not_believed(call, running, tmp_path):
    token = {"name": "other", "key_file": "absent", "outputs": [{"file": str(running.token)}]}
    configuration = {"listen": f"127.0.0.1:{running.daemon.port}", "tokens": [token]}
    (tmp_path / "refresher.json").write_text(json.dumps(configuration))
    called = call("status", "--config", tmp_path / "refresher.json")
    assert "has other tokens than the configuration" in called.out
    assert "\nother " in called.out


@pytest.mark.parametrize(
    "form", ["localhost:{}", "127.0.0.1:{}/", ":{}", "http://127.0.0.1:{}", "http://127.0.0.1:{}/status/"]
)
def test_the_address_of_a_daemon_has_several_forms(call, running, form):
    assert call("status", "--url", form.format(running.daemon.port)).code == 0


# --- Exit codes for monitoring plugins


def test_a_plugin_gets_ok(call, running):
    called = call("status", *running.options, "--exit-code")
    assert called.code == 0
    assert called.out.startswith("OK - tokens: 1, all outputs hold a valid token; the first expires in ")
    assert "VALID" in called.out


def test_a_plugin_gets_a_warning_when_the_daemon_is_gone_but_its_token_is_valid(call, running):
    called = call("status", *running.options[:2], "--listen", f":{free_port()}", "--exit-code")
    assert called.code == 1
    assert called.out.startswith("WARNING - read from the outputs: no daemon answers at http://127.0.0.1:")


def test_a_plugin_gets_critical_when_an_output_holds_no_token(call, tmp_path):
    called = call("status", "--to-file", tmp_path / "token", "--exit-code")
    assert called.code == 2
    assert called.out.startswith(
        f"CRITICAL - default: file:{tmp_path}/token holds no valid token: file:{tmp_path}/token: no_token: "
    )


@pytest.mark.parametrize(
    "words", [("--url", "127.0.0.1:1"), ("--url", "::1"), ("--config", "/absent.yaml"), ()]
)
def test_a_plugin_gets_unknown_when_nothing_is_known(call, words):
    called = call("status", *words, "--exit-code")
    assert called.code == 3
    assert called.out.startswith("UNKNOWN - ")
    assert called.out.count("\n") == 1


def test_a_plugin_gets_json_alone_if_it_wants_json(call, running):
    called = call("status", *running.options, "--exit-code", "--json")
    assert (called.code, json.loads(called.out)["valid"]) == (0, True)


# --- Watching


def stop(watching: subprocess.Popen[str]) -> None:
    """End it by Ctrl-C."""
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=DEADLINE)
    assert (watching.returncode, err) == (0, "")


def test_a_pipe_gets_one_table_after_the_other_until_ctrl_c(running, tmp_path):
    with (tmp_path / "out").open("a") as out:
        watching = start("status", *running.options, "--watch", "0.1s", stdout=out.fileno())
        times = eventually(
            lambda: [each for each in (tmp_path / "out").read_text().split("\n\n") if " at 20" in each][2:],
            "three tables",
        )
        stop(watching)
    assert times
    assert "\x1b" not in (tmp_path / "out").read_text()


def test_a_daemon_that_goes_away_is_awaited(tmp_path):
    (tmp_path / "key").write_text(KEY)
    with Emulator(keys=[KEY]) as inlive:
        words = ("--key-file", tmp_path / "key", "--issuer-url", inlive.url, "--to-file", tmp_path / "token")
        with Daemon(*words, endpoints=True) as daemon:
            daemon.wait_for("OutputWritten")
            with (tmp_path / "out").open("a") as out:
                watching = start("status", "--url", f":{daemon.port}", "--watch", "0.1s", stdout=out.fileno())

            def shows(text: str) -> bool:
                return text in (tmp_path / "out").read_text()

            eventually(lambda: shows("every output holds a valid token"), "the status")
            daemon.end()
            eventually(lambda: shows("no refresher responds"), "that the daemon has gone")
            (tmp_path / "out").write_text("")
            with Daemon(*words, "--listen", f"127.0.0.1:{daemon.port}"):
                eventually(lambda: shows("every output holds a valid token"), "the new daemon")
        stop(watching)


def status_at_terminal(*words: str, size: str = "cols 100 rows 30", **environ: str) -> Terminal:
    """A terminal that shows ``refresher status WORDS…`` and its exit code."""
    program = f"stty {size}; .venv/bin/refresher status {' '.join(words)}; echo ended with $?"
    return Terminal("/bin/bash", "-c", program, **environ)


def test_a_terminal_is_redrawn_until_ctrl_c(running):
    with status_at_terminal(*running.options, "--watch", "0.1s", TERM="xterm") as terminal:
        for _ in range(3):
            terminal.shows("\x1b[H")
            terminal.shows("TOKEN")
        terminal.type("\x03")
        terminal.shows("ended with 0")


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_only_a_terminal_that_understands_colours_gets_them(running, environ, coloured):
    with status_at_terminal(*running.options, **environ) as terminal:
        shown = terminal.shows("ended with 0")
    assert ("\x1b[32mrefresher " in shown) == coloured
    assert ("\x1b" in shown) == coloured


def test_a_narrow_terminal_shortens_paths_in_the_middle(tmp_path):
    folder = tmp_path / "/".join(["a-directory-with-a-long-name"] * 4)
    folder.mkdir(parents=True)
    plant(folder / "token", age=60.0)
    words = ("--to-file", str(folder / "token"))
    with status_at_terminal(*words, size="cols 90 rows 30") as terminal:
        shown = terminal.shows("ended with 0")
    assert "…" in shown
    assert "name/token" in shown
    assert max(map(len, shown.splitlines())) <= 90
    with status_at_terminal(*words, size="cols 300 rows 30") as terminal:
        assert f"file:{folder}/token " in terminal.shows("ended with 0")
