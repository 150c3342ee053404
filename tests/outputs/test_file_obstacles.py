"""Obstacles to replacing a file although a new file beside it can be written. A dry run reports each of them
with the message of the failing write, and leaves nothing behind."""

import os
import subprocess

import pytest

from refresher.errors import OutputError
from refresher.outputs import obstacles
from tests import needs
from tests.outputs.mounts import mounting
from tests.outputs.tokens import NOW, SEALER, a_token
from tests.outputs.victims import NOBODY, output_at, result_of

RECORD, VALUE = ".access-token.meta.json", "access-token"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make these obstacles")


@pytest.fixture
def attribute():
    """Gives a file or directory an attribute of chattr(1), until the end of the test."""
    chattr, given = needs.tool("chattr"), []

    def give(flag, path):
        tried = subprocess.run([chattr, f"+{flag}", path], capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            pytest.skip(f"this file system has no attributes: {tried.stderr.strip()}")
        given.append((flag, path))

    yield give
    for flag, path in given:
        if path.exists():
            take(flag, path)


def take(flag, path):
    subprocess.run([needs.tool("chattr"), f"-{flag}", path], check=True)


def expect_same_refusal(result, advice):
    assert result["dry run"] == result["small"] == result["large"]
    assert result["small"].endswith(advice)
    assert not [name for name in result["files"] if name.endswith(".tmp")]


@pytest.mark.parametrize("name", [VALUE, RECORD])
def test_a_file_mounted_by_itself_is_refused(victim, tmp_path, name):
    """With Docker: `-v ./token:/run/token`. The file system is the same: only the mount differs."""
    source, path = tmp_path / "source", tmp_path / "out" / VALUE
    path.parent.mkdir()
    source.write_bytes(b"")
    path.with_name(name).write_bytes(b"")
    mounted = mounting('mount --bind "$1" "$2"', source, path.with_name(name))
    result = result_of(victim("write-and-look", path, before=mounted))
    expect_same_refusal(
        result,
        "(EBUSY); a file that is mounted by itself cannot be replaced: mount its directory instead",
    )


@pytest.mark.parametrize("name", [VALUE, RECORD])
def test_another_users_file_in_a_sticky_directory_is_refused(victim, open_folder, name):
    path = open_folder / VALUE
    path.with_name(name).write_bytes(b"root's")
    open_folder.chmod(0o1777)
    result = result_of(victim("write-as-nobody", path))
    advice = (
        f"(EPERM); {path.with_name(name)} belongs to user 0, and in a sticky directory only its owner may "
        "replace it: delete it, or name a file in a directory of your own"
    )
    expect_same_refusal(result, advice)


def test_our_own_file_in_a_sticky_directory_is_accepted(victim, open_folder):
    path = open_folder / VALUE
    path.write_bytes(b"")
    os.chown(path, NOBODY, NOBODY)
    open_folder.chmod(0o1777)
    result = result_of(victim("write-as-nobody", path))
    assert (result["dry run"], result["small"]) == ([], None)


@pytest.mark.parametrize("flag", ["i", "a"])
@pytest.mark.parametrize("name", [VALUE, RECORD])
def test_a_file_with_an_attribute_is_refused(victim, tmp_path, attribute, flag, name):
    path = tmp_path / VALUE
    path.with_name(name).write_bytes(b"")
    attribute(flag, path.with_name(name))
    result = result_of(victim("write-and-look", path))
    where = path.with_name(name)
    advice = f"(EPERM); {where} has the attribute {flag}: chattr -{flag} {where}"
    expect_same_refusal(result, advice)


@pytest.mark.parametrize("flag", ["i", "a"])
def test_a_directory_with_an_attribute_is_refused(victim, tmp_path, attribute, flag):
    """In an append-only directory a file could be created, but never removed."""
    attribute(flag, tmp_path)
    result = result_of(victim("write-and-look", tmp_path / VALUE))
    advice = f"(EPERM); the directory has the attribute {flag}: chattr -{flag} {tmp_path}"
    expect_same_refusal(result, advice)


@pytest.mark.parametrize("act", ["inspect", "write"])
def test_a_stale_file_that_cannot_be_removed_at_the_start_is_removed_later(tmp_path, attribute, act):
    output, stale = output_at(tmp_path / VALUE), tmp_path / f".{VALUE}.0123456789ab.tmp"
    acts = {"inspect": output.inspect, "write": lambda now: output.write(a_token(2), now, SEALER)}
    output.write(a_token(), NOW, SEALER)
    stale.touch()
    attribute("i", stale)
    with pytest.raises(OutputError, match="cleared of temporary files"):
        output.claim()
    acts[act](NOW)
    assert stale.exists()
    take("i", stale)
    acts[act](NOW)
    assert not stale.exists()


def test_a_read_only_mount_is_refused(victim, tmp_path):
    mounted = mounting('mount -t tmpfs -o ro tmpfs "$1"', tmp_path)
    result = result_of(victim("write-and-look", tmp_path / VALUE, before=mounted))
    expect_same_refusal(result, f"(EROFS); mount the volume of {tmp_path} writable")


def test_a_directory_without_write_permission_is_refused(victim, open_folder):
    result = result_of(victim("write-as-nobody", open_folder / VALUE))
    expect_same_refusal(
        result, f"(EACCES); let user {NOBODY} read the file, and list and write {open_folder}"
    )


def test_a_probe_of_a_replaceable_file_changes_nothing(tmp_path):
    path = tmp_path / VALUE
    obstacles.probe(str(path))
    path.write_bytes(b"value")
    before = path.stat()
    obstacles.probe(str(path))
    assert path.stat() == before


def test_a_dry_run_leaves_nothing_behind(tmp_path):
    assert output_at(tmp_path / VALUE).dry_run() == ()
    assert os.listdir(tmp_path) == []
