"""A command after a write: what it is given, and what it cannot do to us."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from refresher.core.model import SecretStr
from refresher.errors import HookError
from refresher.hooks import Subject
from refresher.hooks.command import LARGEST_OUTPUT, Command
from refresher.logs.redaction import SecretIndex
from tests import needs
from tests.commands.daemon import eventually

SUBJECT = Subject("studio", "file:/run/token")
LONG = 20.0  # seconds; no command here takes as long, unless a test has it killed


def shell(script: str, redact=str) -> Command:
    return Command(("/bin/sh", "-c", script), SUBJECT, redact)


def failure(command: Command, seconds: float = LONG) -> str:
    with pytest.raises(HookError) as caught:
        command.run(seconds)
    return str(caught.value)


def is_gone(pid: int) -> bool:
    """A zombie counts: some parent has to reap it."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except FileNotFoundError:
        return True


def test_it_runs_with_its_arguments_as_they_are(tmp_path):
    command = Command(("sh", "-c", 'printf "%s" "$1" >"$0"', str(tmp_path / "out"), "$HOME; x"), SUBJECT, str)
    assert command.run(LONG).startswith("ran /")
    assert (tmp_path / "out").read_text() == "$HOME; x"


def test_it_learns_what_was_written_and_nothing_of_our_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("REFRESHER_KEY_FILE", "/k")
    monkeypatch.setenv("NOTIFY_SOCKET", "/n")
    monkeypatch.setenv("INHERITED", "yes")
    shell(f"env >{tmp_path}/env; cat >{tmp_path}/in; pwd >{tmp_path}/pwd").run(LONG)
    environment = dict(line.partition("=")[::2] for line in (tmp_path / "env").read_text().splitlines())
    assert environment["TOKEN_REFRESHER_TOKEN_NAME"] == "studio"
    assert environment["TOKEN_REFRESHER_OUTPUT"] == "file:/run/token"
    assert environment["INHERITED"] == "yes"
    assert (
        not {name for name in environment if name.startswith("REFRESHER_")}
        | {"NOTIFY_SOCKET"} & environment.keys()
    )
    assert (tmp_path / "in").read_text() == ""
    assert (tmp_path / "pwd").read_text() == "/\n"


def test_it_inherits_no_file_and_no_ignored_signal(tmp_path):
    with open(tmp_path / "held", "w") as held:
        os.set_inheritable(held.fileno(), True)
        shell(f"ls -l /proc/$$/fd >{tmp_path}/fds; grep SigIgn /proc/$$/status >{tmp_path}/ignored").run(LONG)
    assert "held" not in (tmp_path / "fds").read_text()
    ignored = int((tmp_path / "ignored").read_text().split()[1], 16)
    assert not ignored & 1 << (signal.SIGPIPE - 1)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo no such host >&2; exit 3", "ended with exit status 3; it printed: no such host"),
        ("exit 1", "ended with exit status 1"),
        ("kill -9 $$", "was killed by SIGKILL"),
    ],
)
def test_its_failure_says_how_it_ended_and_what_it_printed(script, problem):
    assert failure(shell(script)) == f"/bin/sh {problem}"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("no-such-command", "is not in PATH"),
        ("/no/such/command", "does not exist"),
        ("/etc/passwd", "is not an executable file"),
        ("/etc", "is not an executable file"),
    ],
)
def test_a_command_that_cannot_run_is_refused_at_the_start(name, problem):
    with pytest.raises(HookError, match=problem):
        Command((name,), SUBJECT, str)


