"""A file output under faults: killed, out of space, without permissions, and read all the time."""

import json
import os
import random
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from refresher.config.output_kinds import LOCK_FILE
from tests.outputs.mounts import mounting
from tests.outputs.tokens import NOW, SEALER, a_token
from tests.outputs.victims import LARGE, NOBODY, output_at, result_of

KILLS = 40


def debris_in(folder):
    return sorted(set(os.listdir(folder)) - {"access-token", ".access-token.meta.json", LOCK_FILE})


def check_what_a_killed_writer_left(path):
    """A complete value that the record describes. The next process removes the rest and keeps writing."""
    successor = output_at(path)
    content = path.read_bytes()
    access = json.loads(content)["access_token"]
    found = successor.inspect(NOW + 2)
    assert found.token is not None
    assert found.token.access.reveal() == access
    assert found.intact
    successor.claim()
    assert debris_in(path.parent) == []
    assert path.read_bytes() == content
    successor.write(a_token(3), NOW + 2, SEALER)
    assert successor.inspect(NOW + 2).facts == a_token(3).facts
    return access


def test_a_kill_before_any_line_leaves_a_complete_and_recorded_value(victim, tmp_path):
    process = victim("die-before-every-line", tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    folders = [Path(line) for line in out.splitlines()]
    littered = sum(debris_in(folder) != [] for folder in folders)
    left = [check_what_a_killed_writer_left(folder / "access-token") for folder in folders]
    old, new = a_token(1).access.reveal(), a_token(2).access.reveal()
    assert left == [old] * left.count(old) + [new] * left.count(new)
    assert left.count(old) > 40
    assert left.count(new) > 5
    assert littered > 10


def test_a_kill_at_any_moment_leaves_a_complete_and_recorded_value(victim, tmp_path):
    path = tmp_path / "access-token"
    output_at(path).write(a_token(), NOW, SEALER)
    dice = random.Random(1)
    for _ in range(KILLS):
        process = victim("write-without-end", path)
        assert process.stdout.readline() == "writing\n"
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=dice.uniform(0, 0.02))
        process.kill()
        process.wait()
        check_what_a_killed_writer_left(path)


def test_a_reader_always_sees_a_complete_value(tmp_path):
    path = tmp_path / "access-token"
    output = output_at(path)
    tokens = [a_token(1), a_token(2, size=LARGE)]
    output.write(tokens[0], NOW, SEALER)
    stop, seen = threading.Event(), set()

    def read():
        while not stop.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(300):
            output.write(tokens[number % 2], NOW, SEALER)
    finally:
        stop.set()
        reader.join()
    assert {json.loads(content)["access_token"] for content in seen} == {
        token.access.reveal() for token in tokens
    }


def test_two_processes_never_mix_their_values_in_one_file(victim, tmp_path):
    """This is a mistake of the operator, but it must not harm any reader."""
    path = tmp_path / "access-token"
    output_at(path).write(a_token(), NOW, SEALER)
    writers = [victim("write-without-end", path) for _ in range(2)]
    for process in writers:
        assert process.stdout.readline() == "writing\n"
    for _ in range(2000):
        access = json.loads(path.read_bytes())["access_token"]
        assert len(access) == LARGE or "x" not in access


def test_a_directory_without_write_permission_is_reported_with_the_user(victim, open_folder):
    path = open_folder / "access-token"
    open_folder.chmod(0o555)
    result = result_of(victim("write-as-nobody", path))
    user = NOBODY if os.geteuid() == 0 else os.geteuid()
    assert result["small"] == (
        "cannot be written: Permission denied (EACCES); "
        f"let user {user} read the file, and list and write {open_folder}"
    )
    assert result["found"] is None
    assert result["files"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
def test_another_users_file_cannot_be_read_but_can_be_replaced(victim, open_folder):
    path = open_folder / "access-token"
    path.write_text("root's")
    path.chmod(0o600)
    open_folder.chmod(0o777)
    assert result_of(victim("write-as-nobody", path))["found"] == a_token(2, size=LARGE).facts.fingerprint
    assert path.stat().st_uid == NOBODY
    path.unlink()
    path.write_text("root's")
    path.chmod(0o600)
    os.chmod(open_folder, 0o555)
    assert "(EACCES)" in result_of(victim("write-as-nobody", path))["found"]


@pytest.mark.skipif(os.geteuid() != 0, reason="which groups the user is in is not known")
def test_a_group_without_the_user_is_reported(victim, open_folder):
    open_folder.chmod(0o777)
    result = result_of(victim("write-as-nobody", open_folder / "access-token", "4242"))
    assert f"(EPERM); make user {NOBODY} a member of the group" in result["small"]
    assert result["files"] == [LOCK_FILE]


def test_a_full_file_system_keeps_the_old_value_and_no_temporary_file(victim, tmp_path):
    path = tmp_path / "access-token"
    result = result_of(
        victim("write-and-look", path, before=mounting('mount -t tmpfs -o size=16k tmpfs "$1"', tmp_path))
    )
    assert result["small"] is None
    assert result["large"].endswith(
        f"No space left on device (ENOSPC); free space or inodes in {tmp_path}, or enlarge the volume"
    )
    assert result["found"] == a_token(1).facts.fingerprint
    assert result["files"] == [".access-token.meta.json", LOCK_FILE, "access-token"]


def test_a_read_only_file_system_is_reported(victim, tmp_path):
    result = result_of(
        victim(
            "write-and-look",
            tmp_path / "access-token",
            before=mounting('mount -t tmpfs -o ro tmpfs "$1"', tmp_path),
        )
    )
    assert result["small"].endswith(f"Read-only file system (EROFS); mount the volume of {tmp_path} writable")
