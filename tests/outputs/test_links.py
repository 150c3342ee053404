"""Symbolic links in the path of an output: which are followed."""

import os

import pytest

from refresher.errors import OutputError
from refresher.outputs import atomic, links
from refresher.outputs.links import UntrustedLinkError
from tests.outputs.test_file import file_output, refusal
from tests.outputs.tokens import NOW, SEALER, a_token
from tests.outputs.victims import NOBODY, result_of

MALLORY = 1234

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make links of another user")


@pytest.mark.parametrize(
    ("aim", "leads_to"),
    [
        ("there", "there"),
        ("./there/", "there"),
        ("deep/../there", "there"),
        ("deep/up/there", "there"),  # up -> ..
        ("absent", "absent"),
        ("absent/deeper", "absent/deeper"),
        ("..", ".."),
        ("../../../../../../../../..", "/"),
        ("{here}/there", "there"),
        ("{here}//deep/./up/..", ".."),
    ],
)
def test_a_link_is_followed_like_the_kernel_does(tmp_path, aim, leads_to):
    (tmp_path / "there").write_bytes(b"")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "up").symlink_to("..")
    link = tmp_path / "link"
    link.symlink_to(aim.format(here=tmp_path))
    assert links.resolve(str(link)) == os.path.realpath(link) == os.path.normpath(tmp_path / leads_to)


def test_the_links_in_a_volume_of_kubelet_are_followed(tmp_path):
    """As its AtomicWriter creates them, in a directory with mode 1777."""
    (tmp_path / "..2026_11_28").mkdir()
    (tmp_path / "..data").symlink_to("..2026_11_28")
    (tmp_path / "access-token").symlink_to("..data/access-token")
    tmp_path.chmod(0o1777)
    output = file_output(tmp_path / "access-token")
    output.write(a_token(), NOW, SEALER)
    assert (tmp_path / "..2026_11_28" / "access-token").read_bytes() == b"acc3ss-1-"
    assert output.inspect(NOW).intact


def of_mallory(link):
    os.chown(link, MALLORY, MALLORY, follow_symlinks=False)
    link.parent.chmod(0o1777)


def in_a_directory_of_mallory(link):
    os.chown(link.parent, MALLORY, MALLORY)


def where_all_may_write(link):
    link.parent.chmod(0o777)


def where_a_group_may_write(link):
    link.parent.chmod(0o770)


@as_root
@pytest.mark.parametrize("step", ["file", "directory"])
@pytest.mark.parametrize(
    ("arrange", "why"),
    [
        (of_mallory, "it belongs to user 1234; delete it"),
        (in_a_directory_of_mallory, "its directory {folder} belongs to user 1234; chown it to root or 0"),
        (
            where_all_may_write,
            "other users can write its directory {folder}; remove that permission (chmod go-w)",
        ),
        (
            where_a_group_may_write,
            "other users can write its directory {folder}; remove that permission (chmod go-w)",
        ),
    ],
)
def test_a_link_that_another_user_may_have_made_is_not_followed(tmp_path, arrange, why, step):
    folder, aim = tmp_path / "shared", tmp_path / "precious"
    folder.mkdir()
    aim.mkdir()
    (aim / "access-token").write_bytes(b"precious")
    link, path = folder / "access-token", folder / "access-token"
    if step == "directory":
        link, path = folder / "out", folder / "out" / "access-token"
    link.symlink_to(aim if step == "directory" else aim / "access-token")
    arrange(link)
    result = {verb: refusal(file_output(path), verb) for verb in ("write", "inspect", "dry_run")}
    text = f"the symbolic link {link} is not followed: {why.format(folder=folder)}, or name a path without it"
    assert result == {
        "write": f"cannot be written: {text}",
        "inspect": f"cannot be read: {text}",
        "dry_run": f"cannot be written: {text}",
    }
    with pytest.raises(OutputError):
        file_output(path).claim()
    assert os.listdir(aim) == ["access-token"]
    assert (aim / "access-token").read_bytes() == b"precious"


@as_root
def test_a_file_in_a_world_writable_directory_is_written(tmp_path):
    """As in an emptyDir, which has mode 0777."""
    tmp_path.chmod(0o777)
    output = file_output(tmp_path / "access-token")
    output.write(a_token(), NOW, SEALER)
    assert output.inspect(NOW).intact


@as_root
def test_links_of_root_and_our_own_are_followed(victim, open_folder):
    (open_folder / "roots").symlink_to("own")
    (open_folder / "own").mkdir()
    (open_folder / "own" / "access-token").symlink_to("value")
    for path in (open_folder / "own", open_folder / "own" / "access-token"):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    result = result_of(victim("write-as-nobody", open_folder / "roots" / "access-token"))
    assert (result["dry run"], result["small"]) == ([], None)
    assert (open_folder / "own" / "value").stat().st_uid == NOBODY


def test_a_loop_of_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels") as failure:
        links.resolve(str(tmp_path / "a"))
    assert not isinstance(failure.value, UntrustedLinkError)


def test_a_link_that_replaces_the_file_is_not_read(tmp_path):
    """The link may appear after the path was resolved."""
    (tmp_path / "value").write_bytes(b"another's")
    (tmp_path / "access-token").symlink_to("value")
    with pytest.raises(OSError, match="Too many levels"):
        atomic.read(str(tmp_path / "access-token"), 100)


@pytest.mark.parametrize("is_renamed_to", ["real", "other-link", "link"])
def test_a_file_that_another_output_leads_to_is_not_deleted(tmp_path, is_renamed_to):
    for link in ("link", "other-link"):
        (tmp_path / link).symlink_to("real")
    output = file_output(tmp_path / "link", deletes=True)
    output.write(a_token(), NOW, SEALER)
    assert not output.release(lambda: {f"file:{tmp_path / is_renamed_to}", "secret:a/b"})
    assert (tmp_path / "real").read_bytes() == b"acc3ss-1-"


def test_without_such_an_output_the_file_is_deleted_and_the_link_stays(tmp_path):
    (tmp_path / "link").symlink_to("real")
    output = file_output(tmp_path / "link", deletes=True)
    output.write(a_token(), NOW, SEALER)
    assert output.release(lambda: {f"file:{tmp_path}/another"})
    assert not (tmp_path / "real").exists()
    assert (tmp_path / "link").is_symlink()
