"""A file output in trouble: killed, out of space, without rights, and read all the time."""

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
from tests.outputs.victims import LARGE, NOBODY, output_at, told_by

KILLS = 40


def debris_in(folder):
    return sorted(set(os.listdir(folder)) - {"access-token", ".access-token.meta.json", LOCK_FILE})


def check_what_a_killed_writer_left(path):
    """One whole value, which the record describes; a successor clears the rest away and goes on writing."""
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


def test_killed_before_any_line_the_value_is_whole_and_described(victim, tmp_path):
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


def test_killed_at_any_moment_the_value_is_whole_and_described(victim, tmp_path):
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


def test_a_reader_never_sees_anything_but_a_whole_value(tmp_path):
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


def test_two_processes_at_the_same_file_never_mix_their_values(victim, tmp_path):
    """Which is a mistake of the operator, and still no reader must suffer."""
    path = tmp_path / "access-token"
    output_at(path).write(a_token(), NOW, SEALER)
    writers = [victim("write-without-end", path) for _ in range(2)]
    for process in writers:
        assert process.stdout.readline() == "writing\n"
    for _ in range(2000):
        access = json.loads(path.read_bytes())["access_token"]
        assert len(access) == LARGE or "x" not in access


def test_a_directory_without_write_permission_is_an_error_that_says_who_needs_what(victim, open_folder):
    path = open_folder / "access-token"
    open_folder.chmod(0o555)
    told = told_by(victim("write-as-nobody", path))
    user = NOBODY if os.geteuid() == 0 else os.geteuid()
    assert told["small"] == (
        f"file:{path} cannot be written: Permission denied (EACCES); "
        f"let user {user} read the file, and list and write {open_folder}"
    )
    assert told["found"] is None
    assert told["files"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
def test_another_users_file_cannot_be_told_but_can_be_replaced(victim, open_folder):
    path = open_folder / "access-token"
    path.write_text("root's")
    path.chmod(0o600)
    open_folder.chmod(0o777)
    assert told_by(victim("write-as-nobody", path))["found"] == a_token(2, size=LARGE).facts.fingerprint
    assert path.stat().st_uid == NOBODY
    path.unlink()
    path.write_text("root's")
    path.chmod(0o600)
    os.chmod(open_folder, 0o555)
    assert "(EACCES)" in told_by(victim("write-as-nobody", path))["found"]


@pytest.mark.skipif(os.geteuid() != 0, reason="which groups the user is in is not known")
def test_a_group_that_the_user_is_not_in_is_an_error_that_says_so(victim, open_folder):
    open_folder.chmod(0o777)
    told = told_by(victim("write-as-nobody", open_folder / "access-token", "4242"))
    assert f"(EPERM); make user {NOBODY} a member of the group" in told["small"]
    assert told["files"] == [LOCK_FILE]


def test_a_full_file_system_leaves_the_old_value_and_no_debris(victim, tmp_path):
    path = tmp_path / "access-token"
    told = told_by(
        victim("write-and-look", path, before=mounting('mount -t tmpfs -o size=16k tmpfs "$1"', tmp_path))
    )
    assert told["small"] is None
    assert told["large"].endswith(
        f"No space left on device (ENOSPC); free space or inodes in {tmp_path}, or enlarge the volume"
    )
    assert told["found"] == a_token(1).facts.fingerprint
    assert told["files"] == [".access-token.meta.json", LOCK_FILE, "access-token"]


def test_a_read_only_file_system_is_an_error_that_says_so(victim, tmp_path):
    told = told_by(
        victim(
            "write-and-look",
            tmp_path / "access-token",
            before=mounting('mount -t tmpfs -o ro tmpfs "$1"', tmp_path),
        )
    )
    assert told["small"].endswith(f"Read-only file system (EROFS); mount the volume of {tmp_path} writable")
