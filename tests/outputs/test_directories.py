"""The locks and the listing of a directory, shared by the outputs of a process."""

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
from tests.outputs.victims import output_at, result_of

URL = "https://api.inlive.app"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "access-token"


def of_installation(path, owner, directories=None):
    return FileOutput(Plan(str(path), URL, owner=owner), directories)


def held(victim, path):
    """Another process that has claimed `path`."""
    process = victim("hold", path)
    assert process.stdout.readline() == "holding\n"
    return process


ACTS = {
    "write": lambda output: output.write(a_token(2), NOW, SEALER),
    "dry_run": lambda output: output.dry_run(),
    "claim": lambda output: output.claim(),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_file_of_another_running_process_is_refused(victim, path, act):
    other = held(victim, path)
    before = [(file.stat().st_ino, file.read_bytes()) for file in (path, record_of(path))]
    with pytest.raises(OutputHeldError) as failure:
        ACTS[act](output_at(path))
    assert str(failure.value).startswith(
        f"belongs to the refresher with process {other.pid}, which is running: "
    )
    assert [(file.stat().st_ino, file.read_bytes()) for file in (path, record_of(path))] == before


def test_a_file_of_another_process_can_be_inspected(victim, path):
    held(victim, path)
    assert output_at(path).inspect(NOW).facts == a_token(1).facts
    assert output_at(path).inspect(NOW).intact


def test_a_file_is_free_once_its_process_has_ended_in_any_way(victim, path):
    other = held(victim, path)
    other.kill()
    other.wait()
    output = output_at(path)
    assert output.dry_run() == ()
    output.claim()
    output.write(a_token(2), NOW, SEALER)
    assert output.inspect(NOW).intact


def test_inspections_and_dry_runs_lock_no_file(victim, path):
    output = output_at(path)
    output.inspect(NOW)
    output.dry_run()
    held(victim, path)


def test_a_process_locks_its_files_from_its_start(victim, path):
    output = output_at(path)
    output.claim()
    result = result_of(victim("write-and-look", path))
    assert f"belongs to the refresher with process {os.getpid()}," in result["small"]
    assert result["dry run"] == result["small"]
    assert result["found"] is None


def test_a_lock_covers_no_other_file_in_the_directory(victim, path):
    held(victim, path)
    output_at(path.with_name("another")).write(a_token(), NOW, SEALER)


def test_several_outputs_of_a_process_may_write_one_file(path):
    """No configuration names a file twice, but a process may reload its configuration."""
    for number in (1, 2):
        output_at(path).write(a_token(number), NOW, SEALER)


def test_a_dry_run_reports_other_problems_before_a_lock(victim, path):
    """So `check` reports them even while the daemon runs."""
    held(victim, path)
    path.unlink()
    path.mkdir()
    message = refusal(output_at(path), "dry_run")
    assert "(EISDIR)" in message


def test_an_invisible_process_is_described_from_the_record(victim, path):
    """The process is in another container. Only the record identifies it."""
    output_at(path).write(a_token(), NOW, SEALER)
    kept_out = output_at(path)
    kept_out.claim()
    unseen = [*mounting("true"), needs.tool("unshare"), "--pid", "--fork"]
    result = result_of(victim("write-and-look", path, before=unseen))
    host = os.uname().nodename
    assert (
        "belongs to a refresher in another container or on another machine (it was last written by process "
        f"{os.getpid()} on {host!r}), which is running"
    ) in result["small"]


def test_a_deleted_lock_file_is_created_again_and_its_holder_writes(victim, path):
    output = output_at(path)
    output.write(a_token(), NOW, SEALER)
    (path.parent / LOCK_FILE).unlink()
    other = held(victim, path)
    assert f"process {other.pid}," in refusal(output)
    other.kill()
    other.wait()
    output.write(a_token(), NOW, SEALER)


@pytest.mark.parametrize("obstacle", ["directory", "link", "pipe"])
def test_writes_succeed_where_locks_are_impossible(path, obstacle):
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
def test_a_lock_file_of_another_user_blocks_no_write(path):
    lock = path.parent / LOCK_FILE
    lock.touch()
    os.chown(lock, 1234, 1234)
    script = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print(); input()"
    command = [sys.executable, "-c", script, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stranger:
        stranger.stdout.readline()
        output_at(path).write(a_token(), NOW, SEALER)
        os.chown(lock, 0, 0)  # the check accepts a lock file of root
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


def test_outputs_share_the_object_of_a_directory_in_use(tmp_path):
    directories = Directories()
    found: list[Directory] = []
    threads = [threading.Thread(target=lambda: found.append(directories.at(str(tmp_path)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(each) for each in found}) == 1


def test_a_directory_is_listed_once_for_any_number_of_outputs(tmp_path):
    """Listing ten thousand files for each of ten thousand outputs takes a quarter of an hour."""
    directories = Directories()
    stale = [tmp_path / f".{name}.0123456789ab.tmp" for name in ("a", "b")]
    for file in stale:
        file.touch()
    outputs = [of_installation(tmp_path / name, "", directories) for name in ("a", "b")]
    outputs[0].claim()
    assert [file.exists() for file in stale] == [False, True]
    late = tmp_path / ".b.ba9876543210.tmp"
    late.touch()
    outputs[1].claim()
    assert [file.exists() for file in stale] == [False, False]
    assert late.exists()


def test_a_directory_created_later_is_listed_then(tmp_path):
    folder = tmp_path / "later"
    directory = Directory(str(folder))
    directory.clear("a")
    folder.mkdir()
    (folder / ".a.0123456789ab.tmp").touch()
    directory.clear("a")
    assert os.listdir(folder) == []


LATER = {
    "inspection": lambda output: output.inspect(NOW),
    "write": lambda output: output.write(a_token(2), NOW, SEALER),
}


@pytest.mark.parametrize("act", LATER.values(), ids=LATER)
def test_stale_files_are_removed_later_if_another_thread_hung_at_the_start(path, act):
    directories = Directories()
    output = of_installation(path, "", directories)
    output.write(a_token(), NOW, SEALER)
    stale = path.with_name(f".{path.name}.0123456789ab.tmp")
    stale.touch()
    with directories.at(str(path.parent))._exclusive():
        output.claim()
        act(output)
    assert stale.exists()
    act(output)
    assert not stale.exists()


# The owner while no process writes


def test_a_file_of_another_installation_is_inspected_but_not_written(path):
    of_installation(path, "studio").write(a_token(), NOW, SEALER)
    other = of_installation(path, "lobby")
    found = other.inspect(NOW)
    assert (found.facts, found.intact, found.owner) == (a_token().facts, False, "studio")
    for act in (lambda: other.write(a_token(2), NOW, SEALER), other.dry_run):
        with pytest.raises(OutputError) as failure:
            act()
        assert str(failure.value) == (
            "cannot be written: it belongs to 'studio', and this installation is 'lobby': name "
            f"another file, or hand this one over by deleting {record_of(path)}"
        )
    assert path.read_bytes() == b"acc3ss-1-"
    record_of(path).unlink()
    other.write(a_token(2), NOW, SEALER)
    assert (other.inspect(NOW).intact, other.inspect(NOW).owner) == (True, "")


@pytest.mark.parametrize(("before", "after"), [("", "studio"), ("inlive-token-refresher", "studio")])
def test_a_file_of_an_unnamed_installation_is_taken_over(path, before, after):
    of_installation(path, before).write(a_token(), NOW, SEALER)
    output = of_installation(path, after)
    assert output.inspect(NOW).intact
    output.write(a_token(2), NOW, SEALER)
    assert "'studio'" in refusal(output_at(path))


def test_directory_locks_do_not_interfere_with_the_locks_of_a_write(path):
    """flock and record locks are on different files."""
    output = output_at(path)
    output.write(a_token(), NOW, SEALER)
    with open(record_of(path), "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


HANGS = """
import os, signal, subprocess, sys, threading, time
from refresher.outputs.directories import Directory

source, folder = sys.argv[1:]
server = subprocess.Popen(["bindfs", "-f", source, folder])
until = time.monotonic() + 10.0
while not os.path.ismount(folder):
    assert time.monotonic() < until, "bindfs has mounted nothing"
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


def test_a_thread_hung_in_an_old_directory_does_not_block_its_replacement(tmp_path):
    """For example, a dead file server is unmounted and another is mounted there."""
    needs.tool("bindfs")
    folders = [tmp_path / "source", tmp_path / "folder"]
    for folder in folders:
        folder.mkdir()
    command = [*mounting("true"), sys.executable, "-c", HANGS, *map(str, folders)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (ran.returncode, ran.stdout) == (0, "None\n"), ran.stderr
