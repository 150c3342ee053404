"""Signals at any moment: every command ends at once when it is stopped, also as PID 1 of a container."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from refresher.cli import COMMANDS
from refresher.emulator.server import Emulator
from tests.commands.daemon import KEY, ROOT, STOP_WITHIN, Daemon, eventually, plant, start
from tests.issuer.peer import peer, silent

STOPPED = {
    "run": 0,
    "controller": 0,
    "emulator": 0,
    "once": 75,
}  # all other commands: 128 + the number of the signal
ENDS_AT_ONCE = ("config", "completion")  # perhaps before the signal arrives

# Modules that replace one of the standard library and act while they are imported.
RAISES = """\
import os, signal, sys
for number in {numbers}:
    os.kill(os.getpid(), number)
sys.path.remove({place!r})
del sys.modules["argparse"]
import argparse
"""
# Blocks in C, where no Python handler runs, like a resolver or a file system.
HANGS = """\
import ctypes
mutex, lock = ctypes.create_string_buffer(64), ctypes.CDLL(None).pthread_mutex_lock
lock(mutex)
print("hangs", flush=True)
lock(mutex)
"""
# Swallows every exception, like the callbacks of Python's own imports.
SWALLOWS = """\
import time
print("hangs", flush=True)
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass
"""


def stopped(command: str, number: int = signal.SIGTERM) -> int:
    return STOPPED.get(command, 128 + number)


def test_only_built_in_modules_are_imported_before_the_handlers():
    script = (
        "import sys; before = set(sys.modules); import refresher.__main__; print(*set(sys.modules) - before)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(ended.stdout.split()) == {
        "refresher",
        "refresher.__main__",
        "refresher.hardening",
        "refresher.signals",
    }


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("module", ["resource", "argparse"])  # the first import and the second
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_imports_ends_a_command_like_a_later_one(tmp_path, command, module, number):
    shadow = RAISES.format(numbers=[int(number)], place=str(tmp_path))
    (tmp_path / f"{module}.py").write_text(shadow)
    with start(command, PYTHONPATH=str(tmp_path)) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (stopped(command, number), "", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["mint", "run"])
@pytest.mark.parametrize("module_text", [HANGS, SWALLOWS], ids=["held in C", "swallowed"])
def test_a_signal_ends_a_process_that_it_cannot_interrupt(tmp_path, command, number, module_text):
    (tmp_path / "argparse.py").write_text(module_text)
    with start(command, PYTHONPATH=str(tmp_path)) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(number)
            assert process.wait(STOP_WITHIN) == stopped(command, number)
        finally:
            process.kill()


def test_signals_before_the_daemon_is_ready_are_handled_when_it_is(tmp_path):
    (tmp_path / "key").write_text(KEY)
    shadow = RAISES.format(numbers=[int(signal.SIGUSR1), int(signal.SIGHUP)], place=str(tmp_path))
    (tmp_path / "argparse.py").write_text(shadow)
    files = ("--key-file", tmp_path / "key", "--to-file", tmp_path / "token")
    with Emulator(keys=[KEY]) as issuer:
        plant(tmp_path / "token", age=10.0, issuer=issuer.url)
        words = (*files, "--issuer-url", issuer.url)
        with Daemon(*words, PYTHONPATH=str(tmp_path)) as daemon:
            daemon.wait_for("TokenMinted", reason="requested")
            daemon.wait_for("OutputWritten")
            assert "SIGHUP" in daemon.wait_for("RequestIgnored")["message"]
            assert daemon.end() == 0
        assert issuer.valid((tmp_path / "token").read_text())


WITHOUT_DESCRIPTORS = """\
import resource
from refresher import signals
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
signals.watch("mint")
signals.take_over({})
"""


def test_without_a_free_descriptor_a_command_continues():
    subprocess.run([sys.executable, "-c", WITHOUT_DESCRIPTORS], cwd=ROOT, timeout=30, check=True)


KEEPS_AN_OBJECT = """\
import atexit, os, sys
class Kept:
    def __del__(self, write=os.write):
        write(1, b"destroyed ")
os.kept = Kept()
atexit.register(lambda: os.write(1, b"exit function "))
sys.argv = ["refresher", "--version"]
from refresher.__main__ import main
main()
"""


def test_a_process_ends_with_its_exit_functions_and_without_destroying_objects():
    """Ten thousand tokens would take seconds."""
    ended = subprocess.run(
        [sys.executable, "-c", KEEPS_AN_OBJECT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (ended.stdout.rpartition("\n")[2], ended.stderr) == ("exit function ", "")


# As PID 1


def may_have_namespaces() -> bool:
    """Whether we may create PID namespaces. Root may, in most containers too."""
    ask = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    try:
        return subprocess.run(ask, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@contextmanager
def first_process(*words: object) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """``refresher WORDS…`` as PID 1 of a namespace, and its PID outside."""
    alone = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    command = [*alone, sys.executable, "-m", "refresher", *map(str, words)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as parent:
        try:
            yield parent, eventually(lambda: child_of(parent.pid), "a child")
        finally:
            parent.kill()


def child_of(pid: int) -> int:
    """The child of a process once it runs Python; 0 before that."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else 0


def handles(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal, or has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True
    (caught,) = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(caught >> (number - 1) & 1)


def ways(command: str, place: Path, url: str) -> tuple[object, ...]:
    """Arguments with which a command runs longer than this test, if it can."""
    key, token, issuer = ("--key-file", place / "key"), ("--to-file", place / "token"), ("--issuer-url", url)
    return {
        "run": (*key, *token, *issuer),
        "once": (*key, *token, *issuer),
        "mint": (*key, *issuer),
        "exec": (*key, *issuer, "--", "sleep", "60"),
        "check": (*key, *token, *issuer),
        "status": ("--url", url),
        "wait": token,
        "refresh": token,
        "emulator": ("--listen", "127.0.0.1:0"),
        "demo": (),
        "controller": issuer,
        "config": ("schema",),
        "completion": ("bash",),
    }[command]


@contextmanager
def cluster_at(url: str, path: Path) -> Iterator[None]:
    """A file that names the API server at `url`."""
    cluster = {"name": "silent", "cluster": {"server": url}}
    context = {"name": "silent", "context": {"cluster": "silent", "user": "nobody", "namespace": "inlive"}}
    user = {"name": "nobody", "user": {"token": "t"}}
    document = {"current-context": "silent", "clusters": [cluster], "contexts": [context], "users": [user]}
    path.write_text(json.dumps(document))
    yield


@pytest.mark.skipif(not may_have_namespaces(), reason="needs a PID namespace, which takes root (unshare)")
@pytest.mark.parametrize("after", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("command", COMMANDS)
def test_as_pid_1_every_command_ends_on_sigterm(tmp_path, command, after, monkeypatch):
    """`after`: seconds after the handler was installed. Before that, Python itself is starting."""
    (tmp_path / "key").write_text(KEY)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    with (
        peer(silent) as issuer,
        cluster_at(issuer.url, tmp_path / "kubeconfig"),
        first_process(command, *ways(command, tmp_path, issuer.url)) as (parent, pid),
    ):
        eventually(lambda: handles(pid, signal.SIGTERM), "a handler")
        threading.Event().wait(after)
        if parent.poll() is None:
            os.kill(pid, signal.SIGTERM)
        code = parent.wait(STOP_WITHIN)
    assert code in {stopped(command), 0 if command in ENDS_AT_ONCE else stopped(command)}
