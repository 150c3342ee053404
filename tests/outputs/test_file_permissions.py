"""Mode, group and access control lists on file systems that keep them, and on those that do not."""

import os
import subprocess

import pytest

from refresher.outputs import permissions
from refresher.outputs.permissions import Permissions
from tests import needs
from tests.outputs.mounts import mounting
from tests.outputs.test_file import file_output, mode_of
from tests.outputs.tokens import NOW, SEALER, a_token
from tests.outputs.victims import result_of

IGNORED = (
    "--chmod-ignore",
    "--chown-ignore",
    "--chgrp-ignore",
)  # bindfs(1) can behave like SMB and vboxsf
REFUSED = ("--chmod-deny",)
SHOWN = "its file system does not keep permissions: it shows "


@pytest.fixture
def tried_on(victim, tmp_path):
    """The results of writes to a mount of bindfs with these options."""

    def tried(options, *mode_and_group):
        bindfs, source, folder = needs.tool("bindfs"), tmp_path / "source", tmp_path / "out"
        source.mkdir()
        folder.mkdir()
        mounted = mounting(f'{bindfs} {" ".join(options)} "$1" "$2"', source, folder)
        return result_of(victim("write-twice", folder / "access-token", *mode_and_group, before=mounted))

    return tried


@pytest.mark.parametrize("options", [IGNORED, REFUSED])
def test_a_file_created_with_its_mode_needs_no_chmod(tried_on, options):
    result = tried_on(options, "0640")
    assert result["dry run"] == result["logged"] == []
    assert result["intact"] == [True, True]


@pytest.mark.parametrize("options", [IGNORED, REFUSED])
def test_permissions_that_the_file_system_does_not_keep_are_reported_once_and_stay_intact(tried_on, options):
    result = tried_on((*options, "--perms=0777"), "0600")
    report = (
        f"{SHOWN}mode 0777 instead of 0600 (every user can read the token); mount it with the right ones "
        "(uid=, gid=, file_mode=)"
    )
    assert result["dry run"] == [report]
    assert [line.partition(": ")[2] for line in result["logged"]] == [report]
    assert result["intact"] == [True, True]


def test_a_group_that_the_file_system_does_not_keep_is_reported(tried_on):
    result = tried_on((*IGNORED, "--perms=0640", "--force-group=1000"), "0640", "4242")
    assert len(result["logged"]) == 1
    assert f"{SHOWN}group 1000 instead of 4242" in result["logged"][0]
    assert result["intact"] == [True, True]


def test_a_configurable_mode_is_proposed(tried_on):
    result = tried_on((*IGNORED, "--perms=0664"), "0600")
    assert 'or configure `mode: "0664"` to accept it' in result["dry run"][0]


def test_permissions_changed_later_are_not_intact(tried_on, tmp_path):
    """Even if the file system did not keep the configured ones."""
    result = tried_on(REFUSED, "0640", "4242", tmp_path / "source" / "access-token")
    assert "mode 0600 instead of 0640" in result["logged"][0]
    assert (result["intact"], result["intact_in_the_end"]) == ([True, True], False)


def test_permissions_that_are_right_are_not_set_again(tmp_path, monkeypatch):
    def needless(*_):
        pytest.fail("it has that already")

    monkeypatch.setattr(os, "fchmod", needless)
    monkeypatch.setattr(os, "fchown", needless)
    before = os.umask(0)
    try:
        output = file_output(tmp_path / "access-token", mode=0o664, group=str(os.getegid()))
        output.write(a_token(), NOW, SEALER)
    finally:
        os.umask(before)
    assert output.inspect(NOW).intact


def test_newly_configured_permissions_are_written(tmp_path):
    path = tmp_path / "access-token"
    file_output(path, mode=0o640).write(a_token(), NOW, SEALER)
    assert file_output(path, mode=0o600).inspect(NOW).intact is False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may refuse itself a group")
def test_a_group_without_a_number_in_the_user_namespace_is_reported(victim, tmp_path):
    mapped = [needs.tool("unshare"), "--user", "--map-root-user"]
    if subprocess.run([*mapped, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this kernel has no user namespaces for users")
    result = result_of(victim("write-and-look", tmp_path / "access-token", "4242", before=mapped))
    assert result["small"] == result["dry run"]
    assert "(EINVAL); its group has no number in this user namespace (/proc/self/gid_map)" in result["small"]


# Access control lists


@pytest.fixture
def default_acl(tmp_path):
    """A directory with the default access control list `entries`, as in setfacl(1)."""

    def folder(entries):
        command = [needs.tool("setfacl"), "--default", "--modify", entries, tmp_path]
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            pytest.skip(f"this file system has no access control lists: {tried.stderr.strip()}")
        return tmp_path

    return folder


def test_a_default_acl_that_lets_others_read_is_reported_once(default_acl, caplog):
    folder = default_acl("user:1234:r,group:33:r,group:34:-,other::-")
    output = file_output(folder / "access-token", mode=0o640)
    for number in (1, 2):
        output.write(a_token(number), NOW, SEALER)
    assert [entry.getMessage() for entry in caplog.records] == [
        f"file:{folder}/access-token: the default access control list of {folder} lets user 1234, group 33 "
        f"read the token, whatever its mode says; `setfacl -k {folder}` removes it"
    ]
    assert output.dry_run()[0] in caplog.text
    assert output.inspect(NOW).intact


def test_a_default_acl_gives_no_rights_beyond_mode_0600(default_acl, caplog):
    folder = default_acl("user:1234:rwx,other::r")
    path = folder / "access-token"
    file_output(path).write(a_token(), NOW, SEALER)
    assert caplog.records == []
    assert mode_of(path) == 0o600
    getfacl = ["getfacl", "--omit-header", path]
    acl = subprocess.run(getfacl, capture_output=True, text=True, check=True).stdout
    assert "user:1234:rwx" in acl
    assert "mask::---" in acl


# Their text


@pytest.mark.parametrize(
    "known", [Permissions(0o640), Permissions(0o4777, 0), Permissions(0o600, 4294967294)]
)
def test_parsing_the_text_of_permissions_returns_them(known):
    assert permissions.parse(str(known)) == known


@pytest.mark.parametrize(
    "text", ["", "640", "0640 ", "0640 x", "0648", "0640 -1", "٠٦٤٠", "0640 99999999999"]
)
def test_other_texts_are_no_permissions(text):
    assert permissions.parse(text) is None