def test_a_command_that_goes_away_later_is_a_failure(tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    command = Command((str(program),), SUBJECT, str)
    command.run(LONG)
    program.unlink()
    assert "cannot be started: No such file or directory" in failure(command)


def test_one_that_hangs_is_killed_with_its_whole_group(tmp_path):
    script = f"sleep 1000 & echo $! >{tmp_path}/child; wait"
    assert failure(shell(script), 1.0) == "/bin/sh did not end in time: killed"
    child = int((tmp_path / "child").read_text())
    eventually(lambda: is_gone(child), "its child is killed")


def test_one_that_ignores_signals_and_closes_its_output_is_killed(tmp_path):
    script = f"trap '' TERM HUP INT; echo $$ >{tmp_path}/pid; exec >&- 2>&-; while :; do sleep 0.1; done"
    assert "did not end in time" in failure(shell(script), 1.0)
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_a_grandchild_in_a_session_of_its_own_is_not_waited_for(tmp_path):
    """It keeps the pipe open, as a daemon that forgets to close it does."""
    script = (
        f"setsid sh -c 'echo $$ >{tmp_path}/pid; exec sleep 1000' & while ! [ -s {tmp_path}/pid ]; do :; done"
    )
    began = time.monotonic()
    shell(script).run(LONG)
    assert time.monotonic() - began < LONG
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)  # it was left alone


@pytest.mark.parametrize("source", ["head -c 1073741824 /dev/zero", "yes"])
def test_one_that_prints_too_much_is_killed(source):
    message = failure(shell(source))
    assert f"printed more than {LARGEST_OUTPUT} bytes: killed" in message
    assert len(message) < 3000


def test_a_token_that_it_prints_is_not_shown():
    token = SecretStr("token-" + "0123456789abcdef" * 8)
    index = SecretIndex()
    index.hold("studio", [token])
    message = failure(shell(f"echo got {token.reveal()} today; exit 1", index.blot_out))
    assert message.endswith(f"it printed: got {token!r} today")


def test_the_piece_of_a_token_at_the_end_of_what_is_kept_is_not_shown():
    token = SecretStr("token-" + "0123456789abcdef" * 8000)  # 128 KB, twice what is kept
    index = SecretIndex()
    index.hold("studio", [token])
    program = "print('a ' * 100 + 'token-' + '0123456789abcdef' * 8000); raise SystemExit(1)"
    command = Command((sys.executable, "-c", program), SUBJECT, index.blot_out)
    assert "it printed: a a" in (message := failure(command))
    assert "0123456789" not in message


def test_control_characters_are_escaped():
    assert failure(shell(r"printf '\033[2Jx\ny'; exit 1")).endswith(r"it printed: \x1b[2Jx\ny")


def test_stop_kills_it_and_no_other_begins(tmp_path):
    command = shell(f"echo $$ >{tmp_path}/pid; sleep 1000")
    failures: list[str] = []
    thread = threading.Thread(target=lambda: failures.append(failure(command, 1000.0)))
    thread.start()
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "it runs")
    command.stop()
    thread.join(10.0)
    assert failures == ["/bin/sh was killed by SIGKILL"]
    assert "the refresher stops" in failure(command)


def test_it_leaves_no_zombie_and_no_descriptor():
    before = set(os.listdir("/proc/self/fd")), children()
    for _ in range(3):
        shell("exit 0").run(LONG)
        failure(shell("exit 1"))
    assert (set(os.listdir("/proc/self/fd")), children()) == before


def children() -> set[str]:
    """The processes that this one has started and not waited for, zombies too."""
    return {
        number
        for task in Path("/proc/self/task").iterdir()
        for number in (task / "children").read_text().split()
    }


REAPED = """
import os, time
from refresher.hooks import Subject, command
from refresher.hooks.processes import find, numbers
command.ORPHAN = 0.0
def zombies():
    return [number for number in numbers() if (found := find(number)) and found.is_zombie]
run = command.Command(("/bin/sh", "-c", "setsid sleep 0.1 >/dev/null 2>&1 &"), Subject("t", "o"), str).run
run(10.0)
until = time.monotonic() + 10.0
while not zombies() and time.monotonic() < until:
    time.sleep(0.02)
assert zombies(), "an orphan has ended"
command.Command(("/bin/true",), Subject("t", "o"), str).run(10.0)
assert not zombies(), zombies()
"""


def test_as_the_first_process_of_a_container_it_reaps_what_commands_leave_behind():
    unshare = needs.tool("unshare")
    needs.root("a new process namespace needs it")
    words = [unshare, "--pid", "--fork", "--mount-proc", sys.executable, "-c", REAPED]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
