import errno
import fcntl
import os
import stat
import threading

import pytest

from refresher.outputs import atomic
from refresher.outputs.directories import Directory
from refresher.outputs.permissions import Permissions

NAME = "access-token"
TEMPORARY = f".{NAME}.0123456789ab.tmp"


def replace(path, content, mode=0o600):
    with atomic.replaced(str(path), content, Permissions(mode)):
        pass


def clear(path):
    Directory(str(path.parent)).clear(path.name)


@pytest.fixture
def path(tmp_path):
    return tmp_path / NAME


def test_the_file_has_the_given_content_and_permissions(path):
    replace(path, b"new", 0o640)
    content, status = atomic.read(str(path), 100)
    assert content == b"new"
    assert stat.S_IMODE(status.st_mode) == 0o640
    assert os.listdir(path.parent) == [NAME]


def test_a_write_in_pieces_is_completed(path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[:1]))
    replace(path, b"new", 0o600)
    assert path.read_bytes() == b"new"


def test_a_file_system_that_accepts_no_byte_is_full(path, monkeypatch):
    """write(2) may return 0 without an error: a retry would loop for ever."""
    monkeypatch.setattr(os, "write", lambda _file, _content: 0)
    with pytest.raises(OSError, match="takes no more bytes") as failure:
        replace(path, b"new")
    assert failure.value.errno == errno.ENOSPC
    assert os.listdir(path.parent) == []


def _directory_sync_fails_with(code, monkeypatch):
    sync = os.fsync

    def fsync(file):
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(code, os.strerror(code))
        sync(file)

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_file_system_that_cannot_sync_directories_is_accepted(path, monkeypatch):
    _directory_sync_fails_with(errno.EINVAL, monkeypatch)
    replace(path, b"new", 0o600)
    assert path.read_bytes() == b"new"


def test_a_directory_that_fails_to_sync_is_an_error(path, monkeypatch):
    _directory_sync_fails_with(errno.EIO, monkeypatch)
    with pytest.raises(OSError, match="Input/output error"):
        replace(path, b"new", 0o600)


def test_the_content_is_synced_before_the_rename(path, monkeypatch):
    done = []
    sync, rename = os.fsync, os.rename

    def fsync(file):
        done.append("directory" if stat.S_ISDIR(os.fstat(file).st_mode) else "content")
        sync(file)

    def renamed(*arguments, **others):
        done.append("rename")
        rename(*arguments, **others)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", renamed)
    replace(path, b"new", 0o600)
    assert done == ["content", "rename", "directory"]


def test_a_read_ends_one_byte_beyond_the_limit(path):
    path.write_bytes(b"12345")
    assert atomic.read(str(path), 5)[0] == b"12345"
    assert atomic.read(str(path), 3)[0] == b"1234"


def test_reading_a_pipe_does_not_block(path):
    os.mkfifo(path)
    with pytest.raises(OSError, match="pipe"):
        atomic.read(str(path), 5)


def test_the_temporary_file_of_a_killed_process_is_removed(path):
    (path.parent / TEMPORARY).write_bytes(b"half a tok")
    clear(path)
    assert os.listdir(path.parent) == []


def test_the_temporary_file_of_a_running_process_is_kept(path):
    with (path.parent / TEMPORARY).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        clear(path)
        assert os.listdir(path.parent) == [TEMPORARY]
    clear(path)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize(
    "name",
    [
        NAME,
        f".{NAME}.meta.json",
        f".{NAME}.tmp",
        f".{NAME}..tmp",
        f".{NAME}.notes.tmp",
        f".{NAME}.0123456789ab",
        f".{NAME}.0123456789a.tmp",
        f".{NAME}.0123456789abc.tmp",
        f".{NAME}.0123456789AB.tmp",
        f".{NAME}.0123456789ag.tmp",
        f"{NAME}.0123456789ab.tmp",
        f".{NAME}.old.0123456789ab.tmp",
        ".another.0123456789ab.tmp",
    ],
)
def test_a_file_with_another_name_is_kept(path, name):
    (path.parent / name).write_bytes(b"")
    clear(path)
    assert os.listdir(path.parent) == [name]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/hostname", path)])
def test_anything_but_a_file_is_kept(path, make):
    make(path.parent / TEMPORARY)
    clear(path)
    assert os.listdir(path.parent) == [TEMPORARY]


def test_a_missing_directory_has_no_temporary_files(tmp_path):
    clear(tmp_path / "absent" / NAME)


def test_clearing_beside_a_running_writer_does_not_disturb_it(path):
    """At worst the writer gets an error, because its temporary file was removed before its lock."""
    stop = threading.Event()

    def clear_without_end():
        while not stop.is_set():
            clear(path)

    cleaner = threading.Thread(target=clear_without_end)
    cleaner.start()
    written = 0
    try:
        for number in range(300):
            content = b"%d" % number
            try:
                replace(path, content, 0o600)
            except BlockingIOError:
                continue
            written += 1
            assert path.read_bytes() == content
    finally:
        stop.set()
        cleaner.join()
    assert written > 100
    assert os.listdir(path.parent) == [NAME]
