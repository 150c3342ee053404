"""What the outputs of one process share of a directory: locks, and the listing at the start."""

import fcntl
import gc
import os
import subprocess
import sys
import threading

import pytest

from refresher.config.output_kinds import LOCK_FILE
from refresher.errors import OutputError, OutputHeldError
from refresher.outputs.directories import Directories, Directory
from refresher.outputs.file import FileOutput, Plan
from tests import needs
from tests.outputs.mounts import mounting
from tests.outputs.test_file import record_of, refusal
from tests.outputs.tokens import NOW, SEALER, a_token
from tests.outputs.victims import output_at, told_by

URL = "https://api.inlive.app"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "access-token"


def of_installation(path, owner, directories=None):
    return FileOutput(Plan(str(path), URL, owner=owner), directories)


def held(victim, path):
    """Another process that has begun to write to `path`."""
    process = victim("hold", path)
    assert process.stdout.readline() == "holding\n"
    return process


ACTS = {
    "write": lambda output: output.write(a_token(2), NOW, SEALER),
    "dry_run": lambda output: output.dry_run(),
    "claim": lambda output: output.claim(),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_file_that_another_running_process_writes_is_left_to_it(victim, path, act):
    other = held(victim, path)
    before = [(file.stat().st_ino, file.read_bytes()) for file in (path, record_of(path))]
    with pytest.raises(OutputHeldError) as failure:
        ACTS[act](output_at(path))
    assert str(failure.value) == (
        f"file:{path} belongs to the refresher with process {other.pid}, which is running: let each write a "
        "file of its own, or stop one"
    )
    assert [(file.stat().st_ino, file.read_bytes()) for file in (path, record_of(path))] == before


def test_what_another_process_writes_can_be_looked_at(victim, path):
    held(victim, path)
    assert output_at(path).inspect(NOW).facts == a_token(1).facts
    assert output_at(path).inspect(NOW).intact


def test_a_file_is_free_when_its_process_has_ended_however_that_ends(victim, path):
    other = held(victim, path)
    other.kill()
    other.wait()
    output = output_at(path)
    assert output.dry_run() == ()
    output.claim()
    output.write(a_token(2), NOW, SEALER)
    assert output.inspect(NOW).intact


def test_a_process_that_only_inspects_and_tries_keeps_nobody_out(victim, path):
    output = output_at(path)
    output.inspect(NOW)
    output.dry_run()
    held(victim, path)


def test_from_its_start_on_a_process_keeps_others_out_although_it_writes_nothing(victim, path):
    output = output_at(path)
    output.claim()
    told = told_by(victim("write-and-look", path))
    assert f"belongs to the refresher with process {os.getpid()}," in told["small"]
    assert told["dry run"] == told["small"]
    assert told["found"] is None


def test_another_file_in_the_same_directory_is_free(victim, path):
    held(victim, path)
    output_at(path.with_name("another")).write(a_token(), NOW, SEALER)


def test_one_process_writes_a_file_by_several_outputs(path):
    """No configuration has one file twice, but a process may read its configuration again."""
    for number in (1, 2):
        output_at(path).write(a_token(number), NOW, SEALER)


def test_a_dry_run_reports_first_what_else_is_wrong(victim, path):
    """So that `check` beside the daemon sees that, too."""
    held(victim, path)
    path.unlink()
    path.mkdir()
    message = refusal(output_at(path), "dry_run")
    assert "(EISDIR)" in message


def test_a_process_that_cannot_be_seen_is_described_by_what_the_record_says(victim, path):
    """From another container only the record tells who it is."""
    output_at(path).write(a_token(), NOW, SEALER)
    kept_out = output_at(path)
    kept_out.claim()
    unseen = [*mounting("true"), needs.tool("unshare"), "--pid", "--fork"]
    told = told_by(victim("write-and-look", path, before=unseen))
    host = os.uname().nodename
    assert (
        "belongs to a refresher in another container or on another machine (it was last written by process "
        f"{os.getpid()} on {host!r}), which is running"
    ) in told["small"]


def test_a_deleted_lock_file_is_made_anew_and_whoever_has_it_writes(victim, path):
    output = output_at(path)
    output.write(a_token(), NOW, SEALER)
    (path.parent / LOCK_FILE).unlink()
    other = held(victim, path)
    assert f"process {other.pid}," in refusal(output)
    other.kill()
    other.wait()
    output.write(a_token(), NOW, SEALER)


@pytest.mark.parametrize("obstacle", ["directory", "link", "pipe"])
def test_where_there_can_be_no_lock_one_goes_on_without(path, obstacle):
    lock = path.parent / LOCK_FILE
    match obstacle:
        case "directory":
            lock.mkdir()
        case "link":
            lock.symlink_to(path)
        case "pipe":
            os.mkfifo(lock)
    output = output_at(path)
    output.claim()
    output.write(a_token(), NOW, SEALER)
    assert output.inspect(NOW).intact


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
def test_a_stranger_cannot_keep_us_out_with_a_lock_of_its_own(path):
    lock = path.parent / LOCK_FILE
    lock.touch()
    os.chown(lock, 1234, 1234)
    script = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print(); input()"
    command = [sys.executable, "-c", script, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stranger:
        stranger.stdout.readline()
        output_at(path).write(a_token(), NOW, SEALER)
        os.chown(lock, 0, 0)  # and of one that is root's it would have
        assert f"process {stranger.pid}," in refusal(output_at(path))
        stranger.kill()


def test_ten_thousand_files_in_a_directory_take_one_descriptor(tmp_path):
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    directories = Directories()
    outputs = [of_installation(tmp_path / str(number), "", directories) for number in range(300)]
    for output in outputs:
        output.claim()
    assert len(os.listdir("/proc/self/fd")) == before + 1
    del outputs, output
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_is_known_once_while_it_is_in_use(tmp_path):
    directories = Directories()
    found: list[Directory] = []
    threads = [threading.Thread(target=lambda: found.append(directories.at(str(tmp_path)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(each) for each in found}) == 1


def test_a_directory_is_listed_once_whatever_the_number_of_outputs(tmp_path):
    """To list ten thousand files for each of ten thousand outputs takes a quarter of an hour."""
    directories = Directories()
    debris = [tmp_path / f".{name}.0123456789ab.tmp" for name in ("a", "b")]
    for file in debris:
        file.touch()
    outputs = [of_installation(tmp_path / name, "", directories) for name in ("a", "b")]
    outputs[0].claim()
    assert [file.exists() for file in debris] == [False, True]
    late = tmp_path / ".b.ba9876543210.tmp"
    late.touch()
    outputs[1].claim()
    assert [file.exists() for file in debris] == [False, False]
    assert late.exists()


def test_a_directory_that_comes_later_is_listed_then(tmp_path):
    folder = tmp_path / "later"
    directory = Directory(str(folder))
    directory.clear("a")
    folder.mkdir()
    (folder / ".a.0123456789ab.tmp").touch()
    directory.clear("a")
    assert os.listdir(folder) == []


# Whose it is when no process writes it


def test_a_file_of_another_installation_is_left_alone_and_its_token_is_told(path):
    of_installation(path, "studio").write(a_token(), NOW, SEALER)
    other = of_installation(path, "lobby")
    found = other.inspect(NOW)
    assert (found.facts, found.intact, found.owner) == (a_token().facts, False, "studio")
    for act in (lambda: other.write(a_token(2), NOW, SEALER), other.dry_run):
        with pytest.raises(OutputError) as failure:
            act()
        assert str(failure.value) == (
            f"file:{path} cannot be written: it belongs to 'studio', and this installation is 'lobby': name "
            f"another file, or hand this one over by deleting {record_of(path)}"
        )
    assert path.read_bytes() == b"acc3ss-1-"
    record_of(path).unlink()
    other.write(a_token(2), NOW, SEALER)
    assert (other.inspect(NOW).intact, other.inspect(NOW).owner) == (True, "")


@pytest.mark.parametrize(("before", "after"), [("", "studio"), ("inlive-token-refresher", "studio")])
def test_a_file_of_an_installation_without_a_name_of_its_own_is_taken_over(path, before, after):
    of_installation(path, before).write(a_token(), NOW, SEALER)
    output = of_installation(path, after)
    assert output.inspect(NOW).intact
    output.write(a_token(2), NOW, SEALER)
    assert "'studio'" in refusal(output_at(path))


def test_locks_do_not_get_in_the_way_of_those_of_a_write(path):
    """flock and record locks are of different files."""
    output = output_at(path)
    output.write(a_token(), NOW, SEALER)
    with open(record_of(path), "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


HANGS = """
import os, signal, subprocess, sys, threading, time
from refresher.outputs.directories import Directory

source, folder = sys.argv[1:]
server = subprocess.Popen(["bindfs", "-f", source, folder])
while not os.path.ismount(folder):
    time.sleep(0.01)
directory = Directory(folder)
server.send_signal(signal.SIGSTOP)
hanging = threading.Thread(target=directory.claim, args=("one",))
hanging.start()
hanging.join(0.5)
assert hanging.is_alive()
subprocess.run(["umount", "--lazy", folder], check=True)
print(directory.claim("another"))
assert hanging.is_alive()
server.kill()
"""


def test_a_thread_that_hangs_in_a_directory_keeps_no_other_out_when_another_one_takes_its_place(tmp_path):
    """As when a server that is gone is unmounted, and another one is mounted there."""
    needs.tool("bindfs")
    folders = [tmp_path / "source", tmp_path / "folder"]
    for folder in folders:
        folder.mkdir()
    command = [*mounting("true"), sys.executable, "-c", HANGS, *map(str, folders)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (ran.returncode, ran.stdout) == (0, "None\n"), ran.stderr
