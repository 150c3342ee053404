"""A request beside a file counts only if its writer may replace the token, and costs little to look for."""

import os

import pytest

from refresher.config.output_kinds import refresh_path
from refresher.errors import OutputError
from refresher.outputs import refresh_file
from refresher.outputs.file import FileOutput, Plan
from tests.outputs.tokens import ISSUER_URL, NOW, SEALER, a_token

AT = 1_793_872_860.5
ANOTHER = 4242  # a user


@pytest.fixture
def target(tmp_path):
    """The path of a token in a directory that only we may write."""
    tmp_path.chmod(0o755)
    return tmp_path / "token"


def touch(target, *, mode=0o644, owner=None):
    """Place a request as a program without us does."""
    path = target.with_name(".token.refresh")
    path.touch()
    path.chmod(mode)
    if owner is not None:
        os.chown(path, owner, -1)
    os.utime(path, (AT, AT))
    return path


def test_a_placed_request_is_private_and_tells_its_time(target):
    refresh_file.place(str(target), AT)
    assert refresh_file.placed(str(target)) == AT
    assert os.stat(refresh_path(str(target))).st_mode & 0o777 == 0o600
    assert [path.name for path in target.parent.iterdir()] == [".token.refresh"]


def test_touch_places_a_request(target):
    touch(target)
    assert refresh_file.placed(str(target)) == AT


def test_a_request_replaces_a_link_and_does_not_follow_it(target):
    secret = target.with_name("elsewhere")
    secret.write_text("stays")
    os.utime(secret, (AT - 9, AT - 9))
    target.with_name(".token.refresh").symlink_to(secret)
    assert refresh_file.placed(str(target)) is None
    refresh_file.place(str(target), AT)
    assert refresh_file.placed(str(target)) == AT
    assert (secret.read_text(), secret.stat().st_mtime) == ("stays", AT - 9)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_only_a_regular_file_is_a_request(target, make):
    make(refresh_path(str(target)))
    assert refresh_file.placed(str(target)) is None


@pytest.mark.parametrize(
    ("folder", "file", "counts"),
    [
        (0o755, 0o644, True),
        (0o755, 0o664, False),  # its group may change the time, but not replace the token
        (0o755, 0o646, False),
        (0o775, 0o664, True),
        (0o777, 0o666, True),
        (0o1777, 0o644, True),
        (0o1777, 0o666, False),
    ],
)
def test_a_request_counts_if_only_writers_of_the_directory_may_change_it(target, folder, file, counts):
    touch(target, mode=file)
    target.parent.chmod(folder)
    assert (refresh_file.placed(str(target)) is not None) is counts


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
@pytest.mark.parametrize(("folder", "counts"), [(0o1777, False), (0o777, True)])
def test_in_a_sticky_directory_a_request_of_another_user_does_not_count(target, folder, counts):
    touch(target, owner=ANOTHER)
    target.parent.chmod(folder)
    assert (refresh_file.placed(str(target)) is not None) is counts


def test_a_request_at_a_file_of_another_installation_is_not_ours(target):
    FileOutput(Plan(str(target), ISSUER_URL, owner="studio/theirs")).write(a_token(), NOW, SEALER)
    touch(target)
    output = FileOutput(Plan(str(target), ISSUER_URL, owner="studio/ours"))
    assert output.inspect(NOW).refresh_requested is None
    assert output.request_seen() is None


def test_a_request_that_cannot_be_placed_is_an_error(target):
    output = FileOutput(Plan(str(target.parent / "absent" / "token"), ISSUER_URL))
    with pytest.raises(OutputError, match=r"^cannot be asked for a new token: .*absent"):
        output.request_refresh(AT)
