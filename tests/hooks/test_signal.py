"""A signal for the process that a pid file or a name identifies, and for no other."""

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from refresher.config.hooks import PidFileSignal, ProcessSignal
from refresher.errors import HookError
from refresher.hooks.signal import Signal
from tests import needs
from tests.commands.daemon import eventually

# Prints a line for each signal. Its child of the same name would print another.
SERVER = "trap 'echo HUP of $1' HUP; echo $1 is ready; while :; do sleep 0.05; done"


@contextmanager
def server(tmp_path, name="consumer"):
    """A process of this name, which prints a line once it is ready and for each HUP."""
    program = tmp_path / name
    if not program.exists():
        program.write_bytes(Path("/bin/bash").read_bytes())
        program.chmod(0o755)
    # A shell cannot trap a signal that its caller ignores, as nohup does.
    line = ["env", "--default-signal=HUP", program, "-c", SERVER, name, name]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == f"{name} is ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def consumer(tmp_path):
    with server(tmp_path) as process:
        yield process


@pytest.fixture
def pid_file(tmp_path, consumer):
    path = tmp_path / "consumer.pid"
    path.write_text(f"{consumer.pid}\n")
    path.chmod(0o644)
    return path


def refused(target) -> str:
    with pytest.raises(HookError) as caught:
        Signal(target).run(30.0)
    return str(caught.value)


def test_the_process_of_a_pid_file_gets_the_signal(consumer, pid_file):
    did = Signal(PidFileSignal(str(pid_file))).run(30.0)
    assert did == f"sent SIGHUP to process {consumer.pid}, from {pid_file}"
    assert consumer.stdout.readline() == "HUP of consumer\n"


def test_a_check_sends_nothing(consumer, pid_file):
    target = PidFileSignal(str(pid_file), "TERM")
    assert Signal(target).check(offline=False).startswith("would send SIGTERM to process")
    Signal(PidFileSignal(str(pid_file))).run(30.0)
    assert consumer.stdout.readline() == "HUP of consumer\n", "it still lives"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("0", "names process 0: no process"),
        ("1", "names process 1: the init process; use {process: NAME}"),
        ("our own", "the refresher itself"),
        ("-1", "does not hold the number of a process"),
        ("", "does not hold the number of a process"),
        ("12 34", "does not hold the number of a process"),
        ("²", "does not hold the number of a process"),
        ("4194305", "does not hold the number of a process"),
        ("9999999999", "does not hold the number of a process"),
        ("9" * 60, "does not hold the number of a process"),
        (" " * 60 + "12345", "does not hold the number of a process"),
    ],
)
def test_a_pid_file_with_another_content_is_refused(pid_file, content, reason):
    pid_file.write_text(str(os.getpid()) if content == "our own" else content)
    assert reason in refused(PidFileSignal(str(pid_file)))


def test_a_pid_file_whose_process_has_ended_is_stale(pid_file, consumer):
    os.kill(consumer.pid, signal.SIGKILL)
    os.waitid(os.P_PID, consumer.pid, os.WEXITED | os.WNOWAIT)  # a zombie is left
    assert "has ended; start the consumer" in refused(PidFileSignal(str(pid_file)))
    consumer.wait()
    assert "does not run; start the consumer" in refused(PidFileSignal(str(pid_file)))


def test_a_process_that_began_after_the_file_was_written_is_another_program(pid_file):
    earlier = time.time() - 60.0
    os.utime(pid_file, (earlier, earlier))
    assert "after the file was written, so it is another program" in refused(PidFileSignal(str(pid_file)))


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_pid_file_that_others_may_write_is_refused(pid_file, mode):
    pid_file.chmod(mode)
    assert f"has mode {mode:04o}: others may write it" in refused(PidFileSignal(str(pid_file)))


def test_a_pid_file_of_another_user_is_refused(pid_file):
    needs.root("it gives a file to another user")
    os.chown(pid_file, 12345, -1)
    assert "belongs to user 12345" in refused(PidFileSignal(str(pid_file)))


def test_a_link_a_directory_a_fifo_and_nothing_are_refused(tmp_path, pid_file):
    link, fifo = tmp_path / "link", tmp_path / "fifo"
    link.symlink_to(pid_file)
    os.mkfifo(fifo, 0o600)
    assert "cannot be read: Too many levels of symbolic links" in refused(PidFileSignal(str(link)))
    assert "is no regular file" in refused(PidFileSignal(str(tmp_path)))
    assert "is no regular file" in refused(PidFileSignal(str(fifo)))
    assert "is the consumer running?" in refused(PidFileSignal(str(tmp_path / "none")))


def test_a_process_is_found_by_its_name(consumer):
    assert Signal(ProcessSignal("consumer")).run(30.0) == f"sent SIGHUP to process {consumer.pid}, consumer"
    assert consumer.stdout.readline() == "HUP of consumer\n"


def test_each_server_of_that_name_gets_the_signal_and_their_workers_get_none(tmp_path, consumer):
    script = f"'{tmp_path}/consumer' -c 'while :; do sleep 0.05; done' & echo $!; wait"
    with (
        server(tmp_path) as other,
        subprocess.Popen([tmp_path / "consumer", "-c", script], stdout=subprocess.PIPE, text=True) as parent,
    ):
        worker = int(parent.stdout.readline())
        comm = Path(f"/proc/{worker}/comm")
        eventually(lambda: comm.read_text() == "consumer\n", "the worker has its name")
        sent = Signal(ProcessSignal("consumer", "USR2")).check(offline=True)
        parent.kill()
        os.kill(worker, signal.SIGKILL)
    assert {str(consumer.pid), str(other.pid), str(parent.pid)} <= set(sent.replace(",", "").split())
    assert str(worker) not in sent.replace(",", "").split()


def test_a_name_that_no_process_has_is_reported():
    assert "no process has the name nobody-at-all" in refused(ProcessSignal("nobody-at-all"))
